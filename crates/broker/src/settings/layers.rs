//! Where a setting's value comes from: the first layer that has it wins.

use super::{
    Configs,
    broker::{BrokerSetting, LISTENER_PREFIX},
};
use keyway_access::{SecurityProtocol, UnknownProtocol};

/// What was set, by who set it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Layers {
    /// For this broker, while it ran.
    pub(crate) broker: Configs,
    /// For all brokers, while they ran.
    pub(crate) all_brokers: Configs,
    /// Where this broker was started.
    pub(crate) start: Configs,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Topic,
    Broker,
    AllBrokers,
    Start,
    Default,
    Group,
}

impl Source {
    /// Kafka's number of the source.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::AllBrokers => 3,
            Self::Start => 4,
            Self::Default => 5,
            Self::Group => 8,
        }
    }
}

/// One place where a value stands, under the name that it has there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Synonym {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) source: Source,
}

/// Settings that stand in for the first of them where it is not set, and the factor from their unit to its.
const STAND_INS: &[&[(&str, i64)]] = &[
    &[("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)],
    &[("log.roll.ms", 1), ("log.roll.hours", 3_600_000)],
    &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", 3_600_000)],
    &[("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)],
];

impl Layers {
    /// The value of a setting by itself.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let set =
            [&self.broker, &self.all_brokers, &self.start].into_iter().find_map(|layer| layer.get(name));
        set.cloned().or_else(|| default(name))
    }

    /// The value of a setting for one listener: its own, or else that of all.
    pub(crate) fn of_listener(&self, listener: &str, name: &str) -> Option<String> {
        let own = format!("{LISTENER_PREFIX}{}.{name}", listener.to_lowercase());
        self.start.get(&own).cloned().or_else(|| self.value(name))
    }

    /// The listeners that have this setting as their own, by names in lower case; the layer that wins comes last.
    pub(super) fn of_listeners(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let all = [&self.start, &self.all_brokers, &self.broker].into_iter().flatten();
        all.filter_map(move |(key, value)| {
            let listener = key.strip_prefix(LISTENER_PREFIX)?.strip_suffix(name)?.strip_suffix('.')?;
            Some((listener, value.as_str()))
        })
    }

    /// How the front of this name is secured, which is not at all where `listener.security.protocol.map` does not say.
    pub(crate) fn protocol(&self, front: &str) -> Result<SecurityProtocol, UnknownProtocol> {
        let map = self.value("listener.security.protocol.map").unwrap_or_default();
        let mut pairs = map.split(',').filter_map(|pair| pair.split_once(':'));
        let named = pairs.find(|(name, _)| name.trim() == front);
        named.map_or(Ok(SecurityProtocol::Plaintext), |(_, protocol)| protocol.trim().parse())
    }

    /// The value of a setting, or of one that stands in for it in its unit.
    pub(crate) fn resolved(&self, name: &str) -> Option<String> {
        let Some(family) = STAND_INS.iter().find(|family| family[0].0 == name) else {
            return self.value(name);
        };
        family.iter().find_map(|(name, factor)| {
            let number: i64 = self.value(name)?.parse().expect("values are checked before they are set");
            // A negative number stands for no limit in every unit.
            Some(if number < 0 { number } else { number.saturating_mul(*factor) }.to_string())
        })
    }

    /// Everywhere the value of `name` stands, the one that wins first. As in Kafka, settings that stand in come after
    /// the first place that names the setting itself, and none are named before it.
    pub(crate) fn synonyms(&self, name: &str) -> Vec<Synonym> {
        let family = STAND_INS.iter().find(|family| {
            // The flush scheduler's interval has a meaning of its own.
            let is_stand_in = family.iter().any(|(member, _)| *member == name);
            is_stand_in && (family[0].0 == name || family[0].0 != "log.flush.interval.ms")
        });
        let names: Vec<&str> = match family {
            Some(family) => family.iter().map(|(name, _)| *name).collect(),
            None => vec![name],
        };
        let layers = [
            (Source::Broker, &self.broker),
            (Source::AllBrokers, &self.all_brokers),
            (Source::Start, &self.start),
        ];
        let mut all = Vec::new();
        let mut add = |name: &str, value: Option<String>, source| {
            all.extend(value.map(|value| Synonym { name: name.to_owned(), value, source }));
        };
        for (source, layer) in layers {
            names.iter().for_each(|name| add(name, layer.get(*name).cloned(), source));
        }
        names.iter().for_each(|name| add(name, default(name), Source::Default));
        all.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }
}

fn default(name: &str) -> Option<String> {
    BrokerSetting::named(name).and_then(|setting| setting.default).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(all: &[(&str, &str)]) -> Configs {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// What Apache Kafka 4.3 answered for the same settings.
    #[test]
    fn the_first_layer_wins_and_all_are_told() {
        let mut layers = Layers { start: configs(&[("log.retention.hours", "100")]), ..Layers::default() };
        assert_eq!(layers.resolved("log.retention.ms").as_deref(), Some("360000000"));
        assert!(layers.synonyms("log.retention.ms").is_empty());
        layers.broker = configs(&[("log.retention.ms", "60000")]);
        layers.all_brokers = configs(&[("log.retention.ms", "70000")]);
        assert_eq!(layers.resolved("log.retention.ms").as_deref(), Some("60000"));
        let told = layers.synonyms("log.retention.ms");
        let told: Vec<_> = told.iter().map(|one| (&*one.name, &*one.value, one.source)).collect();
        let expected = [
            ("log.retention.ms", "60000", Source::Broker),
            ("log.retention.ms", "70000", Source::AllBrokers),
            ("log.retention.hours", "100", Source::Start),
            ("log.retention.hours", "168", Source::Default),
        ];
        assert_eq!(told, expected);
        let hours = layers.synonyms("log.retention.hours");
        assert_eq!(hours.iter().map(|one| one.source).collect::<Vec<_>>(), [Source::Start, Source::Default]);
    }

    #[test]
    fn no_limit_is_none_in_every_unit() {
        let layers = Layers { start: configs(&[("log.retention.minutes", "-1")]), ..Layers::default() };
        assert_eq!(layers.resolved("log.retention.ms").as_deref(), Some("-1"));
    }
}
