//! Kafka's topic and broker configs: names, types, defaults, and what may be set.

use crate::{config::Config, node::Node, topics::Topic};
use std::collections::BTreeMap;

/// What a config's value must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Boolean,
    /// One of these, or any text if there are none.
    String(&'static [&'static str]),
    /// From this on.
    Int(i64),
    /// From this on.
    Long(i64),
    /// From 0 to 1.
    Double,
    /// Each one of these, or any text if there are none.
    List(&'static [&'static str]),
}

impl Kind {
    /// Kafka's number of the type.
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String(_) => 2,
            Self::Int(_) => 3,
            Self::Long(_) => 5,
            Self::Double => 6,
            Self::List(_) => 7,
        }
    }

    fn accepts(self, value: &str) -> bool {
        let number =
            |min: i64, max: i64| value.parse::<i64>().is_ok_and(|value| (min..=max).contains(&value));
        match self {
            Self::Boolean => matches!(value, "true" | "false"),
            Self::String(allowed) => allowed.is_empty() || allowed.contains(&value),
            Self::Int(min) => number(min, i32::MAX.into()),
            Self::Long(min) => number(min, i64::MAX),
            Self::Double => value.parse::<f64>().is_ok_and(|value| (0.0..=1.0).contains(&value)),
            Self::List(allowed) => {
                allowed.is_empty()
                    || value.is_empty()
                    || value.split(',').all(|part| allowed.contains(&part.trim()))
            }
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::String([]) => "text".to_owned(),
            Self::String(allowed) => format!("one of {}", allowed.join(", ")),
            Self::Int(min) | Self::Long(min) => format!("a number of at least {min}"),
            Self::Double => "a number from 0 to 1".to_owned(),
            Self::List([]) => "a list".to_owned(),
            Self::List(allowed) => format!("a list of {}", allowed.join(", ")),
        }
    }
}

/// One config that a topic can have.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicConfig {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    default: &'static str,
    /// The broker's config that topics without one of their own follow.
    pub(super) broker_name: Option<&'static str>,
}

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker_name: &'static str,
) -> TopicConfig {
    let broker_name = if broker_name.is_empty() { None } else { Some(broker_name) };
    TopicConfig { name, kind, default, broker_name }
}

const LONG_MAX: &str = "9223372036854775807";

/// Every topic config of Apache Kafka 4.3, by name.
const TOPIC_CONFIGS: &[TopicConfig] = &[
    row("cleanup.policy", Kind::List(&["delete", "compact"]), "delete", "log.cleanup.policy"),
    row("compression.gzip.level", Kind::Int(-1), "-1", "compression.gzip.level"),
    row("compression.lz4.level", Kind::Int(1), "9", "compression.lz4.level"),
    row("compression.type", Kind::String(COMPRESSION_TYPES), "producer", "compression.type"),
    row("compression.zstd.level", Kind::Int(-131_072), "3", "compression.zstd.level"),
    row("delete.retention.ms", Kind::Long(0), "86400000", "log.cleaner.delete.retention.ms"),
    row("file.delete.delay.ms", Kind::Long(0), "60000", "log.segment.delete.delay.ms"),
    row("flush.messages", Kind::Long(1), LONG_MAX, "log.flush.interval.messages"),
    row("flush.ms", Kind::Long(0), LONG_MAX, "log.flush.interval.ms"),
    row("follower.replication.throttled.replicas", Kind::List(&[]), "", ""),
    row("index.interval.bytes", Kind::Int(0), "4096", "log.index.interval.bytes"),
    row("leader.replication.throttled.replicas", Kind::List(&[]), "", ""),
    row("local.retention.bytes", Kind::Long(-2), "-2", "log.local.retention.bytes"),
    row("local.retention.ms", Kind::Long(-2), "-2", "log.local.retention.ms"),
    row("max.compaction.lag.ms", Kind::Long(1), LONG_MAX, "log.cleaner.max.compaction.lag.ms"),
    row(MAX_MESSAGE_BYTES, Kind::Int(0), "1048588", "message.max.bytes"),
    row("message.timestamp.after.max.ms", Kind::Long(0), "3600000", "log.message.timestamp.after.max.ms"),
    row("message.timestamp.before.max.ms", Kind::Long(0), LONG_MAX, "log.message.timestamp.before.max.ms"),
    row("message.timestamp.type", Kind::String(&["CreateTime"]), "CreateTime", "log.message.timestamp.type"),
    row("min.cleanable.dirty.ratio", Kind::Double, "0.5", "log.cleaner.min.cleanable.ratio"),
    row("min.compaction.lag.ms", Kind::Long(0), "0", "log.cleaner.min.compaction.lag.ms"),
    row("min.insync.replicas", Kind::Int(1), "1", "min.insync.replicas"),
    row("preallocate", Kind::Boolean, "false", "log.preallocate"),
    row("remote.log.copy.disable", Kind::Boolean, "false", ""),
    row("remote.log.delete.on.disable", Kind::Boolean, "false", ""),
    row("remote.storage.enable", Kind::String(&["false"]), "false", ""),
    row("retention.bytes", Kind::Long(-1), "-1", "log.retention.bytes"),
    row("retention.ms", Kind::Long(-1), "604800000", "log.retention.ms"),
    row("segment.bytes", Kind::Int(1024 * 1024), "1073741824", "log.segment.bytes"),
    row("segment.index.bytes", Kind::Int(4), "10485760", "log.index.size.max.bytes"),
    row("segment.jitter.ms", Kind::Long(0), "0", "log.roll.jitter.ms"),
    row("segment.ms", Kind::Long(1), "604800000", "log.roll.ms"),
    row("unclean.leader.election.enable", Kind::Boolean, "false", "unclean.leader.election.enable"),
];

