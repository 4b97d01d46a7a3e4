//! Where brokers let people in before: each hole is a case.

use super::*;
use keyway_kafka_wire::messages as m;
use keyway_record::TopicId;

fn allow(kind: ResourceType, name: &str, operation: Operation) -> Rule {
    rule(Pattern::literal(kind, name), operation, Permission::Allow)
}

async fn node_with(rules: &[Rule], settings: &[(&str, &str)]) -> Arc<Node> {
    let node = node(settings).await;
    restore(&node).await;
    set_rules(&node, rules).await;
    node
}

async fn alice(node: &Arc<Node>, request: Request, version: i16) -> Response {
    answer(node, &caller("alice"), &request, version).await
}

/// CVE-2018-1288: whoever named a replica in its fetch was served as one.
#[tokio::test]
async fn a_forged_replica_reads_nothing() {
    let node = node_with(&[allow(Topic, OWN.topic, Operation::Read)], &[]).await;
    let mut forged = requests::fetch(FOREIGN.topic);
    forged.replica_id = 1;
    assert_eq!(denials(&alice(&node, Request::Fetch(forged), 12).await), [29].into());
    let id = node.topics.named(FOREIGN.topic).unwrap().id;
    let mut newer = requests::fetch("");
    newer.topics[0].topic_id = id;
    newer.replica_state.replica_id = 1;
    assert_eq!(denials(&alice(&node, Request::Fetch(newer.clone()), 18).await), [29].into());
    newer.replica_state.replica_id = -1;
    assert_eq!(denials(&alice(&node, Request::Fetch(newer), 18).await), [29].into(), "by id, as itself");
}

#[tokio::test]
async fn a_topic_id_opens_no_topic() {
    let node = node_with(&[allow(Group, OWN.group, Operation::All)], &[]).await;
    let topic_id = node.topics.named(FOREIGN.topic).unwrap().id;
    let topic = m::produce::TopicProduceData {
        topic_id,
        partition_data: vec![m::produce::PartitionProduceData {
            index: 0,
            records: Some(requests::records(false)),
        }],
        ..Default::default()
    };
    let produce = m::ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    assert_eq!(denials(&alice(&node, Request::Produce(produce), 13).await), [29].into());
    let topic = m::metadata::MetadataRequestTopic { topic_id, name: None };
    let metadata = m::MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let Response::Metadata(told) = alice(&node, Request::Metadata(metadata), 13).await else { panic!() };
    assert_eq!((told.topics[0].error_code, told.topics[0].name.as_deref()), (29, None), "no name is told");
    let topic = m::delete_topics::DeleteTopicState { topic_id, name: None };
    let delete = m::DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
    let Response::DeleteTopics(told) = alice(&node, Request::DeleteTopics(delete), 6).await else { panic!() };
    assert_eq!((told.responses[0].error_code, told.responses[0].name.as_deref()), (29, None));
    let topic = m::offset_commit::OffsetCommitRequestTopic {
        topic_id,
        partitions: vec![Default::default()],
        ..Default::default()
    };
    let commit =
        m::OffsetCommitRequest { group_id: OWN.group.to_owned(), topics: vec![topic], ..Default::default() };
    assert_eq!(denials(&alice(&node, Request::OffsetCommit(commit), 10).await), [29].into());
}

#[tokio::test]
async fn lists_leave_out_what_one_may_not_describe() {
    let mine = [
        allow(Topic, OWN.topic, Operation::Describe),
        allow(Group, OWN.group, Operation::Describe),
        allow(Group, FOREIGN.group, Operation::All),
    ];
    let node = node_with(&mine, &[]).await;
    let all = m::MetadataRequest { topics: None, ..Default::default() };
    let Response::Metadata(told) = alice(&node, Request::Metadata(all), 12).await else { panic!() };
    let names: Vec<_> = told.topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
    assert_eq!(names, [OWN.topic]);
    let all = m::DescribeTopicPartitionsRequest { response_partition_limit: 100, ..Default::default() };
    let told = alice(&node, Request::DescribeTopicPartitions(all), 0).await;
    let Response::DescribeTopicPartitions(told) = told else { panic!() };
    assert_eq!(told.topics.len(), 1);

    for (group, topic) in [(OWN.group, OWN.topic), (FOREIGN.group, OWN.topic), (FOREIGN.group, FOREIGN.topic)]
    {
        let topic = m::offset_commit::OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![Default::default()],
            ..Default::default()
        };
        let commit =
            m::OffsetCommitRequest { group_id: group.to_owned(), topics: vec![topic], ..Default::default() };
        let told = answer(&node, &caller("root"), &Request::OffsetCommit(commit), 8).await;
        assert!(denials(&told).is_empty());
    }
    let asked = m::offset_fetch::OffsetFetchRequestGroup {
        group_id: FOREIGN.group.to_owned(),
        topics: None,
        ..Default::default()
    };
    let fetch = m::OffsetFetchRequest { groups: vec![asked], topics: Some(Vec::new()), ..Default::default() };
    let Response::OffsetFetch(told) = alice(&node, Request::OffsetFetch(fetch), 8).await else { panic!() };
    let names: Vec<_> = told.groups[0].topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, [OWN.topic], "a group's offsets in foreign topics are not told");

    let folders = Request::DescribeLogDirs(m::DescribeLogDirsRequest { topics: None });
    let Response::DescribeLogDirs(told) = alice(&node, folders, 1).await else { panic!() };
    assert!(told.results.is_empty());

    set_rules(&node, &mine[..2]).await;
    let list = Request::ListGroups(m::ListGroupsRequest::default());
    let Response::ListGroups(told) = alice(&node, list, 5).await else { panic!() };
    let names: Vec<_> = told.groups.iter().map(|group| group.group_id.as_str()).collect();
    assert_eq!(names, [OWN.group]);
}

