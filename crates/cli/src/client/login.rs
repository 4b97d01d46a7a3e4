//! How a command proves who it is on Kafka's port, and the broker to the command.

use crate::{
    failure::Failure,
    identity::{Credentials, Identity},
};
use clap::{Args, ValueEnum};
use krafka::auth::{AuthConfig, TlsConfig};

/// A login, and TLS; neither where none is given.
#[derive(Args, Clone, Default)]
pub(crate) struct Login {
    #[command(flatten)]
    credentials: Credentials,

    /// How a user logs in
    #[arg(long, value_enum, default_value_t)]
    mechanism: Mechanism,

    /// Use TLS, and trust the authorities that browsers trust
    #[arg(long, conflicts_with = "tls_ca")]
    tls: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Mechanism {
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    #[default]
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
    /// Shows the password to the broker, and without TLS to everybody on the way
    #[value(name = "PLAIN")]
    Plain,
}

impl Login {
    /// What the client is to do before its first request.
    pub(super) fn security(&self) -> Result<AuthConfig, Failure> {
        let security = match self.credentials.identity()? {
            Identity::None => AuthConfig::plaintext(),
            Identity::Token(token) => AuthConfig::sasl_oauthbearer(token),
            Identity::User { name, password } => match self.mechanism {
                Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(name, password),
                Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(name, password),
                Mechanism::Plain => AuthConfig::sasl_plain(name, password),
            },
        };
        Ok(match &self.credentials.tls_ca {
            Some(path) => security.with_tls(TlsConfig::new().with_ca_cert(path.display().to_string())),
            None if self.tls => security.with_tls(TlsConfig::new()),
            None => security,
        })
    }
}
