//! The owner without a network: what clients cannot easily be made to do.

mod failures;
mod flaky_store;
mod parking;
mod people;

use super::*;
use crate::{
    listeners::Listening,
    topics::{Topic, TopicSettings},
};
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
    let config = crate::Config::default();
    let listening = Listening::planned(&config);
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let recovered = Node::recover(config, listening, World::real(), store, stopping, tasks);
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
    stream: ConsumerId,
    items: mpsc::Receiver<Item>,
}

/// Subscribes as `name` to the subscription `sub`, made from the topic's beginning if it is missing, and opens a stream
/// of so many places.
async fn open(node: &Arc<Node>, partition: &Arc<Partition>, mode: Mode, name: &str, places: usize) -> Worker {
    let wanted =
        Wanted { partition, name: "sub", mode, reliable: true, start: StartPosition::Earliest, caller: None };
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
    let stream = node.subscriptions.next_stream();
    subscription.open(consumer, stream, outlet, "http://b".to_owned()).await;
    Worker { subscription, stream, items }
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

    /// The client goes away, as the front tells it.
    fn close(mut self) {
        self.items.close();
        self.subscription.close_soon(self.stream);
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
    let slice = topic.partitions[0].log.read(Offset(0), ReadLimit::bytes(1_000_000)).expect("read");
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

/// Clients answer what they hold until their connections close, and that is later than the streams' end.
#[tokio::test]
async fn what_is_acked_while_the_broker_stops_does_not_come_again() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    let node = node_on(store.clone()).await;
    let topic = topic(&node).await;
    for key in ["a", "b", "c"] {
        append_to(&topic.partitions[0], key, Timestamp(1), &["first", "second"]);
    }
    let connections = node.fronts.token();
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 16).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(worker.expect("first").await);
    }
    held.sort_by_key(|message| place(message).0);
    node.stopping.cancel();
    assert!(worker.item().await.is_none(), "the stream ends first");
    worker.ack(&held[0]).await;
    worker.ack(&held[2]).await;
    drop(connections);
    stop(node).await;

    let node = node_on(store).await;
    let mut worker = reopen(&node, consumer_id(&topic.partitions[0].id, "sub", "c"), 16).await;
    let mut again = Vec::new();
    for _ in 0..3 {
        let message = worker.next().await;
        again.push((place(&message).0, String::from_utf8_lossy(&message.payload).into_owned()));
    }
    again.sort();
    let expected = [(1, "second"), (2, "first"), (5, "second")];
    assert_eq!(again, expected.map(|(offset, payload)| (Offset(offset), payload.to_owned())));
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

/// A thousand subscriptions, each with a consumer that was there and may come back. Not part of the usual run, for it
/// measures: `cargo test -p keyway-broker --lib a_thousand -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures memory and time"]
async fn a_thousand_subscriptions_on_a_node() {
    const COUNT: usize = 1_000;
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    let node = node_on(store.clone()).await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0"; 100]);
    let (before, begun) = (resident_bytes(), std::time::Instant::now());
    let create = async |index: usize| {
        let name = format!("sub-{index}");
        node.subscriptions.create(&node, &topic, &name, Mode::KeyShared, StartPosition::Earliest).await
    };
    for index in 0..COUNT {
        create(index).await.expect("created");
    }
    println!("created in {:?}, {} bytes each", begun.elapsed(), (resident_bytes() - before) / COUNT);
    let mut streams = Vec::new();
    for index in 0..COUNT {
        let name = format!("sub-{index}");
        let id = consumer_id(&topic.partitions[0].id, &name, "c");
        let request = SubscribeRequest {
            consumer_id: id,
            consumer_name: "c".to_owned(),
            topic_name: "/default/orders".to_owned(),
            filters: Vec::new(),
        };
        let partition = &topic.partitions[0];
        let start = StartPosition::Latest;
        let wanted =
            Wanted { partition, name: &name, mode: Mode::KeyShared, reliable: true, start, caller: None };
        node.subscriptions.subscribe(&node, wanted, request).await.expect("subscribed");
        streams.push(reopen(&node, id, 4).await);
    }
    for stream in &mut streams {
        stream.expect("0").await;
    }
    println!("all deliver after {:?}, {} bytes each", begun.elapsed(), (resident_bytes() - before) / COUNT);
    drop(streams);
    stop(node).await;
    let begun = std::time::Instant::now();
    let node = node_on(store).await;
    println!("started again in {:?}", begun.elapsed());
    assert_eq!(node.subscriptions.names(topic.id).len(), COUNT);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4_096
}

