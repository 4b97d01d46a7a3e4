//! ElectLeaders: every partition has its one replica for a leader, so no election is ever needed.

use super::call::Call;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{ElectLeadersRequest, ElectLeadersResponse, elect_leaders::*};
use keyway_record::{ErrorCode, PartitionId};

/// Kafka's kinds of elections: of the preferred replica, and of any.
const KINDS: std::ops::RangeInclusive<i8> = 0..=1;

pub(super) fn handle(call: &Call<'_>, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let permitted = call.check(Operation::Alter, Resource::CLUSTER);
    let is_kind = KINDS.contains(&request.election_type);
    // Asked for all partitions, Kafka lists those that it elected a leader of.
    let topics = request.topic_partitions.unwrap_or_default();
    let of_topic = |asked: TopicPartitions| {
        let topic = call.node.topics.named(&asked.topic);
        let result = |partition_id: i32| {
            let is_known =
                topic.as_ref().is_some_and(|topic| topic.partition(PartitionId(partition_id)).is_some());
            let error = match is_known {
                _ if permitted.is_err() => ErrorCode::ClusterAuthorizationFailed,
                _ if !is_kind => ErrorCode::InvalidRequest,
                true => ErrorCode::ElectionNotNeeded,
                false => ErrorCode::UnknownTopicOrPartition,
            };
            PartitionResult { partition_id, error_code: error.code(), error_message: Some(error.to_string()) }
        };
        let partition_result = asked.partitions.iter().copied().map(result).collect();
        ReplicaElectionResult { partition_result, topic: asked.topic }
    };
    ElectLeadersResponse {
        error_code: match permitted {
            Err(error) => error.code(),
            Ok(()) if is_kind => ErrorCode::None.code(),
            Ok(()) => ErrorCode::InvalidRequest.code(),
        },
        replica_election_results: topics.into_iter().map(of_topic).collect(),
        ..Default::default()
    }
}
