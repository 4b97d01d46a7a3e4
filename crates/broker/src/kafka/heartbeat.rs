//! Heartbeat: a member is alive, and learns of a rebalance.

use super::{
    call::{Answer, Call},
    group_call,
};
use crate::groups::Missing;
use keyway_access::{Operation, Resource};
use keyway_groups::{Generation, Heartbeat, Input, MemberId, Reply};
use keyway_kafka_wire::messages::{HeartbeatRequest, HeartbeatResponse, Response};
use keyway_record::ErrorCode;

pub(super) async fn handle(call: &Call<'_>, request: HeartbeatRequest) -> Answer {
    if let Err(error) = call.check(Operation::Read, Resource::group(&request.group_id)) {
        return response(error).into();
    }
    if request.group_id.is_empty() {
        return response(ErrorCode::InvalidGroupId).into();
    }
    let heartbeat = Heartbeat {
        member_id: MemberId(request.member_id.into()),
        instance_id: group_call::instance(request.group_instance_id),
        generation: Generation(request.generation_id),
    };
    let respond = |reply| {
        Response::Heartbeat(match reply {
            Ok(Reply::Heartbeat(error)) | Err(error) => response(error),
            Ok(other) => unreachable!("a heartbeat is not answered with {other:?}"),
        })
    };
    let input = |caller| Input::Heartbeat { caller, heartbeat };
    group_call::ask(call, &request.group_id, Missing::Leave, ErrorCode::UnknownMemberId, input, respond).await
}

fn response(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: error.code(), ..Default::default() }
}
