//! DescribeConfigs: what topics, the broker, groups and loggers are set to, and where each value comes from.

use super::{
    call::{Call, Refused},
    config_resource::{self, Resource},
};
use crate::{
    log_levels::Loggers,
    settings::{BrokerSetting, Effective, Entity, GroupSetting, Source, Synonym, Update, documentation},
    topics::{Topic, configs::TopicConfig},
};
use keyway_access::Operation;
use keyway_kafka_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse, describe_configs::*};
use keyway_record::ErrorCode;

/// Kafka's number of the type of a config that it does not know.
const UNKNOWN_TYPE: i8 = 0;

/// Kafka's number of where the level of a logger comes from, whoever set it.
const LOGGER_SOURCE: i8 = 6;

pub(super) fn handle(call: &Call<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let describe = |resource: DescribeConfigsResource| {
        let described = describe(call, resource.resource_type, &resource.resource_name);
        let (error, error_message, mut configs) = match described {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((error, message)) => (error, Some(message), Vec::new()),
        };
        // No names ask for all.
        if let Some(keys) = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()) {
            configs.retain(|config| keys.contains(&config.name));
        }
        if request.include_documentation {
            configs.iter_mut().for_each(|config| explain(resource.resource_type, config));
        }
        if !request.include_synonyms {
            configs.iter_mut().for_each(|config| config.synonyms.clear());
        }
        DescribeConfigsResult {
            error_code: error.code(),
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    };
    DescribeConfigsResponse {
        results: request.resources.into_iter().map(describe).collect(),
        ..Default::default()
    }
}

fn describe(call: &Call<'_>, kind: i8, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let settings = call.node.settings.now();
    Ok(match Resource::find(call, Operation::DescribeConfigs, kind, name)? {
        Resource::Topic(topic) => of_topic(&settings, &topic),
        Resource::Settings(Entity::Broker) => of_broker(&settings),
        Resource::Settings(Entity::AllBrokers) => of_all_brokers(&settings),
        Resource::Settings(entity @ Entity::Group(_)) => of_group(&settings, &entity),
        Resource::Loggers(_) => call.node.loggers.as_ref().map_or_else(Vec::new, of_loggers),
    })
}

/// Says what a config does: what the broker's setting does that it follows.
fn explain(kind: i8, config: &mut DescribeConfigsResourceResult) {
    let broker_name = match kind {
        config_resource::TOPIC => TopicConfig::named(&config.name).and_then(|config| config.broker_name),
        config_resource::GROUP => GroupSetting::named(&config.name).and_then(|setting| setting.broker_name),
        _ => Some(config.name.as_str()),
    };
    config.documentation = broker_name.and_then(documentation::of).map(String::from);
}

fn of_topic(settings: &Effective, topic: &Topic) -> Vec<DescribeConfigsResourceResult> {
    let own = &topic.settings.configs;
    let describe = |config: &TopicConfig| {
        let value = settings.topic_value(own, config);
        let synonyms = settings.topic_synonyms(own, config);
        described(config.name, Some(value), config.kind.code(), synonyms)
    };
    TopicConfig::all().iter().map(describe).collect()
}

fn of_broker(settings: &Effective) -> Vec<DescribeConfigsResourceResult> {
    let known = |setting: &BrokerSetting| DescribeConfigsResourceResult {
        read_only: setting.update == Update::AtStart,
        ..of_setting(settings, setting.name, Some(setting), |_| true)
    };
    let (broker, all_brokers) = (&settings.layers.broker, &settings.layers.all_brokers);
    let mut foreign: Vec<&String> = broker.keys().chain(all_brokers.keys()).collect();
    foreign.sort_unstable();
    foreign.dedup();
    let foreign = foreign.into_iter().filter(|name| BrokerSetting::named(name).is_none());
    let foreign = foreign.map(|name| {
        // A listener's own setting, or one that Kafka does not know.
        let setting = BrokerSetting::of_any(name);
        let read_only = setting.is_none();
        DescribeConfigsResourceResult { read_only, ..of_setting(settings, name, setting, |_| true) }
    });
    BrokerSetting::all().iter().map(known).chain(foreign).collect()
}

fn of_all_brokers(settings: &Effective) -> Vec<DescribeConfigsResourceResult> {
    let describe = |(name, value): (&String, &String)| {
        let setting = BrokerSetting::of_any(name);
        let described = of_setting(settings, name, setting, |source| source == Source::AllBrokers);
        let value = (!described.is_sensitive).then(|| value.clone());
        DescribeConfigsResourceResult { value, ..described }
    };
    settings.layers.all_brokers.iter().map(describe).collect()
}

/// A setting of the broker with those of its sources that are `told`. What Kafka does not know may be a secret.
fn of_setting(
    settings: &Effective,
    name: &str,
    setting: Option<&BrokerSetting>,
    told: impl Fn(Source) -> bool,
) -> DescribeConfigsResourceResult {
    let secret = setting.is_none_or(BrokerSetting::is_secret);
    let synonyms = settings.layers.synonyms(name);
    let synonyms = synonyms.into_iter().filter(|synonym| told(synonym.source)).collect();
    let mut described = described(
        name,
        settings.layers.value(name),
        setting.map_or(UNKNOWN_TYPE, |setting| setting.kind.code()),
        synonyms,
    );
    if secret {
        described.is_sensitive = true;
        described.value = None;
        described.synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    described
}

fn of_group(settings: &Effective, entity: &Entity) -> Vec<DescribeConfigsResourceResult> {
    let own = settings.own(entity);
    let describe = |setting: &GroupSetting| {
        let inherited = setting.broker_value(&settings.layers);
        let mut synonyms = match setting.broker_name {
            Some(name) => settings.layers.synonyms(name),
            None => {
                let (name, value) = (setting.name.to_owned(), inherited.clone());
                vec![Synonym { name, value, source: Source::Default }]
            }
        };
        let own = own.get(setting.name).cloned();
        if let Some(value) = own.clone() {
            synonyms.insert(0, Synonym { name: setting.name.to_owned(), value, source: Source::Group });
        }
        described(setting.name, Some(own.unwrap_or(inherited)), setting.kind.code(), synonyms)
    };
    GroupSetting::all().iter().map(describe).collect()
}

fn of_loggers(loggers: &Loggers) -> Vec<DescribeConfigsResourceResult> {
    let describe = |(name, level): (String, String)| DescribeConfigsResourceResult {
        name,
        value: Some(level),
        config_source: LOGGER_SOURCE,
        ..Default::default()
    };
    loggers.all().into_iter().map(describe).collect()
}

fn described(
    name: &str,
    value: Option<String>,
    config_type: i8,
    synonyms: Vec<Synonym>,
) -> DescribeConfigsResourceResult {
    let config_source = synonyms.first().map_or(Source::Default, |synonym| synonym.source).code();
    let synonym = |Synonym { name, value, source }| DescribeConfigsSynonym {
        name,
        value: Some(value),
        source: source.code(),
    };
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value,
        config_source,
        config_type,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        documentation: None,
        ..Default::default()
    }
}
