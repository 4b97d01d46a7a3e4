//! ListPartitionReassignments: there is one node, so no partition ever moves.

use keyway_kafka_wire::messages::ListPartitionReassignmentsResponse;

pub(super) fn handle() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
