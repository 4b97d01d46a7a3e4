//! Kafka's settings of the broker and of groups: what they are, where their values come from, and how they change while
//! the broker runs.

mod authorizer;
mod broker;
mod broker_table;
pub(crate) mod documentation;
mod effective;
mod group;
mod kind;
mod layers;
mod stored;

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    topics::configs::ConfigError,
};
pub use authorizer::AuthorizerSettings;
pub use broker::BrokerSetting;
use broker::LISTENER_PREFIX;
pub(crate) use broker::Update;
pub(crate) use effective::Effective;
pub use effective::{check_settings, is_setting};
pub(crate) use group::GroupSetting;
pub(crate) use kind::{COMPRESSION_TYPES, Kind};
pub(crate) use layers::{Layers, Source, Synonym};
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};
pub(crate) use stored::{put_configs, take_configs};

/// Values by name.
pub(crate) type Configs = BTreeMap<String, String>;

/// Most groups with settings of their own; a client that makes up group ids must not use up the memory.
const GROUPS_MAX: usize = 10_000;

/// Most settings of one entity, of those that Kafka does not know.
const CONFIGS_MAX: usize = 1_000;

/// Longest name and longest value of a setting, bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Whose settings can change while the broker runs, besides those of topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entity {
    /// This broker.
    Broker,
    /// All brokers: what this one follows where nothing was set for it alone.
    AllBrokers,
    /// The group of this name.
    Group(String),
}

/// Why a setting is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Kafka has no such setting.
    #[error("there is no setting {0}")]
    Unknown(String),
    /// The value is not one of the setting's.
    #[error("{name} cannot be '{value}': expected {expected}")]
    Value {
        /// The setting.
        name: String,
        /// What it was to be.
        value: String,
        /// What it can be.
        expected: String,
    },
    /// The value is beyond what another setting allows.
    #[error("{name} cannot be {number}: {bound} is {limit}")]
    Bound {
        /// The setting.
        name: String,
        /// What it was to be.
        number: i64,
        /// The setting that bounds it.
        bound: &'static str,
        /// The bound.
        limit: i64,
    },
    /// The setting is read when the broker starts.
    #[error("cannot change {0} while the broker runs; set it where the broker is started")]
    ReadOnly(String),
    /// The setting is each broker's own.
    #[error("cannot set {0} for all brokers; name the broker")]
    PerBroker(String),
    /// The setting is about the security of listeners.
    #[error(
        "cannot change {0} while the broker runs; set it where the broker is started (changed PEM files are taken up by themselves)"
    )]
    Listener(String),
    /// There are too many settings, or they are too long.
    #[error("{0}")]
    TooMany(String),
    /// Settings contradict each other.
    #[error("{0}")]
    Together(String),
}

impl From<ConfigError> for SettingError {
    fn from(error: ConfigError) -> Self {
        Self::Together(error.to_string())
    }
}

/// The settings as they are now.
pub(crate) struct Settings {
    records: Arc<InternalTopic>,
    now: RwLock<Arc<Effective>>,
    /// One change at a time; never held by readers.
    changing: tokio::sync::Mutex<()>,
}

/// Why the settings of the last life cannot be read, or those of the start not be taken.
#[derive(Debug)]
pub(crate) enum RecoverError {
    Setting(SettingError),
    Record(InternalTopicError),
}

