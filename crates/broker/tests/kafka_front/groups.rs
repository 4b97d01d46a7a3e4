//! Consumer groups by hand: join, sync, heartbeat, commit, leave, and what the tools ask.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::create_topic,
};
use bytes::Bytes;
use keyway_kafka_wire::{
    ApiKey,
    messages::{
        DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
        OffsetCommitRequest, OffsetFetchRequest, Request, Response, SyncGroupRequest,
        join_group::JoinGroupRequestProtocol,
        leave_group::MemberIdentity,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseTopics},
        sync_group::SyncGroupRequestAssignment,
    },
};
use std::time::{Duration, Instant};

const GROUP: &str = "workers";

fn join(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"topics"),
        }],
        ..Default::default()
    }
}

/// Gets an id and joins with it; the join is answered later.
async fn begin_join(client: &mut Client) -> (String, i32) {
    let response = call!(client, JoinGroup, 9, join(""));
    assert_eq!(response.error_code, 79);
    let correlation_id = client.send(&Request::JoinGroup(join(&response.member_id)), 9).await;
    (response.member_id, correlation_id)
}

async fn joined(client: &mut Client, correlation_id: i32) -> JoinGroupResponse {
    let Response::JoinGroup(response) = client.receive(ApiKey::JoinGroup, 9, correlation_id).await else {
        panic!()
    };
    response
}

