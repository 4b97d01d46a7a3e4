//! Requests about subscriptions that no client should send, through Danube's own generated gRPC clients: each gets the
//! status that makes clients do the right thing, and a worker next door notices nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use danube_client::Producer;
use danube_core::proto::consumer_request::SubscriptionType;
use danube_core::proto::consumer_service_client::ConsumerServiceClient;
use danube_core::proto::health_check_client::HealthCheckClient;
use danube_core::proto::producer_service_client::ProducerServiceClient;
use danube_core::proto::{
    AckRequest, ConsumerRequest, HealthCheckRequest, MsgId, NackRequest, ProducerRequest, ReceiveRequest,
    StreamMessage,
};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use super::scene::{Delivery, Scene};
use super::stage::Stage;

const TOPIC: &str = "/default/orders";
const SUBSCRIPTION: &str = "orders_sub";
/// A well-behaved worker next door has its message within this.
const NEIGHBOUR_LIMIT: Duration = Duration::from_secs(3);
/// An answer, whatever it is, comes within this.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a key is watched that must stay held.
const HELD: Duration = Duration::from_millis(400);
/// Some messages of the largest size, in and out.
const GROWTH_MAX_BYTES: u64 = 128 << 20;

/// A client of all services on one connection.
struct Raw {
    consumers: ConsumerServiceClient<Channel>,
    producers: ProducerServiceClient<Channel>,
    health: HealthCheckClient<Channel>,
}

impl Raw {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(url.to_string())?.timeout(ANSWER_LIMIT).connect().await?;
        Ok(Self {
            consumers: ConsumerServiceClient::new(channel.clone()),
            producers: ProducerServiceClient::new(channel.clone()),
            health: HealthCheckClient::new(channel),
        })
    }

    async fn receive(&mut self, consumer_id: u64) -> Result<Streaming<StreamMessage>, Status> {
        let receive = ReceiveRequest { request_id: 1, consumer_id };
        Ok(self.consumers.receive_messages(receive).await?.into_inner())
    }
}

fn subscribe(name: &str) -> ConsumerRequest {
    ConsumerRequest {
        request_id: 1,
        topic_name: TOPIC.to_string(),
        consumer_name: name.to_string(),
        subscription: SUBSCRIPTION.to_string(),
        subscription_type: SubscriptionType::KeyShared as i32,
        key_filters: Vec::new(),
    }
}

fn message_id(topic: &str, offset: u64) -> MsgId {
    MsgId {
        producer_id: 1,
        topic_name: topic.to_string(),
        broker_addr: "http://127.0.0.1:1/".to_string(),
        topic_offset: offset,
    }
}

fn ack(topic: &str, subscription: &str, offset: u64, token: u64) -> AckRequest {
    AckRequest {
        request_id: token,
        msg_id: Some(message_id(topic, offset)),
        subscription_name: subscription.to_string(),
    }
}

/// Checks the status of an answer; a refusal has to say why.
fn expect<T>(what: &str, answer: Result<T, Status>, codes: &[Code]) -> anyhow::Result<()> {
    let (code, text) = match &answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_string()),
    };
    ensure!(codes.contains(&code), "{what} is answered with {code:?} {text:?}, not {codes:?}");
    ensure!(code == Code::Ok || !text.is_empty(), "{what} is refused without a word");
    Ok(())
}

/// The worker next door, and the one that sends to it.
struct Neighbour {
    scene: Scene,
    producer: Producer,
    sent: usize,
    slowest: Duration,
}

impl Neighbour {
    async fn still_fine(&mut self, after: &str) -> anyhow::Result<()> {
        let text = format!("neighbour-{}", self.sent);
        self.sent += 1;
        let began = Instant::now();
        self.producer.send_with_key(text.clone().into_bytes(), None, "neighbour").await?;
        let delivery = timeout(NEIGHBOUR_LIMIT, self.scene.next()).await;
        let delivery = delivery.with_context(|| format!("after {after}, the neighbour waits"))??;
        ensure!(delivery.text() == text, "after {after}, the neighbour got {}", delivery.text());
        self.scene.ack(delivery).await?;
        self.slowest = self.slowest.max(began.elapsed());
        Ok(())
    }

    /// One message, delivered and held.
    async fn hold(&mut self, key: &str, text: &str) -> anyhow::Result<Delivery> {
        self.producer.send_with_key(text.as_bytes().to_vec(), None, key).await?;
        let delivery = self.scene.next().await?;
        ensure!(delivery.text() == text, "{} came instead of {text}", delivery.text());
        Ok(delivery)
    }
}

