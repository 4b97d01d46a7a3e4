//! Writing a message that used up its deliveries to the subscription's dead-letter topic.
//!
//! The topic is named `<topic>.<subscription>.dlq`, with `-` for characters that a topic's name cannot have. The record
//! keeps its key, value, headers and time, and gets headers that say where it came from and why.

use super::{
    handle::{Command, Subscription},
    payloads::Stored,
};
use crate::{
    node::Node,
    partition::Partition,
    topics::{DispatchStrategy, Topic, TopicError, TopicSettings},
};
use bytes::Bytes;
use keyway_dispatch::Cause;
use keyway_log::Durability;
use keyway_record::{Header, Offset, PartitionId, Record, TopicName, batch::BatchBuilder};
use std::sync::Arc;

/// A message that is given up.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) offset: Offset,
    pub(super) attempts: u32,
    pub(super) cause: Cause,
    /// The last consumer's words.
    pub(super) reason: Option<String>,
}

/// Writes the message and tells the subscription's owner how that went.
pub(super) async fn write(
    node: Arc<Node>,
    from: Arc<Partition>,
    subscription: Arc<Subscription>,
    letter: DeadLetter,
    stored: Stored,
) {
    let offset = letter.offset;
    let name = topic_name(&from.id.topic, &subscription.id.name);
    let record = record(&from, &subscription, &letter, &stored);
    let written = match topic(&node, &name).await {
        Ok(topic) => append(&node, &topic, &stored, record).await,
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = &written {
        tracing::error!(partition = %from.id, %offset, topic = %name, %error, "cannot write a dead letter; trying again");
    }
    subscription.command(Command::SideDone { offset, ok: written.is_ok() }).await;
}

async fn append(node: &Node, topic: &Topic, stored: &Stored, record: Record) -> Result<(), String> {
    let partition = topic.partition(PartitionId(0)).expect("a topic has a partition");
    let mut batch = BatchBuilder::new(stored.timestamp);
    batch.push(stored.timestamp, record);
    let appended = node.append(partition, &batch.build()).await.map_err(|error| error.to_string())?;
    node.store.wait(appended.ticket, Durability::Durable).await.map_err(|error| error.to_string())
}

async fn topic(node: &Node, name: &TopicName) -> Result<Arc<Topic>, TopicError> {
    if let Some(topic) = node.topics.named(name.as_str()) {
        return Ok(topic);
    }
    let settings = TopicSettings { dispatch: Some(DispatchStrategy::Reliable), ..TopicSettings::default() };
    match node.topics.create(name.clone(), 1, settings).await {
        Err(TopicError::Exists(name)) => node.topics.named(name.as_str()).ok_or(TopicError::Unknown(name)),
        created => created,
    }
}

pub(super) fn topic_name(topic: &TopicName, subscription: &str) -> TopicName {
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let mut name: String = format!("{topic}.{subscription}").chars().map(legal).collect();
    name.truncate(TopicName::LEN_MAX - 4);
    TopicName::new(&(name + ".dlq")).expect("made of legal characters")
}

fn record(from: &Partition, subscription: &Subscription, letter: &DeadLetter, stored: &Stored) -> Record {
    let mut record = Record::clone(&stored.record);
    let mut header = |key: &'static str, value: String| {
        record.headers.push(Header { key: Bytes::from_static(key.as_bytes()), value: Some(value.into()) });
    };
    header("x-original-topic", from.id.topic.to_string());
    header("x-original-partition", from.id.partition.to_string());
    header("x-original-subscription", subscription.id.name.clone());
    header("x-original-topic-offset", letter.offset.to_string());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_subscription_has_a_dead_letter_topic() {
        let topic = TopicName::new("orders").unwrap();
        assert_eq!(topic_name(&topic, "billing").as_str(), "orders.billing.dlq");
        assert_eq!(topic_name(&topic, "a b/ü").as_str(), "orders.a-b--.dlq");
        let long = topic_name(&topic, &"x".repeat(1_000));
        assert!(long.as_str().ends_with(".dlq"));
    }
}
