//! Writing a message that used up its deliveries, or whose key is parked, to a topic beside its own.
//!
//! The record keeps its key, value, headers (those of its schema too) and time, and gets headers that say where it came
//! from and why. After a crash between this write and the stored position the message is written once more; both have
//! the same original topic, partition, offset and subscription.

use super::{
    payloads::Stored,
    side_topic::{self, Place, SideTopicError},
};
use crate::{danube::ids::producer_id, node::Node, partition::Partition};
use bytes::Bytes;
use keyway_danube_wire::message;
use keyway_dispatch::Cause;
use keyway_record::{Header, Offset, Record, TopicName, TopicPartition};
use std::sync::Arc;

const ORIGINAL_TOPIC: &str = "x-original-topic";
const ORIGINAL_PARTITION: &str = "x-original-partition";
const ORIGINAL_SUBSCRIPTION: &str = "x-original-subscription";
const ORIGINAL_OFFSET: &str = "x-original-topic-offset";
const POLICY: &str = "x-poison-policy";
const PARK: &str = "park";

/// Why a message goes there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is given up.
    DeadLetter,
    /// Its key waits for a person.
    Parked,
}

/// A message on its way there.
#[derive(Debug)]
pub(super) struct SideMessage {
    pub(super) fate: Fate,
    pub(super) offset: Offset,
    pub(super) attempts: u32,
    pub(super) cause: Cause,
    /// The last consumer's words.
    pub(super) reason: Option<String>,
}

/// Where such messages come from.
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
    message: &SideMessage,
    stored: &Stored,
) -> Result<(), SideTopicError> {
    if comes_from(&stored.record, topic) {
        return Err(SideTopicError::Circle { topic: topic.clone() });
    }
    let place = match message.fate {
        Fate::DeadLetter => Place::ByKey,
        Fate::Parked => Place::First,
    };
    side_topic::append(node, topic, place, stored.timestamp, record(origin, message, stored)).await
}

/// Whether the message is a dead letter from `topic`.
fn comes_from(record: &Record, topic: &TopicName) -> bool {
    let is_topic = |header: &Header| header.value.as_deref() == Some(topic.as_str().as_bytes());
    record.headers.iter().any(|header| header.key == ORIGINAL_TOPIC && is_topic(header))
}

fn record(origin: &Origin, message: &SideMessage, stored: &Stored) -> Record {
    let mut record = Record::clone(&stored.record);
    let producer = message::producer_name(&stored.record).and_then(|name| str::from_utf8(name).ok());
    let producer = producer.map(|name| producer_id(&origin.partition.id.topic, name));
    let mut header = |key: &'static str, value: String| {
        record.headers.push(Header { key: Bytes::from_static(key.as_bytes()), value: Some(value.into()) });
    };
    header(ORIGINAL_TOPIC, origin.partition.id.topic.to_string());
    header(ORIGINAL_PARTITION, origin.partition.id.partition.to_string());
    header(ORIGINAL_SUBSCRIPTION, origin.subscription.clone());
    header(ORIGINAL_OFFSET, message.offset.to_string());
    header("x-original-broker-addr", origin.broker_addr.clone());
    if let Some(id) = producer {
        header("x-original-producer-id", id.to_string());
    }
    header("x-delivery-attempt", message.attempts.to_string());
    let policy = match message.fate {
        Fate::DeadLetter => "dead_letter",
        Fate::Parked => PARK,
    };
    header(POLICY, policy.to_owned());
    let cause = match message.cause {
        Cause::Nack => "nack",
        Cause::AckTimeout => "ack timeout",
        Cause::Disconnect => "disconnect",
        Cause::Unmatched => "no key filter matches",
    };
    header("x-failure-reason", message.reason.clone().unwrap_or_else(|| cause.to_owned()));
    record
}

/// The message that was parked as `stored` by this subscription of this partition, with its offset there and without
/// the headers that it got; nothing if this is no such message.
pub(super) fn original(
    stored: &Stored,
    partition: &TopicPartition,
    subscription: &str,
) -> Option<(Offset, Stored)> {
    let headers = &stored.record.headers;
    // A message that was set aside before has older ones in front.
    let added = headers.iter().rposition(|header| header.key == ORIGINAL_TOPIC)?;
    let value = |name: &str| {
        let header = headers[added..].iter().find(|header| header.key == name)?;
        str::from_utf8(header.value.as_deref()?).ok()
    };
    let is_own = value(ORIGINAL_TOPIC)? == partition.topic.as_str()
        && value(ORIGINAL_PARTITION)? == partition.partition.to_string()
        && value(ORIGINAL_SUBSCRIPTION)? == subscription
        && value(POLICY)? == PARK;
    let offset = value(ORIGINAL_OFFSET)?.parse().ok().filter(|_| is_own)?;
    let mut record = Record::clone(&stored.record);
    record.headers.truncate(added);
    Some((Offset(offset), Stored { timestamp: stored.timestamp, record: Arc::new(record) }))
}
