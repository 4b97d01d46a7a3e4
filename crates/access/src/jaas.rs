//! One line of Java's login configuration: `MODULE required option="value" … ;`, as in `sasl.jaas.config`.

use std::{collections::BTreeMap, fmt};

/// A login module with its options.
#[derive(Clone, PartialEq, Eq)]
pub struct Jaas {
    /// The Java class.
    pub module: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Why a line cannot be read. Never says what the line has: it may be a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected MODULE required NAME=\"VALUE\" … ; and found no {missing}")]
pub struct JaasError {
    missing: &'static str,
}

impl fmt::Debug for Jaas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} options", self.module, self.options.len())
    }
}

impl Jaas {
    /// Reads a line of one module.
    pub fn parse(line: &str) -> Result<Self, JaasError> {
        let missing = |missing| JaasError { missing };
        let (module, rest) =
            line.trim().split_once(char::is_whitespace).ok_or(missing("module and control flag"))?;
        let flags = ["required", "requisite", "sufficient", "optional"];
        let flag_end = rest.trim_start().find(|c: char| !c.is_ascii_alphabetic());
        let (flag, mut rest) = rest.trim_start().split_at(flag_end.ok_or(missing("semicolon"))?);
        if !flags.iter().any(|one| one.eq_ignore_ascii_case(flag)) {
            return Err(missing("control flag such as required"));
        }
        let mut options = BTreeMap::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix(';') {
                return match after.trim() {
                    "" => Ok(Self { module: module.to_owned(), options }),
                    _ => Err(missing("end after the semicolon")),
                };
            }
            let (name, value) = rest.split_once('=').ok_or(missing("semicolon"))?;
            let (value, after) = take_value(value.trim_start()).ok_or(missing("value in quotes"))?;
            options.insert(name.trim().to_owned(), value);
            rest = after;
        }
    }

    /// The users that Kafka's `PlainLoginModule` lets in, with their passwords: its options `user_NAME`.
    pub fn plain_users(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().filter_map(|(name, value)| Some((name.strip_prefix("user_")?, value.as_str())))
    }
}

/// A value in quotes of either kind, or up to the next space or semicolon; and what is behind it.
fn take_value(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|char| matches!(char, '"' | '\''));
    let Some(quote) = quote else {
        let end = text.find(|c: char| c.is_whitespace() || c == ';')?;
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => value.push(chars.next()?.1),
            char if char == quote => return Some((value, &text[index + 1..])),
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_s_documented_line_is_read() {
        let line = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                    username=\"admin\" password=\"admin-secret\" user_admin=\"admin-secret\" \
                    user_alice='a \"b\\'; c' user_bob=plain;";
        let jaas = Jaas::parse(line).unwrap();
        assert!(jaas.module.ends_with("PlainLoginModule"));
        let users: Vec<_> = jaas.plain_users().collect();
        assert_eq!(users, [("admin", "admin-secret"), ("alice", "a \"b'; c"), ("bob", "plain")]);
        assert!(!format!("{jaas:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_line_is_refused_without_its_passwords() {
        for line in [
            "",
            "Module",
            "Module required",
            "Module user_a=\"x\";",
            "Module required user_a=\"x\"",
            "Module required user_a=\"x;",
            "Module required ; more",
        ] {
            let error = Jaas::parse(line).expect_err(line).to_string();
            assert!(!error.contains("user_a"), "{error}");
        }
    }
}
