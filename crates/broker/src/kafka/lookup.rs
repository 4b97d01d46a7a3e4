//! Which topic a request means.

use crate::{node::Node, topics::Topic};
use keyway_record::{ErrorCode, TopicId};
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

pub(super) fn topic(node: &Node, topic: TopicRef<'_>) -> Option<Arc<Topic>> {
    match topic {
        TopicRef::Name(name) => node.topics.named(name),
        TopicRef::Id(id) => node.topics.of_id(id),
    }
}