impl Settings {
    /// What the broker is started with, under what was set while it ran before.
    pub(crate) fn recover(start: Configs, records: &Arc<InternalTopic>) -> Result<Self, RecoverError> {
        check_settings(&start).map_err(RecoverError::Setting)?;
        let mut layers = Layers { start, ..Layers::default() };
        let mut groups = BTreeMap::new();
        for (key, value) in records.entries() {
            let decoded = stored::decode(&key, &value);
            match decoded.map_err(|reason| RecoverError::Record(records.malformed(reason)))? {
                Some((Entity::Broker, configs)) => layers.broker = configs,
                Some((Entity::AllBrokers, configs)) => layers.all_brokers = configs,
                Some((Entity::Group(name), configs)) => _ = groups.insert(name, configs),
                None => {}
            }
        }
        let effective = Effective::of(layers, groups).map_err(RecoverError::Setting)?;
        Ok(Self {
            records: records.clone(),
            now: RwLock::new(Arc::new(effective)),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// The settings; the same ones until one of them changes.
    pub(crate) fn now(&self) -> Arc<Effective> {
        self.now.read().expect("no panic while the settings are locked").clone()
    }

    /// Gives the entity the settings that `changed` makes of those it has; durable when this returns what is new. `None`
    /// if nothing is, or if it is only to be checked.
    pub(crate) async fn change<E: From<SettingError> + From<InternalTopicError>>(
        &self,
        entity: &Entity,
        only_check: bool,
        changed: impl FnOnce(&Effective) -> Result<Configs, E>,
    ) -> Result<Option<Arc<Effective>>, E> {
        let _changing = self.changing.lock().await;
        let now = self.now();
        let configs = changed(&now)?;
        check_size(&configs)?;
        if configs == now.own(entity) {
            return Ok(None);
        }
        let (mut layers, mut groups) = (now.layers.clone(), now.groups.clone());
        match entity {
            Entity::Broker => layers.broker = configs.clone(),
            Entity::AllBrokers => layers.all_brokers = configs.clone(),
            Entity::Group(name) if configs.is_empty() => _ = groups.remove(name),
            Entity::Group(name) => _ = groups.insert(name.clone(), configs.clone()),
        }
        if groups.len() > GROUPS_MAX {
            let message = format!("{GROUPS_MAX} groups have settings of their own, which is the limit");
            return Err(SettingError::TooMany(message).into());
        }
        let effective = Arc::new(Effective::of(layers, groups)?);
        if only_check {
            return Ok(None);
        }
        let value = (!configs.is_empty()).then(|| stored::encode(&configs));
        let apply = || {
            *self.now.write().expect("no panic while the settings are locked") = effective.clone();
            effective
        };
        Ok(Some(self.records.put_and(vec![(stored::key(entity), value)], apply).await?))
    }
}

fn check_size(configs: &Configs) -> Result<(), SettingError> {
    let long = configs.iter().find(|(name, value)| name.len().max(value.len()) > TEXT_BYTES_MAX);
    if let Some((name, _)) = long {
        let name: String = name.chars().take(100).collect();
        return Err(SettingError::TooMany(format!("{name} is longer than {TEXT_BYTES_MAX} bytes")));
    }
    if configs.len() > CONFIGS_MAX {
        return Err(SettingError::TooMany(format!("more than {CONFIGS_MAX} settings")));
    }
    Ok(())
}

/// What listeners can have of their own, and other than at the start.
const OF_LISTENERS: [&str; 2] = ["max.connections", "max.connection.creation.rate"];

/// Checks one value that a broker, or all of them, are to have while they run.
pub(crate) fn check_dynamic(entity: &Entity, name: &str, value: &str) -> Result<(), SettingError> {
    let for_all = *entity == Entity::AllBrokers;
    if name.starts_with(LISTENER_PREFIX) {
        return match BrokerSetting::of_any(name) {
            Some(setting) if OF_LISTENERS.contains(&setting.name) => setting.check(value),
            _ => Err(SettingError::Listener(name.to_owned())),
        };
    }
    // Kafka takes names that it does not know: they may be those of somebody's plug-in.
    let Some(setting) = BrokerSetting::named(name) else { return Ok(()) };
    match setting.update {
        Update::AtStart => return Err(SettingError::ReadOnly(name.to_owned())),
        Update::PerBroker if for_all => return Err(SettingError::PerBroker(name.to_owned())),
        // Only per listener, says Kafka, and those are as they were at the start.
        Update::PerBroker if name.starts_with("ssl.") || name.starts_with("sasl.") => {
            return Err(SettingError::Listener(name.to_owned()));
        }
        Update::PerBroker if ["listeners", "listener.security.protocol.map"].contains(&name) => {
            return Err(SettingError::ReadOnly(name.to_owned()));
        }
        Update::PerBroker | Update::Anytime => {}
    }
    setting.check(value)?;
    if let Some(reason) = setting.idle_reason() {
        tracing::info!("{name} is kept, and does nothing here: {reason}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_settings_change_while_the_broker_runs() {
        let all = Entity::AllBrokers;
        for (entity, name, value) in [
            (&Entity::Broker, "log.retention.ms", "5"),
            (&all, "log.segment.bytes", "2097152"),
            (&all, "background.threads", "3"),
            (&Entity::Broker, "somebody.s.own", "x"),
            (&Entity::Broker, "listener.name.outside.max.connections", "5"),
            (&all, "listener.name.outside.max.connections", "5"),
            (&Entity::Broker, "listener.name.outside.max.connection.creation.rate", "5"),
        ] {
            assert_eq!(check_dynamic(entity, name, value), Ok(()), "{name}");
        }
        for (entity, name, value) in [
            (&Entity::Broker, "num.partitions", "5"),
            (&Entity::Broker, "log.retention.hours", "5"),
            (&all, "listeners", "PLAINTEXT://:1"),
            (&Entity::Broker, "listeners", "PLAINTEXT://:1"),
            (&Entity::Broker, "ssl.keystore.password", "secret"),
            (&Entity::Broker, "listener.name.outside.ssl.keystore.password", "secret"),
            (&Entity::Broker, "listener.name.outside.max.connections", "many"),
            (&Entity::Broker, "listener.name.outside.max.connections.per.ip", "5"),
            (&Entity::Broker, "log.segment.bytes", "5"),
        ] {
            assert!(check_dynamic(entity, name, value).is_err(), "{name}");
        }
    }

    #[test]
    fn settings_are_few_and_short() {
        let many = (0..=CONFIGS_MAX).map(|index| (index.to_string(), String::new())).collect();
        assert!(check_size(&many).is_err());
        assert!(check_size(&Configs::from([("a".to_owned(), "x".repeat(TEXT_BYTES_MAX + 1))])).is_err());
        assert!(check_size(&Configs::from([("a".to_owned(), "x".to_owned())])).is_ok());
    }
}
