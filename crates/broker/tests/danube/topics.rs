//! Partitioned topics, names, start positions.

use crate::support::{Spec, TestBroker, client, send};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_topic_is_one_topic_with_partitions() {
    let broker = TestBroker::start().await;
    let builder = client(&broker.url).await.new_producer().with_topic("/default/parts").with_name("p");
    let mut producer = builder.with_partitions(3).with_reliable_dispatch().build().expect("a producer");
    producer.create().await.expect("created");
    let mut worker = broker.worker("/default/parts", "a").await;
    for index in 0..60 {
        send(&producer, &format!("key-{}", index % 12), index).await;
    }
    let mut by_key: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    for got in worker.take(60).await {
        let index = got.payload.parse().expect("a number");
        by_key.entry(got.key.expect("a key")).or_default().push((got.topic, index));
    }
    let mut partitions = std::collections::BTreeSet::new();
    for (key, seen) in by_key {
        assert!(seen.is_sorted_by_key(|(_, index)| *index), "{key}: {seen:?}");
        assert!(seen.iter().all(|(topic, _)| *topic == seen[0].0), "{key} lies in one partition");
        partitions.insert(seen[0].0.clone());
    }
    let names = (0..3).map(|index| format!("/default/parts-part-{index}")).collect();
    assert_eq!(partitions, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_begins_with_the_next_message_and_keeps_its_place() {
    let broker = TestBroker::start().await;
    let producer = broker.producer("/ns/events").await;
    send(&producer, "k", "past").await;
    let mut worker = broker.worker("/ns/events", "a").await;
    send(&producer, "k", "first").await;
    let got = worker.next().await;
    assert_eq!((got.payload.as_str(), got.offset), ("first", 1));
    worker.close().await;
    send(&producer, "k", "meanwhile").await;
    let mut worker = broker.worker("/ns/events", "a").await;
    assert_eq!(worker.next().await.payload, "meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_makes_no_topic() {
    let broker = TestBroker::start().await;
    let error = Spec::new("/default/nowhere", "a").try_start(&broker.url).await.err().expect("no such topic");
    assert!(format!("{error:?}").contains("No topics found"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_subscriptions_get_every_message_each() {
    let broker = TestBroker::start().await;
    let producer = broker.producer("/default/both").await;
    let mut one = broker.worker("/default/both", "a").await;
    let mut two = {
        let mut consumer = client(&broker.url)
            .await
            .new_consumer()
            .with_topic("/default/both")
            .with_consumer_name("a")
            .with_subscription("other")
            .build()
            .expect("a consumer");
        consumer.subscribe().await.expect("subscribed");
        consumer.receive().await.expect("a stream")
    };
    send(&producer, "k", "x").await;
    assert_eq!(one.next().await.payload, "x");
    let other =
        tokio::time::timeout(crate::support::PATIENCE, two.recv()).await.expect("in time").expect("open");
    assert_eq!(other.payload.as_ref(), b"x");
}
