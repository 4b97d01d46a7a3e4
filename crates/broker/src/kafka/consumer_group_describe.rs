//! ConsumerGroupDescribe: members of consumer groups, with what they have and what they are to have.

use super::{authorized_operations, call::Call};
use crate::node::Node;
use keyway_access::{Operation, Resource};
use keyway_groups::{Assignment, ConsumerDescription, ConsumerMemberDescription, Group, GroupId, GroupKind};
use keyway_kafka_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, consumer_group_describe as wire,
};
use keyway_record::ErrorCode;
use std::collections::BTreeSet;

const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

pub(super) async fn handle(
    call: &Call<'_>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in request.group_ids {
        if group_id.is_empty() {
            let error_code = ErrorCode::InvalidGroupId.code();
            groups.push(wire::DescribedGroup { error_code, ..Default::default() });
            continue;
        }
        let group = GroupId::from(group_id.as_str());
        if let Err(error) = call.check(Operation::Describe, Resource::group(&group_id)) {
            groups.push(wire::DescribedGroup { group_id, ..refused(error, error.to_string()) });
            continue;
        }
        let mut described = match call.node.groups.read(&group, Group::describe_consumers).await {
            Ok(Some(description)) => described(call.node, description),
            Ok(None) => refused(ErrorCode::GroupIdNotFound, format!("{group} is not a consumer group")),
            Err(error) => match error.code(ErrorCode::GroupIdNotFound) {
                ErrorCode::GroupIdNotFound => {
                    refused(ErrorCode::GroupIdNotFound, format!("group {group} does not exist"))
                }
                error => refused(error, format!("group {group} is not available")),
            },
        };
        if has_hidden_topic(call, &described) {
            let message = "the group has topics that the client may not describe";
            described = refused(ErrorCode::TopicAuthorizationFailed, message.to_owned());
        }
        described.authorized_operations = authorized_operations::of(
            call,
            request.include_authorized_operations,
            Resource::group(&group_id),
        );
        described.group_id = group_id;
        groups.push(described);
    }
    ConsumerGroupDescribeResponse { groups, ..Default::default() }
}

/// Whether some member has, or is to have, a topic that the client may not know of.
fn has_hidden_topic(call: &Call<'_>, group: &wire::DescribedGroup) -> bool {
    if !call.node.access.is_enforced() {
        return false;
    }
    let assignments = group.members.iter().flat_map(|member| [&member.assignment, &member.target_assignment]);
    let topics: BTreeSet<&str> =
        assignments.flat_map(|one| &one.topic_partitions).map(|topic| topic.topic_name.as_str()).collect();
    topics.into_iter().any(|topic| !call.may(Operation::Describe, Resource::topic(topic)))
}

fn refused(error: ErrorCode, message: String) -> wire::DescribedGroup {
    wire::DescribedGroup { error_code: error.code(), error_message: Some(message), ..Default::default() }
}

fn described(node: &Node, group: ConsumerDescription) -> wire::DescribedGroup {
    wire::DescribedGroup {
        group_state: group.state.name().to_owned(),
        group_epoch: group.epoch.0,
        assignment_epoch: group.epoch.0,
        assignor_name: group.assignor.name().to_owned(),
        members: group.members.into_iter().map(|one| member(node, one)).collect(),
        ..Default::default()
    }
}

fn member(node: &Node, member: ConsumerMemberDescription) -> wire::Member {
    wire::Member {
        member_id: member.member_id.as_str().to_owned(),
        instance_id: member.instance_id.map(|id| id.as_str().to_owned()),
        rack_id: member.rack_id.map(|id| id.as_ref().to_owned()),
        member_epoch: member.epoch.0,
        client_id: member.client_id.as_ref().to_owned(),
        client_host: member.client_host.as_ref().to_owned(),
        subscribed_topic_names: member.topic_names.iter().map(|name| name.as_ref().to_owned()).collect(),
        subscribed_topic_regex: Some(
            member.topic_pattern.map(|text| text.as_ref().to_owned()).unwrap_or_default(),
        ),
        assignment: assignment(node, &member.assignment),
        target_assignment: assignment(node, &member.target),
        member_type: match member.kind {
            GroupKind::Classic => CLASSIC_MEMBER,
            GroupKind::Consumer => CONSUMER_MEMBER,
        },
    }
}

/// Topics that are gone meanwhile are left out: they have no name to show.
fn assignment(node: &Node, assignment: &Assignment) -> wire::Assignment {
    let mut topics: Vec<wire::TopicPartitions> = Vec::new();
    for at in assignment {
        match topics.last_mut() {
            Some(topic) if topic.topic_id == at.topic => topic.partitions.push(at.partition.0),
            _ => topics.extend(node.topics.of_id(at.topic).map(|topic| wire::TopicPartitions {
                topic_id: at.topic,
                topic_name: topic.name.to_string(),
                partitions: vec![at.partition.0],
            })),
        }
    }
    wire::Assignment { topic_partitions: topics }
}
