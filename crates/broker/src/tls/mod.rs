//! TLS of one listener: certificates from PEM files, taken up again when they change, and the client's certificate.

mod distinguished_name;
mod pem;
mod reload;
mod settings;
mod shown;

pub use pem::PemError;
pub(crate) use reload::watch;
pub use settings::TlsError;
pub(crate) use settings::TlsSettings;
pub use shown::{ShownCertificate, shown_certificate};

use crate::limits::Seldom;
use keyway_access::Principal;
use keyway_runtime::Stream;
use rustls::{Error, ServerConfig, pki_types::CertificateDer};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take; one that does not go on holds a place for a connection.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest name of a certificate, bytes: rules are put to it, some of which take time by its square, and it stands in logs. The
/// parts of a name have 64 characters each by X.520.
const NAME_BYTES_MAX: usize = 4 * 1024;

/// Why a connection did not become a secure one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
    #[error("the TLS handshake was not done after {HANDSHAKE_TIME_MAX:?}")]
    TooSlow,
    #[error("the client's certificate cannot be read: {reason}")]
    Certificate { reason: String },
    #[error("the name in the client's certificate has {bytes} bytes; {NAME_BYTES_MAX} are the limit")]
    LongName { bytes: usize },
    #[error("no rule of ssl.principal.mapping.rules fits the client's certificate {name}")]
    NoRule { name: String },
}

impl HandshakeError {
    /// Whether it is the certificate that the client showed, or did not show, that is refused.
    pub(crate) fn refuses_certificate(&self) -> bool {
        match self {
            Self::Failed(error) => {
                let error = error.get_ref().and_then(|error| error.downcast_ref());
                matches!(error, Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented))
            }
            Self::TooSlow => false,
            Self::Certificate { .. } | Self::LongName { .. } | Self::NoRule { .. } => true,
        }
    }
}

/// TLS as one listener has it.
pub(crate) struct Tls {
    settings: TlsSettings,
    current: Mutex<Current>,
    /// Handshakes that failed.
    pub(crate) failures: Seldom,
}

/// What new connections get, and the files that it was made of.
struct Current {
    config: Arc<ServerConfig>,
    material: pem::Material,
    /// Files that were found broken after that, so that they are told of once.
    refused: Option<String>,
}

impl Tls {
    /// Reads the files; refuses what cannot be served.
    pub(crate) fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let material = settings.read()?;
        let config = Arc::new(settings.server_config(&material)?);
        let current = Mutex::new(Current { config, material, refused: None });
        Ok(Self { settings, current, failures: Seldom::default() })
    }

    /// The secure stream inside of `stream`, and who the client's certificate says it is.
    pub(crate) async fn handshake(
        &self,
        stream: Box<dyn Stream>,
    ) -> Result<(Box<dyn Stream>, Option<Principal>), HandshakeError> {
        let config = self.current.lock().expect("no panic while TLS is set").config.clone();
        let accepted = tokio::time::timeout(HANDSHAKE_TIME_MAX, TlsAcceptor::from(config).accept(stream));
        let secured = accepted.await.map_err(|_| HandshakeError::TooSlow)??;
        let certificates = secured.get_ref().1.peer_certificates();
        let principal = match certificates.and_then(<[_]>::first) {
            Some(certificate) => Some(self.principal(certificate)?),
            None => None,
        };
        Ok((Box::new(secured), principal))
    }

    fn principal(&self, certificate: &CertificateDer<'_>) -> Result<Principal, HandshakeError> {
        let name = distinguished_name::of(certificate)
            .map_err(|reason| HandshakeError::Certificate { reason: reason.to_string() })?;
        if name.len() > NAME_BYTES_MAX {
            return Err(HandshakeError::LongName { bytes: name.len() });
        }
        self.settings.mapping.principal(&name).ok_or(HandshakeError::NoRule { name })
    }
}
