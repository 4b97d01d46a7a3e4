//! Workers that come, go and come back.

use crate::support::{Spec, TestBroker, client, next_of, send, take_of, warm_up};
use danube_client::SubType;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const TOPIC: &str = "/default/orders";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_workers_messages_go_to_the_others_in_order() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let lost = Spec::new(TOPIC, "lost").by_hand().start(&broker.url).await;
    let mut lost = [lost];
    for index in 0..40 {
        send(&producer, &format!("key-{}", index % 8), index).await;
    }
    // One message of each key is in flight when the worker goes.
    take_of(&mut lost, 8).await;
    let mut other = broker.worker(TOPIC, "other").await;
    let [lost] = lost;
    lost.close().await;
    let mut by_key: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for got in other.take(40).await {
        let index = got.payload.parse().expect("a number");
        by_key.entry(got.key.expect("a key")).or_default().push(index);
    }
    for (key, order) in by_key {
        assert!(order.is_sorted() && order.len() == 5, "{key}: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_comes_back_gets_what_it_held_first() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    for index in 0..3 {
        send(&producer, "k", index).await;
    }
    assert_eq!(worker.next().await.payload, "0");
    worker.close().await;
    let mut back = broker.worker(TOPIC, "a").await;
    let order: Vec<String> = back.take(3).await.into_iter().map(|got| got.payload).collect();
    assert_eq!(order, ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_again_and_again_blocks_no_key() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    send(&producer, "k", 0).await;
    // More often than the six deliveries after which failures would block the key.
    for _ in 0..8 {
        assert_eq!(worker.next().await.payload, "0");
        worker.close().await;
        worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    }
    let got = worker.next().await;
    worker.ack(got.offset);
    send(&producer, "k", 1).await;
    assert_eq!(worker.next().await.payload, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_client_of_one_name_takes_over_and_the_first_is_not_lost_in_a_loop() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut first = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    send(&producer, "k", "0").await;
    let held = first.next().await;
    let second = Spec::new(TOPIC, "a").start(&broker.url).await;
    // Two live clients of one name fight for the stream; whoever holds it gets the message, and an ack ends it.
    let mut workers = [first, second];
    let begun = Instant::now();
    let got = next_of(&mut workers).await;
    assert_eq!(got.offset, held.offset);
    let mut redelivered = 1;
    while begun.elapsed() < Duration::from_secs(3) {
        let next = tokio::time::timeout(Duration::from_millis(500), next_of(&mut workers)).await;
        redelivered += u32::from(next.is_ok());
    }
    assert!(redelivered < 10, "{redelivered} redeliveries in 3 s are a hot loop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_moves_few_keys_and_no_message_is_seen_twice() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let names = ["a", "b", "c"];
    let mut workers = Vec::new();
    for name in names {
        workers.push(broker.worker(TOPIC, name).await);
    }
    warm_up(&producer, &mut workers, &names).await;
    let mut owners: Vec<BTreeMap<String, String>> = Vec::new();
    for round in 0..2 {
        for index in 0..200 {
            send(&producer, &format!("key-{index}"), round).await;
        }
        let all = take_of(&mut workers, 200).await;
        owners.push(all.into_iter().map(|got| (got.key.expect("a key"), got.worker)).collect());
        assert_eq!(owners[round].len(), 200, "every key once");
        if round == 0 {
            workers.push(broker.worker(TOPIC, "d").await);
            warm_up(&producer, &mut workers, &["d"]).await;
        }
    }
    let moved: Vec<_> = owners[0].iter().filter(|(key, owner)| owners[1][*key] != **owner).collect();
    assert!(moved.iter().all(|(key, _)| owners[1][*key] == "d"), "keys move to the newcomer only");
    assert!((20..90).contains(&moved.len()), "{} of 200 keys moved to one of four", moved.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_subscription_has_one_consumer_and_frees_it_when_that_is_gone() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let exclusive = |name| Spec::new(TOPIC, name).of_type(SubType::Exclusive);
    let mut first = exclusive("first").start(&broker.url).await;
    send(&producer, "k", "0").await;
    assert_eq!(first.next().await.payload, "0");
    let refused = exclusive("second").try_start(&broker.url).await.err().expect("refused");
    assert!(format!("{refused:?}").contains("PermissionDenied"), "{refused:?}");
    send(&producer, "k", "1").await;
    assert_eq!(first.next().await.payload, "1", "the first goes on");
    first.close().await;
    let begun = Instant::now();
    let mut second = loop {
        match exclusive("second").try_start(&broker.url).await {
            Ok(second) => break second,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    send(&producer, "k", "2").await;
    assert_eq!(second.next().await.payload, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_keeps_its_type() {
    let broker = TestBroker::start().await;
    let _producer = broker.producer(TOPIC).await;
    let _first = broker.worker(TOPIC, "a").await;
    let error = Spec::new(TOPIC, "b").of_type(SubType::Shared).try_start(&broker.url).await.err();
    assert!(format!("{error:?}").contains("InvalidArgument"), "{error:?}");
}

/// A client whose process dies says nothing: only its connection breaks.
#[test]
fn a_killed_workers_messages_are_redelivered() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    };
    let main = runtime();
    let broker = main.block_on(TestBroker::start());
    let producer = main.block_on(broker.producer(TOPIC));
    let doomed = runtime();
    let mut worker = doomed.block_on(Spec::new(TOPIC, "doomed").by_hand().start(&broker.url));
    main.block_on(send(&producer, "k", "0"));
    assert_eq!(main.block_on(worker.next()).payload, "0");
    doomed.shutdown_background();
    let got = main.block_on(async {
        _ = client(&broker.url).await;
        broker.worker(TOPIC, "heir").await.next().await
    });
    assert_eq!((got.payload.as_str(), got.worker.as_str()), ("0", "heir"));
}
