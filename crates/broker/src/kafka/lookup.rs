//! Which topic a request means.

use super::call::Call;
use crate::{node::Node, partition::Partition, topics::Topic};
use keyway_access::{Operation, Resource};
use keyway_record::{ErrorCode, PartitionId, TopicId};
use std::sync::Arc;

/// A topic as requests refer to it: by name, and in newer versions by id.
#[derive(Clone, Copy, Debug)]
pub(super) enum TopicRef<'a> {
    Name(&'a str),
    Id(TopicId),
}

impl<'a> TopicRef<'a> {
    pub(super) fn of(has_ids: bool, name: &'a str, id: TopicId) -> Self {
        if has_ids { Self::Id(id) } else { Self::Name(name) }
    }

    /// Kafka's code for a topic that is not there.
    pub(super) fn unknown(self) -> ErrorCode {
        match self {
            Self::Name(_) => ErrorCode::UnknownTopicOrPartition,
            Self::Id(_) => ErrorCode::UnknownTopicId,
        }
    }
}

/// The topic, if the client may do `operation` to it. Whether a topic exists is told by its name to nobody who may not, and
/// by its id to everybody, as in Kafka.
pub(super) fn permitted(
    call: &Call<'_>,
    asked: TopicRef<'_>,
    operation: Operation,
) -> Result<Arc<Topic>, ErrorCode> {
    if let TopicRef::Name(name) = asked {
        call.check(operation, Resource::topic(name))?;
    }
    let found = topic(call.node, asked).ok_or(asked.unknown())?;
    if let TopicRef::Id(_) = asked {
        call.check(operation, Resource::topic(found.name.as_str()))?;
    }
    Ok(found)
}

/// A partition of a topic that was looked up, or why there is none.
pub(super) fn partition(
    topic: &Result<Arc<Topic>, ErrorCode>,
    index: i32,
) -> Result<&Arc<Partition>, ErrorCode> {
    let topic = topic.as_ref().map_err(|error| *error)?;
    topic.partition(PartitionId(index)).ok_or(ErrorCode::UnknownTopicOrPartition)
}

pub(super) fn topic(node: &Node, topic: TopicRef<'_>) -> Option<Arc<Topic>> {
    match topic {
        TopicRef::Name(name) => node.topics.named(name),
        TopicRef::Id(id) => node.topics.of_id(id),
    }
}
