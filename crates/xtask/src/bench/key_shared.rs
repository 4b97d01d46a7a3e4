//! Key-Shared messages per second, end to end and durable, through the published Rust client.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use danube_client::{Consumer, DanubeClient, Producer, SubType};
use danube_core::message::StreamMessage;
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::machine::Usage;
use super::table::{Sample, Table};
use crate::broker::{Broker, Launch};

const TOPIC: &str = "/default/orders";
const CONSUMERS: usize = 4;
const KEYS: usize = 1_000;
const MESSAGES: usize = 100_000;
/// The client sends one message at a time per producer, so more producers show what the broker can do beyond four.
const PRODUCERS: [usize; 2] = [4, 32];
const PAYLOAD_BYTES: usize = 100;
const ROUND_LIMIT: Duration = Duration::from_secs(600);

/// Every round has a broker and a folder of its own.
pub(crate) async fn measure(
    system: &Launch,
    rounds: usize,
    percent: u32,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    for _ in 0..rounds {
        for producers in PRODUCERS {
            let data = TempDir::new_in(folder)?;
            let log = folder.join(format!("{}.log", system.name()));
            let mut broker = Broker::start(system, data.path(), &log).await?;
            let messages = MESSAGES * percent as usize / 100;
            let (before, cpu_before) = (Usage::now()?, broker.cpu()?);
            let took = timeout(ROUND_LIMIT, round(&broker.danube_url(), producers, messages)).await??;
            let broker_cpu = broker.cpu()?.saturating_sub(cpu_before);
            let foreign_cpu = Usage::now()?.foreign_share(&before, broker_cpu)?;
            let value = messages as f64 / took.as_secs_f64();
            let name = format!("Key-Shared, {producers} producers, {CONSUMERS} consumers, {KEYS} keys");
            let sample = Sample { value, broker_cpu: Some(broker_cpu), foreign_cpu: Some(foreign_cpu) };
            table.add(&name, "messages/s", 0, sample);
            broker.check_alive()?;
            broker.kill().await?;
        }
    }
    Ok(())
}

/// What the consumers have seen: the next number of each key, and how many messages are acknowledged.
struct Seen {
    next: Vec<AtomicUsize>,
    acknowledged: AtomicUsize,
    messages: usize,
    done: Notify,
}

/// From the first send to the last acknowledgement; order by key and completeness are checked on the way.
async fn round(url: &str, producers: usize, messages: usize) -> anyhow::Result<Duration> {
    let seen = Arc::new(Seen {
        next: (0..KEYS).map(|_| AtomicUsize::new(0)).collect(),
        acknowledged: AtomicUsize::new(0),
        messages,
        done: Notify::new(),
    });
    let mut senders = Vec::new();
    for number in 0..producers {
        let client = DanubeClient::builder().service_url(url).build().await?;
        let builder = client.new_producer().with_topic(TOPIC).with_name(format!("producer-{number}"));
        let mut producer = builder.with_reliable_dispatch().build()?;
        producer.create().await?;
        senders.push(producer);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..CONSUMERS {
        let client = DanubeClient::builder().service_url(url).build().await?;
        let builder = client.new_consumer().with_topic(TOPIC).with_consumer_name(format!("worker-{number}"));
        let builder = builder.with_subscription("orders_sub").with_subscription_type(SubType::KeyShared);
        let mut consumer = builder.build()?;
        consumer.subscribe().await?;
        let stream = consumer.receive().await?;
        tasks.spawn(consume(consumer, stream, Arc::clone(&seen)));
    }

    let started = Instant::now();
    for (number, producer) in senders.into_iter().enumerate() {
        tasks.spawn(produce(producer, number, producers, messages));
    }
    let all = seen.done.notified();
    tokio::pin!(all);
    loop {
        tokio::select! {
            biased;
            () = &mut all => return Ok(started.elapsed()),
            // A producer ends well; a consumer ends only by a mistake.
            Some(ended) = tasks.join_next() => ended??,
        }
    }
}

/// Sends every `producers`-th message; a key belongs to one producer, so that its order is defined.
async fn produce(producer: Producer, number: usize, producers: usize, messages: usize) -> anyhow::Result<()> {
    let own: Vec<usize> = (0..KEYS).filter(|key| key % producers == number).collect();
    let share = messages / producers + usize::from(number < messages % producers);
    for sent in 0..share {
        let key = own[sent % own.len()];
        let mut payload = (sent / own.len()).to_string().into_bytes();
        payload.resize(PAYLOAD_BYTES, b' ');
        producer.send_with_key(payload, None, &format!("key-{key}")).await?;
    }
    Ok(())
}

async fn consume(
    mut consumer: Consumer,
    mut stream: mpsc::Receiver<StreamMessage>,
    seen: Arc<Seen>,
) -> anyhow::Result<()> {
    while let Some(message) = stream.recv().await {
        let key = message.routing_key.as_deref().context("a message without a key")?;
        let key: usize = key.strip_prefix("key-").context("a foreign key")?.parse()?;
        let number: usize = std::str::from_utf8(&message.payload)?.trim().parse()?;
        let expected = seen.next[key].fetch_add(1, Ordering::Relaxed);
        ensure!(number == expected, "key {key}: {number} came instead of {expected}");
        consumer.ack(&message).await?;
        if seen.acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == seen.messages {
            seen.done.notify_one();
        }
    }
    anyhow::bail!("a consumer's stream has ended")
}
