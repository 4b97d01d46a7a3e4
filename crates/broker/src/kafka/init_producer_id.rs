//! InitProducerId: an id for an idempotent producer. Transactional ids are refused until there are transactions.

use super::{call::Call, topic_error};
use keyway_kafka_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use keyway_record::ErrorCode;

pub(super) async fn handle(call: &Call<'_>, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return refused(ErrorCode::InvalidRequest),
        // Every client takes this as final and says so; most others make it try again for ever.
        Some(_) => return refused(ErrorCode::TransactionalIdAuthorizationFailed),
    }
    match call.node.producer_ids.allocate().await {
        Ok((id, epoch)) => {
            InitProducerIdResponse { producer_id: id.0, producer_epoch: epoch.0, ..Default::default() }
        }
        Err(error) => {
            topic_error::of_internal(&error);
            refused(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
