//! What is large, late, forged or never read: a precise status, and nobody else notices.

use crate::support::{PATIENCE, SILENCE, Spec, TestBroker, code, free_port, send};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use keyway_broker::Config;
use keyway_danube_wire::proto::{
    AckRequest, AuthRequest, ConsumerRequest, MessageResponse, MsgId, NackRequest, ProducerRequest,
    ReceiveRequest, StreamMessage, auth_service_client::AuthServiceClient,
    consumer_service_client::ConsumerServiceClient, producer_service_client::ProducerServiceClient,
};
use keyway_log::MemoryStore;
use std::sync::Arc;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

const TOPIC: &str = "/default/orders";

/// A producer by hand: its service, and its id.
async fn producer(broker: &TestBroker) -> (ProducerServiceClient<Channel>, u64) {
    let mut service = ProducerServiceClient::new(broker.channel().await);
    let created = service.create_producer(create(TOPIC)).await.expect("created").into_inner();
    (service, created.producer_id)
}

fn create(topic: &str) -> ProducerRequest {
    ProducerRequest {
        producer_name: "p".to_owned(),
        topic_name: topic.to_owned(),
        dispatch_strategy: 1,
        ..ProducerRequest::default()
    }
}

fn message(producer_id: u64, payload: impl Into<Bytes>) -> StreamMessage {
    StreamMessage {
        msg_id: Some(MsgId { producer_id, topic_name: TOPIC.to_owned(), ..MsgId::default() }),
        payload: payload.into(),
        producer_name: "p".to_owned(),
        routing_key: Some("k".to_owned()),
        ..StreamMessage::default()
    }
}

/// A Key-Shared consumer by hand.
async fn consume(
    service: &mut ConsumerServiceClient<Channel>,
    subscription: &str,
    name: &str,
) -> Streaming<StreamMessage> {
    let request = ConsumerRequest {
        topic_name: TOPIC.to_owned(),
        consumer_name: name.to_owned(),
        subscription: subscription.to_owned(),
        subscription_type: 3,
        ..ConsumerRequest::default()
    };
    let consumer_id = service.subscribe(request).await.expect("subscribed").into_inner().consumer_id;
    service.receive_messages(ReceiveRequest { request_id: 1, consumer_id }).await.expect("open").into_inner()
}

async fn next(stream: &mut Streaming<StreamMessage>) -> StreamMessage {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time");
    next.expect("no error").expect("a message")
}

async fn is_silent(stream: &mut Streaming<StreamMessage>) -> bool {
    tokio::time::timeout(SILENCE, stream.message()).await.is_err()
}

