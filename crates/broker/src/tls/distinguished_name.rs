//! The distinguished name of a certificate's subject as Java writes it: RFC 2253, the most particular part first.

use x509_parser::{
    error::X509Error,
    prelude::{AttributeTypeAndValue, FromDer, X509Certificate},
};

/// The names that RFC 2253 has; all others are written as numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The subject of a certificate.
pub(super) fn of(certificate: &[u8]) -> Result<String, X509Error> {
    let (_, certificate) = X509Certificate::from_der(certificate)?;
    let parts: Vec<_> = certificate.subject().iter().collect();
    let joined = parts.into_iter().rev().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"));
    Ok(joined.collect::<Vec<_>>().join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let keyword = KEYWORDS.iter().find(|(oid, _)| *oid == number).map(|(_, keyword)| keyword);
    match (keyword, attribute.as_str()) {
        (Some(keyword), Ok(text)) => format!("{keyword}={}", escaped(text)),
        (keyword, _) => {
            let value = attribute.attr_value();
            let tag = u8::try_from(value.tag().0 & 0x1f).expect("five bits");
            let name = keyword.map_or(number.as_str(), |keyword| keyword);
            format!("{name}=#{tag:02x}{}{}", length(value.data.len()), hex(value.data))
        }
    }
}

/// A length as DER has it.
fn length(len: usize) -> String {
    match len {
        0..0x80 => format!("{len:02x}"),
        0x80..0x100 => format!("81{len:02x}"),
        _ => format!("82{len:04x}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (index, char) in text.chars().enumerate() {
        let at_end = index == 0 || index == last;
        let special = matches!(char, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || (index == 0 && char == '#');
        if special || (at_end && char == ' ') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::Index};
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use std::sync::LazyLock;

    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());

    fn certificate(parts: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.self_signed(&*KEY).unwrap().der().to_vec()
    }

    fn subject(parts: &[(DnType, &str)]) -> String {
        of(&certificate(parts)).unwrap()
    }

    /// What a value was before it was escaped.
    fn unescaped(text: &str) -> String {
        let mut chars = text.chars();
        let mut out = String::new();
        while let Some(char) = chars.next() {
            out.push(if char == '\\' { chars.next().expect("something is escaped") } else { char });
        }
        out
    }

    proptest! {
        /// Any text is written so that it can be read back, and where it ends is seen.
        #[test]
        fn any_text_can_be_a_name(name in any::<String>(), unit in ".{0,20}") {
            let written = subject(&[(DnType::OrganizationalUnitName, &unit), (DnType::CommonName, &name)]);
            let parts = written.strip_prefix("CN=").expect("the most particular part first");
            let mut escaped = false;
            let end = parts.find(|char| {
                let ends = char == ',' && !escaped;
                escaped = char == '\\' && !escaped;
                ends
            });
            let (first, second) = parts.split_at(end.expect("there are two parts"));
            prop_assert_eq!(unescaped(first), name);
            prop_assert_eq!(unescaped(second.strip_prefix(",OU=").expect("the other part")), unit);
        }

        /// A certificate that is damaged anywhere is read or refused without a panic.
        #[test]
        fn damaged_certificates_are_read_or_refused(
            changes in vec((any::<Index>(), any::<u8>()), 1..6),
            left in any::<Index>(),
            cut in any::<bool>(),
        ) {
            static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
                let other = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
                certificate(&[(DnType::CountryName, "US"), (other, "a@b"), (DnType::CommonName, "\u{e9}, x")])
            });
            let mut bytes = WHOLE.clone();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            bytes.truncate(if cut { left.index(bytes.len()) } else { bytes.len() });
            let _ = of(&bytes);
        }
    }

    #[test]
    fn names_are_written_as_java_writes_them() {
        use DnType::*;
        let parts = [(CountryName, "US"), (OrganizationName, "Org, Inc"), (CommonName, " #a+b ")];
        assert_eq!(subject(&parts), "CN=\\ #a\\+b\\ ,O=Org\\, Inc,C=US");
        assert_eq!(subject(&[(CommonName, "#x")]), "CN=\\#x");
        let email = CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
        assert_eq!(subject(&[(email, "a@b")]), "1.2.840.113549.1.9.1=#0c03614062");
        assert!(of(b"no certificate").is_err());
    }
}
