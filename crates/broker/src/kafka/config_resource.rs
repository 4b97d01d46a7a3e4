//! What has configs: topics, the broker, all brokers, groups, and what the broker logs.

use super::{
    call::{Call, Refused},
    topic_error,
};
use crate::{
    log_levels::{self, LEVEL_NAMES},
    node::NODE_ID,
    settings::{BrokerSetting, Configs, Effective, Entity, GroupSetting, Kind, SettingError, check_dynamic},
    topics::{
        Topic,
        configs::{self, ConfigError, TopicConfig},
    },
};
use keyway_access::{self as access, Operation};
use keyway_record::{ErrorCode, TopicName};
use std::sync::Arc;

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const GROUP: i8 = 32;

/// A level of a logger.
const LEVEL: Kind = Kind::String(LEVEL_NAMES);

/// Something that has configs.
pub(super) enum Resource {
    Topic(Arc<Topic>),
    /// Of the broker, of all brokers, or of a group.
    Settings(Entity),
    /// The levels that are set for what the broker logs.
    Loggers(Configs),
}

impl Resource {
    /// The resource of Kafka's type and name, if the client may do `operation` to its configs.
    pub(super) fn find(call: &Call<'_>, operation: Operation, kind: i8, name: &str) -> Result<Self, Refused> {
        let resource = match kind {
            TOPIC => access::Resource::topic(name),
            GROUP => access::Resource::group(name),
            _ => access::Resource::CLUSTER,
        };
        call.permit(operation, resource)?;
        let invalid = |message: String| (ErrorCode::InvalidRequest, message);
        match kind {
            TOPIC => match (call.node.topics.named(name), TopicName::new(name)) {
                (Some(topic), _) => Ok(Self::Topic(topic)),
                (None, Err(error)) => Err(topic_error::of_name(&error)),
                (None, Ok(_)) => {
                    Err((ErrorCode::UnknownTopicOrPartition, format!("topic {name:?} does not exist")))
                }
            },
            BROKER if name.is_empty() => Ok(Self::Settings(Entity::AllBrokers)),
            BROKER | BROKER_LOGGER => match (name.parse(), &call.node.loggers) {
                (Ok(NODE_ID), _) if kind == BROKER => Ok(Self::Settings(Entity::Broker)),
                (Ok(NODE_ID), Some(loggers)) => Ok(Self::Loggers(loggers.own())),
                (Ok(NODE_ID), None) => {
                    Err(invalid("what this broker logs is up to the program that it is part of".to_owned()))
                }
                (Ok(_), _) => Err(invalid(format!("this is broker {NODE_ID}, not {name}"))),
                (Err(_), _) => Err(invalid(format!("{name:?} is not the number of a broker"))),
            },
            GROUP if name.is_empty() => Err(invalid("a group has a name".to_owned())),
            GROUP => Ok(Self::Settings(Entity::Group(name.to_owned()))),
            other => Err(invalid(format!("resources of type {other} have no configs here"))),
        }
    }

    /// What it sets itself.
    pub(super) fn own(&self, settings: &Effective) -> Configs {
        match self {
            Self::Topic(topic) => topic.settings.configs.clone(),
            Self::Settings(entity) => settings.own(entity),
            Self::Loggers(own) => own.clone(),
        }
    }

    /// The config's type, if Kafka knows it.
    pub(super) fn kind(&self, name: &str) -> Result<Option<Kind>, Refused> {
        let unknown = || (ErrorCode::InvalidConfig, ConfigError::Unknown(name.to_owned()).to_string());
        match self {
            Self::Topic(_) => TopicConfig::named(name).map(|config| Some(config.kind)).ok_or_else(unknown),
            Self::Settings(Entity::Group(_)) => {
                let unknown = || (ErrorCode::InvalidConfig, format!("unknown group config name: {name}"));
                GroupSetting::named(name).map(|setting| Some(setting.kind)).ok_or_else(unknown)
            }
            Self::Settings(Entity::Broker | Entity::AllBrokers) => {
                Ok(BrokerSetting::named(name).map(|setting| setting.kind))
            }
            Self::Loggers(own) if log_levels::exists(own, name) => Ok(Some(LEVEL)),
            Self::Loggers(_) => Err((ErrorCode::InvalidConfig, format!("there is no logger {name}"))),
        }
    }

    /// The value it has where it sets none.
    pub(super) fn inherited(&self, settings: &Effective, name: &str) -> String {
        let value = match self {
            Self::Topic(_) => TopicConfig::named(name).map(|config| settings.topic_default(config)),
            Self::Settings(Entity::Group(_)) => {
                GroupSetting::named(name).map(|setting| setting.broker_value(&settings.layers))
            }
            Self::Settings(Entity::Broker | Entity::AllBrokers) => settings.layers.value(name),
            Self::Loggers(_) => None,
        };
        value.unwrap_or_default()
    }

    /// Whether it can have this value.
    pub(super) fn check(&self, settings: &Effective, name: &str, value: &str) -> Result<(), Refused> {
        match self {
            Self::Topic(_) => {
                let checked = configs::checked(name, Some(value));
                checked.map(drop).map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))
            }
            Self::Settings(Entity::Group(_)) => {
                let setting = GroupSetting::named(name);
                let checked = setting.map(|setting| setting.check(&settings.layers, value));
                if setting.is_some_and(|setting| !setting.acts()) {
                    tracing::info!("{name} is kept, and does nothing here");
                }
                checked
                    .unwrap_or_else(|| Err(SettingError::Unknown(name.to_owned())))
                    .map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))
            }
            // Kafka's code for whatever is wrong with a broker's setting.
            Self::Settings(entity) => check_dynamic(entity, name, value)
                .map_err(|error| (ErrorCode::InvalidRequest, error.to_string())),
            Self::Loggers(_) if LEVEL.accepts(value) => Ok(()),
            Self::Loggers(_) => {
                let message = format!("{name} cannot be '{value}': expected {}", LEVEL.expected());
                Err((ErrorCode::InvalidConfig, message))
            }
        }
    }
}
