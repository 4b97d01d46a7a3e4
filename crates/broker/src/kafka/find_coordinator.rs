//! FindCoordinator: this broker coordinates every group and every transactional id.

use super::call::Call;
use crate::node::NODE_ID;
use keyway_kafka_wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator::Coordinator,
};
use keyway_record::ErrorCode;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn handle(call: &Call<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let found = coordinator(call, request.key_type);
    if call.version() >= 4 {
        let coordinators =
            request.coordinator_keys.into_iter().map(|key| Coordinator { key, ..found.clone() });
        return FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() };
    }
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn coordinator(call: &Call<'_>, key_type: i8) -> Coordinator {
    if !matches!(key_type, GROUP | TRANSACTION) {
        return Coordinator {
            node_id: -1,
            port: -1,
            error_code: ErrorCode::InvalidRequest.code(),
            error_message: Some("groups and transactional ids have a coordinator here".to_owned()),
            ..Default::default()
        };
    }
    let (host, port) = call.node.advertised_kafka.clone();
    Coordinator { node_id: NODE_ID, host, port: port.into(), ..Default::default() }
}
