//! EndTxn: a producer commits or aborts its transaction.

use super::{call::Call, topic_error};
use keyway_access::{Operation, Resource};
use keyway_groups::transaction::{Outcome, Producer, Version};
use keyway_kafka_wire::messages::{EndTxnRequest, EndTxnResponse};
use keyway_record::{ErrorCode, ProducerEpoch, ProducerId};

/// First version that answers with the producer's next epoch.
const NEXT_EPOCH_FROM: i16 = 5;

/// First version that knows that a producer was fenced.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(call: &Call<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let version = if call.version() >= NEXT_EPOCH_FROM { Version::V2 } else { Version::V1 };
    let permitted = call.check(Operation::Write, Resource::transactional_id(&request.transactional_id));
    let ended = if let Err(error) = permitted {
        Err(error)
    } else if request.transactional_id.is_empty() {
        Err(ErrorCode::InvalidRequest)
    } else {
        let id = request.transactional_id.as_str().into();
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let outcome = if request.committed { Outcome::Commit } else { Outcome::Abort };
        call.node.transactions.end(call.node, &id, producer, outcome, version).await
    };
    match ended {
        Ok(next) => {
            EndTxnResponse { producer_id: next.id.0, producer_epoch: next.epoch.0, ..Default::default() }
        }
        Err(error) => {
            let error = topic_error::of_fencing(error, call.version() >= FENCED_FROM);
            EndTxnResponse { error_code: error.code(), ..Default::default() }
        }
    }
}
