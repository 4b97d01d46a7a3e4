//! ListPartitionReassignments: there is one node, so no partition ever moves.

use keyway_kafka_wire::messages::ListPartitionReassignmentsResponse;

pub(super) fn handle() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { error_message: None, ..Default::default() }
}
