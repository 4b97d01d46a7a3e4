//! What failures lead to, under policies that are set and changed.

use super::*;
use keyway_dispatch::{FailurePolicy, Poison};

pub(super) fn policy(poison: Poison, max_redelivery_count: u16) -> SubscriptionPolicy {
    let failure = FailurePolicy {
        poison,
        max_redelivery_count,
        base_redelivery_delay_ms: 1,
        ..SubscriptionPolicy::default().failure
    };
    SubscriptionPolicy { failure, ..SubscriptionPolicy::default() }
}

pub(super) async fn set(node: &Node, topic: &Topic, policy: SubscriptionPolicy) {
    node.subscriptions.set_policy(topic, "sub", policy).await.expect("set");
}

#[tokio::test]
async fn a_policy_holds_before_the_subscription_exists_and_after_a_restart() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    let node = node_on(store.clone()).await;
    let topic = topic(&node).await;
    assert!(!node.subscriptions.policy_is_set(topic.id, "sub"));
    set(&node, &topic, policy(Poison::Drop, 0)).await;
    append(&topic.partitions[0], &["0", "1", "2"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let message = worker.expect("0").await;
    worker.nack(&message, "bad").await;
    worker.expect("1").await;
    stop(node).await;

    let node = node_on(store).await;
    let topic = node.topics.named("orders").expect("the topic");
    assert_eq!(node.subscriptions.policy(topic.id, "sub"), policy(Poison::Drop, 0));
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let message = worker.expect("1").await;
    worker.nack(&message, "bad").await;
    worker.expect("2").await;
}

#[tokio::test]
async fn a_used_up_message_becomes_a_dead_letter_and_its_key_goes_on() {
    let node = node().await;
    let topic = topic(&node).await;
    set(&node, &topic, policy(Poison::DeadLetter, 1)).await;
    let headers = [("trace", "7"), ("danube-producer-name", "p"), ("danube-schema-id", "5")];
    let headers =
        headers.map(|(key, value)| keyway_record::Header { key: key.into(), value: Some(value.into()) });
    let mut batch = BatchBuilder::new(Timestamp(7));
    let record = Record {
        key: Some("k".into()),
        value: Some("poison".into()),
        headers: headers.into(),
        ..Record::default()
    };
    batch.push(Timestamp(7), record);
    topic.partitions[0].append(&batch.build()).expect("appended");
    append(&topic.partitions[0], &["good"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    for _ in 0..2 {
        let message = worker.expect("poison").await;
        worker.nack(&message, "bad").await;
    }
    worker.expect("good").await;
    let letters = contents(&node, "orders.sub.dlq");
    let [(value, headers)] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(value, "poison");
    let expected = [
        ("trace", "7"),
        ("danube-schema-id", "5"),
        ("x-original-topic", "orders"),
        ("x-original-partition", "0"),
        ("x-original-subscription", "sub"),
        ("x-original-topic-offset", "0"),
        ("x-original-broker-addr", "http://b"),
        ("x-poison-policy", "dead_letter"),
        ("x-delivery-attempt", "2"),
        ("x-failure-reason", "bad"),
    ];
    for (name, value) in expected {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let producer = crate::danube::ids::producer_id(&topic.name, "p").to_string();
    assert_eq!(headers.get("x-original-producer-id"), Some(&producer));
}

#[tokio::test]
async fn a_changed_policy_frees_what_the_old_one_blocked() {
    let node = node().await;
    let topic = topic(&node).await;
    set(&node, &topic, policy(Poison::Block, 0)).await;
    append(&topic.partitions[0], &["poison", "good"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let message = worker.expect("poison").await;
    worker.nack(&message, "bad").await;
    assert!(worker.is_silent().await, "the key is blocked");
    let own = TopicName::new("graveyard").ok();
    set(&node, &topic, SubscriptionPolicy { dead_letter_topic: own, ..policy(Poison::DeadLetter, 0) }).await;
    worker.expect("good").await;
    assert_eq!(contents(&node, "graveyard").len(), 1);
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_waits_and_is_seen_until_it_can() {
    let node = node().await;
    let topic = topic(&node).await;
    let graveyard = TopicName::new("graveyard").expect("a name");
    let to_graveyard =
        SubscriptionPolicy { dead_letter_topic: Some(graveyard.clone()), ..policy(Poison::DeadLetter, 0) };
    set(&node, &topic, to_graveyard).await;
    // A dead letter that comes back from the graveyard must not go there again.
    let mut batch = BatchBuilder::new(Timestamp(7));
    let headers =
        vec![keyway_record::Header { key: "x-original-topic".into(), value: Some("graveyard".into()) }];
    batch.push(
        Timestamp(7),
        Record { key: Some("k".into()), value: Some("ghost".into()), headers, ..Record::default() },
    );
    topic.partitions[0].append(&batch.build()).expect("appended");
    append(&topic.partitions[0], &["good"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let message = worker.expect("ghost").await;
    worker.nack(&message, "bad").await;
    let subscriptions = &node.subscriptions;
    eventually("the error is seen", async || {
        let view = subscriptions.describe(&topic, "sub").await.expect("a picture").remove(0);
        view.dead_letter_error.is_some_and(|error| error.contains("circle"))
            && view.blocked["side_write"] == 1
    })
    .await;
    assert!(worker.is_silent().await, "not lost, and nothing of its key passes it");
    assert!(contents(&node, "graveyard").is_empty());
    set(&node, &topic, policy(Poison::DeadLetter, 0)).await;
    worker.expect("good").await;
    assert_eq!(contents(&node, "orders.sub.dlq").len(), 1);
    let view = subscriptions.describe(&topic, "sub").await.expect("a picture").remove(0);
    assert_eq!(view.dead_letter_error, None);
}

#[tokio::test]
async fn a_deleted_dead_letter_topic_is_made_again() {
    let node = node().await;
    let topic = topic(&node).await;
    set(&node, &topic, policy(Poison::DeadLetter, 0)).await;
    append(&topic.partitions[0], &["0", "1", "2"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let first = worker.expect("0").await;
    worker.nack(&first, "bad").await;
    let second = worker.expect("1").await;
    let letters = node.topics.named("orders.sub.dlq").expect("made");
    node.topics.delete(&letters.name).await.expect("deleted");
    worker.nack(&second, "bad").await;
    worker.expect("2").await;
    assert_eq!(contents(&node, "orders.sub.dlq").len(), 1);
}

/// The process dies after the dead letter is durable and before the position is: the letter is written again, and the two
/// can be told to be one.
#[test]
fn a_crash_between_dead_letter_and_position_repeats_the_letter_and_loses_nothing() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    until_killed(async {
        let node = node_on(store.clone()).await;
        let topic = topic(&node).await;
        set(&node, &topic, policy(Poison::DeadLetter, 0)).await;
        append(&topic.partitions[0], &["poison", "good"]);
        let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
        let message = worker.expect("poison").await;
        worker.nack(&message, "bad").await;
        // Once this comes, the letter is written; the position follows half a second later.
        worker.expect("good").await;
    });
    until_killed(async {
        let node = node_on(store).await;
        let topic = node.topics.named("orders").expect("the topic");
        let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
        let mut message = worker.next().await;
        if message.payload == "poison" {
            worker.nack(&message, "bad").await;
            message = worker.next().await;
        }
        assert_eq!(&message.payload[..], b"good");
        let letters = contents(&node, "orders.sub.dlq");
        assert_eq!(letters.len(), 2, "{letters:?}");
        for name in
            ["x-original-topic", "x-original-partition", "x-original-topic-offset", "x-original-subscription"]
        {
            assert_eq!(letters[0].1[name], letters[1].1[name], "{name}");
        }
    });
}

/// A stop that nobody forces repeats nothing.
#[tokio::test]
async fn a_clean_stop_between_dead_letter_and_position_repeats_nothing() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    let node = node_on(store.clone()).await;
    let topic = topic(&node).await;
    set(&node, &topic, policy(Poison::DeadLetter, 0)).await;
    append(&topic.partitions[0], &["poison", "good"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    let message = worker.expect("poison").await;
    worker.nack(&message, "bad").await;
    worker.expect("good").await;
    stop(node).await;
    let node = node_on(store).await;
    let topic = node.topics.named("orders").expect("the topic");
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    worker.expect("good").await;
    assert_eq!(contents(&node, "orders.sub.dlq").len(), 1);
}

/// Neither a topic that cannot be made nor one that takes nothing loses a dead letter, repeats it, or lets its key pass.
#[tokio::test]
async fn a_store_that_refuses_dead_letters_for_a_while_gets_each_once_and_in_order() {
    let (store, refusals) = super::flaky_store::FlakyStore::new(2);
    let node = node_on(store).await;
    let topic = topic(&node).await;
    set(&node, &topic, policy(Poison::DeadLetter, 0)).await;
    append(&topic.partitions[0], &["0", "1", "good"]);
    let mut worker = open(&node, &topic.partitions[0], Mode::KeyShared, "c", 4).await;
    for value in ["0", "1"] {
        let message = worker.expect(value).await;
        worker.nack(&message, "bad").await;
    }
    worker.expect("good").await;
    assert_eq!(refusals.left(), 0);
    let letters: Vec<String> =
        contents(&node, "orders.sub.dlq").into_iter().map(|(value, _)| value).collect();
    assert_eq!(letters, ["0", "1"]);
    let view = node.subscriptions.describe(&topic, "sub").await.expect("a picture").remove(0);
    assert_eq!((view.counters["side_write_errors"], view.counters["dead_lettered"]), (2, 2));
}
