//! SyncGroup: the leader brings everyone's assignment, everyone gets theirs.

use super::{
    call::{Answer, Call},
    group_call,
};
use crate::groups::Missing;
use bytes::Bytes;
use keyway_access::{Operation, Resource};
use keyway_groups::{Generation, Input, MemberId, Reply, Sync, Synced};
use keyway_kafka_wire::messages::{
    Response, SyncGroupRequest, SyncGroupResponse, sync_group::SyncGroupRequestAssignment,
};
use keyway_record::ErrorCode;

pub(super) async fn handle(call: &Call<'_>, request: SyncGroupRequest) -> Answer {
    if let Err(error) = call.check(Operation::Read, Resource::group(&request.group_id)) {
        return refused(error).into();
    }
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId).into();
    }
    let assignment = |one: SyncGroupRequestAssignment| (MemberId(one.member_id.into()), one.assignment);
    let sync = Sync {
        member_id: MemberId(request.member_id.into()),
        instance_id: group_call::instance(request.group_instance_id),
        generation: Generation(request.generation_id),
        protocol_type: request.protocol_type.map(Into::into),
        protocol_name: request.protocol_name.map(Into::into),
        assignments: request.assignments.into_iter().map(assignment).collect(),
    };
    let respond = |reply| {
        Response::SyncGroup(match reply {
            Ok(Reply::Sync(Ok(synced))) => response(synced),
            Ok(Reply::Sync(Err(error))) | Err(error) => refused(error),
            Ok(other) => unreachable!("a sync is not answered with {other:?}"),
        })
    };
    let input = |caller| Input::Sync { caller, sync };
    group_call::ask(call, &request.group_id, Missing::Leave, ErrorCode::UnknownMemberId, input, respond).await
}

fn response(synced: Synced) -> SyncGroupResponse {
    SyncGroupResponse {
        protocol_type: Some(synced.protocol_type.as_ref().to_owned()),
        protocol_name: Some(synced.protocol_name.as_ref().to_owned()),
        assignment: synced.assignment,
        ..Default::default()
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), assignment: Bytes::new(), ..Default::default() }
}
