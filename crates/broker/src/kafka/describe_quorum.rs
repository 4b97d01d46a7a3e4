//! DescribeQuorum: this broker is its own controller, and the log of its topics the metadata that the quorum of one keeps.

use super::call::Call;
use crate::node::NODE_ID;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse, describe_quorum::*};
use keyway_record::ErrorCode;

/// The topic that the metadata of a Kafka cluster is in.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// First version that tells where the voters listen.
const NODES_FROM: i16 = 2;

pub(super) fn handle(call: &Call<'_>, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    if let Err(error) = call.check(Operation::Describe, Resource::CLUSTER) {
        return DescribeQuorumResponse { error_code: error.code(), ..Default::default() };
    }
    let of_topic = |asked: TopicData| {
        let is_metadata = asked.topic_name == METADATA_TOPIC;
        let partition = |asked: &PartitionData| match is_metadata && asked.partition_index == 0 {
            true => metadata(call),
            false => ResponsePartitionData {
                partition_index: asked.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some(format!("the quorum keeps {METADATA_TOPIC}, partition 0")),
                ..Default::default()
            },
        };
        let partitions = asked.partitions.iter().map(partition).collect();
        ResponseTopicData { partitions, topic_name: asked.topic_name }
    };
    let topics = request.topics.into_iter().map(of_topic).collect();
    let nodes = if call.version() >= NODES_FROM { vec![node(call)] } else { Vec::new() };
    DescribeQuorumResponse { topics, nodes, ..Default::default() }
}

fn node(call: &Call<'_>) -> Node {
    let (host, port) = call.advertised();
    let listener = Listener { name: call.caller.listener.clone(), host, port };
    Node { node_id: NODE_ID, listeners: vec![listener] }
}

fn metadata(call: &Call<'_>) -> ResponsePartitionData {
    let (epoch, high_watermark) = call.node.topics.metadata_position();
    let now_ms = call.node.world.clock.wall_ms();
    let voter = ReplicaState {
        replica_id: NODE_ID,
        log_end_offset: high_watermark.0,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
        ..Default::default()
    };
    ResponsePartitionData {
        leader_id: NODE_ID,
        leader_epoch: epoch.0,
        high_watermark: high_watermark.0,
        current_voters: vec![voter],
        ..Default::default()
    }
}
