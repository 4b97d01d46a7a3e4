//! Logins of Kafka clients: which mechanisms a listener has, and the state of each connection that has to log in.

mod exchange;
mod login;
mod settings;

pub(crate) use login::Login;
pub use settings::SaslError;
pub(crate) use settings::SaslSettings;

use keyway_access::ScramMechanism;

/// A way to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mechanism {
    Plain,
    Scram(ScramMechanism),
    OauthBearer,
}

impl Mechanism {
    const ALL: [Self; 4] = [
        Self::Plain,
        Self::Scram(ScramMechanism::Sha256),
        Self::Scram(ScramMechanism::Sha512),
        Self::OauthBearer,
    ];

    /// The name that clients know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(mechanism) => mechanism.name(),
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}
