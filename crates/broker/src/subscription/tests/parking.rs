//! Keys that are parked, released, and parked again.

use super::failures::{policy, set};
use super::*;
use keyway_dispatch::Poison;

/// Parks the key `k` with the messages `0`, `1` and `2`; another key is not held up.
async fn park(node: &Arc<Node>, topic: &Topic) -> Worker {
    set(node, topic, policy(Poison::Park, 0)).await;
    append(&topic.partitions[0], &["0", "1"]);
    append_to(&topic.partitions[0], "other", Timestamp(7), &["a"]);
    append(&topic.partitions[0], &["2"]);
    let mut worker = open(node, &topic.partitions[0], Mode::KeyShared, "c", 64).await;
    let mut seen = [worker.next().await, worker.next().await];
    seen.sort_by_key(|message| message.payload.clone());
    let [poison, other] = seen;
    assert_eq!((&poison.payload[..], &other.payload[..]), (&b"0"[..], &b"a"[..]));
    worker.ack(&other).await;
    worker.nack(&poison, "bad").await;
    eventually("everything is done or parked", async || view(node, topic).await.lag_messages == 0).await;
    let parked: Vec<String> =
        contents(node, "orders.sub.parked").into_iter().map(|(value, _)| value).collect();
    assert_eq!(parked, ["0", "1", "2"]);
    assert!(worker.is_silent().await, "nothing of a parked key is delivered");
    worker
}

async fn view(node: &Arc<Node>, topic: &Topic) -> PartitionView {
    node.subscriptions.describe(topic, "sub").await.expect("a picture").remove(0)
}

async fn release(node: &Arc<Node>, topic: &Topic) -> u64 {
    node.subscriptions.release(topic, "sub", Some(b"k")).await.expect("asked")
}

fn parked_records(node: &Node) -> usize {
    let keys = node.subscriptions.records.entries().into_iter().map(|(key, _)| Key::decode(&key));
    keys.filter(|key| matches!(key, Ok(Key::Parked(..)))).count()
}

#[tokio::test]
async fn a_parked_key_comes_back_in_order_and_before_its_newer_messages() {
    let node = node().await;
    let topic = topic(&node).await;
    let mut worker = park(&node, &topic).await;
    let before = view(&node, &topic).await;
    assert_eq!((before.parked_keys, before.counters["parked"], parked_records(&node)), (1, 3, 1));

    assert_eq!(release(&node, &topic).await, 1);
    let first = worker.expect("0").await;
    assert_eq!(first.msg_id.as_ref().expect("an id").topic_offset, 0, "where it was in its own topic");
    let ours = |name: &&String| name.starts_with("x-");
    assert_eq!(first.attributes.keys().find(ours), None, "what it was given beside is gone");
    append(&topic.partitions[0], &["3"]);
    worker.ack(&first).await;
    for value in ["1", "2", "3"] {
        let message = worker.expect(value).await;
        worker.ack(&message).await;
    }
    eventually("the key is no longer parked", async || {
        let view = view(&node, &topic).await;
        view.parked_keys == 0 && view.lag_messages == 0 && parked_records(&node) == 0
    })
    .await;
    append(&topic.partitions[0], &["4"]);
    worker.expect("4").await;
    assert_eq!(release(&node, &topic).await, 0, "nothing waits for a person");
}

#[tokio::test]
async fn a_released_key_that_fails_again_is_parked_again() {
    let node = node().await;
    let topic = topic(&node).await;
    let mut worker = park(&node, &topic).await;
    assert_eq!(release(&node, &topic).await, 1);
    let message = worker.expect("0").await;
    worker.ack(&message).await;
    let message = worker.expect("1").await;
    worker.nack(&message, "still bad").await;
    append(&topic.partitions[0], &["3"]);
    eventually("the newer message is parked too", async || view(&node, &topic).await.counters["parked"] == 4)
        .await;
    assert!(worker.is_silent().await);
    assert_eq!(release(&node, &topic).await, 1);
    for value in ["1", "2", "3"] {
        let message = worker.expect(value).await;
        worker.ack(&message).await;
    }
}

#[test]
fn a_parked_key_outlives_kills_before_and_while_it_comes_back() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    until_killed(async {
        let node = node_on(store.clone()).await;
        let topic = topic(&node).await;
        park(&node, &topic).await;
    });
    until_killed(async {
        let node = node_on(store.clone()).await;
        let topic = node.topics.named("orders").expect("the topic");
        let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 64).await;
        append(&topic.partitions[0], &["3"]);
        assert!(worker.is_silent().await, "it is parked still");
        assert_eq!(release(&node, &topic).await, 1);
        let message = worker.expect("0").await;
        worker.ack(&message).await;
        worker.expect("1").await;
    });
    until_killed(async {
        let node = node_on(store.clone()).await;
        let topic = node.topics.named("orders").expect("the topic");
        let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 64).await;
        // The release itself may be younger than the last snapshot.
        release(&node, &topic).await;
        for value in ["1", "2", "3"] {
            let message = worker.expect(value).await;
            worker.ack(&message).await;
        }
        assert!(worker.is_silent().await);
    });
}

#[tokio::test]
async fn a_deleted_subscription_leaves_no_parked_key_behind() {
    let node = node().await;
    let topic = topic(&node).await;
    park(&node, &topic).await;
    node.subscriptions.delete(&topic, "sub").await.expect("deleted");
    assert!(node.subscriptions.records.entries().is_empty(), "nothing is left at rest");
}

#[tokio::test]
async fn a_seek_delivers_again_what_was_parked_and_forgets_that_it_was() {
    let node = node().await;
    let topic = topic(&node).await;
    let mut worker = park(&node, &topic).await;
    node.subscriptions.seek(&topic, "sub", StartPosition::Earliest).await.expect("sought");
    let mut values = Vec::new();
    for _ in 0..4 {
        let message = worker.next().await;
        values.push(String::from_utf8_lossy(&message.payload).into_owned());
        worker.ack(&message).await;
    }
    values.retain(|value| value != "a");
    assert_eq!(values, ["0", "1", "2"]);
    eventually("its record is gone", async || parked_records(&node) == 0).await;
}
