//! JoinGroup: answered when the group has agreed on its members.

use super::{
    call::{Answer, Call},
    group_call,
};
use crate::groups::Missing;
use keyway_access::{Operation, Resource};
use keyway_groups::{Input, Join, Joined, MemberId, Protocol, Refused, Reply};
use keyway_kafka_wire::messages::{
    JoinGroupRequest, JoinGroupResponse, Response,
    join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember},
};
use keyway_record::ErrorCode;

pub(super) async fn handle(call: &Call<'_>, request: JoinGroupRequest) -> Answer {
    let version = call.version();
    if let Err(error) = call.check(Operation::Read, Resource::group(&request.group_id)) {
        return response(version, Err((error, String::new()))).into();
    }
    if request.group_id.is_empty() {
        return response(version, Err((ErrorCode::InvalidGroupId, request.member_id))).into();
    }
    let (group, asked_id) = (request.group_id.clone(), request.member_id.clone());
    let missing = if request.member_id.is_empty() { Missing::Create } else { Missing::Leave };
    let join = join(call, request);
    let respond = move |reply: Result<Reply, ErrorCode>| {
        Response::JoinGroup(response(
            version,
            match reply {
                Ok(Reply::Join(Ok(joined))) => Ok(joined),
                Ok(Reply::Join(Err(Refused { error, member_id }))) => {
                    Err((error, member_id.as_str().to_owned()))
                }
                Ok(other) => unreachable!("a join is not answered with {other:?}"),
                Err(error) => Err((error, asked_id)),
            },
        ))
    };
    let input = |caller| Input::Join { caller, join };
    group_call::ask(call, &group, missing, ErrorCode::UnknownMemberId, input, respond).await
}

fn join(call: &Call<'_>, request: JoinGroupRequest) -> Join {
    let protocol = |one: JoinGroupRequestProtocol| Protocol { name: one.name.into(), metadata: one.metadata };
    Join {
        member_id: MemberId(request.member_id.into()),
        instance_id: group_call::instance(request.group_instance_id),
        client_id: call.client_id.as_deref().unwrap_or_default().into(),
        // Kafka's tools show it as Java prints an address.
        client_host: format!("/{}", call.caller.address.ip()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match call.version() {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type.into(),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        require_known_member_id: call.version() >= 4,
        supports_skip_assignment: call.version() >= 9,
        random: call.node.world.entropy.bytes(),
    }
}

fn response(version: i16, joined: Result<Joined, (ErrorCode, String)>) -> JoinGroupResponse {
    let joined = match joined {
        Ok(joined) => joined,
        Err((error, member_id)) => {
            return JoinGroupResponse {
                error_code: error.code(),
                generation_id: -1,
                protocol_type: None,
                protocol_name: if version >= 7 { None } else { Some(String::new()) },
                member_id,
                ..Default::default()
            };
        }
    };
    let member = |member: keyway_groups::JoinedMember| JoinGroupResponseMember {
        member_id: member.member_id.as_str().to_owned(),
        group_instance_id: member.instance_id.map(|id| id.as_str().to_owned()),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        generation_id: joined.generation.0,
        protocol_type: Some(joined.protocol_type.as_ref().to_owned()),
        protocol_name: Some(joined.protocol_name.as_ref().to_owned()),
        leader: joined.leader.as_str().to_owned(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id.as_str().to_owned(),
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
