//! Certificates and keys as text, in a file or in the settings themselves.

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject},
};
use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

/// Largest file of certificates, bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where a text stands.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    /// In this setting.
    Setting {
        name: &'static str,
        text: String,
    },
}

/// What a server needs to prove who it is, and to check who its clients are, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    /// The key and the certificates from the server's own to the one that its issuer signed.
    pub(super) key: (Source, Vec<u8>),
    pub(super) chain: (Source, Vec<u8>),
    /// Who may sign clients' certificates.
    pub(super) trusted: Option<(Source, Vec<u8>)>,
}

/// Why certificates or keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The file is too large for one of certificates.
    #[error("{path} has {bytes} bytes; {FILE_BYTES_MAX} are the limit for certificates")]
    Long {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Anybody on the machine can read the key.
    #[error("{path} has a private key and everybody on this machine can read it; run chmod 600 {path}")]
    WorldReadable {
        /// The file.
        path: PathBuf,
    },
    /// What is looked for is not there.
    #[error("{place} has no {what} in PEM format{hint}")]
    Missing {
        /// The file or setting.
        place: String,
        /// What is missing.
        what: &'static str,
        /// What may help.
        hint: &'static str,
    },
    /// What is there is damaged.
    #[error("{place} cannot be read as PEM: {reason}")]
    Damaged {
        /// The file or setting.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl Source {
    /// The file or setting, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Setting { name, .. } => (*name).to_owned(),
        }
    }

    /// The text. Of a file with a secret, nobody else may be able to read it.
    pub(super) fn read(&self, secret: bool) -> Result<Vec<u8>, PemError> {
        let path = match self {
            Self::File(path) => path,
            Self::Setting { text, .. } => return Ok(rewrapped(text).into_bytes()),
        };
        let failed = |cause| PemError::File { path: path.clone(), cause };
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(PemError::Long { path: path.clone(), bytes: metadata.len() });
        }
        if secret && metadata.permissions().mode() & 0o004 != 0 {
            return Err(PemError::WorldReadable { path: path.clone() });
        }
        fs::read(path).map_err(failed)
    }
}

/// The certificates of a text, at least one.
pub(super) fn certificates(
    (source, text): &(Source, Vec<u8>),
) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match all.map_err(|error| damaged(source, &error))? {
        none if none.is_empty() => {
            Err(PemError::Missing { place: source.place(), what: "certificate", hint: "" })
        }
        all => Ok(all),
    }
}

/// The private key of a text.
pub(super) fn private_key((source, text): &(Source, Vec<u8>)) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        Error::NoItemsFound => {
            let encrypted = b"BEGIN ENCRYPTED PRIVATE KEY";
            let hint = match text.windows(encrypted.len()).any(|part| part == encrypted) {
                true => {
                    "; the one there is has a password, which openssl pkcs8 -in KEY -out PLAIN takes away"
                }
                false => "",
            };
            PemError::Missing { place: source.place(), what: "private key", hint }
        }
        other => damaged(source, &other),
    })
}

fn damaged(source: &Source, error: &Error) -> PemError {
    PemError::Damaged { place: source.place(), reason: format!("{error:?}") }
}

/// A text with line breaks where PEM has them: a setting may have lost its own.
fn rewrapped(text: &str) -> String {
    const DASHES: &str = "-----";
    let mut out = String::with_capacity(text.len() + 16);
    for (index, part) in text.split(DASHES).enumerate() {
        // Titles and bodies take turns, beginning with what is before the first title.
        if index % 2 == 1 {
            out.extend(["\n", DASHES, part.trim(), DASHES, "\n"]);
        } else {
            let body: Vec<&str> = part.split_whitespace().collect();
            out.push_str(&body.join("\n"));
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn a_setting_may_have_lost_its_line_breaks() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        for text in [both.clone(), both.replace('\n', " "), format!("issued to: x\n{both}")] {
            let source = Source::Setting { name: "ssl.keystore.key", text };
            let read = (source.clone(), source.read(true).unwrap());
            assert_eq!(certificates(&read).unwrap()[0], *certificate.der());
            private_key(&read).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let of = |text: &str| {
            let source = Source::Setting { name: "ssl.keystore.key", text: text.to_owned() };
            (source.clone(), source.read(true).unwrap())
        };
        let error = private_key(&of("nothing")).unwrap_err().to_string();
        assert!(error.contains("ssl.keystore.key has no private key"), "{error}");
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
        let error = private_key(&of(locked)).unwrap_err().to_string();
        assert!(error.contains("openssl pkcs8"), "{error}");
        assert!(certificates(&of("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----")).is_err());
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let source = Source::File(path.clone());
        assert!(matches!(source.read(true), Err(PemError::WorldReadable { .. })));
        assert!(source.read(false).is_ok(), "a certificate is no secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(source.read(true).is_ok());
        assert!(matches!(Source::File(folder.path().join("no")).read(true), Err(PemError::File { .. })));
    }
}
