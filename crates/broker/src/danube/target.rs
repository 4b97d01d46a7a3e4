//! The topic and partition that a Danube name stands for on this broker.

use crate::{
    node::Node,
    partition::Partition,
    topics::{DispatchStrategy, Topic},
};
use keyway_danube_wire::{TopicRef, proto};
use keyway_record::PartitionId;
use std::sync::Arc;
use tonic::Status;

/// Longest name of a subscription, consumer or producer, bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// A topic that exists, and what of it was named.
pub(super) struct Target {
    pub(super) topic: Arc<Topic>,
    pub(super) name: TopicRef,
}

/// Reads a topic's name. A name that cannot be is the caller's mistake, for ever.
pub(super) fn topic_ref(name: &str) -> Result<TopicRef, Status> {
    let name = TopicRef::parse(name).map_err(|error| Status::invalid_argument(error.to_string()))?;
    if name.topic().is_internal() {
        return Err(Status::invalid_argument("topic names that begin with '__' are the broker's own"));
    }
    Ok(name)
}

/// Checks the name of a subscription, consumer or producer.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), Status> {
    match name.len() {
        0 => Err(Status::invalid_argument(format!("the {what} name is empty"))),
        1..=NAME_BYTES_MAX => Ok(()),
        len => {
            let text = format!("the {what} name has {len} bytes; {NAME_BYTES_MAX} are allowed");
            Err(Status::invalid_argument(text))
        }
    }
}

/// Reads a dispatch strategy, which clients and administrators number alike.
pub(super) fn strategy(number: i32) -> Result<DispatchStrategy, Status> {
    match proto::DispatchStrategy::try_from(number) {
        Ok(proto::DispatchStrategy::NonReliable) => Ok(DispatchStrategy::NonReliable),
        Ok(proto::DispatchStrategy::Reliable) => Ok(DispatchStrategy::Reliable),
        Err(_) => Err(Status::invalid_argument(format!("dispatch strategy {number} is unknown"))),
    }
}

/// Says what to do if the namespace in which a topic is to be made does not exist.
pub(super) fn namespace(node: &Node, name: &TopicRef) -> Result<(), String> {
    let namespace = name.namespace();
    if node.namespaces.exists(&node.topics, namespace) {
        return Ok(());
    }
    Err(format!(
        "namespace {namespace} does not exist; create it with `danube-admin namespaces create {namespace}`"
    ))
}

impl Target {
    /// The topic of this name, or nothing; of a partition that does not exist, nothing.
    pub(super) fn find(node: &Node, name: TopicRef) -> Option<Self> {
        let topic = node.topics.named(name.topic().as_str())?;
        if let Some(partition) = name.partition() {
            topic.partition(partition)?;
        }
        Some(Self { topic, name })
    }

    /// The partition that was named: of a topic as a whole, the only one.
    pub(super) fn partition(&self) -> Option<&Arc<Partition>> {
        match self.name.partition() {
            Some(index) => self.topic.partition(index),
            None if self.topic.partitions.len() == 1 => self.topic.partition(PartitionId(0)),
            None => None,
        }
    }
}
