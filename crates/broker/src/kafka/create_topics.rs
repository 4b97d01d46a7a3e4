//! CreateTopics.

use super::{call::Call, describe_configs, topic_error};
use crate::{
    config::Config,
    node::{NODE_ID, Node},
    topics::{
        TopicError, TopicSettings,
        configs::{self, TopicConfig},
    },
};
use keyway_kafka_wire::messages::{CreateTopicsRequest, CreateTopicsResponse, create_topics::*};
use keyway_record::{ErrorCode, TopicId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// The number that stands for the broker's default.
const DEFAULT: i32 = -1;

/// A partition has one copy, on this broker.
const REPLICATION_FACTOR: i16 = 1;

pub(super) async fn handle(call: &Call<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let repeated = repeated(&request.topics);
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let created = match repeated.contains(&asked.name) {
            true => Err(Refused::new(ErrorCode::InvalidRequest, "the request names the topic twice")),
            false => create(call, &asked, request.validate_only).await,
        };
        topics.push(created.unwrap_or_else(|refused| refused.into_result(asked.name)));
    }
    CreateTopicsResponse { topics, ..Default::default() }
}

struct Refused {
    error: ErrorCode,
    message: String,
}

impl Refused {
    fn new(error: ErrorCode, message: impl ToString) -> Self {
        Self { error, message: message.to_string() }
    }

    fn into_result(self, name: String) -> CreatableTopicResult {
        CreatableTopicResult {
            name,
            error_code: self.error.code(),
            error_message: Some(self.message),
            // Empty, not null: clients that read the list before the error die of null.
            configs: Some(Vec::new()),
            ..Default::default()
        }
    }
}

fn repeated(topics: &[CreatableTopic]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    topics.iter().filter(|topic| !seen.insert(&topic.name)).map(|topic| topic.name.clone()).collect()
}

async fn create(
    call: &Call<'_>,
    asked: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refused> {
    let node = call.node;
    let name = TopicName::new(&asked.name).map_err(|error| {
        let (error, message) = topic_error::of_name(&error);
        Refused::new(error, message)
    })?;
    let partitions = partitions(asked, node.config.num_partitions)?;
    let configs = settings(&node.config, asked)?;
    let settings = TopicSettings { configs, ..TopicSettings::default() };
    let effective = described(call, &settings.configs);
    let id = if validate_only {
        would_create(node, name, partitions).map_err(|error| refused_change(&error))?;
        TopicId::ZERO
    } else {
        node.topics.create(name, partitions, settings).await.map_err(|error| refused_change(&error))?.id
    };
    Ok(CreatableTopicResult {
        name: asked.name.clone(),
        topic_id: id,
        error_message: None,
        num_partitions: partitions,
        replication_factor: REPLICATION_FACTOR,
        configs: Some(effective),
        ..Default::default()
    })
}

/// What [`crate::topics::Topics::create`] checks.
fn would_create(node: &Node, name: TopicName, partitions: i32) -> Result<(), TopicError> {
    let max = node.config.partitions_per_topic_max;
    if name.is_internal() {
        return Err(TopicError::Internal);
    }
    if partitions > max {
        return Err(TopicError::Partitions { given: partitions, max });
    }
    if node.topics.named(name.as_str()).is_some() { Err(TopicError::Exists(name)) } else { Ok(()) }
}

fn refused_change(error: &TopicError) -> Refused {
    Refused::new(topic_error::of_change(error), error)
}

/// How many partitions the topic gets.
fn partitions(asked: &CreatableTopic, default: i32) -> Result<i32, Refused> {
    if !asked.assignments.is_empty() {
        return assigned(asked);
    }
    if asked.replication_factor == 0 || asked.replication_factor < DEFAULT as i16 {
        let message = "the replication factor must be at least 1, or -1 for the default";
        return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
    }
    match asked.num_partitions {
        DEFAULT => Ok(default),
        1.. => Ok(asked.num_partitions),
        _ => {
            let message = "the number of partitions must be at least 1, or -1 for the default";
            Err(Refused::new(ErrorCode::InvalidPartitions, message))
        }
    }
}

/// The number of partitions of an assignment by hand, all of which must name this broker.
fn assigned(asked: &CreatableTopic) -> Result<i32, Refused> {
    if asked.num_partitions != DEFAULT || i32::from(asked.replication_factor) != DEFAULT {
        let message = "an assignment excludes a number of partitions and a replication factor";
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    let mut indexes: Vec<i32> =
        asked.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    let consecutive = indexes.iter().enumerate().all(|(place, index)| place as i32 == *index);
    let here = asked.assignments.iter().all(|assignment| assignment.broker_ids == [NODE_ID]);
    if !consecutive || !here {
        let message = format!("partitions must be numbered from 0 and lie on broker {NODE_ID} alone");
        return Err(Refused::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(indexes.len() as i32)
}

fn settings(config: &Config, asked: &CreatableTopic) -> Result<BTreeMap<String, String>, Refused> {
    let one = |asked: &CreatableTopicConfig| configs::checked(&asked.name, asked.value.as_deref());
    let configs: Result<BTreeMap<_, _>, _> = asked.configs.iter().map(one).collect();
    let checked = configs.and_then(|all| configs::check_together(config, &all).map(|()| all));
    checked.map_err(|error| Refused::new(ErrorCode::InvalidConfig, error))
}

fn described(call: &Call<'_>, own: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
    let one = |config: &TopicConfig| {
        let (value, source) = describe_configs::topic_value(&call.node.config, own, config);
        CreatableTopicConfigs {
            name: config.name.to_owned(),
            value: Some(value),
            read_only: false,
            config_source: source,
            is_sensitive: false,
        }
    };
    TopicConfig::all().iter().map(one).collect()
}
