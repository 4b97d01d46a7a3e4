//! Replication factors above 1: accepted, recorded with the topic, one copy kept.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::metadata_of,
    restart,
};
use keyway_broker::Config;
use keyway_kafka_wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest,
    create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicResult},
};
use keyway_log::MemoryStore;
use std::sync::Arc;

async fn create(client: &mut Client, topic: CreatableTopic) -> CreatableTopicResult {
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    call!(client, CreateTopics, 7, request).topics.remove(0)
}

fn orders(num_partitions: i32, replication_factor: i16, assignments: &[&[i32]]) -> CreatableTopic {
    let assignment = |(index, brokers): (usize, &&[i32])| CreatableReplicaAssignment {
        partition_index: index as i32,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic {
        name: "orders".to_owned(),
        num_partitions,
        replication_factor,
        assignments: assignments.iter().enumerate().map(assignment).collect(),
        ..Default::default()
    }
}

/// Grows `orders` by one partition on these brokers.
async fn grow(client: &mut Client, count: i32, brokers: &[i32]) -> i16 {
    let assignments = vec![CreatePartitionsAssignment { broker_ids: brokers.to_vec() }];
    let topic = CreatePartitionsTopic { name: "orders".to_owned(), count, assignments: Some(assignments) };
    let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
    call!(client, CreatePartitions, 3, request).results[0].error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_factor_of_three_is_recorded_and_one_copy_kept() {
    let folder = tempfile::tempdir().unwrap();
    let broker = restart::start(folder.path()).await;
    let mut client = broker.connect().await;
    let created = create(&mut client, orders(2, 3, &[])).await;
    assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 2, 3));
    broker.shutdown().await;

    let broker = restart::start(folder.path()).await;
    let mut client = broker.connect().await;
    let topic = call!(client, Metadata, 12, metadata_of("orders")).topics.remove(0);
    assert!(topic.partitions.iter().all(|one| one.replica_nodes == [1] && one.isr_nodes == [1]), "{topic:?}");
    // What was recorded is what further partitions must have.
    assert_eq!(grow(&mut client, 3, &[1]).await, 39);
    assert_eq!(grow(&mut client, 3, &[2, 3, 4]).await, 39, "without this broker");
    assert_eq!(grow(&mut client, 3, &[3, 1, 2]).await, 0);
}

#[tokio::test]
async fn an_assignment_by_hand_says_the_factor() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    for (what, topic, code) in [
        ("unequal", orders(-1, -1, &[&[1, 2], &[1]]), 39),
        ("a broker twice", orders(-1, -1, &[&[1, 1]]), 39),
        ("nobody", orders(-1, -1, &[&[]]), 39),
        ("elsewhere", orders(-1, -1, &[&[2, 3]]), 39),
        ("with a factor beside it", orders(-1, 2, &[&[1, 2]]), 42),
        ("with a number beside it", orders(1, -1, &[&[1, 2]]), 42),
    ] {
        assert_eq!(create(&mut client, topic).await.error_code, code, "{what}");
    }
    let created = create(&mut client, orders(-1, -1, &[&[1, 2], &[2, 1]])).await;
    assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 2, 2));
}

#[tokio::test]
async fn topics_that_name_no_factor_have_the_broker_s() {
    let settings = [("default.replication.factor", "3"), ("num.partitions", "4")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config { settings, ..Config::default() };
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    let mut client = broker.connect().await;
    let on_first_use = call!(client, Metadata, 12, metadata_of("orders")).topics.remove(0);
    assert_eq!(on_first_use.partitions.len(), 4);
    assert_eq!(grow(&mut client, 5, &[1]).await, 39, "it was made with three");
    assert_eq!(grow(&mut client, 5, &[1, 2, 3]).await, 0);
    let named = CreatableTopic { name: "payments".to_owned(), ..orders(-1, -1, &[]) };
    let created = create(&mut client, named).await;
    assert_eq!((created.num_partitions, created.replication_factor), (4, 3));
}
