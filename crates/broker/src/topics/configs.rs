//! Kafka's topic configs: names, types, defaults, and what may be set. What they do is in `rules`.

use crate::config::Config;
use std::collections::BTreeMap;

/// What a config's value must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
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
    pub(crate) fn code(self) -> i8 {
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

pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

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

    /// The value for a topic that sets none.
    pub(crate) fn broker_value(&self, config: &Config) -> String {
        if self.name == MAX_MESSAGE_BYTES {
            return config.message_bytes_max.to_string();
        }
        let set = self.broker_name.and_then(|name| config.topic_defaults.get(name));
        set.map_or(self.default, String::as_str).to_owned()
    }

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
    #[error(
        "{0} is no broker default that topics follow; the name of retention.ms, for example, is log.retention.ms"
    )]
    UnknownDefault(String),
}

/// Checks one config that a client wants to set.
pub(crate) fn checked(name: &str, value: Option<&str>) -> Result<(String, String), ConfigError> {
    let config = TopicConfig::named(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
    let value = value.ok_or(ConfigError::Null { name: config.name })?;
    config.check(value)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Checks what the broker was told for topics that set nothing of their own.
pub(crate) fn check_defaults(config: &Config) -> Result<(), ConfigError> {
    for (name, value) in &config.topic_defaults {
        let topic = TOPIC_CONFIGS.iter().find(|topic| topic.broker_name == Some(name));
        let topic = topic.filter(|topic| topic.name != MAX_MESSAGE_BYTES);
        topic.ok_or_else(|| ConfigError::UnknownDefault(name.clone()))?.check(value)?;
    }
    check_together(config, &BTreeMap::new())
}

/// Checks what the configs of a topic, each valid by itself, say together.
pub(crate) fn check_together(config: &Config, own: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let compaction = super::rules::compaction(&Values::new(config, own));
    let (min_ms, max_ms) = (compaction.lag_min_ms, compaction.lag_max_ms);
    if min_ms > max_ms { Err(ConfigError::Lags { min_ms, max_ms }) } else { Ok(()) }
}

/// The values that a topic has, its own or the broker's.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    config: &'a Config,
    own: &'a BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(config: &'a Config, own: &'a BTreeMap<String, String>) -> Self {
        Self { config, own }
    }

    pub(super) fn text(&self, name: &str) -> String {
        let row = TopicConfig::named(name).expect("rules ask for configs of the table");
        self.own.get(name).cloned().unwrap_or_else(|| row.broker_value(self.config))
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
    fn broker_defaults_are_checked_and_followed() {
        let config = |name: &str, value: &str| Config {
            topic_defaults: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..Config::default()
        };
        assert_eq!(check_defaults(&config("log.retention.ms", "5")), Ok(()));
        let none = BTreeMap::new();
        assert_eq!(Values::new(&config("log.retention.ms", "5"), &none).number("retention.ms"), 5);
        assert_eq!(
            check_defaults(&config("retention.ms", "5")),
            Err(ConfigError::UnknownDefault("retention.ms".to_owned()))
        );
        assert!(matches!(
            check_defaults(&config("log.retention.ms", "soon")),
            Err(ConfigError::Value { .. })
        ));
        let lags = check_defaults(&config("log.cleaner.max.compaction.lag.ms", "1"));
        assert_eq!(lags, Ok(()));
        let own = BTreeMap::from([("min.compaction.lag.ms".to_owned(), "2".to_owned())]);
        assert_eq!(
            check_together(&config("log.cleaner.max.compaction.lag.ms", "1"), &own),
            Err(ConfigError::Lags { min_ms: 2, max_ms: 1 })
        );
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
