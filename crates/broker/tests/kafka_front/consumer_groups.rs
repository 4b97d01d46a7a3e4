//! Consumer groups of KIP-848 by hand: join, share, give up, commit, describe, and what survives.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::create_topic,
    restart,
};
use keyway_kafka_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreatePartitionsRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    consumer_group_describe::DescribedGroup,
    consumer_group_heartbeat::TopicPartitions,
    create_partitions::CreatePartitionsTopic,
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};
use keyway_record::TopicId;

const GROUP: &str = "workers";

/// A member and what it last heard.
struct Member {
    id: &'static str,
    epoch: i32,
    has: Vec<i32>,
}

fn joining(id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: id.to_owned(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["orders".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

async fn join(client: &mut Client, id: &'static str) -> Member {
    let response = call!(client, ConsumerGroupHeartbeat, 1, joining(id));
    let mut member = Member { id, epoch: 0, has: Vec::new() };
    member.hear(&response);
    member
}

impl Member {
    fn hear(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        assert_eq!(response.error_code, 0, "{response:?}");
        assert_eq!(response.member_id.as_deref(), Some(self.id));
        self.epoch = response.member_epoch;
        if let Some(assignment) = &response.assignment {
            self.has =
                assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect();
        }
    }

    /// A heartbeat that says what the member has.
    fn request(&self, topic: TopicId) -> ConsumerGroupHeartbeatRequest {
        let owned = TopicPartitions { topic_id: topic, partitions: self.has.clone() };
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: self.id.to_owned(),
            member_epoch: self.epoch,
            topic_partitions: Some(vec![owned]),
            ..Default::default()
        }
    }

    async fn beat(&mut self, client: &mut Client, topic: TopicId) {
        let response = call!(client, ConsumerGroupHeartbeat, 1, self.request(topic));
        self.hear(&response);
    }

    async fn commit(&self, client: &mut Client, version: i16, topic: TopicId, epoch: i32) -> i16 {
        let request = OffsetCommitRequest {
            group_id: GROUP.to_owned(),
            member_id: self.id.to_owned(),
            generation_id_or_member_epoch: epoch,
            topics: vec![OffsetCommitRequestTopic {
                name: "orders".to_owned(),
                topic_id: topic,
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: self.has[0],
                    committed_offset: 7,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        call!(client, OffsetCommit, version, request).topics[0].partitions[0].error_code
    }
}

async fn describe(client: &mut Client) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![GROUP.to_owned()], ..Default::default() };
    call!(client, ConsumerGroupDescribe, 1, request).groups.remove(0)
}

async fn fetch_error(client: &mut Client, member_id: Option<&str>, member_epoch: i32) -> i16 {
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        member_id: member_id.map(str::to_owned),
        member_epoch,
        topics: Some(vec![OffsetFetchRequestTopics {
            name: "orders".to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        }]),
    };
    let request = OffsetFetchRequest { groups: vec![group], topics: Some(Vec::new()), ..Default::default() };
    call!(client, OffsetFetch, 9, request).groups[0].error_code
}

#[tokio::test]
async fn two_members_share_and_a_third_partition_follows() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let topic = create_topic(&mut client, "orders", 2).await;
    let mut a = join(&mut client, "a").await;
    assert_eq!(a.has, [0, 1]);
    let mut b = join(&mut client, "b").await;
    assert!(b.has.is_empty(), "what a has is not given away");
    // a is told to give one up, does so, and b gets it.
    a.beat(&mut client, topic).await;
    assert_eq!(a.has.len(), 1);
    b.beat(&mut client, topic).await;
    assert!(b.has.is_empty());
    a.beat(&mut client, topic).await;
    b.beat(&mut client, topic).await;
    assert_eq!((a.has.len(), b.has.len(), a.epoch), (1, 1, b.epoch));
    let described = describe(&mut client).await;
    assert_eq!((described.group_state.as_str(), described.assignor_name.as_str()), ("Stable", "uniform"));
    assert_eq!((described.group_epoch, described.members.len()), (a.epoch, 2));
    assert_eq!(described.members[0].assignment, described.members[0].target_assignment);
    assert_eq!(described.members[0].assignment.topic_partitions[0].topic_name, "orders");
    assert_eq!((described.members[0].member_type, described.members[0].client_id.as_str()), (1, "raw"));

    let more = CreatePartitionsTopic { name: "orders".to_owned(), count: 3, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![more], ..Default::default() };
    assert_eq!(call!(client, CreatePartitions, 3, request).results[0].error_code, 0);
    a.beat(&mut client, topic).await;
    b.beat(&mut client, topic).await;
    assert_eq!(a.has.len() + b.has.len(), 3);

    let leaving = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..a.request(topic) };
    assert_eq!(call!(client, ConsumerGroupHeartbeat, 1, leaving).member_epoch, -1);
    b.beat(&mut client, topic).await;
    assert_eq!(b.has, [0, 1, 2]);
    broker.shutdown().await;
}