fn sync(joined: &JoinGroupResponse, assignments: &[(&str, &'static [u8])]) -> SyncGroupRequest {
    let assignment = |&(member_id, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: member_id.to_owned(),
        assignment: Bytes::from_static(assignment),
    };
    SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn commit(generation: i32, member_id: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some("note".to_owned()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn committed(client: &mut Client) -> Vec<OffsetFetchResponseTopics> {
    let group = OffsetFetchRequestGroup { group_id: GROUP.to_owned(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], topics: Some(Vec::new()), ..Default::default() };
    call!(client, OffsetFetch, 9, request).groups.remove(0).topics
}

#[tokio::test]
async fn a_group_lives_from_its_first_join_to_its_deletion() {
    let broker = TestBroker::start().await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    create_topic(&mut first, "orders", 1).await;
    let (first_id, first_join) = begin_join(&mut first).await;
    let (second_id, second_join) = begin_join(&mut second).await;
    let (first_joined, second_joined) =
        (joined(&mut first, first_join).await, joined(&mut second, second_join).await);
    assert_eq!((first_joined.error_code, first_joined.generation_id), (0, second_joined.generation_id));
    assert_eq!(first_joined.leader, second_joined.leader);
    let leader_sees = first_joined.members.len() + second_joined.members.len();
    assert_eq!(leader_sees, 2, "only the leader learns who is there");

    let assignments: &[(&str, &'static [u8])] = &[(&first_id, b"one"), (&second_id, b"two")];
    let of = |joined: &JoinGroupResponse| if joined.leader == joined.member_id { assignments } else { &[] };
    let (a, b) = (sync(&first_joined, of(&first_joined)), sync(&second_joined, of(&second_joined)));
    let (a, b) = (Request::SyncGroup(a), Request::SyncGroup(b));
    let (a, b) = tokio::join!(first.call(&a, 5), second.call(&b, 5));
    let (Response::SyncGroup(a), Response::SyncGroup(b)) = (a, b) else { panic!() };
    assert_eq!((&a.assignment[..], &b.assignment[..]), (&b"one"[..], &b"two"[..]));

    let generation_id = first_joined.generation_id;
    let heartbeat = |member_id: &str, generation_id| HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        ..Default::default()
    };
    assert_eq!(call!(first, Heartbeat, 4, heartbeat(&first_id, generation_id)).error_code, 0);
    assert_eq!(call!(first, Heartbeat, 4, heartbeat(&first_id, generation_id + 1)).error_code, 22);
    assert_eq!(call!(first, Heartbeat, 4, heartbeat("stranger", generation_id)).error_code, 25);

    let error = |response: keyway_kafka_wire::messages::OffsetCommitResponse| {
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(error(call!(first, OffsetCommit, 9, commit(generation_id, &first_id, "orders", 5))), 0);
    assert_eq!(error(call!(first, OffsetCommit, 9, commit(generation_id + 1, &first_id, "orders", 6))), 22);
    assert_eq!(error(call!(first, OffsetCommit, 9, commit(generation_id, &first_id, "missing", 6))), 3);
    assert_eq!(error(call!(first, OffsetCommit, 10, commit(generation_id, &first_id, "orders", 6))), 100);
    let topics = committed(&mut second).await;
    assert_eq!((topics.len(), topics[0].name.as_str()), (1, "orders"));
    assert_eq!(
        (topics[0].partitions[0].committed_offset, topics[0].partitions[0].metadata.as_deref()),
        (5, Some("note"))
    );

    let describe = DescribeGroupsRequest { groups: vec![GROUP.to_owned()], ..Default::default() };
    let described = call!(first, DescribeGroups, 6, describe.clone()).groups.remove(0);
    assert_eq!(
        (described.error_code, described.group_state.as_str(), described.members.len()),
        (0, "Stable", 2)
    );
    assert_eq!(
        (described.members[0].client_id.as_str(), described.members[0].client_host.as_str()),
        ("raw", "/127.0.0.1")
    );
    let listed = call!(first, ListGroups, 5, ListGroupsRequest::default()).groups;
    assert_eq!(
        (listed.len(), listed[0].group_state.as_str(), listed[0].group_type.as_str()),
        (1, "Stable", "classic")
    );
    let empty = ListGroupsRequest { states_filter: vec!["Empty".to_owned()], ..Default::default() };
    assert!(call!(first, ListGroups, 5, empty.clone()).groups.is_empty());

    let delete = DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()] };
    assert_eq!(call!(first, DeleteGroups, 2, delete.clone()).results[0].error_code, 68);
    let leave = |ids: &[&String]| LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members: ids
            .iter()
            .map(|&id| MemberIdentity { member_id: id.clone(), ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let left = call!(first, LeaveGroup, 5, leave(&[&first_id, &second_id]));
    assert!(left.error_code == 0 && left.members.iter().all(|member| member.error_code == 0), "{left:?}");
    assert_eq!(call!(first, ListGroups, 5, empty).groups.len(), 1);
    assert_eq!(call!(first, DeleteGroups, 2, delete.clone()).results[0].error_code, 0);
    assert_eq!(call!(first, DeleteGroups, 2, delete).results[0].error_code, 69);
    assert!(committed(&mut second).await.is_empty());
    assert_eq!(call!(first, DescribeGroups, 6, describe.clone()).groups[0].error_code, 69);
    assert_eq!(call!(first, DescribeGroups, 5, describe).groups[0].group_state, "Dead");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_waiting_join_holds_up_nobody_else() {
    let broker = TestBroker::start().await;
    let (mut first, mut second, mut other) =
        (broker.connect().await, broker.connect().await, broker.connect().await);
    let (_, joining) = begin_join(&mut first).await;
    let first_joined = joined(&mut first, joining).await;
    let id = first_joined.member_id.clone();
    call!(first, SyncGroup, 5, sync(&first_joined, &[(&id, b"all")]));
    // The second waits for the first to join again.
    let (_, joining) = begin_join(&mut second).await;
    let started = Instant::now();
    call!(other, ListGroups, 5, ListGroupsRequest::default());
    let heartbeat = HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id: first_joined.generation_id,
        member_id: id.clone(),
        ..Default::default()
    };
    // The rebalance begins when the join reaches the group, which is not before now.
    while call!(first, Heartbeat, 4, heartbeat.clone()).error_code != 27 {
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    let again = first.send(&Request::JoinGroup(join(&id)), 9).await;
    let (first_joined, second_joined) = (joined(&mut first, again).await, joined(&mut second, joining).await);
    assert_eq!((first_joined.generation_id, second_joined.generation_id), (2, 2));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn many_commits_at_once_are_all_there() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let mut sent = Vec::new();
    for offset in 0..60 {
        sent.push(client.send(&Request::OffsetCommit(commit(-1, "", "orders", offset)), 8).await);
    }
    for correlation_id in sent {
        let Response::OffsetCommit(response) = client.receive(ApiKey::OffsetCommit, 8, correlation_id).await
        else {
            panic!()
        };
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }
    assert_eq!(committed(&mut client).await[0].partitions[0].committed_offset, 59);
    let request = DeleteTopicsRequest { topic_names: vec!["orders".to_owned()], ..Default::default() };
    assert_eq!(call!(client, DeleteTopics, 5, request).responses[0].error_code, 0);
    assert!(committed(&mut client).await.is_empty(), "a deleted topic takes its offsets along");
}

#[tokio::test]
async fn groups_that_cannot_be_are_refused() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let nameless = JoinGroupRequest { group_id: String::new(), ..join("") };
    assert_eq!(call!(client, JoinGroup, 9, nameless).error_code, 24);
    assert_eq!(call!(client, JoinGroup, 9, join("stranger")).error_code, 25);
    let hasty = JoinGroupRequest { session_timeout_ms: 1, ..join("") };
    assert_eq!(call!(client, JoinGroup, 9, hasty).error_code, 26);
    assert!(
        call!(client, ListGroups, 5, ListGroupsRequest::default()).groups.is_empty(),
        "none of them left a trace"
    );
    let coordinator = |key_type| FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![GROUP.to_owned()],
        ..Default::default()
    };
    for groups_and_transactional_ids in [0, 1] {
        let asked = coordinator(groups_and_transactional_ids);
        let found = call!(client, FindCoordinator, 6, asked).coordinators.remove(0);
        assert_eq!((found.error_code, found.node_id, found.host.as_str()), (0, 1, "127.0.0.1"));
    }
    assert_eq!(call!(client, FindCoordinator, 6, coordinator(2)).coordinators[0].error_code, 42);
}
