//! Kafka's `sasl.…` settings of one listener.

use super::Mechanism;
use keyway_access::{Jaas, JaasError};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, time::Duration};
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
    pub(super) failed_delay: Duration,
    pub(super) plain_users: PlainUsers,
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
    /// Passwords would cross the network as they are.
    #[error(
        "PLAIN on {address} without TLS lets everybody on the way read the passwords; make the listener SASL_SSL, take \
         SCRAM-SHA-512, or add --plain-without-tls on a network that you trust"
    )]
    PlainWithoutTls {
        /// Where it listens.
        address: std::net::SocketAddr,
    },
    /// The line with the users cannot be read.
    #[error("plain.sasl.jaas.config: {0}")]
    Jaas(#[from] JaasError),
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
        let jaas = value("plain.sasl.jaas.config").map(|line| Jaas::parse(&line)).transpose()?;
        Ok(Self {
            session_ms: session_ms.collect(),
            failed_delay: Duration::from_millis(
                number("connection.failed.authentication.delay.ms").unwrap_or_default(),
            ),
            plain_users: PlainUsers::of(jaas.as_ref()),
            frame_bytes_max: number("sasl.server.max.receive.size")
                .map_or(FRAME_BYTES_MAX, |bytes| bytes.min(FRAME_BYTES_MAX as u64) as usize),
            mechanisms,
        })
    }

    /// How long a session by this mechanism may last, milliseconds.
    pub(super) fn session_ms(&self, mechanism: Mechanism) -> Option<u64> {
        self.session_ms.get(mechanism.name()).copied()
    }

    /// How long a frame of a client may be that has not logged in.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// Whether passwords come as they are.
    pub(crate) fn has_plain(&self) -> bool {
        self.mechanisms.contains(&Mechanism::Plain)
    }
}

/// Users that stand in the settings, for PLAIN only: hashes of their passwords.
#[derive(Default)]
pub(super) struct PlainUsers(BTreeMap<String, [u8; 32]>);

impl PlainUsers {
    fn of(jaas: Option<&Jaas>) -> Self {
        let users = jaas.into_iter().flat_map(Jaas::plain_users);
        Self(users.map(|(name, password)| (name.to_owned(), Sha256::digest(password).into())).collect())
    }

    /// Whether this is the password of such a user.
    pub(super) fn password_fits(&self, name: &str, password: &str) -> bool {
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
        assert!(settings.has_plain() && settings.plain_users.password_fits("alice", "secret"));
        assert!(!settings.plain_users.password_fits("alice", "Secret"));
        assert!(!settings.plain_users.password_fits("bob", "secret"));
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        for (list, words) in [("GSSAPI", "there are PLAIN, SCRAM-SHA-256"), ("", "is empty")] {
            let error = read(&[("sasl.enabled.mechanisms", list)]).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        let bad = [("sasl.enabled.mechanisms", "PLAIN"), ("plain.sasl.jaas.config", "user_a=secret")];
        let error = read(&bad).err().unwrap().to_string();
        assert!(error.contains("plain.sasl.jaas.config") && !error.contains("secret"), "{error}");
    }
}
