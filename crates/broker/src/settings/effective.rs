//! What all layers of settings come to at one time.

use super::{
    AuthorizerSettings, Configs, Entity, SettingError, authorizer,
    broker::BrokerSetting,
    group,
    layers::{Layers, Source, Synonym},
};
use crate::topics::configs::{TopicConfig, check_together};
use crate::{
    limits::AddressLimits,
    quotas::{ConnectionRates, windows},
    tokens::ALLOWED_URLS,
};
use keyway_access::quota::Windows;
use keyway_groups::GroupConfig;
use keyway_log::StoreConfig;
use std::collections::BTreeMap;

/// Bytes of requests held in memory where `queued.max.request.bytes` is -1, Kafka's word for no bound.
const REQUEST_BYTES_UNBOUNDED: usize = 128 * 1024 * 1024;

const CHECKED: &str = "values are checked before they are set";

/// The settings of the broker and of groups, read once when they change.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) layers: Layers,
    pub(super) groups: BTreeMap<String, Configs>,
    /// `num.partitions`.
    pub(crate) num_partitions: i32,
    /// `default.replication.factor`.
    pub(crate) default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub(crate) auto_create_topics: bool,
    /// `transaction.max.timeout.ms`.
    pub(crate) transaction_timeout_ms_max: i32,
    /// `producer.id.expiration.ms`.
    pub(crate) producer_expiration_ms: i64,
    /// `max.connections`.
    pub(crate) connections_max: usize,
    /// `max.connections` of listeners that have their own, by names in lower case.
    listener_connections_max: BTreeMap<String, usize>,
    /// `max.decompressed.message.bytes`.
    pub(crate) decompressed_bytes_max: usize,
    /// `queued.max.request.bytes`.
    pub(crate) request_bytes_in_flight_max: usize,
    /// When the log looks for what is no longer kept.
    pub(crate) store: StoreConfig,
    /// Who decides what clients may do; `None` if nobody does.
    pub(crate) authorizer: Option<AuthorizerSettings>,
    /// `quota.window.num` and `quota.window.size.seconds`.
    pub(crate) quota_windows: Windows,
    /// `max.connections.per.ip` and its overrides.
    pub(crate) address_limits: AddressLimits,
    /// `max.connection.creation.rate`; `None` for any.
    connection_rate_max: Option<f64>,
    /// `max.connection.creation.rate` of listeners that have their own, by names in lower case.
    listener_connection_rates_max: BTreeMap<String, Option<f64>>,
    /// `connections.max.idle.ms`; below 0 for any.
    pub(crate) connection_idle_ms_max: i64,
    /// `socket.request.max.bytes`.
    pub(crate) request_bytes_max: usize,
    /// What groups that set nothing of their own follow.
    group: GroupConfig,
}

