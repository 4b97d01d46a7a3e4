//! Calls that no published client makes, and bytes that are no calls at all.

use crate::support::{PATIENCE, TestBroker, client, code, send};
use keyway_danube_wire::proto::{
    AckRequest, ConsumerRequest, HealthCheckRequest, MsgId, NackRequest, ProducerRequest, ReceiveRequest,
    StreamMessage, TopicLookupRequest, consumer_service_client::ConsumerServiceClient,
    discovery_client::DiscoveryClient, health_check_client::HealthCheckClient,
    producer_service_client::ProducerServiceClient,
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, transport::Channel};

const TOPIC: &str = "/default/orders";

fn msg_id(producer_id: u64, topic: &str) -> Option<MsgId> {
    Some(MsgId { producer_id, topic_name: topic.to_owned(), ..MsgId::default() })
}

fn consumer(topic: &str, name: &str, kind: i32) -> ConsumerRequest {
    ConsumerRequest {
        topic_name: topic.to_owned(),
        consumer_name: name.to_owned(),
        subscription: "sub".to_owned(),
        subscription_type: kind,
        ..ConsumerRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_mistakes_are_named() {
    let broker = TestBroker::start().await;
    let mut service = ProducerServiceClient::new(broker.channel().await);
    let request = |topic: &str, name: &str, strategy| ProducerRequest {
        request_id: 7,
        producer_name: name.to_owned(),
        topic_name: topic.to_owned(),
        dispatch_strategy: strategy,
        ..ProducerRequest::default()
    };
    for (topic, name, strategy) in [
        ("orders", "p", 1),
        ("/default", "p", 1),
        ("/default/a b", "p", 1),
        ("/default/__offsets", "p", 1),
        (TOPIC, "", 1),
        (TOPIC, "p", 9),
        ("/default/x-part-2147483647", "p", 1),
        ("/default/x-part-2000000000", "p", 1),
    ] {
        let answer = service.create_producer(request(topic, name, strategy)).await;
        assert_eq!(code(answer), Code::InvalidArgument, "{topic} {name} {strategy}");
    }
    let created = service.create_producer(request(TOPIC, "p", 1)).await.expect("created").into_inner();
    assert_eq!(created.request_id, 7);
    let again = service.create_producer(request(TOPIC, "p", 1)).await.expect("the same name").into_inner();
    assert_eq!(again.producer_id, created.producer_id);
    assert!((1..1 << 63).contains(&created.producer_id));

    let message = |id| StreamMessage {
        request_id: 8,
        msg_id: id,
        producer_name: "p".to_owned(),
        ..StreamMessage::default()
    };
    assert_eq!(code(service.send_message(message(None)).await), Code::InvalidArgument);
    assert_eq!(code(service.send_message(message(msg_id(1, TOPIC))).await), Code::Unavailable);
    let elsewhere = msg_id(created.producer_id, "/default/nowhere");
    assert_eq!(code(service.send_message(message(elsewhere)).await), Code::Unavailable);
    let good =
        service.send_message(message(msg_id(created.producer_id, TOPIC))).await.expect("sent").into_inner();
    assert_eq!(good.request_id, 8);
    let late = StreamMessage { publish_time: u64::MAX, ..message(msg_id(created.producer_id, TOPIC)) };
    assert_eq!(code(service.send_message(late).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_mistakes_are_named() {
    let broker = TestBroker::start().await;
    let _producer = broker.producer(TOPIC).await;
    let mut service = ConsumerServiceClient::new(broker.channel().await);
    assert_eq!(code(service.subscribe(consumer("/default/nowhere", "c", 1)).await), Code::NotFound);
    assert_eq!(code(service.subscribe(consumer(TOPIC, "", 1)).await), Code::InvalidArgument);
    assert_eq!(code(service.subscribe(consumer(TOPIC, "c", 9)).await), Code::InvalidArgument);
    let long = ConsumerRequest { key_filters: vec!["x".repeat(5_000)], ..consumer(TOPIC, "c", 3) };
    assert_eq!(code(service.subscribe(long).await), Code::InvalidArgument);
    let many = ConsumerRequest { key_filters: vec!["x".to_owned(); 5_000], ..consumer(TOPIC, "c", 3) };
    assert_eq!(code(service.subscribe(many).await), Code::InvalidArgument);

    let one = service.subscribe(consumer(TOPIC, "c", 3)).await.expect("subscribed").into_inner();
    let again = service.subscribe(consumer(TOPIC, "c", 3)).await.expect("again").into_inner();
    assert_eq!(one.consumer_id, again.consumer_id);
    assert_eq!(code(service.subscribe(consumer(TOPIC, "d", 1)).await), Code::InvalidArgument, "another type");

    let ack = |msg_id, name: &str| AckRequest { request_id: 1, msg_id, subscription_name: name.to_owned() };
    assert_eq!(code(service.ack(ack(None, "sub")).await), Code::InvalidArgument);
    assert_eq!(code(service.ack(ack(msg_id(0, "nonsense"), "sub")).await), Code::InvalidArgument);
    let huge = MsgId { topic_offset: u64::MAX, ..msg_id(0, TOPIC).expect("an id") };
    assert_eq!(code(service.ack(ack(Some(huge), "sub")).await), Code::InvalidArgument);
    assert_eq!(code(service.ack(ack(msg_id(0, TOPIC), "sub")).await), Code::Ok, "stale");
    assert_eq!(code(service.ack(ack(msg_id(0, TOPIC), "gone")).await), Code::Ok, "stale");
    assert_eq!(code(service.ack(ack(msg_id(0, "/default/gone"), "sub")).await), Code::Ok, "stale");
    assert_eq!(code(service.nack(NackRequest::default()).await), Code::InvalidArgument);
    let nack = NackRequest {
        msg_id: msg_id(0, TOPIC),
        subscription_name: "sub".to_owned(),
        delay_ms: Some(u64::MAX),
        reason: Some("ü".repeat(10_000)),
        ..NackRequest::default()
    };
    assert_eq!(code(service.nack(nack).await), Code::Ok, "stale");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_consumer_is_sent_away_slowly_and_a_stream_never_ends_well() {
    let broker = TestBroker::start().await;
    let _producer = broker.producer(TOPIC).await;
    let mut service = ConsumerServiceClient::new(broker.channel().await);
    let begun = Instant::now();
    let answer = service.receive_messages(ReceiveRequest { request_id: 1, consumer_id: 77 }).await;
    assert_eq!(code(answer), Code::Unavailable);
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());

    let id = service.subscribe(consumer(TOPIC, "c", 3)).await.expect("subscribed").into_inner().consumer_id;
    let receive = ReceiveRequest { request_id: 2, consumer_id: id };
    // The headers come at once, though there is no message.
    let opened = tokio::time::timeout(Duration::from_secs(5), service.receive_messages(receive)).await;
    let mut first = opened.expect("at once").expect("open").into_inner();
    let begun = Instant::now();
    let _second = service.receive_messages(receive).await.expect("open").into_inner();
    let end = tokio::time::timeout(PATIENCE, first.message()).await.expect("the first stream ends");
    assert_eq!(code(end), Code::Unavailable);
    assert!(begun.elapsed() >= Duration::from_millis(900), "a takeover is not repeated at once");
    broker.broker.shutdown().await.expect("open streams do not hold up a shutdown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_answered_by_what_is_known() {
    let broker = TestBroker::start().await;
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    let created = producers.create_producer(ProducerRequest {
        producer_name: "p".to_owned(),
        topic_name: TOPIC.to_owned(),
        ..ProducerRequest::default()
    });
    let producer_id = created.await.expect("created").into_inner().producer_id;
    let mut consumers = ConsumerServiceClient::new(broker.channel().await);
    let subscribed = consumers.subscribe(consumer(TOPIC, "c", 0)).await.expect("subscribed");
    let consumer_id = subscribed.into_inner().consumer_id;
    let mut health = HealthCheckClient::new(broker.channel().await);
    for (client, id, expected) in [
        (0, producer_id, Code::Ok),
        (1, consumer_id, Code::Ok),
        (0, 12_345, Code::NotFound),
        (1, 12_345, Code::NotFound),
        (2, consumer_id, Code::InvalidArgument),
    ] {
        let answer = health.health_check(HealthCheckRequest { client, id }).await;
        assert_eq!(code(answer), expected, "{client} {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_answers_with_the_address_that_was_asked() {
    let broker = TestBroker::start().await;
    let _producer = broker.producer(TOPIC).await;
    let port = broker.broker.grpc_address().port();
    let channel = Channel::from_shared(format!("http://localhost:{port}")).expect("a URL").connect().await;
    let mut discovery = DiscoveryClient::new(channel.expect("connected"));
    let ask = |topic: &str| TopicLookupRequest { request_id: 3, topic: topic.to_owned() };
    let found = discovery.topic_lookup(ask(TOPIC)).await.expect("found").into_inner();
    assert_eq!((found.connect_url.as_str(), found.proxy), (&*format!("http://localhost:{port}"), false));
    assert_eq!((found.broker_url, found.response_type, found.request_id), (found.connect_url, 1, 3));
    assert_eq!(code(discovery.topic_lookup(ask("/default/nowhere")).await), Code::NotFound);
    assert_eq!(code(discovery.topic_lookup(ask("nonsense")).await), Code::InvalidArgument);
    let none = discovery.topic_partitions(ask("/default/nowhere")).await.expect("no error").into_inner();
    assert!(none.partitions.is_empty());
    let one = discovery.topic_partitions(ask(TOPIC)).await.expect("no error").into_inner();
    assert_eq!(one.partitions, [TOPIC]);

    let mut producer = {
        let builder = client(&broker.url).await.new_producer().with_topic("/default/many").with_name("p");
        builder.with_partitions(11).with_reliable_dispatch().build().expect("a producer")
    };
    producer.create().await.expect("created");
    let many = discovery.topic_partitions(ask("/default/many")).await.expect("no error").into_inner();
    let names: Vec<String> = (0..11).map(|index| format!("/default/many-part-{index}")).collect();
    assert_eq!(many.partitions, names, "in numeric order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_calls_end_their_connection_and_no_other() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = broker.worker(TOPIC, "a").await;
    let kafka_api_versions =
        b"\x00\x00\x00\x14\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test\x00\x01a\x01b\x00";
    let http1 = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let inputs: [&[u8]; 4] = [
        kafka_api_versions,
        http1,
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff",
    ];
    for input in inputs {
        let mut stream = TcpStream::connect(broker.broker.grpc_address()).await.expect("connected");
        stream.write_all(input).await.expect("written");
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // A reset is an end, too.
        assert!(end.is_ok(), "the connection ends: {:?}", &input[..8]);
    }
    send(&producer, "k", "still here").await;
    assert_eq!(worker.next().await.payload, "still here");
}
