//! A backlog that was there before any worker, and keys and workers that stand still beside others that do not.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use danube_client::Producer;
use danube_core::proto::consumer_request::SubscriptionType;
use danube_core::proto::consumer_service_client::ConsumerServiceClient;
use danube_core::proto::{ConsumerRequest, ReceiveRequest, StreamMessage};
use tokio::time::sleep;
use tonic::Streaming;
use tonic::transport::Channel;

use super::stage::Stage;
use crate::crew::{self, Crew};
use crate::produce_bytes;

const TOPIC: &str = "/default/orders";
/// The same topic for Kafka's clients.
const KAFKA_TOPIC: &str = "orders";
const SUBSCRIPTION: &str = "orders_sub";
const WORKERS: usize = 4;
const PAYLOAD_BYTES: usize = 100;
/// Nothing may stand still for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A subscription that exists, and nobody on it.
async fn make_subscription(url: &str) -> anyhow::Result<()> {
    crew::producer(url, TOPIC, "first").await?;
    let (mut consumer, _stream) = crew::consumer(url, TOPIC, SUBSCRIPTION, "worker-0").await?;
    consumer.close().await;
    Ok(())
}

/// A hundred thousand messages, then workers, then nothing more: all of it arrives.
pub(crate) async fn backlog(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const KEYS: usize = 1_000;
    const MESSAGES: usize = 100_000;
    let url = stage.broker.danube_url();
    make_subscription(&url).await?;
    let began = Instant::now();
    let messages = crew::messages(0..MESSAGES, KEYS, PAYLOAD_BYTES);
    produce_bytes::fill(stage.broker.kafka(), KAFKA_TOPIC, messages).await?;
    let filled = began.elapsed();
    let began = Instant::now();
    let mut crew = Crew::new(KEYS, None);
    crew.subscribe(&url, TOPIC, SUBSCRIPTION, WORKERS).await?;
    crew.reach(MESSAGES as u64, PATIENCE).await?;
    let drained = began.elapsed();
    Ok(format!(
        "{MESSAGES} messages of {KEYS} keys, sent in {:.1} s, drained by {WORKERS} workers in {:.1} s: {:.0} a second",
        filled.as_secs_f64(),
        drained.as_secs_f64(),
        MESSAGES as f64 / drained.as_secs_f64()
    ))
}

/// One key that is never acknowledged and has a long queue; all others reach zero lag.
pub(crate) async fn head_of_line(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const OTHERS: usize = 999;
    const PER_KEY: usize = 10;
    /// More than a dispatcher keeps in memory.
    const STUCK: usize = 150_000;
    let url = stage.broker.danube_url();
    let kafka = stage.broker.kafka();
    make_subscription(&url).await?;
    let stuck = (0..STUCK).map(|number| ("stuck".to_string(), number.to_string()));
    produce_bytes::fill(kafka, KAFKA_TOPIC, stuck).await?;
    produce_bytes::fill(kafka, KAFKA_TOPIC, crew::messages(0..OTHERS * PER_KEY, OTHERS, PAYLOAD_BYTES))
        .await?;
    let mut crew = Crew::new(OTHERS, Some("stuck"));
    crew.subscribe(&url, TOPIC, SUBSCRIPTION, WORKERS).await?;
    let began = Instant::now();
    crew.reach((OTHERS * PER_KEY) as u64, PATIENCE).await.context("the first lot")?;
    let took = began.elapsed();
    // What is sent now is not behind anything either.
    let more = crew::messages(OTHERS * PER_KEY..OTHERS * PER_KEY * 2, OTHERS, PAYLOAD_BYTES);
    produce_bytes::fill(kafka, KAFKA_TOPIC, more).await?;
    crew.reach((OTHERS * PER_KEY * 2) as u64, PATIENCE).await.context("the second lot")?;
    ensure!(crew.held() >= 1, "the stuck key was never delivered");
    Ok(format!(
        "{OTHERS} keys reached zero lag in {:.1} s behind {STUCK} messages of one that is never acknowledged",
        took.as_secs_f64()
    ))
}

/// A worker that opens its stream and never reads it.
struct Stalled {
    _channel: Channel,
    _stream: Streaming<StreamMessage>,
}

impl Stalled {
    async fn open(url: &str) -> anyhow::Result<Self> {
        let channel = Channel::from_shared(url.to_string())?.connect().await?;
        let mut client = ConsumerServiceClient::new(channel.clone());
        let subscribed = client
            .subscribe(ConsumerRequest {
                request_id: 1,
                topic_name: TOPIC.to_string(),
                consumer_name: "stalled".to_string(),
                subscription: SUBSCRIPTION.to_string(),
                subscription_type: SubscriptionType::KeyShared as i32,
                key_filters: Vec::new(),
            })
            .await?;
        let receive = ReceiveRequest { request_id: 2, consumer_id: subscribed.into_inner().consumer_id };
        let stream = client.receive_messages(receive).await?.into_inner();
        Ok(Self { _channel: channel, _stream: stream })
    }
}