impl Effective {
    /// What these layers come to, or what they contradict each other in. Every value must have been checked by itself.
    pub(super) fn of(layers: Layers, groups: BTreeMap<String, Configs>) -> Result<Self, SettingError> {
        let text = |name| layers.resolved(name).expect("settings that act have defaults");
        let number = |name| text(name).parse::<i64>().expect(CHECKED);
        let int = |name| i32::try_from(number(name)).expect("the setting's type is int");
        let is = |name| text(name).eq_ignore_ascii_case("true");
        let milliseconds = |name| number(name).cast_unsigned();
        let size = |name| usize::try_from(number(name)).unwrap_or(usize::MAX);
        let group = GroupConfig {
            initial_rebalance_delay_ms: int("group.initial.rebalance.delay.ms"),
            session_timeout_min_ms: int("group.min.session.timeout.ms"),
            session_timeout_max_ms: int("group.max.session.timeout.ms"),
            members_max: size("group.max.size"),
            offset_metadata_bytes_max: size("offset.metadata.max.bytes"),
            offsets_retention_ms: number("offsets.retention.minutes") * 60_000,
            consumer_session_timeout_ms: int("group.consumer.session.timeout.ms"),
            consumer_heartbeat_interval_ms: int("group.consumer.heartbeat.interval.ms"),
            consumer_assignment_interval_ms: int("group.consumer.assignment.interval.ms"),
            ..GroupConfig::default()
        };
        let store = StoreConfig {
            retention_interval_ms: milliseconds("log.retention.check.interval.ms"),
            compaction_interval_ms: is("log.cleaner.enable").then(|| milliseconds("log.cleaner.backoff.ms")),
            compaction_bytes_per_s: bytes_per_s(&text("log.cleaner.io.max.bytes.per.second")),
        };
        let effective = Self {
            num_partitions: int("num.partitions"),
            default_replication_factor: i16::try_from(number("default.replication.factor"))
                .expect("the setting ends at what an i16 holds"),
            auto_create_topics: is("auto.create.topics.enable"),
            transaction_timeout_ms_max: int("transaction.max.timeout.ms"),
            producer_expiration_ms: number("producer.id.expiration.ms"),
            connections_max: size("max.connections"),
            listener_connections_max: by_listener(&layers, "max.connections", |most| {
                most.parse().expect(CHECKED)
            }),
            decompressed_bytes_max: size("max.decompressed.message.bytes"),
            request_bytes_in_flight_max: match number("queued.max.request.bytes") {
                ..=0 => REQUEST_BYTES_UNBOUNDED,
                bytes => {
                    usize::try_from(bytes).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS)
                }
            },
            store,
            authorizer: AuthorizerSettings::of(&layers)?,
            address_limits: AddressLimits::parse(
                size("max.connections.per.ip"),
                &text("max.connections.per.ip.overrides"),
            )
            .map_err(|error| SettingError::Together(format!("max.connections.per.ip.overrides: {error}")))?,
            connection_rate_max: connection_rate(&text("max.connection.creation.rate")),
            listener_connection_rates_max: by_listener(
                &layers,
                "max.connection.creation.rate",
                connection_rate,
            ),
            connection_idle_ms_max: number("connections.max.idle.ms"),
            request_bytes_max: size("socket.request.max.bytes"),
            quota_windows: windows(size("quota.window.num"), size("quota.window.size.seconds") as u64),
            group,
            groups,
            layers,
        };
        effective.check_bounds()?;
        check_together(&effective, &Configs::new())?;
        Ok(effective)
    }

    /// A lower and an upper bound, and the value between them.
    fn check_bounds(&self) -> Result<(), SettingError> {
        for what in ["session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms"] {
            let setting = group::GroupSetting::named(&format!("consumer.{what}")).expect("in the table");
            setting.check(&self.layers, &setting.broker_value(&self.layers))?;
        }
        let GroupConfig { session_timeout_min_ms: min, session_timeout_max_ms: max, .. } = self.group;
        if min > max {
            return Err(SettingError::Bound {
                name: "group.min.session.timeout.ms".to_owned(),
                number: min.into(),
                bound: "group.max.session.timeout.ms",
                limit: max.into(),
            });
        }
        Ok(())
    }

    /// The most connections of this listener, if it has a bound of its own.
    pub(crate) fn listener_connections_max(&self, listener: &str) -> Option<usize> {
        self.listener_connections_max.get(&listener.to_lowercase()).copied()
    }

    /// How many connections a second are taken, by the broker and by this listener.
    pub(crate) fn connection_rates(&self, listener: &str) -> ConnectionRates {
        let listener = self.listener_connection_rates_max.get(&listener.to_lowercase());
        ConnectionRates { broker: self.connection_rate_max, listener: listener.copied().flatten() }
    }

    /// What was set for the entity while the broker ran.
    pub(crate) fn own(&self, entity: &Entity) -> Configs {
        match entity {
            Entity::Broker => self.layers.broker.clone(),
            Entity::AllBrokers => self.layers.all_brokers.clone(),
            Entity::Group(name) => self.groups.get(name).cloned().unwrap_or_default(),
        }
    }

    /// The groups that have settings of their own, sorted.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The settings of a group that sets nothing of its own.
    pub(crate) fn group_default(&self) -> &GroupConfig {
        &self.group
    }

    /// The settings of this group.
    pub(crate) fn group(&self, name: &str) -> GroupConfig {
        match self.groups.get(name) {
            Some(own) => group::overridden(&self.group, own),
            None => self.group.clone(),
        }
    }

    /// The value of a topic that has these configs of its own.
    pub(crate) fn topic_value(&self, own: &Configs, config: &TopicConfig) -> String {
        own.get(config.name).cloned().unwrap_or_else(|| self.topic_default(config))
    }

    /// The value of a topic that does not set it.
    pub(crate) fn topic_default(&self, config: &TopicConfig) -> String {
        let followed = config.broker_name.and_then(|name| self.layers.resolved(name));
        followed.unwrap_or_else(|| config.default_value().to_owned())
    }

    /// Where the value of a topic's config stands, its own first.
    pub(crate) fn topic_synonyms(&self, own: &Configs, config: &TopicConfig) -> Vec<Synonym> {
        let own = own.get(config.name).map(|value| Synonym {
            name: config.name.to_owned(),
            value: value.clone(),
            source: Source::Topic,
        });
        let followed = config.broker_name.map_or_else(Vec::new, |name| self.layers.synonyms(name));
        own.into_iter().chain(followed).collect()
    }
}

