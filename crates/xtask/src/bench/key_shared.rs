//! Key-Shared messages per second and their latency, end to end and durable, through the published Rust client.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use danube_client::Producer;
use tokio::time::{sleep_until, timeout};

use super::candidate::Candidate;
use super::meter::Meter;
use super::table::{Sample, Table};
use crate::broker::Launch;
use crate::crew::{self, Crew};
use crate::produce_bytes;

const TOPIC: &str = "/default/orders";
/// The same topic for Kafka's clients.
const KAFKA_TOPIC: &str = "orders";
const SUBSCRIPTION: &str = "orders_sub";
/// As many producers as consumers: the client sends one message at a time per producer and acknowledges one at a time
/// per consumer.
const CLIENTS: [usize; 2] = [4, 8];
const KEYS: [usize; 2] = [1_000, 100_000];
const MESSAGES: usize = 100_000;
const LATENCY_SECONDS: usize = 10;
const PAYLOAD_BYTES: usize = 100;
const BACKLOG_CONSUMERS: usize = 4;
const BACKLOG_KEYS: usize = 100_000;
/// Acknowledgements of each consumer when the ceiling is measured.
const CEILING_ACKS: usize = 20_000;
/// Producers that fill a broker which speaks no Kafka: enough to share its flushes.
const FILLERS: usize = 32;
/// Nothing may stand still for longer.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUND_LIMIT: Duration = Duration::from_secs(1_800);

/// How much to measure.
pub(crate) struct Amount {
    pub(crate) rounds: usize,
    pub(crate) percent: u32,
    pub(crate) backlog: usize,
}

impl Amount {
    fn share(&self, whole: usize) -> usize {
        (whole * self.percent as usize / 100).max(1)
    }
}

/// Every measurement has a broker and a folder of its own; the order of the systems alternates.
pub(crate) async fn measure(
    systems: &[Launch],
    amount: &Amount,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    for round in 0..amount.rounds {
        for clients in CLIENTS {
            for keys in KEYS {
                for system in super::kafka::order(systems.len(), round) {
                    let candidate = Candidate::start(&systems[system], system, folder).await?;
                    timeout(ROUND_LIMIT, candidate.end_to_end(clients, keys, amount, table)).await??;
                    candidate.stop().await?;
                }
            }
        }
        for system in super::kafka::order(systems.len(), round) {
            let candidate = Candidate::start(&systems[system], system, folder).await?;
            timeout(ROUND_LIMIT, candidate.backlog(amount, table)).await??;
            candidate.stop().await?;
        }
    }
    Ok(())
}

impl Candidate {
    /// Adds a rate, and what each message cost on either side; returns the rate.
    fn add_rate(
        &self,
        name: &str,
        messages: usize,
        meter: &Meter<'_>,
        table: &mut Table,
    ) -> anyhow::Result<f64> {
        let reading = meter.read()?;
        let rate = messages as f64 / reading.took.as_secs_f64();
        table.add(name, "messages/s", self.system, reading.sample(rate));
        let per_message = |cpu: Duration| Sample::of(cpu.as_secs_f64() * 1e6 / messages as f64);
        table.add(name, "us of broker CPU a message", self.system, per_message(reading.broker_cpu));
        table.add(name, "us of client CPU a message", self.system, per_message(reading.own_cpu));
        let switches = Sample::of(reading.broker_switches as f64 / messages as f64);
        table.add(name, "context switches of the broker a message", self.system, switches);
        Ok(rate)
    }

    /// As fast as it goes, then at half of that rate with the latency of every message.
    async fn end_to_end(
        &self,
        clients: usize,
        keys: usize,
        amount: &Amount,
        table: &mut Table,
    ) -> anyhow::Result<()> {
        let url = self.broker.danube_url();
        let mut producers = Vec::new();
        for number in 0..clients {
            producers.push(crew::producer(&url, TOPIC, &format!("producer-{number}")).await?);
        }
        let mut crew = Crew::new(keys, None);
        crew.subscribe(&url, TOPIC, SUBSCRIPTION, clients).await?;
        let mut senders: Vec<Sender> = producers
            .into_iter()
            .enumerate()
            .map(|(number, producer)| Sender { producer, number, of: clients, keys, sent: 0 })
            .collect();

        let name = format!("{clients} producers, {clients} consumers, {keys} keys");
        let messages = amount.share(MESSAGES) / clients * clients;
        let meter = Meter::start(&self.broker)?;
        let sends = senders.iter_mut().map(|sender| sender.send_all(messages / clients));
        let sends = futures_util::future::try_join_all(sends);
        let (sent, reached) = tokio::join!(sends, crew.reach(messages as u64, PATIENCE));
        sent?;
        reached?;
        let rate = self.add_rate(&name, messages, &meter, table)?;

        let half = rate / 2.0;
        let timed = (half * amount.share(LATENCY_SECONDS) as f64) as usize / clients * clients;
        crew.start_timing();
        let started = crew.started();
        let pause = Duration::from_secs_f64(clients as f64 / half);
        let sends = senders.iter_mut().map(|sender| sender.send_in_time(timed / clients, started, pause));
        let sends = futures_util::future::try_join_all(sends);
        let (sent, reached) = tokio::join!(sends, crew.reach((messages + timed) as u64, PATIENCE));
        sent?;
        reached?;
        let latency = crew.latency_us();
        ensure!(latency.len() == timed as u64, "{} of {timed} messages were timed", latency.len());
        for (percentile, name_of_it) in [(50.0, "p50"), (99.0, "p99")] {
            let value = latency.value_at_percentile(percentile) as f64 / 1000.0;
            table.add(
                &format!("{name}, half load: {name_of_it}"),
                "ms end to end",
                self.system,
                Sample::of(value),
            );
        }
        Ok(())
    }

