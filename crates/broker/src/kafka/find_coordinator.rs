//! FindCoordinator: this broker coordinates every group.

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
    let (error, message) = match key_type {
        GROUP => {
            let (host, port) = call.node.advertised_kafka.clone();
            let error_message = None;
            return Coordinator {
                node_id: NODE_ID,
                host,
                port: port.into(),
                error_message,
                ..Default::default()
            };
        }
        // Every client takes this as final and says so; most others make it try again for ever.
        TRANSACTION => {
            (ErrorCode::TransactionalIdAuthorizationFailed, "this broker does not offer transactions yet")
        }
        _ => (ErrorCode::InvalidRequest, "only groups have a coordinator here"),
    };
    Coordinator {
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(message.to_owned()),
        ..Default::default()
    }
}