fn ack(message: &StreamMessage, subscription: &str) -> AckRequest {
    AckRequest {
        request_id: message.request_id,
        msg_id: message.msg_id.clone(),
        subscription_name: subscription.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_a_mebibyte_is_a_key_like_any_other() {
    let broker = TestBroker::start().await;
    let producer = broker.producer(TOPIC).await;
    let mut worker = Spec::new(TOPIC, "a").with_filters(&["*large"]).by_hand().start(&broker.url).await;
    let key = "k".repeat(1024 * 1024) + "large";
    for index in 0..2 {
        send(&producer, &key, index).await;
        send(&producer, "small and large", index).await;
    }
    let mut first = worker.take(2).await;
    assert!(worker.is_silent().await, "one of each key");
    first.sort_by_key(|got| got.offset);
    assert_eq!(first[0].key.as_ref(), Some(&key));
    worker.ack(first[0].offset);
    assert_eq!(worker.next().await.key.as_ref(), Some(&key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configs_of_a_topic_hold_for_every_client() {
    let configs = [("log.cleanup.policy", "compact"), ("log.message.timestamp.after.max.ms", "1000")];
    let settings = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config { grpc: free_port(), settings, ..Config::default() };
    let broker = TestBroker::start_as(config, Arc::new(MemoryStore::new())).await;
    let (mut service, id) = producer(&broker).await;
    let keyless = StreamMessage { routing_key: None, ..message(id, "new") };
    let refused = service.send_message(keyless).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("key"), "{refused}");
    let ahead = StreamMessage { publish_time: u64::MAX / 2, ..message(id, "new") };
    let refused = service.send_message(ahead).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("message.timestamp.after.max.ms"), "{refused}");
    service.send_message(message(id, "new")).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_every_client_is_refused_for_good() {
    let broker = TestBroker::start().await;
    let (mut service, id) = producer(&broker).await;
    let max = 4 * 1024 * 1024;
    let refused = service.send_message(message(id, vec![7; max])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("bytes"), "{refused}");
    // So large that it is not even read.
    let refused = service.send_message(message(id, vec![7; 4 * max])).await.unwrap_err();
    assert!(matches!(refused.code(), Code::OutOfRange | Code::InvalidArgument), "{refused}");
    let mut consumers = ConsumerServiceClient::new(broker.channel().await);
    let mut stream = consume(&mut consumers.clone().max_decoding_message_size(max), "sub", "c").await;
    service.send_message(message(id, vec![7; max - 20 * 1024])).await.expect("sent");
    assert_eq!(next(&mut stream).await.payload.len(), max - 20 * 1024, "and what is sent can be received");
    let endless = ConsumerRequest {
        topic_name: TOPIC.to_owned(),
        consumer_name: "x".repeat(1 << 20),
        ..Default::default()
    };
    assert_eq!(code(consumers.subscribe(endless).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_counts_for_the_delivery_that_it_names_and_no_other() {
    let broker = TestBroker::start().await;
    let (mut producers, id) = producer(&broker).await;
    let mut service = ConsumerServiceClient::new(broker.channel().await);
    let mut one = consume(&mut service, "one", "c").await;
    let mut two = consume(&mut service, "two", "c").await;
    for payload in ["0", "1"] {
        producers.send_message(message(id, payload)).await.expect("sent");
    }
    let (of_one, of_two) = (next(&mut one).await, next(&mut two).await);
    assert_eq!((&of_one.payload[..], &of_two.payload[..]), (&b"0"[..], &b"0"[..]));
    // A subscription that is not, a partition that is not, another offset, another delivery's token.
    let mut elsewhere = ack(&of_one, "one");
    elsewhere.msg_id.as_mut().expect("an id").topic_name = format!("{TOPIC}-part-7");
    let mut later = ack(&of_one, "one");
    later.msg_id.as_mut().expect("an id").topic_offset = 4_000_000;
    let forged = AckRequest { request_id: of_one.request_id ^ 1, ..ack(&of_one, "one") };
    for stray in [ack(&of_one, "nobody"), elsewhere, later, forged] {
        service.ack(stray).await.expect("stale answers are no errors");
    }
    service.ack(ack(&of_two, "two")).await.expect("taken");
    assert_eq!(&next(&mut two).await.payload[..], b"1", "the other subscription goes on by itself");
    assert!(is_silent(&mut one).await, "the key is still held");

    let nack = NackRequest {
        request_id: of_one.request_id,
        msg_id: of_one.msg_id.clone(),
        subscription_name: "one".to_owned(),
        ..NackRequest::default()
    };
    service.nack(nack.clone()).await.expect("taken");
    let again = next(&mut one).await;
    assert_eq!((&again.payload[..], again.request_id != of_one.request_id), (&b"0"[..], true));
    service.ack(ack(&of_one, "one")).await.expect("stale");
    service.nack(nack).await.expect("stale");
    assert!(is_silent(&mut one).await, "the former delivery's answers are void");
    service.ack(ack(&again, "one")).await.expect("taken");
    assert_eq!(&next(&mut one).await.payload[..], b"1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_never_read_holds_up_its_own_keys_only() {
    const KEYS: usize = 400;
    let broker = TestBroker::start().await;
    let (mut producers, id) = producer(&broker).await;
    // A connection of its own, whose window fills.
    let stuck = consume(&mut ConsumerServiceClient::new(broker.channel().await), "sub", "stuck").await;
    let mut worker = broker.worker(TOPIC, "works").await;
    let mut elsewhere = Spec::new(TOPIC, "elsewhere").of_type(danube_client::SubType::Shared);
    elsewhere = elsewhere.in_subscription("other");
    let mut elsewhere = elsewhere.start(&broker.url).await;
    for index in 0..KEYS {
        let key = Some(format!("key-{index}"));
        let sent = StreamMessage { routing_key: key, ..message(id, vec![b'x'; 32 * 1024]) };
        producers.send_message(sent).await.expect("sent");
    }
    assert_eq!(elsewhere.take(KEYS).await.len(), KEYS);
    // Two workers: about half of the keys are this one's.
    let own = worker.take(KEYS / 4).await.len();
    drop(stuck);
    let rest = worker.take(KEYS - own).await;
    assert_eq!(own + rest.len(), KEYS, "the lost worker's messages are given to the other");
}

/// Many begun requests that never end fill the memory for requests; those that come meanwhile are asked to come again,
/// and when the former are gone they are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_held_back_cost_others_a_retry_and_no_more() {
    let settings = [("queued.max.request.bytes".to_owned(), (1024 * 1024).to_string())].into();
    let config = Config { grpc: free_port(), settings, ..Config::default() };
    let broker = TestBroker::start_as(config, Arc::new(MemoryStore::new())).await;
    let (mut service, id) = producer(&broker).await;
    // Three hold 900 KiB of the 1,024, and it is the fourth's turn to go beyond, so a fifth finds no room.
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(hold_back(broker.channel().await, id));
    }
    let refused = loop {
        match service.send_message(message(id, vec![2; 300 * 1024])).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(refused) => break refused,
        }
        // One that arrived while this one was under way may have been refused instead.
        for held in begun.iter_mut().filter(|held| held.is_finished()) {
            *held = hold_back(broker.channel().await, id);
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    begun.iter().for_each(tokio::task::JoinHandle::abort);
    let again = async {
        loop {
            match service.send_message(message(id, vec![2; 300 * 1024])).await {
                Ok(_) => return,
                Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("room again");
}

/// Sends a message of 300 KiB and never ends the request.
fn hold_back(channel: Channel, id: u64) -> tokio::task::JoinHandle<Result<MessageResponse, Status>> {
    tokio::spawn(async move {
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.expect("ready");
        let path = "/danube.ProducerService/SendMessage".parse().expect("a path");
        let codec = tonic_prost::ProstCodec::<StreamMessage, MessageResponse>::default();
        let sent = stream::once(async move { message(id, vec![1; 300 * 1024]) });
        let answer = grpc.client_streaming(Request::new(sent.chain(stream::pending())), path, codec).await;
        answer.map(tonic::Response::into_inner)
    })
}

/// In Danube this header makes its sender an administrator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_claims_to_be_a_broker_grants_nothing() {
    let broker = TestBroker::start().await;
    let mut service = ProducerServiceClient::new(broker.channel().await);
    let mut answers = async |claims: bool| {
        let mut answers: Vec<Result<u64, (Code, String)>> = Vec::new();
        for topic in ["/default/__topics", "/default/x", "/nowhere/x"] {
            let mut request = Request::new(create(topic));
            if claims {
                request.metadata_mut().insert("x-danube-internal-broker", "1".parse().expect("ascii"));
            }
            let answer = service.create_producer(request).await;
            let failed = |status: Status| (status.code(), status.message().to_owned());
            answers.push(answer.map(|answer| answer.into_inner().producer_id).map_err(failed));
        }
        answers
    };
    let (without, with) = (answers(false).await, answers(true).await);
    assert_eq!(without, with);
    assert!(without[0].is_err() && without[1].is_ok() && without[2].is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_given_where_nothing_is_proved() {
    let broker = TestBroker::start().await;
    let mut auth = AuthServiceClient::new(broker.channel().await);
    let refused = auth.authenticate(AuthRequest { api_key: "key".to_owned() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("without an API key"), "{refused}");
}
