//! Writing a message that used up its deliveries to the subscription's dead-letter topic.
//!
//! The record keeps its key, value, headers (those of its schema too) and time, and gets headers that say where it came
//! from and why. After a crash between this write and the stored position the message is written once more; both have
//! the same original topic, partition, offset and subscription.

use super::{
    payloads::Stored,
    side_topic::{self, SideTopicError},
};
use crate::{danube::ids::producer_id, node::Node, partition::Partition};
use bytes::Bytes;
use keyway_danube_wire::message;
use keyway_dispatch::Cause;
use keyway_record::{Header, Offset, Record, TopicName};
use std::sync::Arc;

const ORIGINAL_TOPIC: &str = "x-original-topic";

/// A message that is given up.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) offset: Offset,
    pub(super) attempts: u32,
    pub(super) cause: Cause,
    /// The last consumer's words.
    pub(super) reason: Option<String>,
}

/// Where dead letters come from.
pub(super) struct Origin {
    pub(super) partition: Arc<Partition>,
    pub(super) subscription: String,
    /// URL of this broker.
    pub(super) broker_addr: String,
}

/// Writes the message to `topic`; it is durable when this returns.
pub(super) async fn write(
    node: &Node,
    topic: &TopicName,
    origin: &Origin,
    letter: &DeadLetter,
    stored: &Stored,
) -> Result<(), SideTopicError> {
    if comes_from(&stored.record, topic) {
        return Err(SideTopicError::Circle { topic: topic.clone() });
    }
    side_topic::append(node, topic, stored.timestamp, record(origin, letter, stored)).await
}

/// Whether the message is a dead letter from `topic`.
fn comes_from(record: &Record, topic: &TopicName) -> bool {
    let is_topic = |header: &Header| header.value.as_deref() == Some(topic.as_str().as_bytes());
    record.headers.iter().any(|header| header.key == ORIGINAL_TOPIC && is_topic(header))
}

fn record(origin: &Origin, letter: &DeadLetter, stored: &Stored) -> Record {
    let mut record = Record::clone(&stored.record);
    let producer = message::producer_name(&stored.record).and_then(|name| str::from_utf8(name).ok());
    let producer = producer.map(|name| producer_id(&origin.partition.id.topic, name));
    let mut header = |key: &'static str, value: String| {
        record.headers.push(Header { key: Bytes::from_static(key.as_bytes()), value: Some(value.into()) });
    };
    header(ORIGINAL_TOPIC, origin.partition.id.topic.to_string());
    header("x-original-partition", origin.partition.id.partition.to_string());
    header("x-original-subscription", origin.subscription.clone());
    header("x-original-topic-offset", letter.offset.to_string());
    header("x-original-broker-addr", origin.broker_addr.clone());
    if let Some(id) = producer {
        header("x-original-producer-id", id.to_string());
    }
    header("x-delivery-attempt", letter.attempts.to_string());
    header("x-poison-policy", "dead_letter".to_owned());
    let cause = match letter.cause {
        Cause::Nack => "nack",
        Cause::AckTimeout => "ack timeout",
        Cause::Disconnect => "disconnect",
        Cause::Unmatched => "no key filter matches",
    };
    header("x-failure-reason", letter.reason.clone().unwrap_or_else(|| cause.to_owned()));
    record
}
