//! FindCoordinator: this broker coordinates every group and every transactional id.

use super::call::Call;
use crate::node::NODE_ID;
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator::Coordinator,
};
use keyway_record::ErrorCode;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn handle(call: &Call<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if call.version() >= 4 {
        let of_key =
            |key: String| Coordinator { key: key.clone(), ..coordinator(call, request.key_type, &key) };
        let coordinators = request.coordinator_keys.into_iter().map(of_key);
        return FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() };
    }
    let found = coordinator(call, request.key_type, &request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn coordinator(call: &Call<'_>, key_type: i8, key: &str) -> Coordinator {
    let refused = |error: ErrorCode, message: String| Coordinator {
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(message),
        ..Default::default()
    };
    let resource = match key_type {
        GROUP => Resource::group(key),
        TRANSACTION => Resource::transactional_id(key),
        _ => {
            let message = "groups and transactional ids have a coordinator here";
            return refused(ErrorCode::InvalidRequest, message.to_owned());
        }
    };
    if let Err(error) = call.check(Operation::Describe, resource) {
        return refused(error, error.to_string());
    }
    let (host, port) = call.advertised();
    Coordinator { node_id: NODE_ID, host, port: port.into(), ..Default::default() }
}
