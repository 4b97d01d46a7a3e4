//! DeleteTopics, by name or by id. Groups forget the offsets that they committed in a deleted topic.

use super::{
    call::Call,
    lookup::{self, TopicRef},
    repeated::{Named, Repeated},
    topic_error,
};
use crate::access::AuditEvent;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse, delete_topics::*};
use keyway_record::{ErrorCode, TopicId};

/// First version whose clients know THROTTLING_QUOTA_EXCEEDED.
const STRICT_FROM: i16 = 5;

pub(super) async fn handle(call: &Call<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = |name| DeleteTopicState { name: Some(name), topic_id: TopicId::ZERO };
    let asked = match call.version() {
        ..6 => request.topic_names.into_iter().map(named).collect(),
        _ => request.topics,
    };
    let mut responses = Vec::with_capacity(asked.len());
    let named = |topic: &DeleteTopicState| (topic.name.clone(), topic.topic_id);
    let mut repeated = Repeated::of(asked.iter().map(named));
    for topic in asked {
        match repeated.named(&named(&topic)) {
            Named::Once => responses.push(delete(call, topic).await),
            Named::Again => responses.push(DeletableTopicResult {
                name: topic.name,
                topic_id: topic.topic_id,
                error_code: ErrorCode::InvalidRequest.code(),
                error_message: Some("the request names the topic twice".to_owned()),
            }),
            Named::Refused => {}
        }
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

async fn delete(call: &Call<'_>, asked: DeleteTopicState) -> DeletableTopicResult {
    let result = |error: ErrorCode, message: Option<String>| DeletableTopicResult {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        error_code: error.code(),
        error_message: message,
    };
    let reference = match &asked.name {
        Some(name) if asked.topic_id == TopicId::ZERO => TopicRef::Name(name),
        None => TopicRef::Id(asked.topic_id),
        Some(_) => {
            let message = "a topic is named by its name or by its id, not by both";
            return result(ErrorCode::InvalidRequest, Some(message.to_owned()));
        }
    };
    let may = |operation, name: &str| {
        call.sees(Operation::Delete, Resource::CLUSTER) || call.may(operation, Resource::topic(name))
    };
    let denied = || result(ErrorCode::TopicAuthorizationFailed, None);
    if let TopicRef::Name(name) = reference
        && !may(Operation::Describe, name)
    {
        return denied();
    }
    let Some(topic) = lookup::topic(call.node, reference) else {
        return result(reference.unknown(), Some("there is no such topic".to_owned()));
    };
    if !may(Operation::Delete, topic.name.as_str()) {
        let shown =
            asked.name.is_none() && call.sees(Operation::Describe, Resource::topic(topic.name.as_str()));
        let name = if shown { Some(topic.name.to_string()) } else { asked.name.clone() };
        return DeletableTopicResult { name, ..denied() };
    }
    if let Err((error, message)) = call.mutate(topic.partitions.len(), STRICT_FROM) {
        return result(error, Some(message));
    }
    let event = AuditEvent::TopicDeleted { topic: topic.name.as_str() };
    let deleted = call.tell(event, call.node.delete_topic(&topic)).await;
    let (error, error_message) = match deleted {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (topic_error::of_change(&error), Some(error.to_string())),
    };
    DeletableTopicResult {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        error_code: error.code(),
        error_message,
    }
}
