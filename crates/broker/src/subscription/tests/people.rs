//! What people do with subscriptions: create, look, send elsewhere, release, delete.

use super::*;
use crate::subscription::SubscriptionError;
use keyway_dispatch::{FailurePolicy, KeyOrder, Poison};

#[tokio::test]
async fn a_subscription_begins_where_it_is_told() {
    let node = node().await;
    let topic = topic_of(&node, 2).await;
    for partition in &topic.partitions {
        append_to(partition, "k", Timestamp(1_000), &["0", "1"]);
        append_to(partition, "k", Timestamp(2_000), &["2"]);
    }
    let positions = [
        ("latest", 3),
        ("earliest", 0),
        ("offset:1", 1),
        ("offset:99", 3),
        ("time:1000", 0),
        ("time:1001", 2),
        ("time:9000", 3),
    ];
    for (name, offset) in positions {
        let start = name.parse().expect("a position");
        node.subscriptions.create(&node, &topic, name, Mode::KeyShared, start).await.expect("created");
        let views = node.subscriptions.describe(&topic, name).await.expect("a picture");
        let cursors: Vec<_> =
            views.iter().map(|view| (view.partition, view.cursor, view.lag_messages)).collect();
        let lag = 3 - offset as u64;
        assert_eq!(cursors, [(0, offset, lag), (1, offset, lag)], "{name}");
        assert_eq!(node.subscriptions.mode(topic.id, name), Some(Mode::KeyShared));
    }
    let names: Vec<_> = positions
        .map(|(name, _)| name.to_owned())
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(node.subscriptions.names(topic.id), names);
    let again = node.subscriptions.create(&node, &topic, "latest", Mode::Shared, StartPosition::Latest).await;
    assert!(matches!(again, Err(SubscriptionError::Exists { mode: Mode::KeyShared, .. })));
}

#[test]
fn the_start_is_kept_although_the_broker_dies_before_anything_happens() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    until_killed(async {
        let node = node_on(store.clone()).await;
        let topic = topic(&node).await;
        append(&topic.partitions[0], &["0", "1"]);
        node.subscriptions
            .create(&node, &topic, "sub", Mode::Shared, StartPosition::Offset(Offset(1)))
            .await
            .expect("created");
    });
    until_killed(async {
        let node = node_on(store).await;
        let topic = node.topics.named("orders").expect("the topic");
        append(&topic.partitions[0], &["2"]);
        let mut worker = open(&node, &topic.partitions[0], Mode::Shared, "c", 4).await;
        worker.expect("1").await;
        worker.expect("2").await;
    });
}

#[tokio::test]
async fn a_live_subscription_goes_back_and_forth_and_old_answers_count_for_nothing() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0", "1", "2", "3"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 8).await;
    for value in ["0", "1"] {
        let message = worker.expect(value).await;
        worker.ack(&message).await;
    }
    let held = worker.expect("2").await;
    let places = node.subscriptions.seek(&topic, "sub", StartPosition::Earliest).await.expect("sent back");
    assert_eq!(places, [(PartitionId(0), Offset(0))]);
    let again = worker.expect("0").await;
    worker.ack(&held).await;
    assert!(worker.is_silent().await, "the old delivery's ack frees nothing");
    worker.ack(&again).await;
    worker.expect("1").await;
    node.subscriptions.seek(&topic, "sub", "offset:3".parse().expect("a position")).await.expect("sent on");
    let last = worker.expect("3").await;
    worker.ack(&last).await;
    append(&topic.partitions[0], &["4"]);
    worker.expect("4").await;
}

#[test]
fn where_a_subscription_was_sent_it_goes_on_after_a_crash() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    until_killed(async {
        let node = node_on(store.clone()).await;
        let topic = topic(&node).await;
        append(&topic.partitions[0], &["0", "1", "2"]);
        node.subscriptions
            .create(&node, &topic, "sub", Mode::Shared, StartPosition::Latest)
            .await
            .expect("created");
        node.subscriptions.seek(&topic, "sub", StartPosition::Offset(Offset(1))).await.expect("sent back");
    });
    until_killed(async {
        let node = node_on(store).await;
        let topic = node.topics.named("orders").expect("the topic");
        open(&node, &topic.partitions[0], Mode::Shared, "c", 4).await.expect("1").await;
    });
}

#[tokio::test]
async fn a_deleted_subscription_ends_its_streams_and_leaves_nothing() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    let node = node_on(store.clone()).await;
    let topic = topic_of(&node, 2).await;
    append(&topic.partitions[0], &["0"]);
    let mut workers = Vec::new();
    for partition in &topic.partitions {
        workers.push(open(&node, partition, Mode::KeyShared, "c", 4).await);
    }
    workers[0].expect("0").await;
    let policy = SubscriptionPolicy { unacked_max: Some(3), ..SubscriptionPolicy::default() };
    node.subscriptions.set_policy(&topic, "sub", policy).await.expect("set");
    node.subscriptions.delete(&topic, "sub").await.expect("deleted");
    for worker in &mut workers {
        assert!(matches!(worker.item().await, Some(Err(StreamEnd::Deleted))));
    }
    let again = node.subscriptions.delete(&topic, "sub").await;
    assert!(matches!(again, Err(SubscriptionError::Unknown { .. })));
    assert!(node.subscriptions.records.entries().is_empty());
    let unknown = node.subscriptions.describe(&topic, "sub").await;
    assert!(matches!(unknown, Err(SubscriptionError::Unknown { .. })));
    // The name is free for another subscription at once.
    let mut worker = open(&node, &topic.partitions[0], Mode::Shared, "c", 4).await;
    worker.expect("0").await;
}

