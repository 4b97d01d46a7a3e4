//! CreatePartitions: gives topics more partitions.

use super::{
    call::{Call, Refused},
    repeated::{Named, Repeated},
    replicas, topic_error,
};
use crate::{access::AuditEvent, topics::TopicError};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse, create_partitions::*};
use keyway_record::{ErrorCode, TopicName};

/// First version whose clients know THROTTLING_QUOTA_EXCEEDED.
const STRICT_FROM: i16 = 3;

pub(super) async fn handle(call: &Call<'_>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut repeated = Repeated::of(request.topics.iter().map(|topic| topic.name.clone()));
    let mut results = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let grown = match repeated.named(&asked.name) {
            Named::Once => grow(call, &asked, request.validate_only).await,
            Named::Again => Err((ErrorCode::InvalidRequest, "the request names the topic twice".to_owned())),
            Named::Refused => continue,
        };
        let (error, error_message) = match grown {
            Ok(()) => (ErrorCode::None, None),
            Err((error, message)) => (error, Some(message)),
        };
        results.push(CreatePartitionsTopicResult {
            name: asked.name,
            error_code: error.code(),
            error_message,
        });
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

async fn grow(call: &Call<'_>, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let refused = |error: &TopicError| (topic_error::of_change(error), error.to_string());
    call.permit(Operation::Alter, Resource::topic(&asked.name))?;
    let name = TopicName::new(&asked.name).map_err(|error| topic_error::of_name(&error))?;
    let Some(topic) = call.node.topics.named(name.as_str()) else {
        return Err(refused(&TopicError::Unknown(name)));
    };
    let (current, max) = (topic.partitions.len() as i32, call.node.config.partitions_per_topic_max);
    if asked.count > max {
        return Err(refused(&TopicError::Partitions { given: asked.count, max }));
    }
    if asked.count <= current {
        return Err(refused(&TopicError::NotMore { name, current, given: asked.count }));
    }
    if let Some(assignments) = &asked.assignments {
        let (new, given) = ((asked.count - current) as usize, assignments.len());
        let invalid = |message| (ErrorCode::InvalidReplicaAssignment, message);
        if given != new {
            return Err(invalid(format!("{new} new partitions need as many assignments, not {given}")));
        }
        let factor = usize::try_from(topic.settings.replication_factor).expect("a factor is at least 1");
        assignments
            .iter()
            .try_for_each(|assignment| replicas::check(&assignment.broker_ids, factor))
            .map_err(invalid)?;
    }
    call.mutate((asked.count - current) as usize, STRICT_FROM)?;
    if validate_only {
        return Ok(());
    }
    let partitions = asked.count as usize;
    let event = AuditEvent::PartitionsAdded { topic: name.as_str(), partitions };
    let grown = call.tell(event, call.node.topics.grow(&name, asked.count)).await;
    grown.map(drop).map_err(|error| refused(&error))
}
