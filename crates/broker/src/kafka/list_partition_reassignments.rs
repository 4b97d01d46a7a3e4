//! ListPartitionReassignments: there is one node, so no partition ever moves.

use super::call::Call;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::ListPartitionReassignmentsResponse;

pub(super) fn handle(call: &Call<'_>) -> ListPartitionReassignmentsResponse {
    let refused = call.check(Operation::Describe, Resource::CLUSTER).err();
    ListPartitionReassignmentsResponse {
        error_code: refused.map_or(0, |error| error.code()),
        error_message: refused.map(|error| error.to_string()),
        ..Default::default()
    }
}