#[tokio::test]
async fn metadata_makes_no_topic_without_create() {
    let node = node_with(&[allow(Topic, MISSING.topic, Operation::Describe)], &[]).await;
    let ask = || Request::Metadata(requests::metadata(MISSING.topic, true));
    assert_eq!(denials(&alice(&node, ask(), 12).await), [29].into());
    assert!(node.topics.named(MISSING.topic).is_none());
    let describe = allow(Topic, MISSING.topic, Operation::Describe);
    let kinds = [(Topic, MISSING.topic), (Cluster, Resource::CLUSTER.name)];
    for (kind, name) in kinds {
        set_rules(&node, &[describe.clone(), allow(kind, name, Operation::Create)]).await;
        assert!(denials(&alice(&node, ask(), 12).await).is_empty());
        let made = node.topics.named(MISSING.topic).expect("it is made");
        node.delete_topic(&made).await.unwrap();
    }
}

#[tokio::test]
async fn authorized_operations_are_those_that_are_allowed() {
    let node = node_with(&[allow(Topic, OWN.topic, Operation::Read)], &[]).await;
    let mut ask = requests::metadata(OWN.topic, false);
    ask.include_topic_authorized_operations = true;
    let Response::Metadata(told) = alice(&node, Request::Metadata(ask), 12).await else { panic!() };
    let (read, describe) = (1 << Operation::Read.code(), 1 << Operation::Describe.code());
    assert_eq!(told.topics[0].topic_authorized_operations, read | describe);
    let ask = m::DescribeClusterRequest {
        endpoint_type: 1,
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    let Response::DescribeCluster(told) = alice(&node, Request::DescribeCluster(ask), 2).await else {
        panic!()
    };
    assert_eq!(told.cluster_authorized_operations, 0, "who may not describe the cluster is told of nothing");
}

#[tokio::test]
async fn a_missing_topic_looks_like_a_foreign_one() {
    let node = node_with(&[], &[("auto.create.topics.enable", "false")]).await;
    for row in ROWS
        .iter()
        .filter(|row| row.needs.iter().flat_map(|ways| *ways).any(|need| matches!(need, Need::On(_, Topic))))
    {
        let version = *row.versions.end();
        let ask = |topic| requests::request(row, version, Names { topic, ..OWN });
        let told = |response: Response, topic: &str| format!("{response:?}").replace(topic, "T");
        let foreign = told(alice(&node, ask(FOREIGN.topic), version).await, FOREIGN.topic);
        let missing = told(alice(&node, ask(MISSING.topic), version).await, MISSING.topic);
        assert_eq!(foreign, missing, "{}", row.api.name());
    }
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_and_those_that_can_are_durable() {
    let node = node_with(&[allow(Cluster, Resource::CLUSTER.name, Operation::Alter)], &[]).await;
    let creation = |resource_type, name: &str, principal: &str, operation| m::create_acls::AclCreation {
        resource_type,
        resource_name: name.to_owned(),
        resource_pattern_type: 3,
        principal: principal.to_owned(),
        host: "*".to_owned(),
        operation,
        permission_type: 3,
    };
    let creations = vec![
        creation(2, "", "User:a", 3),
        creation(4, "other", "User:a", 3),
        creation(2, "t", "a", 3),
        creation(2, "t", "User:a", 1),
        creation(1, "t", "User:a", 3),
        creation(2, "t", "User:a", 3),
    ];
    let create = Request::CreateAcls(m::CreateAclsRequest { creations });
    let Response::CreateAcls(told) = alice(&node, create, 3).await else { panic!() };
    let codes: Vec<i16> = told.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [42, 42, 42, 42, 42, 0]);
    let records = node.producer_ids.records();
    let again =
        super::super::Access::recover(node.settings.now().authorizer.as_ref(), &node.audit, records).unwrap();
    assert_eq!(again.rules(&RuleFilter::ALL), node.access.rules(&RuleFilter::ALL));
    assert_eq!(again.rules(&RuleFilter::ALL).unwrap().len(), 2);
    let unknown = m::FetchRequest {
        topics: vec![m::fetch::FetchTopic {
            topic_id: TopicId([9; 16]),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert!(
        denials(&alice(&node, Request::Fetch(unknown), 18).await).is_empty(),
        "an unknown id is just that"
    );
}
