//! Metadata: the broker, and topics with their partitions. Creates topics on first use.

use super::{
    authorized_operations,
    call::Call,
    lookup::{self, TopicRef},
    topic_error,
};
use crate::{
    access::AuditEvent,
    node::NODE_ID,
    partition::Partition,
    topics::{Topic, TopicError, TopicSettings},
};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{MetadataRequest, MetadataResponse, metadata::*};
use keyway_record::{ErrorCode, TopicId, TopicName};
use std::sync::Arc;

pub(super) async fn handle(call: &Call<'_>, request: MetadataRequest) -> MetadataResponse {
    let node = call.node;
    let of_topic = |topic: &Arc<Topic>| described(call, topic, request.include_topic_authorized_operations);
    let topics = match request.topics {
        None => shown(call).iter().map(of_topic).collect(),
        Some(asked) if asked.is_empty() && call.version() == 0 => shown(call).iter().map(of_topic).collect(),
        Some(asked) => {
            let create = request.allow_auto_topic_creation && node.settings.now().auto_create_topics;
            let mut topics = Vec::with_capacity(asked.len());
            // With one id among them, names count for nothing: Java's client leaves them empty then, and not null.
            let by_ids = asked.iter().any(|topic| topic.topic_id != TopicId::ZERO);
            for topic in asked {
                let found = match topic.name {
                    Some(_) if by_ids && topic.topic_id == TopicId::ZERO => continue,
                    Some(name) if !by_ids => by_name(call, name, create).await,
                    _ => by_id(call, topic.topic_id),
                };
                topics.push(found.map_or_else(|missing| missing, |topic| of_topic(&topic)));
            }
            topics
        }
    };
    let (host, port) = call.advertised();
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: NODE_ID,
            host,
            port: port.into(),
            ..Default::default()
        }],
        // A client can do without the id; it must not go without the rest because a disk is full.
        cluster_id: node.cluster_id.get().await.map(str::to_owned).ok(),
        controller_id: NODE_ID,
        topics,
        cluster_authorized_operations: authorized_operations::of(
            call,
            request.include_cluster_authorized_operations,
            Resource::CLUSTER,
        ),
        ..Default::default()
    }
}

/// All topics that the client may know of.
fn shown(call: &Call<'_>) -> Vec<Arc<Topic>> {
    let is_shown = |topic: &Arc<Topic>| call.sees(Operation::Describe, Resource::topic(topic.name.as_str()));
    call.node.topics.all().into_iter().filter(is_shown).collect()
}

/// The topic of this name, created if it may be; otherwise what is said about it.
async fn by_name(call: &Call<'_>, name: String, create: bool) -> Result<Arc<Topic>, MetadataResponseTopic> {
    let node = call.node;
    let missing = |error: ErrorCode| MetadataResponseTopic {
        error_code: error.code(),
        name: Some(name.clone()),
        topic_authorized_operations: authorized_operations::NOT_ASKED,
        ..Default::default()
    };
    call.check(Operation::Describe, Resource::topic(&name)).map_err(missing)?;
    if let Some(topic) = node.topics.named(&name) {
        return Ok(topic);
    }
    if create && !call.sees(Operation::Create, Resource::CLUSTER) {
        call.check(Operation::Create, Resource::topic(&name)).map_err(missing)?;
    }
    let Ok(topic) = TopicName::new(&name) else { return Err(missing(ErrorCode::InvalidTopicException)) };
    if !create {
        return Err(missing(ErrorCode::UnknownTopicOrPartition));
    }
    let broker = node.settings.now();
    let settings =
        TopicSettings { replication_factor: broker.default_replication_factor, ..TopicSettings::default() };
    let partitions = broker.num_partitions;
    let event = AuditEvent::TopicCreated { topic: &name, partitions: partitions as usize };
    match call.tell(event, node.topics.create(topic, partitions, settings)).await {
        Ok(topic) => Ok(topic),
        // Someone else's first use came before ours.
        Err(TopicError::Exists(_)) => {
            node.topics.named(&name).ok_or_else(|| missing(ErrorCode::UnknownTopicOrPartition))
        }
        Err(error) => Err(missing(topic_error::of_change(&error))),
    }
}

/// The topic of this id; its name is told to nobody who may not know of it.
fn by_id(call: &Call<'_>, topic_id: TopicId) -> Result<Arc<Topic>, MetadataResponseTopic> {
    lookup::permitted(call, TopicRef::Id(topic_id), Operation::Describe).map_err(|error| {
        MetadataResponseTopic {
            error_code: error.code(),
            name: None,
            topic_id,
            topic_authorized_operations: authorized_operations::NOT_ASKED,
            ..Default::default()
        }
    })
}

fn described(call: &Call<'_>, topic: &Arc<Topic>, operations_asked: bool) -> MetadataResponseTopic {
    MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        partitions: topic.partitions.iter().map(|partition| described_partition(partition)).collect(),
        topic_authorized_operations: authorized_operations::of(
            call,
            operations_asked,
            Resource::topic(topic.name.as_str()),
        ),
        ..Default::default()
    }
}

fn described_partition(partition: &Partition) -> MetadataResponsePartition {
    MetadataResponsePartition {
        partition_index: partition.id.partition.0,
        leader_id: NODE_ID,
        leader_epoch: partition.leader_epoch().0,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        ..Default::default()
    }
}
