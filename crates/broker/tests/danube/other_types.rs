//! Exclusive, Shared and Failover subscriptions, and topics that promise nothing.

use crate::support::{Spec, TestBroker, client, send, take_of, warm_up};
use danube_client::SubType;
use std::collections::BTreeMap;

const TOPIC: &str = "/default/jobs";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_goes_round_robin() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let names = ["a", "b", "c"];
    let mut workers = Vec::new();
    for name in names {
        workers.push(Spec::new(TOPIC, name).of_type(SubType::Shared).start(&broker.url).await);
    }
    warm_up(&producer, &mut workers, &names).await;
    for index in 0..36 {
        send(&producer, "same", index).await;
    }
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for got in take_of(&mut workers, 36).await {
        *counts.entry(got.worker).or_default() += 1;
    }
    assert_eq!(counts, names.map(|name| (name.to_owned(), 12)).into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_promotes_the_next_in_line() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let failover = |name| Spec::new(TOPIC, name).of_type(SubType::FailOver).by_hand();
    let mut first = failover("first").start(&broker.url).await;
    send(&producer, "k", "0").await;
    let got = first.next().await;
    first.ack(got.offset);
    let mut second = failover("second").start(&broker.url).await;
    for index in 1..4 {
        send(&producer, "k", index).await;
    }
    let held: Vec<String> = first.take(3).await.into_iter().map(|got| got.payload).collect();
    assert_eq!(held, ["1", "2", "3"]);
    assert!(second.is_silent().await, "one is active");
    first.close().await;
    let taken: Vec<String> = second.take(3).await.into_iter().map(|got| got.payload).collect();
    assert_eq!(taken, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusive_keeps_the_order_over_a_reconnect() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let exclusive = || Spec::new(TOPIC, "only").of_type(SubType::Exclusive).by_hand();
    let mut only = exclusive().start(&broker.url).await;
    for index in 0..5 {
        send(&producer, "k", index).await;
    }
    let got = only.take(3).await;
    only.ack(got[0].offset);
    only.close().await;
    let mut again = exclusive().start(&broker.url).await;
    let order: Vec<String> = again.take(4).await.into_iter().map(|got| got.payload).collect();
    assert_eq!(order, ["1", "2", "3", "4"], "the oldest unanswered message comes first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_non_reliable_topic_delivers_once_and_waits_for_no_ack() {
    let broker = TestBroker::start().await;
    let builder = client(&broker.url).await.new_producer().with_topic(TOPIC).with_name("p");
    let mut producer = builder.build().expect("a producer");
    producer.create().await.expect("created");
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    for index in 0..500 {
        send(&producer, "k", index).await;
    }
    let order: Vec<u32> =
        worker.take(500).await.iter().map(|got| got.payload.parse().expect("a number")).collect();
    assert_eq!(order, (0..500).collect::<Vec<_>>(), "one key, no ack, no window in the way");
    worker.close().await;
    let mut back = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    assert!(back.is_silent().await, "what was delivered is done");

    let other =
        client(&broker.url).await.new_producer().with_topic(TOPIC).with_name("q").with_reliable_dispatch();
    let error = other.build().expect("a producer").create().await.expect_err("the topic promises less");
    assert!(format!("{error:?}").contains("FailedPrecondition"), "{error:?}");
}
