//! Quotas on this front: what Kafka's tools set holds here as well; answers and deliveries wait.

use crate::support::{TestBroker, producer, send};
use bytes::BytesMut;
use keyway_danube_wire::proto::{
    MsgId, ProducerRequest, StreamMessage, producer_service_client::ProducerServiceClient,
};
use keyway_kafka_wire::{
    ApiKey, Decoder,
    messages::{AlterClientQuotasRequest, AlterClientQuotasResponse, alter_client_quotas::*},
    request_frame,
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Status};

const TOPIC: &str = "/default/orders";

/// Bytes a second; the windows let ten times as much pass at once.
const RATE: usize = 10_000;

/// Sets a quota of a client id as Kafka's tools do.
async fn set(broker: &TestBroker, client: &str, quota: &str) {
    let entity = EntityData { entity_type: "client-id".to_owned(), entity_name: Some(client.to_owned()) };
    let op = OpData { key: quota.to_owned(), value: RATE as f64, remove: false };
    let entries = vec![EntryData { entity: vec![entity], ops: vec![op] }];
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    let body = |out: &mut BytesMut| request.encode(out, 0);
    let frame = request_frame(ApiKey::AlterClientQuotas, 0, 1, Some("test"), body).expect("a frame");
    let mut stream = TcpStream::connect(broker.broker.kafka_address()).await.expect("connected");
    stream.write_all(&frame).await.expect("sent");
    let mut answer = vec![0; stream.read_u32().await.expect("an answer") as usize];
    stream.read_exact(&mut answer).await.expect("a whole answer");
    let mut input = Decoder::new(bytes::Bytes::from(answer).slice(4..));
    let answer = AlterClientQuotasResponse::decode(&mut input, 0).expect("an answer");
    assert_eq!(answer.entries[0].error_code, 0, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_over_its_quota_waits_for_its_answers() {
    let broker = TestBroker::start().await;
    set(&broker, "p", "producer_byte_rate").await;
    let producer = producer(&broker.url, TOPIC).await;
    let begun = Instant::now();
    send(&producer, "k", "x".repeat(RATE * 8)).await;
    let within = begun.elapsed();
    send(&producer, "k", "x".repeat(RATE * 3)).await;
    let over = begun.elapsed() - within;
    assert!(within < Duration::from_millis(800), "the windows let it pass: {within:?}");
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&over), "{over:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_on_beside_answers_that_wait_is_told_when_to_try_again() {
    let broker = TestBroker::start().await;
    set(&broker, "hasty", "producer_byte_rate").await;
    let mut service = ProducerServiceClient::new(broker.channel().await);
    let create = ProducerRequest {
        producer_name: "hasty".to_owned(),
        topic_name: TOPIC.to_owned(),
        dispatch_strategy: 1,
        ..ProducerRequest::default()
    };
    let id = service.create_producer(create).await.expect("created").into_inner().producer_id;
    let message = |bytes| StreamMessage {
        msg_id: Some(MsgId { producer_id: id, topic_name: TOPIC.to_owned(), ..MsgId::default() }),
        payload: vec![7; bytes].into(),
        producer_name: "hasty".to_owned(),
        ..StreamMessage::default()
    };
    // It is taken, owes some twenty seconds, and is not answered yet.
    let first = tokio::spawn({
        let (mut service, message) = (service.clone(), message(RATE * 30));
        async move { service.send_message(message).await }
    });
    let refused: Status = loop {
        if let Err(status) = service.send_message(message(1)).await {
            break status;
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let pushback = refused.metadata().get("grpc-retry-pushback-ms").expect("when to try again");
    let pushback_ms: u64 = pushback.to_str().expect("text").parse().expect("a number");
    assert!((5_000..30_000).contains(&pushback_ms), "{pushback_ms}");
    first.await.expect("no panic").expect("taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_over_its_quota_waits_for_its_next_delivery() {
    let broker = TestBroker::start().await;
    let producer = producer(&broker.url, TOPIC).await;
    let mut worker = broker.worker(TOPIC, "slow").await;
    set(&broker, "slow", "consumer_byte_rate").await;
    send(&producer, "k", "x".repeat(RATE * 11)).await;
    worker.take(1).await;
    let since = Instant::now();
    send(&producer, "k", "after").await;
    worker.take(1).await;
    let waited = since.elapsed();
    assert!((Duration::from_millis(600)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
}
