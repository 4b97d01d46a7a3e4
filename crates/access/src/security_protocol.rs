//! How a listener is secured.

use std::{fmt, str::FromStr};

/// What a connection needs before its first request, with Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecurityProtocol {
    /// Nothing.
    Plaintext,
    /// TLS; a client certificate may say who the client is.
    Ssl,
    /// A login.
    SaslPlaintext,
    /// TLS, and a login inside of it.
    SaslSsl,
}

/// Why a text is no security protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text} is no security protocol; there are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL")]
pub struct UnknownProtocol {
    /// The text.
    pub text: String,
}

impl SecurityProtocol {
    const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Whether the bytes are encrypted.
    #[must_use]
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether clients have to log in.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SecurityProtocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let named = Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| UnknownProtocol { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for protocol in SecurityProtocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert_eq!("sasl_ssl".parse(), Ok(SecurityProtocol::SaslSsl));
        assert!("TLS".parse::<SecurityProtocol>().is_err());
        assert!(SecurityProtocol::SaslSsl.has_sasl() && SecurityProtocol::SaslSsl.has_tls());
        assert!(!SecurityProtocol::Ssl.has_sasl() && !SecurityProtocol::SaslPlaintext.has_tls());
    }
}
