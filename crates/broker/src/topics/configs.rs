//! Kafka's topic configs: names, types, defaults, and what may be set. What they do is in `rules`.

use crate::settings::{COMPRESSION_TYPES, Configs, Effective, Kind};

/// One config that a topic can have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicConfig {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    default: &'static str,
    /// The broker's config that topics without one of their own follow.
    pub(crate) broker_name: Option<&'static str>,
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
    row(
        "message.timestamp.type",
        Kind::String(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "log.message.timestamp.type",
    ),
    row("min.cleanable.dirty.ratio", Kind::Ratio, "0.5", "log.cleaner.min.cleanable.ratio"),
    row("min.compaction.lag.ms", Kind::Long(0), "0", "log.cleaner.min.compaction.lag.ms"),
    row("min.insync.replicas", Kind::Int(1), "1", "min.insync.replicas"),
    row("preallocate", Kind::Boolean, "false", "log.preallocate"),
    row("remote.log.copy.disable", Kind::Boolean, "false", ""),
    row("remote.log.delete.on.disable", Kind::Boolean, "false", ""),
    row("remote.storage.enable", Kind::AlwaysFalse, "false", ""),
    row("retention.bytes", Kind::Long(-1), "-1", "log.retention.bytes"),
    row("retention.ms", Kind::Long(-1), "604800000", "log.retention.ms"),
    row("segment.bytes", Kind::Int(1024 * 1024), "1073741824", "log.segment.bytes"),
    row("segment.index.bytes", Kind::Int(4), "10485760", "log.index.size.max.bytes"),
    row("segment.jitter.ms", Kind::Long(0), "0", "log.roll.jitter.ms"),
    row("segment.ms", Kind::Long(1), "604800000", "log.roll.ms"),
    row("unclean.leader.election.enable", Kind::Boolean, "false", "unclean.leader.election.enable"),
];

pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

impl TopicConfig {
    /// The config of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TOPIC_CONFIGS
            .binary_search_by_key(&name, |config| config.name)
            .ok()
            .map(|index| &TOPIC_CONFIGS[index])
    }

    /// All configs, by name.
    pub(crate) fn all() -> &'static [Self] {
        TOPIC_CONFIGS
    }

    /// The value where neither the topic nor the broker sets one.
    pub(crate) fn default_value(&self) -> &'static str {
        self.default
    }

    /// Checks a value that a topic is to have.
    pub(crate) fn check(&self, value: &str) -> Result<(), ConfigError> {
        if self.kind.accepts(value) {
            return Ok(());
        }
        Err(ConfigError::Value { name: self.name, value: value.to_owned(), expected: self.kind.expected() })
    }
}

/// Why a topic cannot have a config.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("unknown topic config name: {0}")]
    Unknown(String),
    #[error("{name} needs a value")]
    Null { name: &'static str },
    #[error("{name} cannot be '{value}': expected {expected}")]
    Value { name: &'static str, value: String, expected: String },
    #[error("min.compaction.lag.ms {min_ms} is greater than max.compaction.lag.ms {max_ms}")]
    Lags { min_ms: i64, max_ms: i64 },
}

/// Checks one config that a client wants to set.
pub(crate) fn checked(name: &str, value: Option<&str>) -> Result<(String, String), ConfigError> {
    let config = TopicConfig::named(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
    let value = value.ok_or(ConfigError::Null { name: config.name })?;
    config.check(value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Checks what the configs of a topic, each valid by itself, say together.
pub(crate) fn check_together(broker: &Effective, own: &Configs) -> Result<(), ConfigError> {
    let compaction = super::rules::compaction(&Values::new(broker, own));
    let (min_ms, max_ms) = (compaction.lag_min_ms, compaction.lag_max_ms);
    if min_ms > max_ms { Err(ConfigError::Lags { min_ms, max_ms }) } else { Ok(()) }
}

/// The values that a topic has, its own or the broker's.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    broker: &'a Effective,
    own: &'a Configs,
}

impl<'a> Values<'a> {
    pub(super) fn new(broker: &'a Effective, own: &'a Configs) -> Self {
        Self { broker, own }
    }

    pub(super) fn text(&self, name: &str) -> String {
        let row = TopicConfig::named(name).expect("rules ask for configs of the table");
        self.broker.topic_value(self.own, row)
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().expect("values are checked before they are stored")
    }

    pub(super) fn ratio(&self, name: &str) -> f64 {
        self.text(name).parse().expect("values are checked before they are stored")
    }
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
    fn lags_that_contradict_each_other_are_refused() {
        let broker = Effective::default();
        let lags = [("min.compaction.lag.ms", "2"), ("max.compaction.lag.ms", "1")];
        let own = lags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(check_together(&broker, &own), Err(ConfigError::Lags { min_ms: 2, max_ms: 1 }));
        assert_eq!(check_together(&broker, &Configs::new()), Ok(()));
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