/// The traffic of the stalled-worker check, and how much of each key was sent.
struct Traffic {
    producers: Vec<Producer>,
    sent: Vec<u64>,
}

impl Traffic {
    /// Sends this many messages over these keys, all producers at once, each with its own keys.
    async fn send(&mut self, keys: &[usize], messages: usize, bytes: usize) -> anyhow::Result<()> {
        let mut texts: Vec<Vec<(usize, String)>> = vec![Vec::new(); self.producers.len()];
        for place in 0..messages {
            let place = place % keys.len();
            let key = keys[place];
            texts[place % self.producers.len()].push((key, format!("{:<bytes$}", self.sent[key])));
            self.sent[key] += 1;
        }
        let sends = self.producers.iter().zip(texts).map(|(producer, texts)| async move {
            for (key, text) in texts {
                producer.send_with_key(text.into_bytes(), None, &crew::key(key)).await?;
            }
            anyhow::Ok(())
        });
        futures_util::future::try_join_all(sends).await?;
        Ok(())
    }
}

/// A worker that never reads its stream: the others keep their rate, and the broker its memory.
pub(crate) async fn stalled_reader(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const KEYS: usize = 200;
    const ROUNDS: usize = 4;
    const MESSAGES: usize = 4_000;
    /// What the stalled worker is sent in a round: more than its stream can carry.
    const UNREAD_BYTES: usize = 32 << 10;
    const UNREAD_PER_KEY: usize = 4;
    /// The promise is 0.9; the rest is noise of a shared machine.
    const RATIO_MIN: f64 = 0.7;
    const GROWTH_MAX_BYTES: u64 = 96 << 20;
    const QUIET: Duration = Duration::from_millis(700);
    let url = stage.broker.danube_url();
    let mut traffic = Traffic { producers: Vec::new(), sent: vec![0; KEYS] };
    for number in 0..WORKERS {
        traffic.producers.push(crew::producer(&url, TOPIC, &format!("producer-{number}")).await?);
    }
    let mut crew = Crew::new(KEYS, None);
    crew.subscribe(&url, TOPIC, SUBSCRIPTION, WORKERS).await?;
    let mut stalled = Some(Stalled::open(&url).await?);
    traffic.send(&(0..KEYS).collect::<Vec<_>>(), KEYS, PAYLOAD_BYTES).await?;
    crew.settle(QUIET).await;
    let (others, unread): (Vec<usize>, Vec<usize>) = {
        let came = crew.by_key();
        (0..KEYS).partition(|key| came[*key] > 0)
    };
    ensure!(
        !unread.is_empty() && !others.is_empty(),
        "{} of {KEYS} keys at the stalled worker",
        unread.len()
    );

    let before = stage.broker.resident_bytes()?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // First without, then with, then the other way round, so that a drift of the machine hits both alike.
        let phases = if round % 2 == 0 { [false, true] } else { [true, false] };
        for stalls in phases {
            if stalls {
                if stalled.is_none() {
                    stalled = Some(Stalled::open(&url).await?);
                }
                traffic.send(&unread, unread.len() * UNREAD_PER_KEY, UNREAD_BYTES).await?;
                crew.settle(QUIET).await;
            } else if stalled.take().is_some() {
                // What it held comes to the others once its grace is over.
                crew.reach(traffic.sent.iter().sum(), PATIENCE).await.context("after the stalled worker")?;
            }
            let began = Instant::now();
            let count = crew.acknowledged() + MESSAGES as u64;
            let (sent, reached) =
                tokio::join!(traffic.send(&others, MESSAGES, PAYLOAD_BYTES), crew.reach(count, PATIENCE));
            sent?;
            reached.with_context(|| format!("with a stalled worker: {stalls}"))?;
            let rate = MESSAGES as f64 / began.elapsed().as_secs_f64();
            if stalls { with.push(rate) } else { without.push(rate) }
        }
    }
    let grown = stage.broker.resident_bytes()?.saturating_sub(before);
    ensure!(grown < GROWTH_MAX_BYTES, "resident memory grew by {} MiB", grown >> 20);
    drop(stalled);
    sleep(QUIET).await;
    crew.reach(traffic.sent.iter().sum(), PATIENCE).await.context("at the end")?;
    let ratio = median(&mut with) / median(&mut without);
    ensure!(
        ratio >= RATIO_MIN,
        "the others keep {:.0} % of their rate: {with:.0?} of {without:.0?}",
        100.0 * ratio
    );
    Ok(format!(
        "the others keep {:.0} % of their rate ({:.0} of {:.0} messages/s, medians of {ROUNDS} rounds) beside a worker \
         that never reads; memory grew by {} MiB",
        100.0 * ratio,
        median(&mut with),
        median(&mut without),
        grown >> 20
    ))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