/// What `log.cleaner.io.max.bytes.per.second` bounds compaction to; the log's own bound where Kafka has none.
fn bytes_per_s(text: &str) -> u64 {
    let bytes: f64 = text.parse().expect("values are checked before they are set");
    if bytes < u64::MAX as f64 {
        bytes.max(1.0) as u64
    } else {
        StoreConfig::default().compaction_bytes_per_s
    }
}

impl Default for Effective {
    fn default() -> Self {
        Self::of(Layers::default(), BTreeMap::new()).expect("the defaults agree with each other")
    }
}

/// Whether a broker can be started with a setting of this name: one of Kafka's table, one that Kafka leaves to its
/// authorizer, or has as a property of Java.
#[must_use]
pub fn is_setting(name: &str) -> bool {
    BrokerSetting::of_any(name).is_some() || authorizer::check(name, "").is_some() || name == ALLOWED_URLS
}

/// Checks settings that a broker is to be started with: each by itself, and all together.
pub fn check_settings(start: &Configs) -> Result<(), SettingError> {
    for (name, value) in start {
        if let Some(checked) = authorizer::check(name, value) {
            checked?;
            continue;
        }
        if name == ALLOWED_URLS {
            continue;
        }
        let setting = BrokerSetting::of_any(name).ok_or_else(|| SettingError::Unknown(name.to_owned()))?;
        setting.check(value)?;
    }
    Effective::of(Layers { start: start.clone(), ..Layers::default() }, BTreeMap::new()).map(drop)
}

/// A setting of listeners that have their own, by names in lower case.
fn by_listener<T>(layers: &Layers, name: &str, read: impl Fn(&str) -> T) -> BTreeMap<String, T> {
    layers.of_listeners(name).map(|(listener, value)| (listener.to_owned(), read(value))).collect()
}

/// Connections a second; `None` for any.
fn connection_rate(value: &str) -> Option<f64> {
    match value.parse().expect(CHECKED) {
        i32::MAX => None,
        // Kafka's word for none at all is 0; a broker that nobody can reach cannot be told otherwise.
        rate => Some(f64::from(rate.max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_record::limits;

    fn started(settings: &[(&str, &str)]) -> Result<Effective, SettingError> {
        let start = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Effective::of(Layers { start, ..Layers::default() }, BTreeMap::new())
    }

    #[test]
    fn the_defaults_of_topics_and_of_the_broker_are_the_same() {
        let effective = Effective::default();
        for config in TopicConfig::all() {
            assert_eq!(effective.topic_default(config), config.default_value(), "{}", config.name);
        }
        assert_eq!(effective.group("any"), GroupConfig::default());
        assert_eq!(effective.store, StoreConfig::default());
        assert_eq!(effective.decompressed_bytes_max, limits::DECOMPRESSED_BYTES_MAX);
    }

    #[test]
    fn settings_that_act_are_read() {
        let effective = started(&[
            ("num.partitions", "7"),
            ("auto.create.topics.enable", "FALSE"),
            ("offsets.retention.minutes", "2"),
            ("queued.max.request.bytes", "-1"),
            ("log.retention.check.interval.ms", "1000"),
            ("log.cleaner.backoff.ms", "200"),
            ("log.cleaner.io.max.bytes.per.second", "1.5E6"),
        ])
        .unwrap();
        assert_eq!((effective.num_partitions, effective.auto_create_topics), (7, false));
        assert_eq!(effective.group("any").offsets_retention_ms, 120_000);
        assert_eq!(effective.request_bytes_in_flight_max, REQUEST_BYTES_UNBOUNDED);
        let expected = StoreConfig {
            retention_interval_ms: 1_000,
            compaction_interval_ms: Some(200),
            compaction_bytes_per_s: 1_500_000,
        };
        assert_eq!(effective.store, expected);
        let own =
            started(&[("max.connections", "7"), ("listener.name.outside.max.connections", "3")]).unwrap();
        assert_eq!(own.listener_connections_max("OUTSIDE"), Some(3));
        assert_eq!((own.connections_max, own.listener_connections_max("INSIDE")), (7, None));
        assert_eq!(started(&[("log.cleaner.enable", "false")]).unwrap().store.compaction_interval_ms, None);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for settings in [
            &[("group.consumer.session.timeout.ms", "1000")][..],
            &[("group.min.session.timeout.ms", "10"), ("group.max.session.timeout.ms", "9")],
            &[("log.cleaner.min.compaction.lag.ms", "10"), ("log.cleaner.max.compaction.lag.ms", "9")],
        ] {
            assert!(started(settings).is_err(), "{settings:?}");
        }
    }
}
