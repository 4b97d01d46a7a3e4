//! What can be set for one consumer group: Kafka 4.3's group configs. What a group does not set follows the broker.

use super::{Configs, SettingError, kind::Kind, layers::Layers};
use keyway_groups::GroupConfig;

/// One setting of a group.
#[derive(Debug)]
pub(crate) struct GroupSetting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    default: &'static str,
    /// The broker's setting that groups without one of their own follow.
    pub(crate) broker_name: Option<&'static str>,
    /// The broker's settings between which the value must lie.
    bounds: [Option<&'static str>; 2],
}

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker_name: &'static str,
    min: &'static str,
    max: &'static str,
) -> GroupSetting {
    const fn named(name: &'static str) -> Option<&'static str> {
        if name.is_empty() { None } else { Some(name) }
    }
    GroupSetting { name, kind, default, broker_name: named(broker_name), bounds: [named(min), named(max)] }
}

const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const ASSIGNMENT: &str = "consumer.assignment.interval.ms";

macro_rules! bounded {
    ($name:literal, $min:expr, $default:literal, $kind:literal, $what:literal) => {
        row(
            $name,
            Kind::Int($min),
            $default,
            concat!("group.", $kind, ".", $what),
            concat!("group.", $kind, ".min.", $what),
            concat!("group.", $kind, ".max.", $what),
        )
    };
}

/// By name.
const GROUP_SETTINGS: &[GroupSetting] = &[
    bounded!("consumer.assignment.interval.ms", 0, "1000", "consumer", "assignment.interval.ms"),
    bounded!("consumer.heartbeat.interval.ms", 1, "5000", "consumer", "heartbeat.interval.ms"),
    bounded!("consumer.session.timeout.ms", 1, "45000", "consumer", "session.timeout.ms"),
    bounded!("share.assignment.interval.ms", 0, "1000", "share", "assignment.interval.ms"),
    row("share.auto.offset.reset", Kind::String(&[]), "latest", "", "", ""),
    bounded!("share.delivery.count.limit", 2, "5", "share", "delivery.count.limit"),
    bounded!("share.heartbeat.interval.ms", 1, "5000", "share", "heartbeat.interval.ms"),
    row(
        "share.isolation.level",
        Kind::String(&["read_committed", "read_uncommitted"]),
        "read_uncommitted",
        "",
        "",
        "",
    ),
    bounded!("share.partition.max.record.locks", 100, "2000", "share", "partition.max.record.locks"),
    bounded!("share.record.lock.duration.ms", 1_000, "30000", "share", "record.lock.duration.ms"),
    row("share.renew.acknowledge.enable", Kind::Boolean, "true", "", "", ""),
    bounded!("share.session.timeout.ms", 1, "45000", "share", "session.timeout.ms"),
    bounded!("streams.assignment.interval.ms", 0, "1000", "streams", "assignment.interval.ms"),
    bounded!("streams.heartbeat.interval.ms", 1, "5000", "streams", "heartbeat.interval.ms"),
    row(
        "streams.initial.rebalance.delay.ms",
        Kind::Int(0),
        "3000",
        "group.streams.initial.rebalance.delay.ms",
        "",
        "",
    ),
    row(
        "streams.num.standby.replicas",
        Kind::Int(0),
        "0",
        "group.streams.num.standby.replicas",
        "",
        "group.streams.max.standby.replicas",
    ),
    bounded!("streams.session.timeout.ms", 1, "45000", "streams", "session.timeout.ms"),
];

impl GroupSetting {
    /// The setting of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        GROUP_SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// All settings, by name.
    pub(crate) fn all() -> &'static [Self] {
        GROUP_SETTINGS
    }

    /// The value of a group that sets none.
    pub(crate) fn broker_value(&self, layers: &Layers) -> String {
        let followed = self.broker_name.and_then(|name| layers.value(name));
        followed.unwrap_or_else(|| self.default.to_owned())
    }

    /// Whether this is a value of the setting, and within the broker's bounds.
    pub(crate) fn check(&self, layers: &Layers, value: &str) -> Result<(), SettingError> {
        let is_reset = self.name == "share.auto.offset.reset";
        if !self.kind.accepts(value) || (is_reset && !is_offset_reset(value)) {
            let expected = match is_reset {
                true => "earliest, latest or by_duration:PnDTnHnMn.nS".to_owned(),
                false => self.kind.expected(),
            };
            let (name, value) = (self.name.to_owned(), value.to_owned());
            return Err(SettingError::Value { name, value, expected });
        }
        let Ok(number) = value.parse::<i64>() else { return Ok(()) };
        let bound = |name: Option<&'static str>| {
            let name = name?;
            let bound: i64 = layers.value(name)?.parse().ok()?;
            Some((name, bound))
        };
        let [min, max] = self.bounds.map(bound);
        let broken = min.filter(|(_, min)| number < *min).or(max.filter(|(_, max)| number > *max));
        match broken {
            None => Ok(()),
            Some((bound, limit)) => {
                Err(SettingError::Bound { name: self.name.to_owned(), number, bound, limit })
            }
        }
    }

    /// Whether it does something here.
    pub(crate) fn acts(&self) -> bool {
        [SESSION, HEARTBEAT, ASSIGNMENT].contains(&self.name)
    }
}

fn is_offset_reset(value: &str) -> bool {
    matches!(value, "earliest" | "latest")
        || value.strip_prefix("by_duration:").is_some_and(|duration| duration.starts_with('P'))
}

/// `config` with what a group sets itself.
pub(super) fn overridden(config: &GroupConfig, own: &Configs) -> GroupConfig {
    let number = |name, default| match own.get(name) {
        Some(value) => value.parse().expect("values are checked before they are stored"),
        None => default,
    };
    GroupConfig {
        consumer_session_timeout_ms: number(SESSION, config.consumer_session_timeout_ms),
        consumer_heartbeat_interval_ms: number(HEARTBEAT, config.consumer_heartbeat_interval_ms),
        consumer_assignment_interval_ms: number(ASSIGNMENT, config.consumer_assignment_interval_ms),
        ..config.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::broker::BrokerSetting, *};

    #[test]
    fn the_table_is_sorted_and_follows_settings_that_exist() {
        assert!(GROUP_SETTINGS.is_sorted_by(|a, b| a.name < b.name));
        let layers = Layers::default();
        for setting in GROUP_SETTINGS {
            assert_eq!(setting.check(&layers, setting.default), Ok(()), "{}", setting.name);
            assert_eq!(setting.broker_value(&layers), setting.default, "{}", setting.name);
            for name in setting.broker_name.iter().chain(setting.bounds.iter().flatten()) {
                assert!(BrokerSetting::named(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn a_value_lies_between_the_broker_s_bounds() {
        let layers = Layers::default();
        let session = GroupSetting::named(SESSION).unwrap();
        assert_eq!(session.check(&layers, "50000"), Ok(()));
        for value in ["44999", "60001"] {
            assert!(matches!(session.check(&layers, value), Err(SettingError::Bound { .. })), "{value}");
        }
        let reset = GroupSetting::named("share.auto.offset.reset").unwrap();
        assert!(reset.check(&layers, "never").is_err() && reset.check(&layers, "by_duration:P1D").is_ok());
    }
}
