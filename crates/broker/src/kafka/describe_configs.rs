//! DescribeConfigs: what topics and the broker are set to, and where each value comes from.

use super::{
    broker_configs::{self, BrokerConfig},
    call::Call,
};
use crate::{
    config::Config,
    node::NODE_ID,
    topics::configs::{Kind, TopicConfig},
};
use keyway_kafka_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse, describe_configs::*};
use keyway_record::ErrorCode;
use std::collections::BTreeMap;

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

pub(super) fn handle(call: &Call<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let describe = |resource: DescribeConfigsResource| {
        let described = match resource.resource_type {
            TOPIC => topic(call, &resource.resource_name, synonyms),
            BROKER => broker(call, &resource.resource_name, synonyms),
            other => {
                Err((ErrorCode::InvalidRequest, format!("resources of type {other} have no configs here")))
            }
        };
        let (error, error_message, mut configs) = match described {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((error, message)) => (error, Some(message), Vec::new()),
        };
        if let Some(keys) = &resource.configuration_keys {
            configs.retain(|config| keys.contains(&config.name));
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

type Described = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)>;

fn topic(call: &Call<'_>, name: &str, synonyms: bool) -> Described {
    let Some(topic) = call.node.topics.named(name) else {
        return Err((ErrorCode::UnknownTopicOrPartition, format!("topic {name:?} does not exist")));
    };
    let config = &call.node.config;
    let describe = |row: &TopicConfig| {
        let own = topic.settings.configs.get(row.name);
        let (value, source) = topic_value(config, &topic.settings.configs, row);
        let mut chain = Vec::new();
        if let Some(own) = own {
            chain.push((row.name, own.clone(), SOURCE_TOPIC));
        }
        if let Some(name) = row.broker_name {
            if row.broker_value(config) != row.default_value() {
                chain.push((name, row.broker_value(config), SOURCE_BROKER));
            }
            chain.push((name, row.default_value().to_owned(), SOURCE_DEFAULT));
        }
        described(row.name, Some(value), source, row.kind, if synonyms { chain } else { Vec::new() })
    };
    Ok(TopicConfig::all().iter().map(describe).collect())
}

/// The value that a topic with these configs of its own has, and its source.
pub(super) fn topic_value(
    config: &Config,
    own: &BTreeMap<String, String>,
    row: &TopicConfig,
) -> (String, i8) {
    match own.get(row.name) {
        Some(own) => (own.clone(), SOURCE_TOPIC),
        None if row.broker_value(config) != row.default_value() => (row.broker_value(config), SOURCE_BROKER),
        None => (row.default_value().to_owned(), SOURCE_DEFAULT),
    }
}

fn broker(call: &Call<'_>, name: &str, synonyms: bool) -> Described {
    // The empty name stands for what is set for all brokers at run time, which nothing is.
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name != NODE_ID.to_string() {
        return Err((ErrorCode::InvalidRequest, format!("this is broker {NODE_ID}, not {name:?}")));
    }
    let describe = |config: BrokerConfig| {
        let source = if config.value == config.default { SOURCE_DEFAULT } else { SOURCE_BROKER };
        let mut chain = Vec::new();
        if synonyms {
            let own = config.value.clone().filter(|_| source == SOURCE_BROKER);
            chain.extend(own.map(|value| (config.name, value, SOURCE_BROKER)));
            chain.extend(config.default.clone().map(|value| (config.name, value, SOURCE_DEFAULT)));
        }
        let described = described(config.name, config.value, source, config.kind, chain);
        DescribeConfigsResourceResult { read_only: true, ..described }
    };
    Ok(broker_configs::of_broker(call.node).into_values().map(describe).collect())
}

fn described(
    name: &str,
    value: Option<String>,
    config_source: i8,
    kind: Kind,
    synonyms: Vec<(&str, String, i8)>,
) -> DescribeConfigsResourceResult {
    let synonym = |(name, value, source): (&str, String, i8)| DescribeConfigsSynonym {
        name: name.to_owned(),
        value: Some(value),
        source,
    };
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value,
        config_source,
        config_type: kind.code(),
        synonyms: synonyms.into_iter().map(synonym).collect(),
        documentation: None,
        ..Default::default()
    }
}
