//! DescribeTopicPartitions: topics with their partitions, some thousand at a time (KIP-966).

use super::{authorized_operations, call::Call, topic_error};
use crate::{node::NODE_ID, partition::Partition, topics::Topic};
use keyway_access::Resource;
use keyway_kafka_wire::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, describe_topic_partitions::*,
};
use keyway_record::{ErrorCode, TopicName};
use std::{collections::BTreeSet, sync::Arc};

/// Most partitions of one response: Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2_000;

pub(super) fn handle(
    call: &Call<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let names: BTreeSet<String> = match request.topics.is_empty() {
        true => call.node.topics.all().iter().map(|topic| topic.name.to_string()).collect(),
        false => request.topics.into_iter().map(|topic| topic.name).collect(),
    };
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let (from_name, from_index) = match request.cursor {
        Some(cursor) => (cursor.topic_name, usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => (String::new(), 0),
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= from_name) {
        let mut next = if name == from_name { from_index } else { 0 };
        let mut is_cut = left == 0;
        if !is_cut {
            response.topics.push(match call.node.topics.named(&name) {
                None => missing(name.clone()),
                Some(topic) => {
                    let partitions: Vec<_> = topic.partitions.iter().skip(next).take(left).collect();
                    left -= partitions.len();
                    next += partitions.len();
                    is_cut = next < topic.partitions.len();
                    described(call, &topic, &partitions)
                }
            });
        }
        if is_cut {
            let partition_index = i32::try_from(next).expect("partitions are counted in 31 bits");
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index });
            break;
        }
    }
    response
}

fn missing(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match TopicName::new(&name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(error) => topic_error::of_name(&error).0,
    };
    DescribeTopicPartitionsResponseTopic { error_code: error.code(), name: Some(name), ..Default::default() }
}

fn described(
    call: &Call<'_>,
    topic: &Topic,
    partitions: &[&Arc<Partition>],
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        partitions: partitions.iter().map(|partition| described_partition(partition)).collect(),
        topic_authorized_operations: authorized_operations::of(
            call,
            true,
            Resource::topic(topic.name.as_str()),
        ),
        ..Default::default()
    }
}

fn described_partition(partition: &Partition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        partition_index: partition.id.partition.0,
        leader_id: NODE_ID,
        leader_epoch: partition.leader_epoch().0,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..Default::default()
    }
}
