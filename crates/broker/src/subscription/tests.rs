//! The owner without a network: what clients cannot easily be made to do.

use super::*;
use crate::topics::{Topic, TopicSettings};
use keyway_dispatch::{FailurePolicy, Poison};
use keyway_log::{MemoryStore, ReadLimit};
use keyway_record::{Offset, Record, Timestamp, TopicName, batch::BatchBuilder};
use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(10);

async fn node() -> Arc<Node> {
    let address = "127.0.0.1:0".parse().expect("an address");
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let store = Arc::new(MemoryStore::new());
    let recovered = Node::recover(crate::Config::default(), address, World::real(), store, stopping, tasks);
    recovered.await.expect("an empty store")
}

async fn topic(node: &Node) -> Arc<Topic> {
    let name = TopicName::new("orders").expect("a name");
    node.topics.create(name, 1, TopicSettings::default()).await.expect("created")
}

fn append(partition: &Partition, values: &[&'static str]) {
    let mut batch = BatchBuilder::new(Timestamp(7));
    for value in values {
        let record = Record { key: Some("k".into()), value: Some((*value).into()), ..Record::default() };
        batch.push(Timestamp(7), record);
    }
    partition.append(&batch.build()).expect("appended");
}

/// A subscription from offset 0, and one consumer's open stream of so many places.
async fn open(
    node: &Arc<Node>,
    partition: &Arc<Partition>,
    config: Config,
    places: usize,
) -> (Arc<Subscription>, mpsc::Receiver<Item>) {
    let id = SubscriptionId {
        topic: partition.id.topic_id,
        partition: partition.id.partition,
        name: "sub".to_owned(),
    };
    let mode = config.mode;
    let dispatcher = Dispatcher::new(config, OwnerEpoch::FIRST);
    let subscription = start(node, id, mode, true, partition.clone(), dispatcher, Members::default());
    node.subscriptions.write().insert(subscription.clone());
    let wanted = Wanted { partition, name: "sub", mode, reliable: true, start: StartPosition::Latest };
    let request = SubscribeRequest {
        consumer_id: 5,
        consumer_name: "c".to_owned(),
        topic_name: "/default/orders".to_owned(),
        filters: Vec::new(),
    };
    let consumer = node.subscriptions.subscribe(node, wanted, request).await.expect("subscribed");
    let (outlet, items) = mpsc::channel(places);
    subscription.open(consumer, node.subscriptions.next_stream(), outlet, String::new()).await;
    (subscription, items)
}

async fn next(items: &mut mpsc::Receiver<Item>) -> Option<Item> {
    tokio::time::timeout(PATIENCE, items.recv()).await.expect("in time")
}

#[tokio::test]
async fn a_used_up_message_becomes_a_dead_letter_and_its_key_goes_on() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["poison", "good"]);
    let failure =
        FailurePolicy { poison: Poison::DeadLetter, max_redelivery_count: 0, ..FailurePolicy::default() };
    let config = Config { failure, ..Config::new(Mode::KeyShared) };
    let (subscription, mut items) = open(&node, &topic.partitions[0], config, 4).await;
    let poison = next(&mut items).await.expect("open").expect("a message");
    assert_eq!(&poison.payload[..], b"poison");
    subscription.nack(Offset(0), None, None, Some("bad".to_owned())).await;
    let good = next(&mut items).await.expect("open").expect("a message");
    assert_eq!(&good.payload[..], b"good");

    let letters = node.topics.named("orders.sub.dlq").expect("the dead-letter topic");
    let slice = letters.partitions[0].log.read(Offset(0), ReadLimit { bytes_max: 1_000_000 }).expect("read");
    let batch = slice.batches().next().expect("one batch");
    let letter =
        keyway_kafka_wire::records(&batch, 1_000).expect("readable").next().expect("one").expect("valid");
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k"[..]), Some(&b"poison"[..])));
    let header = |name: &str| {
        let header = letter.headers.iter().find(|header| header.key == name).expect("the header");
        String::from_utf8(header.value.clone().expect("a value").to_vec()).expect("text")
    };
    assert_eq!(header("x-failure-reason"), "bad");
    assert_eq!(header("x-original-topic-offset"), "0");
    assert_eq!(header("x-original-subscription"), "sub");
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_loses_its_stream_and_not_its_messages() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0", "1", "2"]);
    let (subscription, mut items) = open(&node, &topic.partitions[0], Config::new(Mode::Exclusive), 1).await;
    // The second delivery finds the only place taken.
    assert_eq!(&next(&mut items).await.expect("open").expect("a message").payload[..], b"0");
    while next(&mut items).await.is_some() {}
    let (_, consumer) = node.subscriptions.consumer(5).expect("still known");
    let (outlet, mut again) = mpsc::channel(8);
    subscription.open(consumer, node.subscriptions.next_stream(), outlet, String::new()).await;
    for value in [b"0", b"1", b"2"] {
        assert_eq!(&next(&mut again).await.expect("open").expect("a message").payload[..], value);
    }
}

#[tokio::test]
async fn a_deleted_topic_takes_its_subscriptions_along() {
    let node = node().await;
    let topic = topic(&node).await;
    let (_subscription, mut items) = open(&node, &topic.partitions[0], Config::new(Mode::Shared), 4).await;
    node.topics.delete(&topic.name).await.expect("deleted");
    assert!(matches!(next(&mut items).await, Some(Err(StreamEnd::Deleted))));
    assert!(next(&mut items).await.is_none(), "the stream ends");
    node.tasks.close();
    tokio::time::timeout(PATIENCE, node.tasks.wait()).await.expect("the owner ends");
    assert!(node.subscriptions.consumer(5).is_none());
    assert!(node.subscriptions.records.entries().is_empty(), "nothing is left at rest");
}

#[tokio::test]
async fn a_record_is_read_again_by_its_offset() {
    let node = node().await;
    let topic = topic(&node).await;
    let partition = &topic.partitions[0];
    append(partition, &["0", "1", "2"]);
    append(partition, &["3"]);
    for offset in 0..4 {
        let stored = fetch::read_one(&*partition.log, Offset(offset)).expect("read").expect("there");
        assert_eq!(stored.record.value.as_deref(), Some(offset.to_string().as_bytes()));
        assert_eq!(stored.timestamp, Timestamp(7));
    }
    assert!(fetch::read_one(&*partition.log, Offset(4)).expect("read").is_none());
    let fetched = fetch::read(&*partition.log, Offset(1), 2, 1_000_000).expect("read");
    assert_eq!((fetched.base, fetched.end, fetched.arrivals.len()), (Offset(1), Offset(3), 2));
}
