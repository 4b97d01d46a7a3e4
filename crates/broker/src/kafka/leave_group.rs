//! LeaveGroup: one member up to version 2, a batch of them from version 3 on.

use super::{
    call::{Answer, Call},
    group_call,
};
use crate::groups::Missing;
use keyway_access::{Operation, Resource};
use keyway_groups::{Input, InstanceId, Leaving, MemberId, Reply};
use keyway_kafka_wire::messages::{
    LeaveGroupRequest, LeaveGroupResponse, Response,
    leave_group::{MemberIdentity, MemberResponse},
};
use keyway_record::ErrorCode;

/// First version with a list of members.
const BATCH_FROM: i16 = 3;

pub(super) async fn handle(call: &Call<'_>, request: LeaveGroupRequest) -> Answer {
    if let Err(error) = call.check(Operation::Read, Resource::group(&request.group_id)) {
        return refused(error).into();
    }
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId).into();
    }
    let version = call.version();
    let leaving = match version {
        ..BATCH_FROM => vec![Leaving { member_id: MemberId(request.member_id.into()), instance_id: None }],
        _ => request.members.into_iter().map(leaving).collect(),
    };
    let each = leaving.clone();
    let respond = move |reply| {
        Response::LeaveGroup(match reply {
            Ok(Reply::Leave(Ok(left))) => response(version, left),
            // A batch has its errors with the members.
            Err(ErrorCode::UnknownMemberId) => {
                response(version, each.into_iter().map(|one| (one, ErrorCode::UnknownMemberId)).collect())
            }
            Ok(Reply::Leave(Err(error))) | Err(error) => refused(error),
            Ok(other) => unreachable!("a leave is not answered with {other:?}"),
        })
    };
    let input = |caller| Input::Leave { caller, leaving };
    group_call::ask(call, &request.group_id, Missing::Leave, ErrorCode::UnknownMemberId, input, respond).await
}

fn leaving(member: MemberIdentity) -> Leaving {
    Leaving {
        member_id: MemberId(member.member_id.into()),
        instance_id: group_call::instance(member.group_instance_id),
    }
}

fn response(version: i16, left: Vec<(Leaving, ErrorCode)>) -> LeaveGroupResponse {
    if version < BATCH_FROM {
        return refused(left.first().map_or(ErrorCode::None, |(_, error)| *error));
    }
    let member = |(member, error): (Leaving, ErrorCode)| MemberResponse {
        member_id: member.member_id.as_str().to_owned(),
        group_instance_id: member.instance_id.as_ref().map(InstanceId::as_str).map(str::to_owned),
        error_code: error.code(),
    };
    LeaveGroupResponse { members: left.into_iter().map(member).collect(), ..Default::default() }
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}
