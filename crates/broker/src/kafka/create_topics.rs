//! CreateTopics.

use super::{
    call::Call,
    repeated::{Named, Repeated},
    replicas, topic_error,
};
use crate::{
    access::AuditEvent,
    node::Node,
    settings::{Configs, Effective, Source},
    topics::{
        TopicError, TopicSettings,
        configs::{self, TopicConfig},
    },
};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{CreateTopicsRequest, CreateTopicsResponse, create_topics::*};
use keyway_record::{ErrorCode, TopicId, TopicName};

/// First version whose clients know THROTTLING_QUOTA_EXCEEDED.
const STRICT_FROM: i16 = 6;

/// The number that stands for the broker's default.
const DEFAULT: i32 = -1;
const DEFAULT_FACTOR: i16 = -1;

pub(super) async fn handle(call: &Call<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut repeated = Repeated::of(request.topics.iter().map(|topic| topic.name.clone()));
    let mut topics = Vec::with_capacity(request.topics.len());
    let may_create_all = call.sees(Operation::Create, Resource::CLUSTER);
    let may_create = |name: &str| may_create_all || call.may(Operation::Create, Resource::topic(name));
    for asked in request.topics {
        let created = match repeated.named(&asked.name) {
            Named::Once if !may_create(&asked.name) => {
                Err(Refused::new(ErrorCode::TopicAuthorizationFailed, "no permission to create the topic"))
            }
            Named::Once => create(call, &asked, request.validate_only).await,
            Named::Again => Err(Refused::new(ErrorCode::InvalidRequest, "the request names the topic twice")),
            Named::Refused => continue,
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
    let broker = node.settings.now();
    let Size { partitions, replication_factor } = size(asked, &broker)?;
    let configs = configs_of(asked, &broker)?;
    let effective = described(&configs, &broker);
    let count = usize::try_from(partitions).expect("a size is at least 1");
    call.mutate(count, STRICT_FROM).map_err(|(error, message)| Refused::new(error, message))?;
    let settings = TopicSettings { configs, replication_factor, ..TopicSettings::default() };
    let id = if validate_only {
        would_create(node, name, partitions).map_err(|error| refused_change(&error))?;
        TopicId::ZERO
    } else {
        let event = AuditEvent::TopicCreated { topic: &asked.name, partitions: count };
        let created = call.tell(event, node.topics.create(name, partitions, settings)).await;
        created.map_err(|error| refused_change(&error))?.id
    };
    let created = CreatableTopicResult {
        name: asked.name.clone(),
        topic_id: id,
        error_message: None,
        ..Default::default()
    };
    if !call.sees(Operation::DescribeConfigs, Resource::topic(&asked.name)) {
        let topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
        return Ok(CreatableTopicResult { topic_config_error_code, ..created });
    }
    let configs = Some(effective);
    Ok(CreatableTopicResult { num_partitions: partitions, replication_factor, configs, ..created })
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

/// What a topic is asked to have. One copy of each partition is kept, whatever the factor.
struct Size {
    partitions: i32,
    replication_factor: i16,
}

fn size(asked: &CreatableTopic, broker: &Effective) -> Result<Size, Refused> {
    if !asked.assignments.is_empty() {
        return assigned(asked);
    }
    let replication_factor = match asked.replication_factor {
        DEFAULT_FACTOR => broker.default_replication_factor,
        1.. => asked.replication_factor,
        _ => {
            let message = "the replication factor must be at least 1, or -1 for the default";
            return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
        }
    };
    let partitions = match asked.num_partitions {
        DEFAULT => broker.num_partitions,
        1.. => asked.num_partitions,
        _ => {
            let message = "the number of partitions must be at least 1, or -1 for the default";
            return Err(Refused::new(ErrorCode::InvalidPartitions, message));
        }
    };
    Ok(Size { partitions, replication_factor })
}

/// The size of an assignment by hand. It may name brokers that are not there, as a factor may, but this one must be
/// among them: it is who keeps the copy.
fn assigned(asked: &CreatableTopic) -> Result<Size, Refused> {
    if asked.num_partitions != DEFAULT || asked.replication_factor != DEFAULT_FACTOR {
        let message = "an assignment excludes a number of partitions and a replication factor";
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    let mut indexes: Vec<i32> =
        asked.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    let consecutive = indexes.iter().enumerate().all(|(place, index)| place as i32 == *index);
    let invalid = |message: String| Refused::new(ErrorCode::InvalidReplicaAssignment, message);
    if !consecutive {
        return Err(invalid("partitions must be numbered from 0 on, each once".to_owned()));
    }
    let factor = asked.assignments.first().map_or(0, |first| first.broker_ids.len());
    asked
        .assignments
        .iter()
        .try_for_each(|assignment| replicas::check(&assignment.broker_ids, factor))
        .map_err(invalid)?;
    let replication_factor = i16::try_from(factor).map_err(|_| invalid("too many replicas".to_owned()))?;
    Ok(Size { partitions: indexes.len() as i32, replication_factor })
}

fn configs_of(asked: &CreatableTopic, broker: &Effective) -> Result<Configs, Refused> {
    let one = |asked: &CreatableTopicConfig| configs::checked(&asked.name, asked.value.as_deref());
    let configs: Result<Configs, _> = asked.configs.iter().map(one).collect();
    let checked = configs.and_then(|all| configs::check_together(broker, &all).map(|()| all));
    checked.map_err(|error| Refused::new(ErrorCode::InvalidConfig, error))
}

fn described(own: &Configs, broker: &Effective) -> Vec<CreatableTopicConfigs> {
    let one = |config: &TopicConfig| {
        let value = broker.topic_value(own, config);
        let synonyms = broker.topic_synonyms(own, config);
        let source = synonyms.first().map_or(Source::Default, |synonym| synonym.source);
        CreatableTopicConfigs {
            name: config.name.to_owned(),
            value: Some(value),
            read_only: false,
            config_source: source.code(),
            is_sensitive: false,
        }
    };
    TopicConfig::all().iter().map(one).collect()
}