#[tokio::test]
async fn shared_gives_what_a_lost_consumer_held_to_the_others_at_once() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0", "1"]);
    let mut lost = open(&node, &topic.partitions[0], Mode::Shared, "lost", 8).await;
    lost.expect("0").await;
    lost.expect("1").await;
    let mut other = open(&node, &topic.partitions[0], Mode::Shared, "other", 8).await;
    assert!(other.is_silent().await);
    let begun = std::time::Instant::now();
    lost.close();
    other.expect("0").await;
    other.expect("1").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn failover_goes_down_the_line_and_each_begins_with_the_oldest_unanswered() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0", "1", "2"]);
    let mut first = open(&node, &topic.partitions[0], Mode::Failover, "z-first", 8).await;
    let mut second = open(&node, &topic.partitions[0], Mode::Failover, "m-second", 8).await;
    let mut third = open(&node, &topic.partitions[0], Mode::Failover, "a-third", 8).await;
    let message = first.expect("0").await;
    first.ack(&message).await;
    first.expect("1").await;
    first.close();
    let message = second.expect("1").await;
    second.ack(&message).await;
    second.expect("2").await;
    second.close();
    third.expect("2").await;
    // Whoever was first is the last in line now.
    let mut back = open(&node, &topic.partitions[0], Mode::Failover, "z-first", 8).await;
    assert!(back.is_silent().await);
}

#[tokio::test]
async fn an_exclusive_consumer_is_taken_over_by_its_own_name_only() {
    let node = node().await;
    let topic = topic(&node).await;
    let partition = &topic.partitions[0];
    append(partition, &["0"]);
    let mut held = open(&node, partition, Mode::Exclusive, "only", 8).await;
    held.expect("0").await;
    let request = SubscribeRequest {
        consumer_id: 77,
        consumer_name: "other".to_owned(),
        topic_name: "/default/orders".to_owned(),
        filters: Vec::new(),
    };
    let start = StartPosition::Latest;
    let wanted =
        Wanted { partition, name: "sub", mode: Mode::Exclusive, reliable: true, start, caller: None };
    let refused = node.subscriptions.subscribe(&node, wanted, request).await;
    assert!(matches!(refused, Err(SubscribeError::Exclusive { holder }) if holder == "only"));
    let mut again = open(&node, partition, Mode::Exclusive, "only", 8).await;
    assert!(matches!(held.item().await, Some(Err(StreamEnd::TakenOver))));
    again.expect("0").await;
}

/// What does not fit into memory is read again, and nothing is lost or out of order for it.
#[tokio::test]
async fn messages_that_memory_cannot_hold_are_delivered_from_the_log() {
    let node = node().await;
    let topic = topic(&node).await;
    // 100 MB of messages in memory 64 MiB large.
    let value: &'static str = Box::leak("x".repeat(1_000_000).into_boxed_str());
    for _ in 0..100 {
        append(&topic.partitions[0], &[value]);
    }
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 8).await;
    for offset in 0..100 {
        let message = worker.next().await;
        assert_eq!((message.payload.len(), place(&message).0), (1_000_000, Offset(offset)));
        if offset == 0 {
            let subscriptions = &node.subscriptions;
            eventually("all is read", async || {
                let view = subscriptions.describe(&topic, "sub").await.expect("a picture").remove(0);
                assert!(view.cache_bytes <= 64 * 1024 * 1024);
                view.next_read == 100
            })
            .await;
        }
        worker.ack(&message).await;
    }
}
