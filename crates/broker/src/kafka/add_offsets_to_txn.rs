//! AddOffsetsToTxn: a group's offsets take part in a producer's transaction. Clients of the first generation say so before they
//! send offsets.

use super::{call::Call, topic_error};
use keyway_access::{Operation, Resource};
use keyway_groups::{
    GroupId,
    transaction::{Part, Producer},
};
use keyway_kafka_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use keyway_record::{ErrorCode, ProducerEpoch, ProducerId};

/// First version that knows that a producer was fenced.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(call: &Call<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let permitted = call
        .check(Operation::Write, Resource::transactional_id(&request.transactional_id))
        .and_then(|()| call.check(Operation::Read, Resource::group(&request.group_id)));
    let added = if let Err(error) = permitted {
        Err(error)
    } else if request.transactional_id.is_empty() {
        Err(ErrorCode::InvalidRequest)
    } else if request.group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        let (id, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
        let group = GroupId::from(request.group_id.as_str());
        let transactional_id = request.transactional_id.as_str().into();
        let (node, producer) = (call.node, Producer { id, epoch });
        node.transactions.add(node, &transactional_id, producer, Part::Group(&group)).await
    };
    let error = added.map_or_else(
        |error| topic_error::of_fencing(error, call.version() >= FENCED_FROM),
        |()| ErrorCode::None,
    );
    AddOffsetsToTxnResponse { error_code: error.code(), ..Default::default() }
}
