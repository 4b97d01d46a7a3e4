//! Partitioned topics, names, start positions.

use crate::support::{PATIENCE, Spec, TestBroker, client, send};
use keyway_danube_wire::{
    admin::{NamespaceRequest, namespace_admin_client::NamespaceAdminClient},
    proto::{
        ConsumerRequest, ProducerRequest, ReceiveRequest, TopicLookupRequest,
        consumer_service_client::ConsumerServiceClient, discovery_client::DiscoveryClient,
        producer_service_client::ProducerServiceClient,
    },
};
use std::collections::BTreeMap;
use tonic::{Code, Request};

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
    let producer = broker.producer("/default/events").await;
    send(&producer, "k", "past").await;
    let mut worker = broker.worker("/default/events", "a").await;
    send(&producer, "k", "first").await;
    let got = worker.next().await;
    assert_eq!((got.payload.as_str(), got.offset), ("first", 1));
    worker.close().await;
    send(&producer, "k", "meanwhile").await;
    let mut worker = broker.worker("/default/events", "a").await;
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

/// A client waits a while for a namespace that does not exist, and is told what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_needs_a_namespace_that_exists() {
    let broker = TestBroker::start().await;
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    let request = |topic: &str| ProducerRequest {
        producer_name: "p".to_owned(),
        topic_name: topic.to_owned(),
        dispatch_strategy: 1,
        ..ProducerRequest::default()
    };
    let refused = producers.create_producer(request("/shop/orders")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("namespaces create shop"), "{refused}");
    let mut namespaces = NamespaceAdminClient::new(broker.admin().await);
    namespaces.create_namespace(NamespaceRequest { name: "shop".to_owned() }).await.expect("made");
    producers.create_producer(request("/shop/orders")).await.expect("created");
}

/// Partitions that are added show at the next look; the names that are known stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_grows_shows_its_new_partitions() {
    let broker = TestBroker::start().await;
    let mut discovery = DiscoveryClient::new(broker.channel().await);
    let mut partitions = async || {
        let request = TopicLookupRequest { request_id: 1, topic: "/default/grows".to_owned() };
        discovery.topic_partitions(request).await.expect("answered").into_inner().partitions
    };
    assert!(partitions().await.is_empty());
    let _plain = broker.producer("/default/grows").await;
    assert_eq!(partitions().await, ["/default/grows"]);
    let _more = broker.producer("/default/grows-part-11").await;
    let names: Vec<_> = (0..12).map(|index| format!("/default/grows-part-{index}")).collect();
    assert_eq!(partitions().await, names, "in numeric order");
    // Whoever knew the topic as one goes on.
    let mut worker = broker.worker("/default/grows-part-11", "a").await;
    let producer = broker.producer("/default/grows-part-11").await;
    send(&producer, "k", "x").await;
    assert_eq!(worker.next().await.payload, "x");
}

/// Where a subscription begins is said beside Subscribe, and counts when the subscription is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_begins_where_its_first_consumer_says() {
    let broker = TestBroker::start().await;
    let producer = broker.producer("/default/starts").await;
    for index in 0..4 {
        send(&producer, "k", index).await;
    }
    let mut consumers = ConsumerServiceClient::new(broker.channel().await);
    let mut first = async |subscription: &str, start: &str| {
        let mut request = Request::new(ConsumerRequest {
            topic_name: "/default/starts".to_owned(),
            consumer_name: "c".to_owned(),
            subscription: subscription.to_owned(),
            ..ConsumerRequest::default()
        });
        request.metadata_mut().insert("keyway-start-position", start.parse().expect("ascii"));
        let id = consumers.subscribe(request).await?.into_inner().consumer_id;
        let receive = ReceiveRequest { request_id: 1, consumer_id: id };
        let mut stream = consumers.receive_messages(receive).await?.into_inner();
        let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time")?;
        Ok::<_, tonic::Status>(next.expect("a message").payload)
    };
    assert_eq!(first("all", "earliest").await.expect("a message"), "0");
    assert_eq!(first("some", "offset:2").await.expect("a message"), "2");
    assert_eq!(first("timed", "time:0").await.expect("a message"), "0");
    assert_eq!(first("all", "latest").await.expect("a message"), "0", "it exists");
    for wrong in ["tomorrow", "offset:-1", ""] {
        let refused = first("none", wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}: {refused}");
    }
}
