//! InitProducerId: an id for an idempotent producer, or the next epoch of a transactional one.

use super::{call::Call, topic_error};
use keyway_access::{Operation, Resource, ResourceType};
use keyway_groups::transaction::Producer;
use keyway_kafka_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use keyway_record::{ErrorCode, ProducerEpoch, ProducerId};

/// First version that knows that a producer was fenced.
const FENCED_FROM: i16 = 4;

pub(super) async fn handle(call: &Call<'_>, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let producer = match request.transactional_id.as_deref() {
        None => idempotent(call, request).await,
        Some(id) => transactional(call, id, request).await,
    };
    match producer {
        Ok(Producer { id, epoch }) => {
            InitProducerIdResponse { producer_id: id.0, producer_epoch: epoch.0, ..Default::default() }
        }
        Err(error) => {
            let error = topic_error::of_fencing(error, call.version() >= FENCED_FROM);
            InitProducerIdResponse {
                error_code: error.code(),
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            }
        }
    }
}

async fn idempotent(call: &Call<'_>, request: &InitProducerIdRequest) -> Result<Producer, ErrorCode> {
    // Whoever may write to some topic may write idempotently.
    let access = &call.node.access;
    if !call.sees(Operation::IdempotentWrite, Resource::CLUSTER)
        && !access.allows_somewhere(call.caller, Operation::Write, ResourceType::Topic)
    {
        call.check(Operation::IdempotentWrite, Resource::CLUSTER)?;
    }
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    let allocated = call.node.producer_ids.allocate().await;
    allocated.map(|(id, epoch)| Producer { id, epoch }).map_err(|error| {
        topic_error::of_internal(&error);
        ErrorCode::CoordinatorNotAvailable
    })
}

async fn transactional(
    call: &Call<'_>,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<Producer, ErrorCode> {
    call.check(Operation::Write, Resource::transactional_id(id))?;
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (id, epoch) if id >= 0 && epoch >= 0 => {
            Some(Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch) })
        }
        _ => return Err(ErrorCode::InvalidRequest),
    };
    call.node.transactions.init(call.node, &id.into(), expected, request.transaction_timeout_ms).await
}
