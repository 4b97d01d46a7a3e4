//! Topics beside a topic that take messages out of a subscription's way: dead letters, parked messages.

use crate::{
    internal_topic::InternalTopicError,
    node::Node,
    topics::{DispatchStrategy, Topic, TopicError, TopicSettings},
};
use keyway_log::{AppendError, Durability, StoreError};
use keyway_record::{KeyHash, PartitionId, Record, Timestamp, TopicName, batch::BatchBuilder};
use std::sync::Arc;

/// Why a message was not written beside.
#[derive(Debug, thiserror::Error)]
pub(super) enum SideTopicError {
    #[error("topic {topic} cannot be made: {cause}")]
    Topic {
        topic: TopicName,
        #[source]
        cause: TopicError,
    },
    #[error("topic {topic} takes no message: {cause}")]
    Append {
        topic: TopicName,
        #[source]
        cause: AppendError,
    },
    #[error("topic {topic} cannot be made durable: {cause}")]
    Durable {
        topic: TopicName,
        #[source]
        cause: StoreError,
    },
    #[error("the subscription's position cannot be made durable first: {0}")]
    Position(#[from] InternalTopicError),
    #[error(
        "the message came from topic {topic} as a dead letter and would go round in a circle; change the policy"
    )]
    Circle { topic: TopicName },
}

/// The name of the topic beside `topic`: `<topic>.<subscription>.<kind>`, with `-` for characters that a topic's name
/// cannot have. A name that is too long ends with a hash instead of its end, so that no two of them are one.
pub(super) fn name(topic: &TopicName, subscription: &str, kind: &str) -> TopicName {
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let whole = format!("{topic}.{subscription}");
    let mut name: String = whole.chars().map(legal).collect();
    if name.len() + 1 + kind.len() > TopicName::LEN_MAX {
        let hash = format!("-{:016x}", KeyHash::of(whole.as_bytes()).low());
        name.truncate(TopicName::LEN_MAX - 1 - kind.len() - hash.len());
        name += &hash;
    }
    TopicName::new(&format!("{name}.{kind}")).expect("made of legal characters, and short enough")
}

/// Which of the topic's partitions a record goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// One for all messages of a key, which so stay in order.
    ByKey,
    First,
}

/// Writes a record to the topic, which is made if it is missing. Durable when this returns.
pub(super) async fn append(
    node: &Node,
    name: &TopicName,
    place: Place,
    timestamp: Timestamp,
    record: Record,
) -> Result<(), SideTopicError> {
    let topic = find_or_create(node, name).await;
    let topic = topic.map_err(|cause| SideTopicError::Topic { topic: name.clone(), cause })?;
    let count = topic.partitions.len() as u64;
    let index = match (place, &record.key) {
        (Place::ByKey, Some(key)) => KeyHash::of(key).low() % count,
        (Place::ByKey, None) | (Place::First, _) => 0,
    };
    let partition = topic.partition(PartitionId(index as i32)).expect("an index below their number");
    let mut batch = BatchBuilder::new(timestamp);
    batch.push(timestamp, record);
    let appended = node.append(partition, &batch.build()).await;
    let appended = appended.map_err(|cause| SideTopicError::Append { topic: name.clone(), cause })?;
    let durable = node.store.wait(appended.ticket, Durability::Durable).await;
    durable.map_err(|cause| SideTopicError::Durable { topic: name.clone(), cause })
}

async fn find_or_create(node: &Node, name: &TopicName) -> Result<Arc<Topic>, TopicError> {
    if let Some(topic) = node.topics.named(name.as_str()) {
        return Ok(topic);
    }
    // What lies there waits for a person, however long.
    let configs = [("retention.ms", "-1")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let settings =
        TopicSettings { dispatch: Some(DispatchStrategy::Reliable), configs, ..TopicSettings::default() };
    match node.topics.create(name.clone(), 1, settings).await {
        Err(TopicError::Exists(name)) => node.topics.named(name.as_str()).ok_or(TopicError::Unknown(name)),
        created => created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subscription_has_a_topic_beside_its_own() {
        let topic = TopicName::new("orders").unwrap();
        assert_eq!(name(&topic, "billing", "dlq").as_str(), "orders.billing.dlq");
        assert_eq!(name(&topic, "a b/ü", "parked").as_str(), "orders.a-b--.parked");
        let long = |end: &str| name(&topic, &("x".repeat(1_000) + end), "dlq");
        assert!(long("a").as_str().ends_with(".dlq") && long("a").as_str().len() == TopicName::LEN_MAX);
        assert_ne!(long("a"), long("b"));
        let full = TopicName::new(&("y".repeat(TopicName::LEN_MAX - 4) + ".dlq")).unwrap();
        assert_ne!(name(&full, "", "dlq"), full);
    }
}
