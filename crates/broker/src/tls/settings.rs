//! Kafka's `ssl.…` settings of one listener.

use super::pem::{self, Material, PemError, Source};
use keyway_access::{MappingError, PrincipalMapping};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    server::{VerifierBuilderError, WebPkiClientVerifier},
    version::{TLS12, TLS13},
};
use std::{path::PathBuf, sync::Arc};

/// What certificates a client has to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientAuth {
    None,
    Requested,
    Required,
}

/// The settings, before any file is read.
pub(crate) struct TlsSettings {
    key: Source,
    chain: Source,
    trusted: Option<Source>,
    client_auth: ClientAuth,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
    pub(super) mapping: PrincipalMapping,
    /// What is spoken inside, for clients that ask (ALPN); empty for what has no name there.
    alpn: Vec<Vec<u8>>,
}

/// Why a listener cannot have TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A setting is needed.
    #[error("{0} is not set; TLS needs it")]
    Unset(&'static str),
    /// The keystore is of a kind that only Java reads.
    #[error(
        "{setting} is {kind}, which only Java reads; convert it: {convert}, and set {setting}=PEM and its location"
    )]
    Store {
        /// The setting of the type.
        setting: &'static str,
        /// The type.
        kind: String,
        /// The command.
        convert: &'static str,
    },
    /// Two settings say the same thing.
    #[error("{0} and {1} are both set; leave one of them")]
    Both(&'static str, &'static str),
    /// The key has a password.
    #[error(
        "{0} is set, and keys with a password are not read; take it away by openssl pkcs8 -in KEY -out PLAIN, and protect the file by its mode"
    )]
    Password(&'static str),
    /// None of the versions is one.
    #[error("ssl.enabled.protocols has {0}; there are TLSv1.2 and TLSv1.3")]
    Version(String),
    /// A cipher suite is none of those that are there.
    #[error("ssl.cipher.suites has {asked}; there are {known}")]
    Cipher {
        /// The suite that was asked for.
        asked: String,
        /// Those that are there.
        known: String,
    },
    /// The rules for clients' names cannot be read.
    #[error("ssl.principal.mapping.rules: {0}")]
    Mapping(#[from] MappingError),
    /// A file or setting cannot be read.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// Clients' certificates cannot be checked.
    #[error("{place} cannot be trusted for clients' certificates: {reason}")]
    Trust {
        /// The file or setting.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Key and certificates do not fit together, or not into TLS.
    #[error("{key} and {chain} cannot be served: {reason}")]
    Pair {
        /// Where the key is.
        key: String,
        /// Where the certificates are.
        chain: String,
        /// What is wrong.
        reason: String,
    },
}

const KEYSTORE: StoreNames = StoreNames {
    kind: "ssl.keystore.type",
    location: "ssl.keystore.location",
    text: "ssl.keystore.certificate.chain",
    convert: "openssl pkcs12 -in STORE.p12 -nodes -out STORE.pem \
              (a JKS first by keytool -importkeystore -srckeystore STORE.jks -destkeystore STORE.p12 -deststoretype PKCS12)",
};
const TRUSTSTORE: StoreNames = StoreNames {
    kind: "ssl.truststore.type",
    location: "ssl.truststore.location",
    text: "ssl.truststore.certificates",
    convert: "keytool -list -rfc -keystore STORE > STORE.pem",
};
const KEY: &str = "ssl.keystore.key";

struct StoreNames {
    kind: &'static str,
    location: &'static str,
    text: &'static str,
    convert: &'static str,
}

impl StoreNames {
    /// Where the certificates stand; `None` if they are not set at all.
    fn source(&self, value: &impl Fn(&str) -> Option<String>) -> Result<Option<Source>, TlsError> {
        let location = value(self.location).filter(|path| !path.is_empty());
        let text = value(self.text).filter(|text| !text.is_empty());
        let kind = value(self.kind).unwrap_or_default();
        if (location.is_some() || text.is_some()) && !kind.eq_ignore_ascii_case("PEM") {
            return Err(TlsError::Store { setting: self.kind, kind, convert: self.convert });
        }
        match (location, text) {
            (Some(_), Some(_)) => Err(TlsError::Both(self.location, self.text)),
            (Some(path), None) => Ok(Some(Source::File(PathBuf::from(path)))),
            (None, Some(text)) => Ok(Some(Source::Setting { name: self.text, text })),
            (None, None) => Ok(None),
        }
    }
}

impl TlsSettings {
    /// Reads the settings of one listener; `value` knows what each is set to, its default included.
    pub(crate) fn read_from(value: impl Fn(&str) -> Option<String>) -> Result<Self, TlsError> {
        let chain = KEYSTORE.source(&value)?.ok_or(TlsError::Unset(KEYSTORE.location))?;
        let key = match (value(KEY).filter(|text| !text.is_empty()), &chain) {
            (Some(_), Source::File(_)) => return Err(TlsError::Both(KEYSTORE.location, KEY)),
            (Some(text), Source::Setting { .. }) => Source::Setting { name: KEY, text },
            (None, Source::File(_)) => chain.clone(),
            (None, Source::Setting { .. }) => return Err(TlsError::Unset(KEY)),
        };
        let passwords = ["ssl.key.password", "ssl.keystore.password", "ssl.truststore.password"];
        if let Some(set) = passwords.into_iter().find(|name| value(name).is_some_and(|text| !text.is_empty()))
        {
            return Err(TlsError::Password(set));
        }
        let client_auth = match value("ssl.client.auth").as_deref() {
            Some("required") => ClientAuth::Required,
            Some("requested") => ClientAuth::Requested,
            _ => ClientAuth::None,
        };
        let trusted = TRUSTSTORE.source(&value)?;
        if client_auth != ClientAuth::None && trusted.is_none() {
            return Err(TlsError::Unset(TRUSTSTORE.location));
        }
        let rules = value("ssl.principal.mapping.rules").unwrap_or_default();
        Ok(Self {
            key,
            chain,
            trusted: trusted.filter(|_| client_auth != ClientAuth::None),
            client_auth,
            versions: versions(&value("ssl.enabled.protocols").unwrap_or_default())?,
            provider: provider(&value("ssl.cipher.suites").unwrap_or_default())?,
            mapping: PrincipalMapping::parse(&rules)?,
            alpn: Vec::new(),
        })
    }

    /// The same for a port on which this is spoken.
    pub(crate) fn speaking(mut self, alpn: &[u8]) -> Self {
        self.alpn = vec![alpn.to_vec()];
        self
    }

    /// The texts as they are now.
    pub(super) fn read(&self) -> Result<Material, PemError> {
        let with_text = |source: &Source, secret| Ok((source.clone(), source.read(secret)?));
        Ok(Material {
            key: with_text(&self.key, true)?,
            chain: with_text(&self.chain, false)?,
            trusted: self.trusted.as_ref().map(|source| with_text(source, false)).transpose()?,
        })
    }

    /// What connections are served with.
    pub(super) fn server_config(&self, material: &Material) -> Result<ServerConfig, TlsError> {
        let pair = |reason: rustls::Error| TlsError::Pair {
            key: self.key.place(),
            chain: self.chain.place(),
            reason: reason.to_string(),
        };
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_protocol_versions(&self.versions).map_err(pair)?;
        let builder = match &material.trusted {
            None => builder.with_no_client_auth(),
            Some(trusted) => builder.with_client_cert_verifier(self.verifier(trusted)?),
        };
        let (chain, key) = (pem::certificates(&material.chain)?, pem::private_key(&material.key)?);
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }

    fn verifier(
        &self,
        trusted: &(Source, Vec<u8>),
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let refused = |reason: String| TlsError::Trust { place: trusted.0.place(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(trusted)? {
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        let builder = match self.client_auth {
            ClientAuth::Required => builder,
            ClientAuth::Requested | ClientAuth::None => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error: VerifierBuilderError| refused(error.to_string()))
    }
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn versions(list: &str) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let version = |name: &str| match name {
        "TLSv1.2" => Ok(&TLS12),
        "TLSv1.3" => Ok(&TLS13),
        other => Err(TlsError::Version(other.to_owned())),
    };
    let all: Vec<_> = parts(list).map(version).collect::<Result<_, _>>()?;
    Ok(if all.is_empty() { vec![&TLS12, &TLS13] } else { all })
}

/// The cryptography, with only these suites if some are named.
fn provider(list: &str) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = ring::default_provider();
    // Java calls those of TLS 1.3 without a version.
    let name =
        |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    let asked: Vec<&str> = parts(list).collect();
    if let Some(unknown) = asked.iter().find(|one| !provider.cipher_suites.iter().any(|s| name(s) == **one)) {
        let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        return Err(TlsError::Cipher { asked: (*unknown).to_owned(), known: known.join(", ") });
    }
    if !asked.is_empty() {
        provider.cipher_suites.retain(|suite| asked.contains(&name(suite).as_str()));
    }
    Ok(Arc::new(provider))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<TlsSettings, TlsError> {
        let find = |name: &str| settings.iter().find(|(other, _)| *other == name);
        TlsSettings::read_from(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_only_java_reads_is_refused_with_a_way_out() {
        let store = [("ssl.keystore.location", "/k.jks"), ("ssl.keystore.type", "JKS")];
        let error = read(&store).err().unwrap().to_string();
        assert!(
            error.contains("keytool -importkeystore") && error.contains("ssl.keystore.type=PEM"),
            "{error}"
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let pem = ("ssl.keystore.type", "PEM");
        let file = ("ssl.keystore.location", "/k.pem");
        for (settings, words) in [
            (&[pem][..], "ssl.keystore.location is not set"),
            (&[pem, file, ("ssl.keystore.key", "x")], "leave one"),
            (&[pem, ("ssl.keystore.certificate.chain", "x")], "ssl.keystore.key is not set"),
            (&[pem, file, ("ssl.client.auth", "required")], "ssl.truststore.location is not set"),
            (&[pem, file, ("ssl.key.password", "x")], "openssl pkcs8"),
            (&[pem, file, ("ssl.enabled.protocols", "TLSv1.1")], "TLSv1.2 and TLSv1.3"),
            (&[pem, file, ("ssl.cipher.suites", "TLS_RSA_WITH_NULL_MD5")], "TLS_AES_256_GCM_SHA384"),
            (&[pem, file, ("ssl.principal.mapping.rules", "RULE")], "RULE"),
        ] {
            let error = read(settings).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        let suites = [pem, file, ("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384")];
        assert_eq!(read(&suites).unwrap().provider.cipher_suites.len(), 1);
    }
}