const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

impl TopicConfig {
    /// The config of this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        TOPIC_CONFIGS
            .binary_search_by_key(&name, |config| config.name)
            .ok()
            .map(|index| &TOPIC_CONFIGS[index])
    }

    /// All configs, by name.
    pub(super) fn all() -> &'static [Self] {
        TOPIC_CONFIGS
    }

    /// The value for a topic that sets none.
    pub(super) fn broker_value(&self, config: &Config) -> String {
        if self.name == MAX_MESSAGE_BYTES {
            config.message_bytes_max.to_string()
        } else {
            self.default.to_owned()
        }
    }

    pub(super) fn default_value(&self) -> &'static str {
        self.default
    }

    /// Checks a value that a topic is to have.
    pub(super) fn check(&self, value: &str) -> Result<(), ConfigError> {
        if self.kind.accepts(value) {
            return Ok(());
        }
        Err(ConfigError::Value { name: self.name, value: value.to_owned(), expected: self.kind.expected() })
    }
}

/// Why a topic cannot have a config.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("unknown topic config name: {0}")]
    Unknown(String),
    #[error("{name} needs a value")]
    Null { name: &'static str },
    #[error("{name} cannot be '{value}': expected {expected}")]
    Value { name: &'static str, value: String, expected: String },
}

/// Checks one config that a client wants to set.
pub(super) fn checked(name: &str, value: Option<&str>) -> Result<(String, String), ConfigError> {
    let config = TopicConfig::named(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
    let value = value.ok_or(ConfigError::Null { name: config.name })?;
    config.check(value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The largest batch that the topic takes, bytes.
pub(super) fn message_bytes_max(node: &Node, topic: &Topic) -> usize {
    let own: Option<&String> = topic.settings.configs.get(MAX_MESSAGE_BYTES);
    own.and_then(|value| value.parse().ok()).unwrap_or(node.config.message_bytes_max)
}

/// One broker config as it is described.
pub(super) struct BrokerConfig {
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
    pub(super) default: Option<String>,
    pub(super) kind: Kind,
}

/// What this broker was told, in Kafka's words, by name.
pub(super) fn of_broker(node: &Node) -> BTreeMap<&'static str, BrokerConfig> {
    let (config, default) = (&node.config, Config::default());
    let mut all = BTreeMap::new();
    let mut add = |name, kind, value: Option<String>, default: Option<String>| {
        all.insert(name, BrokerConfig { name, value, default, kind });
    };
    for topic in TOPIC_CONFIGS {
        if let Some(name) = topic.broker_name {
            add(name, topic.kind, Some(topic.broker_value(config)), Some(topic.default.to_owned()));
        }
    }
    let listener = format!("PLAINTEXT://{}", config.kafka);
    let (host, port) = &node.advertised_kafka;
    let text = Kind::String(&[]);
    add("advertised.listeners", text, Some(format!("PLAINTEXT://{host}:{port}")), None);
    add(
        "auto.create.topics.enable",
        Kind::Boolean,
        some(config.auto_create_topics),
        some(default.auto_create_topics),
    );
    add("broker.id", Kind::Int(-1), some(crate::node::NODE_ID), some(-1));
    add("default.replication.factor", Kind::Int(1), some(1), some(1));
    add("delete.topic.enable", Kind::Boolean, some(true), some(true));
    let delays = [config, &default].map(|config| some(config.group_initial_rebalance_delay_ms));
    let [delay, default_delay] = delays;
    add("group.initial.rebalance.delay.ms", Kind::Int(0), delay, default_delay);
    add("listeners", text, Some(listener), None);
    let [connections, default_connections] = [config, &default].map(|config| some(config.connections_max));
    add("max.connections", Kind::Int(0), connections, default_connections);
    add("node.id", Kind::Int(0), some(crate::node::NODE_ID), None);
    add("num.partitions", Kind::Int(1), some(config.num_partitions), some(default.num_partitions));
    add("offsets.topic.replication.factor", Kind::Int(1), some(1), some(1));
    add("process.roles", Kind::List(&[]), Some("broker,controller".to_owned()), None);
    add("transaction.state.log.replication.factor", Kind::Int(1), some(1), some(1));
    all
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        for config in TOPIC_CONFIGS {
            assert_eq!(config.check(config.default), Ok(()), "{}", config.name);
        }
    }

    #[test]
    fn values_are_checked_by_kind() {
        assert!(checked("retention.ms", Some("-1")).is_ok());
        assert!(checked("cleanup.policy", Some("compact,delete")).is_ok());
        for (name, value) in [
            ("retention.ms", "-2"),
            ("retention.ms", "1d"),
            ("cleanup.policy", "burn"),
            ("preallocate", "yes"),
        ] {
            assert!(matches!(checked(name, Some(value)), Err(ConfigError::Value { .. })), "{name}={value}");
        }
        assert_eq!(
            checked("retention.weeks", Some("1")),
            Err(ConfigError::Unknown("retention.weeks".to_owned()))
        );
        assert_eq!(checked("retention.ms", None), Err(ConfigError::Null { name: "retention.ms" }));
    }
}
