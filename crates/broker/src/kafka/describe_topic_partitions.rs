//! DescribeTopicPartitions: topics with their partitions, some thousand at a time (KIP-966).

use super::{authorized_operations, call::Call, topic_error};
use crate::{node::NODE_ID, partition::Partition, topics::Topic};
use keyway_access::{Operation, Resource};
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
    let asks_all = request.topics.is_empty();
    let is_shown = |name: &String| match asks_all {
        true => call.sees(Operation::Describe, Resource::topic(name)),
        false => call.may(Operation::Describe, Resource::topic(name)),
    };
    let names: BTreeSet<String> = match asks_all {
        true => call.node.topics.all().iter().map(|topic| topic.name.to_string()).collect(),
        false => request.topics.into_iter().map(|topic| topic.name).collect(),
    };
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let (from_name, from_index, is_valid) = match request.cursor {
        Some(Cursor { topic_name, partition_index }) => {
            let index = usize::try_from(partition_index);
            let is_valid = index.is_ok() && (asks_all || names.contains(&topic_name));
            (topic_name, index.unwrap_or(0), is_valid)
        }
        None => (String::new(), 0, true),
    };
    if !is_valid {
        return refused(names);
    }
    let (names, hidden): (BTreeSet<String>, BTreeSet<String>) = names.into_iter().partition(is_shown);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= from_name) {
        let mut next = if name == from_name { from_index } else { 0 };
        let mut is_cut = left == 0;
        if !is_cut {
            let mut topic = match call.node.topics.named(&name) {
                None => missing(name.clone()),
                Some(topic) => {
                    let partitions: Vec<_> = topic.partitions.iter().skip(next).take(left).collect();
                    left -= partitions.len();
                    next += partitions.len();
                    is_cut = next < topic.partitions.len();
                    described(&topic, &partitions)
                }
            };
            topic.topic_authorized_operations = authorized_operations::of(call, true, Resource::topic(&name));
            response.topics.push(topic);
        }
        if is_cut {
            let partition_index = i32::try_from(next).expect("partitions are counted in 31 bits");
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index });
            break;
        }
    }
    let hidden = hidden.into_iter().filter(|name| !asks_all && *name >= from_name);
    response.topics.extend(hidden.map(|name| {
        let error_code = ErrorCode::TopicAuthorizationFailed.code();
        DescribeTopicPartitionsResponseTopic { error_code, name: Some(name), ..Default::default() }
    }));
    response
}

/// A cursor must be at one of the topics that are asked for, and at a partition.
fn refused(names: BTreeSet<String>) -> DescribeTopicPartitionsResponse {
    let topic = |name| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(name),
        ..Default::default()
    };
    DescribeTopicPartitionsResponse { topics: names.into_iter().map(topic).collect(), ..Default::default() }
}

fn missing(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match TopicName::new(&name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(error) => topic_error::of_name(&error).0,
    };
    DescribeTopicPartitionsResponseTopic { error_code: error.code(), name: Some(name), ..Default::default() }
}

fn described(topic: &Topic, partitions: &[&Arc<Partition>]) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        partitions: partitions.iter().map(|partition| described_partition(partition)).collect(),
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
