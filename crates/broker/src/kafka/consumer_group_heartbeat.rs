//! ConsumerGroupHeartbeat (KIP-848): everything a member of a consumer group says and hears.

use super::{
    call::{Answer, Call},
    group_call,
};
use crate::groups::Missing;
use keyway_access::{Operation, Resource};
use keyway_groups::{
    Assignment, Assignor, ConsumerBeat, ConsumerHeartbeat, Input, MemberEpoch, MemberId, Reply,
    TopicIdPartition,
};
use keyway_kafka_wire::messages::{
    self, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, Response,
    consumer_group_heartbeat::{ResponseTopicPartitions, TopicPartitions},
};
use keyway_record::{ErrorCode, PartitionId};

/// First version whose clients give themselves their member ids.
const OWN_ID_FROM: i16 = 1;

pub(super) async fn handle(call: &Call<'_>, request: ConsumerGroupHeartbeatRequest) -> Answer {
    let mut topics = request.subscribed_topic_names.iter().flatten();
    let permitted = call
        .check(Operation::Read, Resource::group(&request.group_id))
        .and_then(|()| topics.try_for_each(|name| call.check(Operation::Describe, Resource::topic(name))));
    if let Err(error) = permitted {
        return refused(error, error.to_string()).into();
    }
    if let Err((error, message)) = validate(call.version(), &request) {
        return refused(error, message).into();
    }
    let epoch = MemberEpoch(request.member_epoch);
    let missing = if epoch == MemberEpoch::JOIN { Missing::Create } else { Missing::Leave };
    let group = request.group_id.clone();
    let heartbeat = match heartbeat(call, request) {
        Ok(heartbeat) => heartbeat,
        Err(message) => return refused(ErrorCode::UnsupportedAssignor, message).into(),
    };
    let respond = |reply| {
        Response::ConsumerGroupHeartbeat(match reply {
            Ok(Reply::ConsumerHeartbeat(Ok(beat))) => response(beat),
            Ok(Reply::ConsumerHeartbeat(Err(error))) | Err(error) => refused(error, reason(error).to_owned()),
            Ok(other) => unreachable!("a heartbeat is not answered with {other:?}"),
        })
    };
    let input = |caller| Input::ConsumerHeartbeat { caller, heartbeat };
    group_call::ask(call, &group, missing, ErrorCode::GroupIdNotFound, input, respond).await
}

/// What Kafka asks of a request before it looks at the group.
fn validate(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), (ErrorCode, String)> {
    let epoch = MemberEpoch(request.member_epoch);
    let states_id = version >= OWN_ID_FROM || epoch > MemberEpoch::JOIN || epoch == MemberEpoch::LEAVE;
    let problem = if states_id && request.member_id.is_empty() {
        "the member id is empty"
    } else if request.group_id.is_empty() {
        "the group id is empty"
    } else if request.instance_id.as_deref() == Some("") {
        "the instance id is empty; leave it out for a dynamic member"
    } else if request.rack_id.as_deref() == Some("") {
        "the rack id is empty; leave it out"
    } else if epoch == MemberEpoch::JOIN && request.rebalance_timeout_ms == -1 {
        "a member that joins states its rebalance timeout"
    } else if epoch == MemberEpoch::JOIN
        && request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty())
    {
        "a member that joins states that it has no partitions"
    } else if epoch == MemberEpoch::JOIN
        && request.subscribed_topic_names.is_none()
        && request.subscribed_topic_regex.is_none()
    {
        "a member that joins states its topics, by name or by a regular expression"
    } else if epoch == MemberEpoch::LEAVE_FOR_A_WHILE && request.instance_id.is_none() {
        "only a static member leaves for a while; state its instance id"
    } else if epoch < MemberEpoch::LEAVE_FOR_A_WHILE {
        "there is no such member epoch"
    } else {
        return Ok(());
    };
    Err((ErrorCode::InvalidRequest, problem.to_owned()))
}

fn heartbeat(call: &Call<'_>, request: ConsumerGroupHeartbeatRequest) -> Result<ConsumerHeartbeat, String> {
    let assignor = request.server_assignor.map(|name| {
        let supported = Assignor::ALL.map(Assignor::name).join(", ");
        Assignor::named(&name).ok_or_else(|| format!("there is no assignor {name:?}; there are {supported}"))
    });
    Ok(ConsumerHeartbeat {
        member_id: match request.member_id.as_str() {
            "" => MemberId::generated(call.node.world.entropy.bytes()),
            id => id.into(),
        },
        member_epoch: MemberEpoch(request.member_epoch),
        instance_id: group_call::instance(request.instance_id),
        rack_id: request.rack_id.map(Into::into),
        client_id: call.client_id.as_deref().unwrap_or_default().into(),
        client_host: format!("/{}", call.caller.address.ip()).into(),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| *ms != -1),
        topic_names: request.subscribed_topic_names.map(|names| names.into_iter().map(Into::into).collect()),
        topic_pattern: request.subscribed_topic_regex.map(Into::into),
        assignor: assignor.transpose()?,
        owned: request.topic_partitions.map(|topics| topics.iter().flat_map(partitions).collect()),
    })
}

fn partitions(topic: &TopicPartitions) -> impl Iterator<Item = TopicIdPartition> + '_ {
    let at = |index: &i32| TopicIdPartition { topic: topic.topic_id, partition: PartitionId(*index) };
    topic.partitions.iter().map(at)
}

fn response(beat: ConsumerBeat) -> ConsumerGroupHeartbeatResponse {
    let assignment = |assignment: Assignment| messages::consumer_group_heartbeat::Assignment {
        topic_partitions: by_topic(&assignment),
    };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(beat.member_id.as_str().to_owned()),
        member_epoch: beat.member_epoch.0,
        heartbeat_interval_ms: beat.heartbeat_interval_ms,
        assignment: beat.assignment.map(assignment),
        ..Default::default()
    }
}

fn by_topic(assignment: &Assignment) -> Vec<ResponseTopicPartitions> {
    let mut topics: Vec<ResponseTopicPartitions> = Vec::new();
    for at in assignment {
        match topics.last_mut() {
            Some(topic) if topic.topic_id == at.topic => topic.partitions.push(at.partition.0),
            _ => {
                topics.push(ResponseTopicPartitions { topic_id: at.topic, partitions: vec![at.partition.0] })
            }
        }
    }
    topics
}

fn refused(error: ErrorCode, message: String) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: Some(message),
        ..Default::default()
    }
}

fn reason(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::GroupIdNotFound => "there is no consumer group of this id; a member begins with epoch 0",
        ErrorCode::FencedMemberEpoch => {
            "the member epoch is not the group's; the member gives up its partitions and joins again"
        }
        ErrorCode::UnknownMemberId => "the group has no such member; it joins with epoch 0",
        ErrorCode::UnreleasedInstanceId => "another member has this instance id and has not left",
        ErrorCode::FencedInstanceId => "another member took over this instance id",
        ErrorCode::GroupMaxSizeReached => "the group has as many members as it may have",
        ErrorCode::InvalidRegularExpression => "the regular expression is not one, by RE2's syntax",
        ErrorCode::InvalidRequest => "the member says more of itself than is kept",
        _ => "the group is not available; try again",
    }
}
