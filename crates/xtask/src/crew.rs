//! Workers that acknowledge at once, count, and check that every key comes in order: for what is told in messages per
//! second.
//!
//! A message's text is its number among those of its key, and optionally the moment at which it was due, in nanoseconds
//! since the crew's start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use danube_client::{Consumer, DanubeClient, Producer, SubType};
use danube_core::message::StreamMessage;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What is later counts as this late.
const LATENCY_MAX_US: u64 = 600_000_000;
const POLL: Duration = Duration::from_millis(1);

/// What the workers have seen.
struct Seen {
    started: Instant,
    /// The number that comes next, by key.
    next: Vec<AtomicU64>,
    acknowledged: AtomicU64,
    stuck: Option<&'static str>,
    held: AtomicU64,
    timing: AtomicBool,
    /// From the moment a message was due to its arrival, microseconds.
    latency_us: Mutex<Histogram<u64>>,
}

/// Workers of one Key-Shared subscription, each with a connection of its own.
pub(crate) struct Crew {
    seen: Arc<Seen>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// A key's name, as the crew expects it.
pub(crate) fn key(number: usize) -> String {
    format!("key-{number}")
}

/// Messages for a crew, key after key in turn: place `place` is number `place / keys` of key `place % keys`.
pub(crate) fn messages(
    places: std::ops::Range<usize>,
    keys: usize,
    bytes: usize,
) -> impl Iterator<Item = (String, String)> {
    places.map(move |place| (key(place % keys), format!("{:<bytes$}", place / keys)))
}

/// A reliable producer with a connection of its own; the first one creates the topic.
pub(crate) async fn producer(url: &str, topic: &str, name: &str) -> anyhow::Result<Producer> {
    let client = DanubeClient::builder().service_url(url).build().await?;
    let mut producer =
        client.new_producer().with_topic(topic).with_name(name).with_reliable_dispatch().build()?;
    producer.create().await?;
    Ok(producer)
}

/// A Key-Shared consumer with a connection of its own, and what it receives.
pub(crate) async fn consumer(
    url: &str,
    topic: &str,
    subscription: &str,
    name: &str,
) -> anyhow::Result<(Consumer, mpsc::Receiver<StreamMessage>)> {
    let client = DanubeClient::builder().service_url(url).build().await?;
    let builder = client.new_consumer().with_topic(topic).with_consumer_name(name);
    let builder = builder.with_subscription(subscription).with_subscription_type(SubType::KeyShared);
    let mut consumer = builder.build()?;
    consumer.subscribe().await?;
    let stream = consumer.receive().await?;
    Ok((consumer, stream))
}

impl Crew {
    /// Nobody yet. Messages of `stuck` are taken and never acknowledged.
    pub(crate) fn new(keys: usize, stuck: Option<&'static str>) -> Self {
        let seen = Seen {
            started: Instant::now(),
            next: (0..keys).map(|_| AtomicU64::new(0)).collect(),
            acknowledged: AtomicU64::new(0),
            stuck,
            held: AtomicU64::new(0),
            timing: AtomicBool::new(false),
            latency_us: Mutex::new(
                Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are allowed"),
            ),
        };
        Self { seen: Arc::new(seen), tasks: JoinSet::new() }
    }

    /// Subscribes this many workers.
    pub(crate) async fn subscribe(
        &mut self,
        url: &str,
        topic: &str,
        subscription: &str,
        workers: usize,
    ) -> anyhow::Result<()> {
        for number in 0..workers {
            let (consumer, stream) = consumer(url, topic, subscription, &format!("worker-{number}")).await?;
            self.tasks.spawn(work(consumer, stream, Arc::clone(&self.seen)));
        }
        Ok(())
    }

    /// How many messages of the stuck key have come.
    pub(crate) fn held(&self) -> u64 {
        self.seen.held.load(Ordering::Relaxed)
    }

    /// How many messages of each key have come.
    pub(crate) fn by_key(&self) -> Vec<u64> {
        self.seen.next.iter().map(|next| next.load(Ordering::Relaxed)).collect()
    }

    /// Waits until nothing has been acknowledged for this long.
    pub(crate) async fn settle(&mut self, quiet: Duration) {
        let mut last = None;
        while last != Some(self.acknowledged()) {
            last = Some(self.acknowledged());
            sleep(quiet).await;
        }
    }

    /// When the crew has started.
    pub(crate) fn started(&self) -> Instant {
        self.seen.started
    }

    /// How many messages are acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.seen.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until this many messages are acknowledged in all; a worker's mistake ends the wait, and so does standing
    /// still for longer than `patience`.
    pub(crate) async fn reach(&mut self, count: u64, patience: Duration) -> anyhow::Result<()> {
        let (mut last, mut moved_at) = (self.acknowledged(), Instant::now());
        loop {
            let now = self.acknowledged();
            if now >= count {
                ensure!(now == count, "{now} messages came, {count} were sent");
                return Ok(());
            }
            if now > last {
                (last, moved_at) = (now, Instant::now());
            }
            if moved_at.elapsed() > patience {
                bail!("{now} of {count} messages came, then none for {} s", patience.as_secs());
            }
            tokio::select! {
                biased;
                // A worker ends only by a mistake.
                Some(ended) = self.tasks.join_next() => ended??,
                () = sleep(POLL) => {}
            }
        }
    }

    /// From now on latencies count.
    pub(crate) fn start_timing(&self) {
        self.seen.timing.store(true, Ordering::Relaxed);
    }

    /// The latencies so far.
    pub(crate) fn latency_us(&self) -> Histogram<u64> {
        self.seen.latency_us.lock().expect("no worker panics").clone()
    }
}

async fn work(
    mut consumer: Consumer,
    mut stream: mpsc::Receiver<StreamMessage>,
    seen: Arc<Seen>,
) -> anyhow::Result<()> {
    while let Some(message) = stream.recv().await {
        let key = message.routing_key.as_deref().context("a message without a key")?;
        if Some(key) == seen.stuck {
            seen.held.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let key: usize = key.strip_prefix("key-").with_context(|| format!("a foreign key {key}"))?.parse()?;
        let mut words = std::str::from_utf8(&message.payload)?.split_ascii_whitespace();
        let number: u64 = words.next().context("a message without a number")?.parse()?;
        let expected = seen.next[key].fetch_add(1, Ordering::Relaxed);
        ensure!(number == expected, "key {key}: {number} came instead of {expected}");
        if let Some(due_ns) = words.next()
            && seen.timing.load(Ordering::Relaxed)
        {
            let due_ns: u64 = due_ns.parse()?;
            let late_us = (seen.started.elapsed().as_nanos() as u64).saturating_sub(due_ns) / 1_000;
            seen.latency_us.lock().expect("no worker panics").saturating_record(late_us);
        }
        consumer.ack(&message).await?;
        seen.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    bail!("a worker's stream has ended")
}