#[tokio::test]
async fn epochs_decide_who_may_commit_and_fetch() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let topic = create_topic(&mut client, "orders", 1).await;
    let mut a = join(&mut client, "a").await;
    let first = a.epoch;
    // Another member comes and gets nothing; a keeps its partition from epoch `first` on.
    let b = join(&mut client, "b").await;
    a.beat(&mut client, topic).await;
    assert!(a.epoch > first && b.has.is_empty());
    assert_eq!(a.commit(&mut client, 10, topic, a.epoch).await, 0);
    assert_eq!(a.commit(&mut client, 9, topic, first).await, 0, "the partition was a's already");
    assert_eq!(a.commit(&mut client, 9, topic, first - 1).await, 113, "STALE_MEMBER_EPOCH");
    assert_eq!(a.commit(&mut client, 9, topic, a.epoch + 1).await, 113);
    assert_eq!(a.commit(&mut client, 8, topic, a.epoch).await, 35, "UNSUPPORTED_VERSION");
    let stranger = Member { id: "c", epoch: 1, has: vec![0] };
    assert_eq!(stranger.commit(&mut client, 9, topic, 1).await, 25, "UNKNOWN_MEMBER_ID");
    assert_eq!(fetch_error(&mut client, Some("a"), a.epoch).await, 0);
    assert_eq!(fetch_error(&mut client, Some("a"), first).await, 113);
    assert_eq!(fetch_error(&mut client, Some("c"), 1).await, 25);
    assert_eq!(fetch_error(&mut client, None, -1).await, 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn refusals_are_kafkas() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let topic = create_topic(&mut client, "orders", 1).await;
    let error = async |client: &mut Client, request: ConsumerGroupHeartbeatRequest| {
        let response = call!(client, ConsumerGroupHeartbeat, 1, request);
        assert!(response.error_code == 0 || response.error_message.is_some_and(|text| !text.is_empty()));
        response.error_code
    };
    let base = || joining("a");
    let cases = [
        (ConsumerGroupHeartbeatRequest { member_id: String::new(), ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { group_id: String::new(), ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { topic_partitions: None, ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { member_epoch: -2, ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { member_epoch: -3, ..base() }, 42),
        (ConsumerGroupHeartbeatRequest { member_epoch: 5, ..base() }, 69),
        (ConsumerGroupHeartbeatRequest { server_assignor: Some("sticky".to_owned()), ..base() }, 112),
        (ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("(".to_owned()), ..base() }, 128),
    ];
    for (request, expected) in cases {
        assert_eq!(error(&mut client, request.clone()).await, expected, "{request:?}");
    }
    assert_eq!(describe(&mut client).await.error_code, 69, "a refused member makes no group");
    let static_member = ConsumerGroupHeartbeatRequest { instance_id: Some("i".to_owned()), ..joining("a") };
    assert_eq!(error(&mut client, static_member.clone()).await, 0);
    let a = Member { id: "a", epoch: describe(&mut client).await.group_epoch, has: vec![0] };
    let ahead = ConsumerGroupHeartbeatRequest { member_epoch: a.epoch + 1, ..a.request(topic) };
    assert_eq!(error(&mut client, ahead).await, 110, "FENCED_MEMBER_EPOCH");
    assert_eq!(
        error(&mut client, ConsumerGroupHeartbeatRequest { member_id: "z".to_owned(), ..a.request(topic) })
            .await,
        25
    );
    let other = ConsumerGroupHeartbeatRequest { member_id: "b".to_owned(), ..static_member.clone() };
    assert_eq!(error(&mut client, other.clone()).await, 111, "UNRELEASED_INSTANCE_ID");
    // The static member leaves for a while; then another takes its place and has what it had.
    let instance_id = Some("i".to_owned());
    let away = ConsumerGroupHeartbeatRequest {
        member_epoch: -2,
        instance_id: instance_id.clone(),
        ..a.request(topic)
    };
    assert_eq!(error(&mut client, away).await, 0);
    let mut b = Member { id: "b", epoch: 0, has: Vec::new() };
    b.hear(&call!(client, ConsumerGroupHeartbeat, 1, other));
    assert_eq!((b.has.as_slice(), b.epoch), (&[0][..], a.epoch), "nothing moved");
    let late = ConsumerGroupHeartbeatRequest { instance_id, ..a.request(topic) };
    assert_eq!(error(&mut client, late).await, 82, "FENCED_INSTANCE_ID");
    broker.shutdown().await;
}

#[tokio::test]
async fn topics_that_match_later_are_assigned() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let by_pattern = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some("order.*".to_owned()),
        ..joining("a")
    };
    let mut a = Member { id: "a", epoch: 0, has: Vec::new() };
    a.hear(&call!(client, ConsumerGroupHeartbeat, 1, by_pattern));
    assert!(a.has.is_empty());
    let topic = create_topic(&mut client, "orders", 2).await;
    create_topic(&mut client, "my-orders", 2).await;
    a.beat(&mut client, topic).await;
    assert_eq!(a.has, [0, 1]);
    assert_eq!(describe(&mut client).await.members[0].subscribed_topic_regex.as_deref(), Some("order.*"));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_members_and_what_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let broker = restart::start(folder.path()).await;
    let mut client = broker.connect().await;
    let topic = create_topic(&mut client, "orders", 3).await;
    let mut a = join(&mut client, "a").await;
    broker.shutdown().await;
    let broker = restart::start(folder.path()).await;
    let mut client = broker.connect().await;
    a.beat(&mut client, topic).await;
    assert_eq!(a.has, [0, 1, 2]);
    assert_eq!(describe(&mut client).await.group_state, "Stable");
    broker.shutdown().await;
}

#[tokio::test]
async fn tools_see_the_group_and_delete_what_is_not_used() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let topic = create_topic(&mut client, "orders", 1).await;
    create_topic(&mut client, "others", 1).await;
    let a = join(&mut client, "a").await;
    assert_eq!(a.commit(&mut client, 9, topic, a.epoch).await, 0);
    let listed = async |client: &mut Client, kind: &str, state: &str| {
        let request = ListGroupsRequest {
            states_filter: if state.is_empty() { Vec::new() } else { vec![state.to_owned()] },
            types_filter: vec![kind.to_owned()],
        };
        call!(client, ListGroups, 5, request).groups.len()
    };
    assert_eq!(listed(&mut client, "consumer", "").await, 1);
    assert_eq!(listed(&mut client, "Consumer", "stable").await, 1);
    assert_eq!(listed(&mut client, "Consumer", "Reconciling").await, 0);
    assert_eq!(listed(&mut client, "classic", "").await, 0);
    let request = DescribeGroupsRequest { groups: vec![GROUP.to_owned()], ..Default::default() };
    assert_eq!(call!(client, DescribeGroups, 6, request.clone()).groups[0].error_code, 69);
    assert_eq!(call!(client, DescribeGroups, 5, request).groups[0].group_state, "Dead");
    let delete = |name: &str| OffsetDeleteRequest {
        group_id: GROUP.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: name.to_owned(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    let deleted = |response: keyway_kafka_wire::messages::OffsetDeleteResponse| {
        (response.error_code, response.topics.first().map(|topic| topic.partitions[0].error_code))
    };
    let subscribed = call!(client, OffsetDelete, 0, delete("orders"));
    assert_eq!(deleted(subscribed), (0, Some(86)), "GROUP_SUBSCRIBED_TO_TOPIC");
    assert_eq!(deleted(call!(client, OffsetDelete, 0, delete("others"))), (0, Some(0)));
    assert_eq!(deleted(call!(client, OffsetDelete, 0, delete("nowhere"))), (0, Some(3)));
    let groups = || DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()] };
    assert_eq!(call!(client, DeleteGroups, 2, groups()).results[0].error_code, 68, "NON_EMPTY_GROUP");
    let leaving = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..a.request(topic) };
    assert_eq!(call!(client, ConsumerGroupHeartbeat, 1, leaving).error_code, 0);
    assert_eq!(deleted(call!(client, OffsetDelete, 0, delete("orders"))), (0, Some(0)));
    assert_eq!(call!(client, DeleteGroups, 2, groups()).results[0].error_code, 0);
    assert_eq!(call!(client, DeleteGroups, 2, groups()).results[0].error_code, 69);
    assert_eq!(deleted(call!(client, OffsetDelete, 0, delete("orders"))), (69, None), "GROUP_ID_NOT_FOUND");
    broker.shutdown().await;
}
