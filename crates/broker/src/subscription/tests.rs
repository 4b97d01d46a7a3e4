//! The owner without a network: what clients cannot easily be made to do.

mod failures;
mod people;

use super::*;
use crate::topics::{Topic, TopicSettings};
use keyway_danube_wire::proto::StreamMessage;
use keyway_dispatch::Token;
use keyway_log::{MemoryStore, ReadLimit};
use keyway_record::{Offset, Record, Timestamp, TopicName, batch::BatchBuilder};
use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(10);

async fn node() -> Arc<Node> {
    node_on(Arc::new(MemoryStore::new())).await
}

async fn node_on(store: Arc<dyn LogStore>) -> Arc<Node> {
    let address = "127.0.0.1:0".parse().expect("an address");
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let recovered = Node::recover(crate::Config::default(), address, World::real(), store, stopping, tasks);
    recovered.await.expect("a readable store")
}

/// Stops the broker as a person does; its store stays.
async fn stop(node: Arc<Node>) {
    node.stopping.cancel();
    node.tasks.close();
    tokio::time::timeout(PATIENCE, node.tasks.wait()).await.expect("the owners end");
}

/// Lives a broker's life and kills it: its tasks end wherever they wait.
fn until_killed<F: Future>(life: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let lived = runtime.block_on(life);
    runtime.shutdown_timeout(PATIENCE);
    lived
}

async fn topic(node: &Node) -> Arc<Topic> {
    topic_of(node, 1).await
}

async fn topic_of(node: &Node, partitions: i32) -> Arc<Topic> {
    let name = TopicName::new("orders").expect("a name");
    node.topics.create(name, partitions, TopicSettings::default()).await.expect("created")
}

/// Appends messages of one key.
fn append(partition: &Partition, values: &[&'static str]) {
    append_to(partition, "k", Timestamp(7), values);
}

fn append_to(partition: &Partition, key: &'static str, time: Timestamp, values: &[&'static str]) {
    let mut batch = BatchBuilder::new(time);
    for value in values {
        let record = Record { key: Some(key.into()), value: Some((*value).into()), ..Record::default() };
        batch.push(time, record);
    }
    partition.append(&batch.build()).expect("appended");
}

/// One consumer's open stream.
struct Worker {
    subscription: Arc<Subscription>,
    items: mpsc::Receiver<Item>,
}

/// Subscribes as `name` to the subscription `sub`, made from the topic's beginning if it is missing, and opens a stream
/// of so many places.
async fn open(node: &Arc<Node>, partition: &Arc<Partition>, mode: Mode, name: &str, places: usize) -> Worker {
    let wanted = Wanted { partition, name: "sub", mode, reliable: true, start: StartPosition::Earliest };
    let consumer_id = consumer_id(&partition.id, "sub", name);
    let request = SubscribeRequest {
        consumer_id,
        consumer_name: name.to_owned(),
        topic_name: "/default/orders".to_owned(),
        filters: Vec::new(),
    };
    node.subscriptions.subscribe(node, wanted, request).await.expect("subscribed");
    reopen(node, consumer_id, places).await
}

async fn reopen(node: &Node, consumer_id: u64, places: usize) -> Worker {
    let (subscription, consumer) = node.subscriptions.consumer(consumer_id).expect("a consumer");
    let (outlet, items) = mpsc::channel(places);
    subscription.open(consumer, node.subscriptions.next_stream(), outlet, "http://b".to_owned()).await;
    Worker { subscription, items }
}

impl Worker {
    async fn item(&mut self) -> Option<Item> {
        tokio::time::timeout(PATIENCE, self.items.recv()).await.expect("in time")
    }

    async fn next(&mut self) -> StreamMessage {
        self.item().await.expect("open").expect("a message")
    }

    /// The next message, which has this payload.
    async fn expect(&mut self, payload: &str) -> StreamMessage {
        let message = self.next().await;
        assert_eq!(String::from_utf8_lossy(&message.payload), payload);
        message
    }

    async fn ack(&self, message: &StreamMessage) {
        let (offset, token) = place(message);
        self.subscription.ack(offset, Some(token)).await;
    }

    async fn nack(&self, message: &StreamMessage, reason: &str) {
        let (offset, token) = place(message);
        self.subscription.nack(offset, Some(token), None, Some(reason.to_owned())).await;
    }

    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.items.recv()).await.is_err()
    }
}

fn place(message: &StreamMessage) -> (Offset, Token) {
    let id = message.msg_id.as_ref().expect("an id");
    (Offset(id.topic_offset as i64), Token::from_raw(message.request_id))
}

/// Everything in the first partition of a topic: value and headers.
fn contents(node: &Node, topic: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let Some(topic) = node.topics.named(topic) else { return Vec::new() };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let slice = topic.partitions[0].log.read(Offset(0), ReadLimit { bytes_max: 1_000_000 }).expect("read");
    let batches = slice.batches();
    let records = batches.flat_map(|batch| keyway_kafka_wire::records(&batch, 1_000_000).expect("readable"));
    let of_record = |record: Record| {
        let headers = record.headers.iter();
        let headers = headers
            .map(|header| (text(&header.key), text(header.value.as_deref().unwrap_or_default())))
            .collect();
        (text(record.value.as_deref().unwrap_or_default()), headers)
    };
    records.map(|record| of_record(record.expect("valid"))).collect()
}

/// Waits until `holds`.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_loses_its_stream_and_not_its_messages() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0", "1", "2"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::Exclusive, "c", 1).await;
    // The second delivery finds the only place taken.
    worker.expect("0").await;
    while worker.item().await.is_some() {}
    let mut again = reopen(&node, consumer_id(&topic.partitions[0].id, "sub", "c"), 8).await;
    for value in ["0", "1", "2"] {
        again.expect(value).await;
    }
}

#[tokio::test]
async fn a_deleted_topic_takes_its_subscriptions_along() {
    let node = node().await;
    let topic = topic(&node).await;
    let mut worker = open(&node, &topic.partitions[0], Mode::Shared, "c", 4).await;
    node.topics.delete(&topic.name).await.expect("deleted");
    assert!(matches!(worker.item().await, Some(Err(StreamEnd::Deleted))));
    assert!(worker.item().await.is_none(), "the stream ends");
    node.tasks.close();
    tokio::time::timeout(PATIENCE, node.tasks.wait()).await.expect("the owner ends");
    assert!(node.subscriptions.names(topic.id).is_empty());
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

#[tokio::test]
async fn a_hot_keys_records_are_read_again_in_order() {
    let node = node().await;
    let topic = topic(&node).await;
    // More than one key's share of memory: the rest stays in the log until it is its turn.
    const ROUNDS: usize = 4_000;
    for _ in 0..ROUNDS {
        append(&topic.partitions[0], &["a", "b", "c", "d", "e"]);
    }
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "worker", 4).await;
    for _ in 0..ROUNDS {
        for payload in ["a", "b", "c", "d", "e"] {
            let message = worker.expect(payload).await;
            worker.ack(&message).await;
        }
    }
}
