//! One setting of the broker: what it is called, what it may be, and what it does here.

use super::{SettingError, broker_table::BROKER_SETTINGS, kind::Kind};

/// One broker setting, of Apache Kafka or of our own.
#[derive(Clone, Copy, Debug)]
pub struct BrokerSetting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Option<&'static str>,
    pub(crate) update: Update,
    effect: Effect,
}

/// When a setting can be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Update {
    /// Where the broker is started.
    AtStart,
    /// While it runs, for one broker.
    PerBroker,
    /// While it runs, for one broker or for all.
    Anytime,
}

/// What a setting does here; all but the first are accepted and shown, and do nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    Acts,
    /// The broker has one way, which is the setting's default.
    Fixed,
    Controller,
    Java,
    OneCopy,
    OneNode,
    OwnLog,
    OwnNetwork,
    Security,
    ShareGroups,
    StreamsGroups,
    Threads,
    Tiered,
}

/// What a listener's own settings begin with.
pub(super) const LISTENER_PREFIX: &str = "listener.name.";

/// Mechanisms of SASL as they stand in the names of settings.
const MECHANISMS: [&str; 5] = ["plain", "scram-sha-256", "scram-sha-512", "oauthbearer", "gssapi"];

pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    update: Update,
    effect: Effect,
) -> BrokerSetting {
    BrokerSetting { name, kind, default, update, effect }
}

impl BrokerSetting {
    /// The setting of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let index = BROKER_SETTINGS.binary_search_by_key(&name, |setting| setting.name).ok()?;
        Some(&BROKER_SETTINGS[index])
    }

    /// The setting of this name, or the one that stands behind a listener's own: `listener.name.outside.ssl.client.auth`
    /// and `listener.name.outside.plain.sasl.jaas.config`, the second for one mechanism.
    #[must_use]
    pub fn of_any(name: &str) -> Option<&'static Self> {
        let Some(of_listener) = name.strip_prefix(LISTENER_PREFIX) else { return Self::named(name) };
        let (_, own) = of_listener.split_once('.')?;
        let of_mechanism = || MECHANISMS.iter().find_map(|one| own.strip_prefix(one)?.strip_prefix('.'));
        Self::named(own).or_else(|| Self::named(of_mechanism()?))
    }

    /// All settings, by name.
    pub(crate) fn all() -> &'static [Self] {
        BROKER_SETTINGS
    }

    /// What holds where nothing is set; `None` for nothing.
    #[must_use]
    pub fn default_value(&self) -> Option<&'static str> {
        self.default
    }

    /// Whether the value is a secret, which is never shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether a value is one that the setting can have.
    pub fn check(&self, value: &str) -> Result<(), SettingError> {
        if self.kind.accepts(value) {
            return Ok(());
        }
        let value = if self.is_secret() { "***" } else { value };
        Err(SettingError::Value {
            name: self.name.to_owned(),
            value: value.to_owned(),
            expected: self.kind.expected(),
        })
    }

    /// Why the setting does nothing here; `None` for one that does.
    #[must_use]
    pub fn idle_reason(&self) -> Option<&'static str> {
        Some(match self.effect {
            Effect::Acts => return None,
            Effect::Fixed => "this broker has one way to do it",
            Effect::Controller => "there is no controller quorum: the broker keeps its own metadata",
            Effect::Java => "no Java class is loaded",
            Effect::OneCopy => "one broker keeps the one copy",
            Effect::OneNode => "the one broker has id 1",
            Effect::OwnLog => "the log has files of its own kind; see --durability",
            Effect::OwnNetwork => "the network is used in a way of its own",
            Effect::Security => "that part of Kafka's security is not there",
            Effect::ShareGroups => "share groups are not spoken yet",
            Effect::StreamsGroups => "streams groups are not spoken yet",
            Effect::Threads => "the number of threads follows the machine",
            Effect::Tiered => "there is no tiered storage",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(BROKER_SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        for setting in BROKER_SETTINGS {
            let checked = setting.default.map_or(Ok(()), |default| setting.check(default));
            assert_eq!(checked, Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn settings_are_secret_or_idle_by_their_rows() {
        assert!(BrokerSetting::named("ssl.key.password").unwrap().is_secret());
        let idle = BrokerSetting::named("delegation.token.secret.key").unwrap();
        assert!(idle.is_secret() && idle.idle_reason().is_some());
        assert!(BrokerSetting::named("log.retention.ms").unwrap().idle_reason().is_none());
        assert!(BrokerSetting::named("log.retention.weeks").is_none());
    }

    #[test]
    fn listeners_have_settings_of_their_own() {
        for (name, behind) in [
            ("ssl.client.auth", Some("ssl.client.auth")),
            ("listener.name.outside.ssl.client.auth", Some("ssl.client.auth")),
            ("listener.name.o.plain.sasl.jaas.config", Some("sasl.jaas.config")),
            ("listener.name.o.plain.nothing", None),
            ("listener.name.o", None),
        ] {
            assert_eq!(BrokerSetting::of_any(name).map(|setting| setting.name), behind, "{name}");
        }
    }
}
