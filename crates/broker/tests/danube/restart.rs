//! A broker that stops and starts again on its data while clients stay as they are.

use crate::support::{PATIENCE, Spec, TestBroker, free_port, send};
use keyway_danube_wire::proto::{
    ConsumerRequest, HealthCheckRequest, MsgId, ProducerRequest, ReceiveRequest, StreamMessage,
    consumer_service_client::ConsumerServiceClient, health_check_client::HealthCheckClient,
    producer_service_client::ProducerServiceClient,
};
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Instant};
use tonic::Code;

const TOPIC: &str = "/default/orders";

pub(crate) fn store(folder: &Path) -> Arc<SegmentStore> {
    let store = SegmentStore::open(&World::real(), folder.to_owned(), Options::default());
    Arc::new(store.expect("the store opens"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_keep_running_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let producer = broker.producer(TOPIC).await;
    let mut acking = broker.worker(TOPIC, "a").await;
    for index in 0..20 {
        send(&producer, &format!("key-{}", index % 4), index).await;
    }
    assert_eq!(acking.take(20).await.len(), 20);

    let address = broker.broker.grpc_address();
    broker.broker.shutdown().await.expect("a clean end");
    let begun = Instant::now();
    let broker = TestBroker::start_on(store(folder.path()), address).await;
    let started = begun.elapsed();
    for index in 20..40 {
        send(&producer, &format!("key-{}", index % 4), index).await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 20 {
        let index: u32 = acking.next().await.payload.parse().expect("a number");
        // What was acked in the last moment may come again, before anything newer of its key.
        if index >= 20 {
            assert!(seen.insert(index), "{index} came twice");
        }
    }
    assert!(started.as_millis() < 1_500, "the start took {started:?}");
    broker.broker.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_comes_again_in_order_and_what_was_acked_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").by_hand().start(&broker.url).await;
    for index in 0..6 {
        send(&producer, ["x", "y"][index % 2], index).await;
    }
    let held = worker.take(2).await;
    assert_eq!([&held[0].payload, &held[1].payload], ["0", "1"]);
    worker.ack(held[1].offset);
    let next = worker.next().await;
    assert_eq!(next.payload, "3", "the ack was taken in");

    let address = broker.broker.grpc_address();
    broker.broker.shutdown().await.expect("a clean end");
    let broker = TestBroker::start_on(store(folder.path()), address).await;
    let mut again = worker.take(2).await;
    again.sort_by_key(|got| got.offset);
    assert_eq!(
        [&again[0].payload, &again[1].payload],
        ["0", "3"],
        "1 was acked; 2 and 5 wait for their keys"
    );
    for got in again {
        worker.ack(got.offset);
    }
    let mut rest = worker.take(2).await;
    rest.sort_by_key(|got| got.offset);
    assert_eq!([&rest[0].payload, &rest[1].payload], ["2", "5"]);
    drop(broker);
}

/// A subscription's start is stored before Subscribe is answered: what comes after is never skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_never_got_anything_keeps_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let producer = broker.producer(TOPIC).await;
    send(&producer, "k", "past").await;
    broker.worker(TOPIC, "a").await.close().await;
    send(&producer, "k", "missed").await;
    let address = broker.broker.grpc_address();
    broker.broker.shutdown().await.expect("a clean end");
    let broker = TestBroker::start_on(store(folder.path()), address).await;
    let mut worker = broker.worker(TOPIC, "a").await;
    assert_eq!(worker.next().await.payload, "missed");
}

/// What a client of any language needs to go on after a restart without registering again: its ids are still good, for a
/// heartbeat, for its stream and for what it sends. The messages of the stream are those that were not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_were_given_out_are_good_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    let create = ProducerRequest {
        producer_name: "p".to_owned(),
        topic_name: TOPIC.to_owned(),
        dispatch_strategy: 1,
        ..ProducerRequest::default()
    };
    let producer_id = producers.create_producer(create).await.expect("created").into_inner().producer_id;
    let mut consumers = ConsumerServiceClient::new(broker.channel().await);
    let subscribe = ConsumerRequest {
        topic_name: TOPIC.to_owned(),
        consumer_name: "c".to_owned(),
        subscription: "s".to_owned(),
        subscription_type: 1,
        ..ConsumerRequest::default()
    };
    let consumer_id = consumers.subscribe(subscribe).await.expect("subscribed").into_inner().consumer_id;
    let message = |payload: &str| StreamMessage {
        msg_id: Some(MsgId { producer_id, topic_name: TOPIC.to_owned(), ..MsgId::default() }),
        payload: payload.as_bytes().to_vec().into(),
        producer_name: "p".to_owned(),
        ..StreamMessage::default()
    };
    producers.send_message(message("before")).await.expect("sent");
    let receive = ReceiveRequest { request_id: 1, consumer_id };
    let mut stream = consumers.receive_messages(receive).await.expect("open").into_inner();
    assert_eq!(stream.message().await.expect("no error").expect("a message").payload, "before");

    broker.broker.shutdown().await.expect("a clean end");
    let end = stream.message().await.expect_err("a stream never ends well");
    assert!(matches!(end.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{end}");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let mut health = HealthCheckClient::new(broker.channel().await);
    for (client, id) in [(0, producer_id), (1, consumer_id)] {
        let answer = health.health_check(HealthCheckRequest { client, id }).await.expect("known");
        assert_eq!(answer.into_inner().status, 0, "go on");
    }
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    producers.send_message(message("after")).await.expect("sent");
    let mut consumers = ConsumerServiceClient::new(broker.channel().await);
    let mut stream = consumers.receive_messages(receive).await.expect("open").into_inner();
    for payload in ["before", "after"] {
        let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time");
        let next = next.expect("no error").expect("a message");
        assert_eq!(next.payload, payload);
        assert_eq!((next.subscription_name.as_str(), next.request_id > 0), ("s", true));
        assert_eq!(next.msg_id.expect("an id").topic_name, TOPIC);
    }
}
