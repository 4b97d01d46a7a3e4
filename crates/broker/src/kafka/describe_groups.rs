//! DescribeGroups: state and members of groups.

use super::{authorized_operations, call::Call};
use keyway_access::{Operation, Resource};
use keyway_groups::{Description, Group, GroupId, GroupKind, MemberDescription, State};
use keyway_kafka_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse, describe_groups::*};
use keyway_record::ErrorCode;

/// First version that has an error for a group that does not exist; before, it is `Dead`.
const NOT_FOUND_FROM: i16 = 6;

pub(super) async fn handle(call: &Call<'_>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let group = GroupId::from(group_id.as_str());
        if let Err(error) = call.check(Operation::Describe, Resource::group(&group_id)) {
            groups.push(DescribedGroup { error_code: error.code(), group_id, ..Default::default() });
            continue;
        }
        // The description of a consumer group is another request's.
        let classic = |group: &Group| (group.kind() == GroupKind::Classic).then(|| group.describe());
        let mut described = match call.node.groups.read(&group, classic).await {
            Ok(Some(description)) => described(description),
            Ok(None) => missing(call.version(), &group_id, "is not a classic group"),
            Err(error) => match error.code(ErrorCode::GroupIdNotFound) {
                ErrorCode::GroupIdNotFound => missing(call.version(), &group_id, "does not exist"),
                error => DescribedGroup { error_code: error.code(), ..Default::default() },
            },
        };
        described.authorized_operations = authorized_operations::of(
            call,
            request.include_authorized_operations,
            Resource::group(&group_id),
        );
        described.group_id = group_id;
        groups.push(described);
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

fn missing(version: i16, group: &str, why: &str) -> DescribedGroup {
    let group_state = State::Dead.name().to_owned();
    if version < NOT_FOUND_FROM {
        return DescribedGroup { group_state, ..Default::default() };
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("group {group} {why}")),
        group_state,
        ..Default::default()
    }
}

fn described(description: Description) -> DescribedGroup {
    DescribedGroup {
        group_state: description.state.name().to_owned(),
        protocol_type: description.protocol_type.as_ref().to_owned(),
        protocol_data: description.protocol.as_ref().to_owned(),
        members: description.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn member(member: MemberDescription) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id.as_str().to_owned(),
        group_instance_id: member.instance_id.map(|id| id.as_str().to_owned()),
        client_id: member.client_id.as_ref().to_owned(),
        client_host: member.client_host.as_ref().to_owned(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}