#[tokio::test]
async fn a_bound_of_unanswered_messages_outlives_the_last_consumer() {
    let node = node().await;
    let topic = topic(&node).await;
    let worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let policy = SubscriptionPolicy { unacked_max: Some(3), ..SubscriptionPolicy::default() };
    node.subscriptions.set_policy(&topic, "sub", policy.clone()).await.expect("set");
    worker.subscription.close_soon(worker.stream);
    node.subscriptions.describe(&topic, "sub").await.expect("the owner lives without consumers");
    node.subscriptions.set_policy(&topic, "sub", policy).await.expect("set");
    append(&topic.partitions[0], &["0"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    worker.expect("0").await;
}

#[tokio::test]
async fn a_blocked_key_is_seen_with_its_reason_and_released() {
    let node = node().await;
    let topic = topic(&node).await;
    let failure = FailurePolicy {
        poison: Poison::Block,
        max_redelivery_count: 0,
        ..SubscriptionPolicy::default().failure
    };
    let policy = SubscriptionPolicy { failure, ..SubscriptionPolicy::default() };
    node.subscriptions.set_policy(&topic, "sub", policy).await.expect("set");
    append_to(&topic.partitions[0], "bad", Timestamp(7), &["b0", "b1"]);
    append_to(&topic.partitions[0], "good", Timestamp(7), &["g0", "g1", "g2"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 8).await;
    let message = worker.expect("b0").await;
    worker.nack(&message, "bad").await;
    let held = worker.expect("g0").await;

    let subscriptions = &node.subscriptions;
    let bad = subscriptions.key(&topic, "sub", b"bad").await.expect("asked").expect("known");
    assert_eq!((bad.key.as_str(), bad.blocked, bad.attempts, bad.waiting), ("bad", Some("poison"), 1, 2));
    let good = subscriptions.key(&topic, "sub", b"good").await.expect("asked").expect("known");
    assert_eq!((good.blocked, good.in_flight, good.holder.as_deref()), (None, 1, Some("c")));
    assert!(good.age_ms > 1_000_000, "its record is from 1970");
    assert_eq!(subscriptions.key(&topic, "sub", b"other").await.expect("asked"), None);
    let by_backlog = subscriptions.keys(&topic, "sub", KeyOrder::Backlog, 1).await.expect("asked");
    assert_eq!(by_backlog.len(), 1);
    let by_age: Vec<_> = subscriptions.keys(&topic, "sub", KeyOrder::Age, 9).await.expect("asked");
    assert_eq!(by_age.iter().map(|key| key.key.as_str()).collect::<Vec<_>>(), ["bad", "good"]);

    worker.ack(&held).await;
    let held = worker.expect("g1").await;
    let view = subscriptions.describe(&topic, "sub").await.expect("a picture").remove(0);
    assert_eq!((view.blocked["poison"], view.inflight_messages, view.live_messages), (1, 1, 4));
    assert!(view.oldest_blocked_ms["poison"] > 1_000_000);
    let [consumer] = &view.consumers[..] else { panic!("{view:?}") };
    assert_eq!((consumer.name.as_str(), consumer.connected, consumer.share), ("c", true, 1.0));
    assert_eq!((consumer.delivered, consumer.acked, consumer.nacked), (3, 1, 1));
    assert_eq!(consumer.ack_latency.count, 2);

    assert_eq!(subscriptions.release(&topic, "sub", Some(b"good")).await.expect("asked"), 0);
    assert_eq!(subscriptions.release(&topic, "sub", Some(b"bad")).await.expect("asked"), 1);
    let message = worker.expect("b0").await;
    worker.nack(&message, "still").await;
    assert_eq!(subscriptions.release(&topic, "sub", None).await.expect("asked"), 1);
    let message = worker.expect("b0").await;
    worker.ack(&message).await;
    worker.expect("b1").await;
    worker.ack(&held).await;
    worker.expect("g2").await;
}

#[tokio::test]
async fn a_bound_on_unanswered_messages_is_shared_and_follows_the_policy() {
    let node = node().await;
    let topic = topic(&node).await;
    append(&topic.partitions[0], &["0", "1", "2", "3", "4", "5", "6", "7"]);
    let bound = |max| SubscriptionPolicy { unacked_max: Some(max), ..SubscriptionPolicy::default() };
    node.subscriptions.set_policy(&topic, "sub", bound(2)).await.expect("set");
    let mut worker = open(&node, &topic.partitions[0], Mode::Shared, "a", 9).await;
    worker.expect("0").await;
    worker.expect("1").await;
    assert!(worker.is_silent().await);
    node.subscriptions.set_policy(&topic, "sub", bound(6)).await.expect("set");
    let mut other = open(&node, &topic.partitions[0], Mode::Shared, "b", 9).await;
    let credits = || async {
        let view = node.subscriptions.describe(&topic, "sub").await.expect("a picture").remove(0);
        view.consumers.iter().map(|consumer| consumer.credit).sum::<u32>()
    };
    eventually("both share six", async || credits().await <= 6).await;
    other.next().await;
}
