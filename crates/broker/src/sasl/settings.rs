//! Kafka's `sasl.…` settings of one listener.

use super::Mechanism;
use crate::tokens::{TokenSettings, TokenSettingsError, Tokens};
use keyway_access::{Jaas, JaasError};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use subtle::ConstantTimeEq;

/// Longest frame before a login, whatever the setting says: memory for it is taken before anybody has proved who it is.
const FRAME_BYTES_MAX: usize = 512 * 1024;

/// The settings of a listener whose clients log in.
pub(crate) struct SaslSettings {
    /// In the order in which clients are told of them.
    pub(super) mechanisms: Vec<Mechanism>,
    /// How long a session may last by each of them, milliseconds, where it may not last for ever.
    session_ms: BTreeMap<&'static str, u64>,
    /// How long a failed login waits for its answer.
    failed_delay: Duration,
    plain_users: PlainUsers,
    /// Who checks tokens, where OAUTHBEARER is enabled.
    tokens: Option<Arc<Tokens>>,
    frame_bytes_max: usize,
}

/// Why clients cannot log in to a listener.
#[derive(Debug, thiserror::Error)]
pub enum SaslError {
    /// A mechanism is none of those that are spoken.
    #[error("sasl.enabled.mechanisms has {asked}; there are {}", known())]
    Mechanism {
        /// The mechanism.
        asked: String,
    },
    /// There is no mechanism at all.
    #[error("sasl.enabled.mechanisms is empty; there are {}", known())]
    NoMechanism,
    /// A header cannot carry a login by any of the mechanisms.
    #[error(
        "calls log in by a header, which SCRAM does not fit into; add PLAIN or OAUTHBEARER to sasl.enabled.mechanisms of \
         this port"
    )]
    NoHeader,
    /// Passwords would cross the network as they are.
    #[error(
        "{mechanism} on {address} without TLS lets everybody on the way read the {secrets}; make the listener SASL_SSL, \
         take SCRAM-SHA-512, or add --plain-without-tls on a network that you trust"
    )]
    PlainWithoutTls {
        /// How clients log in.
        mechanism: &'static str,
        /// What they send as it is.
        secrets: &'static str,
        /// Where it listens.
        address: std::net::SocketAddr,
    },
    /// The line with the users cannot be read.
    #[error("plain.sasl.jaas.config: {0}")]
    Jaas(#[from] JaasError),
    /// Tokens cannot be checked.
    #[error(transparent)]
    Tokens(#[from] TokenSettingsError),
}

fn known() -> String {
    Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(", ")
}

impl SaslSettings {
    /// Reads the settings of one listener; `value` knows what each is set to, its default included.
    pub(crate) fn read_from(value: impl Fn(&str) -> Option<String>) -> Result<Self, SaslError> {
        let list = value("sasl.enabled.mechanisms").unwrap_or_default();
        let asked = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let named = |name: &str| {
            Mechanism::named(name).ok_or_else(|| SaslError::Mechanism { asked: name.to_owned() })
        };
        let mechanisms: Vec<Mechanism> = asked.map(named).collect::<Result<_, _>>()?;
        if mechanisms.is_empty() {
            return Err(SaslError::NoMechanism);
        }
        let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
        let for_all = number("connections.max.reauth.ms");
        let session_ms = mechanisms.iter().filter_map(|mechanism| {
            let own = format!("{}.connections.max.reauth.ms", mechanism.name().to_lowercase());
            let limit = number(&own).or(for_all).filter(|&ms| ms > 0)?;
            Some((mechanism.name(), limit))
        });
        let tokens = match mechanisms.contains(&Mechanism::OauthBearer) {
            true => Some(Arc::new(Tokens::new(TokenSettings::read_from(&value)?)?)),
            false => None,
        };
        let jaas = value("plain.sasl.jaas.config").map(|line| Jaas::parse(&line)).transpose()?;
        Ok(Self {
            session_ms: session_ms.collect(),
            failed_delay: Duration::from_millis(
                number("connection.failed.authentication.delay.ms").unwrap_or_default(),
            ),
            plain_users: PlainUsers::of(jaas.as_ref()),
            frame_bytes_max: number("sasl.server.max.receive.size")
                .map_or(FRAME_BYTES_MAX, |bytes| bytes.min(FRAME_BYTES_MAX as u64) as usize),
            tokens,
            mechanisms,
        })
    }

    /// How long a session by this mechanism may last, milliseconds.
    pub(crate) fn session_ms(&self, mechanism: Mechanism) -> Option<u64> {
        self.session_ms.get(mechanism.name()).copied()
    }

    /// Who checks tokens, if clients log in by them.
    pub(crate) fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.tokens.as_ref()
    }

    /// How long a frame of a client may be that has not logged in.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// How long a failed login waits for its answer.
    pub(crate) fn failed_delay(&self) -> Duration {
        self.failed_delay
    }

    /// Whether this is the password of a user that stands in the settings.
    pub(crate) fn has_plain_user(&self, name: &str, password: &str) -> bool {
        self.plain_users.password_fits(name, password)
    }

    /// Whether clients may log in by this mechanism.
    pub(crate) fn takes(&self, mechanism: Mechanism) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    /// Whether a login can be carried by a header, as on the gRPC and HTTP ports: SCRAM needs several messages.
    fn fits_a_header(&self) -> bool {
        self.takes(Mechanism::Plain) || self.takes(Mechanism::OauthBearer)
    }

    /// Refuses settings by which nobody could log in with a header.
    pub(crate) fn of_front(self) -> Result<Self, SaslError> {
        if self.fits_a_header() { Ok(self) } else { Err(SaslError::NoHeader) }
    }

    /// A mechanism by which passwords or tokens come as they are, if there is one, and which of the two.
    pub(crate) fn shown(&self) -> Option<(&'static str, &'static str)> {
        self.mechanisms.iter().find_map(|mechanism| match mechanism {
            Mechanism::Plain => Some((mechanism.name(), "passwords")),
            Mechanism::OauthBearer => Some((mechanism.name(), "tokens")),
            Mechanism::Scram(_) => None,
        })
    }
}

