//! Key-Shared subscriptions as the guide describes them.

use crate::support::{PATIENCE, Spec, TestBroker, client, send, take_of, warm_up};
use danube_client::SubType;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const TOPIC: &str = "/default/orders";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stays_with_one_worker_and_in_order() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let names = ["a", "b", "c"];
    let mut workers = Vec::new();
    for name in names {
        workers.push(broker.worker(TOPIC, name).await);
    }
    warm_up(&producer, &mut workers, &names).await;
    for index in 0..300 {
        send(&producer, &format!("key-{}", index % 30), index).await;
    }
    let all = take_of(&mut workers, 300).await;
    let mut by_key: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    for got in all {
        let index = got.payload.parse().expect("a number");
        by_key.entry(got.key.expect("a key")).or_default().push((got.worker, index));
    }
    assert_eq!(by_key.len(), 30);
    let mut used = BTreeSet::new();
    for (key, seen) in &by_key {
        let order: Vec<u32> = seen.iter().map(|(_, index)| *index).collect();
        assert!(order.is_sorted() && order.len() == 10, "{key}: {order:?}");
        assert!(seen.iter().all(|(worker, _)| *worker == seen[0].0), "{key}: {seen:?}");
        used.insert(seen[0].0.clone());
    }
    assert_eq!(used.len(), 3, "30 keys leave no worker without work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_of_a_key_is_in_flight_and_other_keys_go_on() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    for index in 0..3 {
        send(&producer, "slow", index).await;
    }
    send(&producer, "other", "x").await;
    let first = worker.next().await;
    let second = worker.next().await;
    assert_eq!((first.payload.as_str(), second.payload.as_str()), ("0", "x"));
    assert!(worker.is_silent().await, "the key's next message waits for the ack");
    worker.ack(first.offset);
    let next = worker.next().await;
    assert_eq!(next.payload, "1");
    assert!(worker.is_silent().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_the_worker_and_unwanted_keys_are_passed_over() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let payments =
        Spec::new(TOPIC, "payments").with_filters(&["payment", "invoice"]).start(&broker.url).await;
    let logistics = Spec::new(TOPIC, "logistics").with_filters(&["ship*", "return"]).start(&broker.url).await;
    let mut workers = [payments, logistics];
    // A consumer that has subscribed and not opened its stream yet loses nothing.
    send(&producer, "payment", "1").await;
    send(&producer, "shipping", "2").await;
    take_of(&mut workers, 2).await;
    for (key, payload) in
        [("invoice", "3"), ("unwanted", "4"), ("shipment", "5"), ("return", "6"), ("payment", "7")]
    {
        send(&producer, key, payload).await;
    }
    let all = take_of(&mut workers, 4).await;
    let of = |worker: &str| {
        let mine = all.iter().filter(|got| got.worker == worker);
        mine.map(|got| got.payload.as_str()).collect::<BTreeSet<_>>()
    };
    assert_eq!(of("payments"), BTreeSet::from(["3", "7"]));
    assert_eq!(of("logistics"), BTreeSet::from(["5", "6"]));
    for worker in &mut workers {
        assert!(worker.is_silent().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nacked_message_comes_back_after_its_delay_and_before_its_successors() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    send(&producer, "k", "first").await;
    send(&producer, "k", "second").await;
    let first = worker.next().await;
    worker.nack(first.offset, Some(1_500));
    let nacked = Instant::now();
    let again = worker.next().await;
    assert_eq!(again, first);
    assert!(nacked.elapsed() >= Duration::from_millis(1_400), "after {:?}", nacked.elapsed());
    worker.ack(again.offset);
    assert_eq!(worker.next().await.payload, "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_the_producers_name_is_the_key() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    for index in 0..2 {
        producer.send(format!("{index}").into_bytes(), None).await.expect("sent");
    }
    let first = worker.next().await;
    assert_eq!((first.key.as_deref(), first.producer.as_str()), (None, "p"));
    assert!(worker.is_silent().await, "keyless messages of one producer are one key");
    worker.ack(first.offset);
    assert_eq!(worker.next().await.payload, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_arrives_with_all_that_was_sent() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = broker.worker(TOPIC, "a").await;
    let attributes = [("trace", "7"), ("danube-schema-id", "mine")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sent = producer.send_with_key(b"payload".to_vec(), Some(attributes.clone().into()), "").await;
    sent.expect("sent");
    let got = worker.next().await;
    assert_eq!(got.key.as_deref(), Some(""), "an empty key is a key");
    assert_eq!(got.payload, "payload");
    assert_eq!(got.topic, TOPIC);
    assert_eq!(got.attributes, attributes.into());
    assert!(got.publish_time > 1_600_000_000_000, "{}", got.publish_time);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_arrives_and_a_larger_one_is_refused() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = broker.worker(TOPIC, "a").await;
    let large = vec![b'x'; 4 * 1024 * 1024 - 32 * 1024];
    producer.send_with_key(large.clone(), None, "k").await.expect("just below 4 MiB");
    assert_eq!(worker.next().await.payload.len(), large.len());
    let error =
        producer.send_with_key(vec![b'x'; 4 * 1024 * 1024 - 1_000], None, "k").await.expect_err("too large");
    assert!(format!("{error:?}").contains("InvalidArgument"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_worker_that_has_only_subscribed_are_kept_for_it() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut payments = Spec::new(TOPIC, "payments").with_filters(&["payment"]).start(&broker.url).await;
    let builder = client(&broker.url).await.new_consumer().with_topic(TOPIC).with_consumer_name("logistics");
    let builder = builder.with_subscription("sub").with_subscription_type(SubType::KeyShared);
    let mut logistics = builder.with_key_filter("ship*").build().expect("a consumer");
    logistics.subscribe().await.expect("subscribed");
    for (key, payload) in [("shipping", "1"), ("payment", "2"), ("shipping", "3"), ("payment", "4")] {
        send(&producer, key, payload).await;
    }
    let seen: Vec<String> = payments.take(2).await.into_iter().map(|got| got.payload).collect();
    assert_eq!(seen, ["2", "4"]);
    let mut stream = logistics.receive().await.expect("a stream");
    for expected in [b"1", b"3"] {
        let message = tokio::time::timeout(PATIENCE, stream.recv()).await.expect("in time").expect("open");
        assert_eq!(message.payload.as_ref(), expected);
        logistics.ack(&message).await.expect("acked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_again_with_other_filters_moves_the_keys() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let one = Spec::new(TOPIC, "one").with_filters(&["a*"]).start(&broker.url).await;
    let two = Spec::new(TOPIC, "two").with_filters(&["b*"]).start(&broker.url).await;
    let mut workers = [one, two];
    send(&producer, "a1", "").await;
    send(&producer, "b1", "").await;
    take_of(&mut workers, 2).await;
    let [one, two] = workers;
    one.close().await;
    let one = Spec::new(TOPIC, "one").with_filters(&["c*"]).start(&broker.url).await;
    let mut workers = [one, two];
    send(&producer, "c1", "").await;
    send(&producer, "b2", "").await;
    let mut seen = take_of(&mut workers, 2).await;
    seen.sort_by_key(|got| got.offset);
    let seen: Vec<_> = seen.iter().map(|got| (got.worker.as_str(), got.key.as_deref())).collect();
    assert_eq!(seen, [("one", Some("c1")), ("two", Some("b2"))]);
}