    /// What the consumers can acknowledge when there is nothing else to do, then how they drain a backlog.
    async fn backlog(&self, amount: &Amount, table: &mut Table) -> anyhow::Result<()> {
        let name = format!("acks alone, {BACKLOG_CONSUMERS} consumers");
        let ceiling = self.ceiling(&name, amount.share(CEILING_ACKS), table).await?;
        let url = self.broker.danube_url();
        crew::producer(&url, TOPIC, "first").await?;
        let (mut consumer, stream) = crew::consumer(&url, TOPIC, SUBSCRIPTION, "worker-0").await?;
        drop(stream);
        consumer.close().await;
        let messages = amount.share(amount.backlog);
        let filled = Instant::now();
        if self.broker.speaks_kafka() {
            let texts = crew::messages(0..messages, BACKLOG_KEYS, PAYLOAD_BYTES);
            produce_bytes::fill(self.broker.kafka(), KAFKA_TOPIC, texts).await?;
        } else {
            fill_slowly(&url, messages).await?;
        }
        eprintln!("a backlog of {messages} messages in {:.1} s", filled.elapsed().as_secs_f64());
        let mut crew = Crew::new(BACKLOG_KEYS, None);
        let meter = Meter::start(&self.broker)?;
        crew.subscribe(&url, TOPIC, SUBSCRIPTION, BACKLOG_CONSUMERS).await?;
        crew.reach(messages as u64, PATIENCE).await?;
        let name = format!("backlog of {messages}, {BACKLOG_KEYS} keys, {BACKLOG_CONSUMERS} consumers");
        let drained = self.add_rate(&name, messages, &meter, table)?;
        table.add(&name, "of the rate of acks alone", self.system, Sample::of(drained / ceiling));
        Ok(())
    }

    /// The same consumers acknowledge one message each, again and again: all that a drain needs but the messages.
    async fn ceiling(&self, name: &str, acks: usize, table: &mut Table) -> anyhow::Result<f64> {
        const CEILING_TOPIC: &str = "/default/ceiling";
        /// So many that every consumer has one.
        const CEILING_KEYS: usize = 64;
        let url = self.broker.danube_url();
        let producer = crew::producer(&url, CEILING_TOPIC, "ceiling").await?;
        let mut consumers = Vec::new();
        for number in 0..BACKLOG_CONSUMERS {
            let name = format!("worker-{number}");
            consumers.push(crew::consumer(&url, CEILING_TOPIC, "ceiling_sub", &name).await?);
        }
        for key in 0..CEILING_KEYS {
            producer.send_with_key(b"0".to_vec(), None, &crew::key(key)).await?;
        }
        let mut holders = Vec::new();
        for (consumer, mut stream) in consumers {
            let message = timeout(PATIENCE, stream.recv()).await.context("a consumer without a message")?;
            holders.push((consumer, message.context("a stream has ended")?, stream));
        }
        let meter = Meter::start(&self.broker)?;
        let mut tasks = tokio::task::JoinSet::new();
        for (mut consumer, message, stream) in holders {
            tasks.spawn(async move {
                for _ in 0..acks {
                    consumer.ack(&message).await?;
                }
                consumer.close().await;
                drop(stream);
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        self.add_rate(name, acks * BACKLOG_CONSUMERS, &meter, table)
    }
}

/// A producer and its part of the keys: a key belongs to one producer, so that its order is defined.
struct Sender {
    producer: Producer,
    number: usize,
    of: usize,
    keys: usize,
    sent: usize,
}

impl Sender {
    async fn send(&mut self, due_ns: Option<u64>) -> anyhow::Result<()> {
        let own = (self.keys - self.number).div_ceil(self.of);
        let key = self.sent % own * self.of + self.number;
        let number = self.sent / own;
        let text = match due_ns {
            Some(due_ns) => format!("{number} {due_ns}"),
            None => number.to_string(),
        };
        let payload = format!("{text:<PAYLOAD_BYTES$}").into_bytes();
        self.producer.send_with_key(payload, None, &crew::key(key)).await?;
        self.sent += 1;
        Ok(())
    }

    /// One after another.
    async fn send_all(&mut self, messages: usize) -> anyhow::Result<()> {
        for _ in 0..messages {
            self.send(None).await?;
        }
        Ok(())
    }

    /// Each at its moment; one that is late counts from its moment all the same.
    async fn send_in_time(&mut self, messages: usize, epoch: Instant, pause: Duration) -> anyhow::Result<()> {
        let offset = pause.mul_f64(self.number as f64 / self.of as f64);
        let begin = Instant::now() + offset;
        for place in 0..messages {
            let due = begin + pause.mul_f64(place as f64);
            sleep_until(due.into()).await;
            self.send(Some(due.duration_since(epoch).as_nanos() as u64)).await?;
        }
        Ok(())
    }
}

async fn fill_slowly(url: &str, messages: usize) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..FILLERS {
        let producer = crew::producer(url, TOPIC, &format!("filler-{number}")).await?;
        // The messages of a key come from one producer.
        let own: Vec<(String, String)> = crew::messages(0..messages, BACKLOG_KEYS, PAYLOAD_BYTES)
            .enumerate()
            .filter(|(place, _)| place % BACKLOG_KEYS % FILLERS == number)
            .map(|(_, message)| message)
            .collect();
        tasks.spawn(async move {
            for (key, text) in own {
                producer.send_with_key(text.into_bytes(), None, &key).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