/// Users that stand in the settings, for PLAIN only: hashes of their passwords.
#[derive(Default)]
struct PlainUsers(BTreeMap<String, [u8; 32]>);

impl PlainUsers {
    fn of(jaas: Option<&Jaas>) -> Self {
        let users = jaas.into_iter().flat_map(Jaas::plain_users);
        Self(users.map(|(name, password)| (name.to_owned(), Sha256::digest(password).into())).collect())
    }

    /// Whether this is the password of such a user.
    fn password_fits(&self, name: &str, password: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(password).into();
        self.0.get(name).is_some_and(|stored| bool::from(stored.ct_eq(&given)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<SaslSettings, SaslError> {
        let find = |name: &str| settings.iter().find(|(other, _)| *other == name);
        SaslSettings::read_from(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn users_and_limits_are_read() {
        let settings = read(&[
            ("sasl.enabled.mechanisms", "PLAIN, SCRAM-SHA-512"),
            ("connections.max.reauth.ms", "5000"),
            ("plain.connections.max.reauth.ms", "0"),
            ("plain.sasl.jaas.config", "a.PlainLoginModule required user_alice=\"secret\";"),
        ])
        .unwrap();
        assert_eq!(settings.session_ms(Mechanism::Plain), None);
        assert_eq!(settings.session_ms(settings.mechanisms[1]), Some(5000));
        assert_eq!(settings.shown(), Some(("PLAIN", "passwords")));
        assert!(settings.plain_users.password_fits("alice", "secret"));
        assert!(!settings.plain_users.password_fits("alice", "Secret"));
        assert!(!settings.plain_users.password_fits("bob", "secret"));
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        for (list, words) in [
            ("GSSAPI", "SCRAM-SHA-512, OAUTHBEARER"),
            ("OAUTHBEARER", "jwks.endpoint.url is not set"),
            ("", "is empty"),
        ] {
            let error = read(&[("sasl.enabled.mechanisms", list)]).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        let bad = [("sasl.enabled.mechanisms", "PLAIN"), ("plain.sasl.jaas.config", "user_a=secret")];
        let error = read(&bad).err().unwrap().to_string();
        assert!(error.contains("plain.sasl.jaas.config") && !error.contains("secret"), "{error}");
    }
}