/// Unknown ids, stale and foreign answers, names and filters that cannot be, and messages that are too large.
pub(crate) async fn subscriptions(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let url = stage.broker.danube_url();
    let mut scene = Scene::open(&url, TOPIC).await?;
    let producer = scene.producer("orders_producer").await?;
    scene.worker("worker_1", SUBSCRIPTION, &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    let mut neighbour = Neighbour { scene, producer, sent: 0, slowest: Duration::ZERO };
    let mut raw = Raw::connect(&url).await?;
    let before = stage.broker.resident_bytes()?;

    let mut kinds = unknown_ids(&mut raw).await?;
    neighbour.still_fine("unknown ids").await?;
    kinds += foreign_answers(&mut raw, &mut neighbour).await?;
    neighbour.still_fine("foreign answers").await?;
    kinds += impossible_subscribers(&mut raw).await?;
    neighbour.still_fine("impossible subscribers").await?;
    kinds += messages(&mut raw, &mut neighbour).await?;
    neighbour.still_fine("messages that are too large").await?;
    kinds += takeovers(&mut raw).await?;
    neighbour.still_fine("takeovers").await?;

    let grown = stage.broker.resident_bytes()?.saturating_sub(before);
    ensure!(grown < GROWTH_MAX_BYTES, "resident memory grew by {} MiB", grown >> 20);
    Ok(format!(
        "{kinds} kinds, each with its status; the neighbour waited {} ms at most, memory grew by {} MiB",
        neighbour.slowest.as_millis(),
        grown >> 20
    ))
}

async fn unknown_ids(raw: &mut Raw) -> anyhow::Result<usize> {
    // Clients take UNAVAILABLE as a reason to try again with a pause, and all other refusals as the end.
    for id in [0, 7, u64::MAX] {
        let opened = match raw.receive(id).await {
            Ok(mut stream) => stream.message().await.map(|_| ()),
            Err(status) => Err(status),
        };
        expect("a stream of an unknown consumer", opened, &[Code::Unavailable])?;
    }
    for client in [0, 1, 9] {
        let request = HealthCheckRequest { request_id: 1, client, id: 4711 };
        let answer = raw.health.health_check(request).await;
        expect("a heartbeat of an unknown id", answer, &[Code::NotFound, Code::InvalidArgument])?;
    }
    Ok(6)
}

/// None of these answers frees a key that is held.
async fn foreign_answers(raw: &mut Raw, neighbour: &mut Neighbour) -> anyhow::Result<usize> {
    let held = neighbour.hold("held", "first").await?;
    neighbour.producer.send_with_key(b"second".to_vec(), None, "held").await?;
    let (offset, token) = (held.message.msg_id.topic_offset, held.message.request_id);
    let without_id =
        AckRequest { request_id: token, msg_id: None, subscription_name: SUBSCRIPTION.to_string() };
    expect("an ack of nothing", raw.consumers.ack(without_id).await, &[Code::InvalidArgument])?;
    let nack_without_id = NackRequest { request_id: token, msg_id: None, ..NackRequest::default() };
    expect("a nack of nothing", raw.consumers.nack(nack_without_id).await, &[Code::InvalidArgument])?;
    // A late answer is no mistake: whoever gives it would otherwise give it again without end.
    let fine: [(&str, AckRequest); 7] = [
        ("an ack with an old token", ack(TOPIC, SUBSCRIPTION, offset, token - 1)),
        ("an ack with a token from the future", ack(TOPIC, SUBSCRIPTION, offset, token + 1)),
        ("an ack with the largest token", ack(TOPIC, SUBSCRIPTION, offset, u64::MAX)),
        ("an ack for another subscription", ack(TOPIC, "nobody_sub", offset, token)),
        ("an ack for another topic", ack("/default/nobody", SUBSCRIPTION, offset, token)),
        ("an ack of an offset to come", ack(TOPIC, SUBSCRIPTION, 1 << 40, token)),
        ("an ack of a message that is done", ack(TOPIC, SUBSCRIPTION, 0, token)),
    ];
    let kinds = fine.len() + 4;
    for (what, request) in fine {
        expect(what, raw.consumers.ack(request).await, &[Code::Ok])?;
    }
    let impossible = raw.consumers.ack(ack(TOPIC, SUBSCRIPTION, u64::MAX, token)).await;
    expect("an ack of offset 2^64 - 1", impossible, &[Code::InvalidArgument])?;
    let nameless = raw.consumers.ack(ack("no topic", SUBSCRIPTION, offset, token)).await;
    expect("an ack for a topic that cannot be", nameless, &[Code::InvalidArgument])?;
    if let Ok(delivery) = timeout(HELD, neighbour.scene.next()).await {
        bail!("{} came although nothing has freed its key", delivery?.text());
    }
    neighbour.scene.ack(held).await?;
    let second = neighbour.scene.next().await?;
    ensure!(second.text() == "second", "{} came after the right ack", second.text());
    // A reason and a delay beyond all bounds are cut to what the policy allows.
    let nack = NackRequest {
        request_id: second.message.request_id,
        msg_id: Some(message_id(TOPIC, second.message.msg_id.topic_offset)),
        subscription_name: SUBSCRIPTION.to_string(),
        delay_ms: Some(u64::MAX),
        reason: Some("because ".repeat(100_000)),
    };
    expect("a nack with a delay for ever", raw.consumers.nack(nack).await, &[Code::Ok])?;
    Ok(kinds + 1)
}

async fn impossible_subscribers(raw: &mut Raw) -> anyhow::Result<usize> {
    const INVALID: &[Code] = &[Code::InvalidArgument];
    let base = || subscribe("worker_2");
    let filters = |key_filters| ConsumerRequest { key_filters, ..base() };
    let cases: Vec<(&str, ConsumerRequest, &[Code])> = vec![
        ("no name", ConsumerRequest { consumer_name: String::new(), ..base() }, INVALID),
        ("no subscription", ConsumerRequest { subscription: String::new(), ..base() }, INVALID),
        ("no topic", ConsumerRequest { topic_name: String::new(), ..base() }, INVALID),
        ("a name of 1 MiB", ConsumerRequest { consumer_name: "n".repeat(1 << 20), ..base() }, INVALID),
        ("a topic that cannot be", ConsumerRequest { topic_name: "/a/b/c".to_string(), ..base() }, INVALID),
        (
            "an unknown topic",
            ConsumerRequest { topic_name: "/default/nobody".to_string(), ..base() },
            &[Code::NotFound],
        ),
        ("an unknown type", ConsumerRequest { subscription_type: 99, ..base() }, INVALID),
        ("another type than the others", ConsumerRequest { subscription_type: 0, ..base() }, INVALID),
        ("a filter of 64 KiB", filters(vec!["*".repeat(1 << 16)]), INVALID),
        ("50,000 filters", filters((0..50_000).map(|n| format!("f{n}*")).collect()), INVALID),
    ];
    let kinds = cases.len();
    for (what, request, codes) in cases {
        expect(what, raw.consumers.subscribe(request).await, codes)?;
    }
    Ok(kinds)
}

async fn messages(raw: &mut Raw, neighbour: &mut Neighbour) -> anyhow::Result<usize> {
    const MIB: usize = 1 << 20;
    let create = ProducerRequest {
        request_id: 1,
        producer_name: "raw".to_string(),
        topic_name: TOPIC.to_string(),
        dispatch_strategy: 1,
        ..ProducerRequest::default()
    };
    let producer_id = raw.producers.create_producer(create).await?.into_inner().producer_id;
    let base = || StreamMessage {
        request_id: 1,
        msg_id: Some(MsgId { producer_id, ..message_id(TOPIC, 0) }),
        producer_name: "raw".to_string(),
        publish_time: 1,
        ..StreamMessage::default()
    };
    let unnamed = raw.producers.send_message(StreamMessage { msg_id: None, ..base() }).await;
    expect("a message without an id", unnamed, &[Code::InvalidArgument])?;
    let stranger = StreamMessage { msg_id: Some(message_id(TOPIC, 0)), ..base() };
    expect(
        "a message of an unknown producer",
        raw.producers.send_message(stranger).await,
        &[Code::Unavailable],
    )?;
    // Final for all clients: sending it again does not help.
    for bytes in [4 * MIB, 8 * MIB] {
        let large = StreamMessage { payload: vec![7; bytes].into(), ..base() };
        let answer = raw.producers.send_message(large).await;
        expect("a message that is too large", answer, &[Code::InvalidArgument, Code::OutOfRange])?;
    }
    // Worst for a matcher that goes back: every part of it matches almost everywhere.
    let pattern = "*a".repeat(500) + "*b";
    let mut bomb = subscribe("worker_3");
    bomb.key_filters = vec![pattern];
    let consumer_id = raw.consumers.subscribe(bomb).await.map(Response::into_inner)?.consumer_id;
    let stream = raw.receive(consumer_id).await?;
    let key = "a".repeat(MIB);
    let sent =
        StreamMessage { routing_key: Some(key.clone()), payload: b"large key".to_vec().into(), ..base() };
    let answer = raw.producers.send_message(sent).await;
    let accepted = answer.is_ok();
    expect("a key of 1 MiB", answer, &[Code::Ok, Code::InvalidArgument])?;
    if accepted {
        let delivery =
            timeout(ANSWER_LIMIT, neighbour.scene.next()).await.context("the 1 MiB key waits")??;
        ensure!(delivery.text() == "large key" && delivery.key() == key, "another key came out");
        neighbour.scene.ack(delivery).await?;
    }
    drop(stream);
    Ok(6)
}

/// One consumer's stream opened again and again: each one but the last ends, and not well, as Go's client would stop then.
async fn takeovers(raw: &mut Raw) -> anyhow::Result<usize> {
    const STREAMS: usize = 20;
    // A subscription of its own: one that comes and goes has a claim to some keys for a moment.
    let request = ConsumerRequest { subscription: "taken_sub".to_string(), ..subscribe("worker_4") };
    let consumer_id = raw.consumers.subscribe(request).await?.into_inner().consumer_id;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(raw.receive(consumer_id).await?);
    }
    let last = streams.pop().expect("there are some");
    for mut stream in streams {
        let end =
            timeout(ANSWER_LIMIT, stream.message()).await.context("a stream that was taken over stays")?;
        expect("a stream that was taken over", end.map(|_| ()), &[Code::Unavailable])?;
    }
    drop(last);
    Ok(1)
}
