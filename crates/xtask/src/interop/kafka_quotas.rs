//! Client quotas as Kafka's own tool sets them and Kafka's own producer feels them, and what its neighbour notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::stage::Stage;
use super::tool_shell::ToolShell;
use crate::kafka_client::{Acks, Connection, error_code};
use crate::produce_bytes::{batch, record};

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";

const RATE: f64 = 400_000.0;
const RECORD_BYTES: f64 = 10_000.0;
/// Enough for some fifteen seconds behind the burst that the windows allow.
const RECORDS: f64 = 1_000.0;
/// What may pass at once: the rate counts over 11 windows of 1 s, of which the last is the present one.
const BURST_S: std::ops::RangeInclusive<f64> = 9.5..=11.5;
const HELD_WITHIN: f64 = 0.1;

/// The neighbour asks this often, and is watched alone for so long.
const NEIGHBOUR_PACE: Duration = Duration::from_millis(5);
const ALONE: Duration = Duration::from_secs(4);
/// How much slower the neighbour's p99 may become, and by how much it may in any case: a flush of the machine's disk.
const NEIGHBOUR_RATIO_MAX: f64 = 1.2;
const NEIGHBOUR_SLACK: Duration = Duration::from_millis(10);

/// Entities as the tool takes them, a quota, and the words in which the tool tells it.
const QUOTAS: &[(&[&str], &str, &str)] = &[
    (
        &["--entity-type", "clients", "--entity-name", "slow"],
        "producer_byte_rate=400000",
        "client-id 'slow' are producer_byte_rate=400000.0",
    ),
    (
        &["--entity-type", "users", "--entity-default"],
        "consumer_byte_rate=1000000,request_percentage=200",
        "consumer_byte_rate=1000000.0",
    ),
    (
        &["--entity-type", "users", "--entity-name", "ann", "--entity-type", "clients", "--entity-default"],
        "controller_mutation_rate=10",
        "user-principal 'ann', the default client-id are controller_mutation_rate=10.0",
    ),
    (
        &["--entity-type", "ips", "--entity-name", "127.0.0.9"],
        "connection_creation_rate=5",
        "ip '127.0.0.9' are connection_creation_rate=5.0",
    ),
];

async fn set_and_told(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut shell = ToolShell::start(stage)?;
    for (entity, quota, _) in QUOTAS {
        shell.succeed(CONFIGS, &[&["--alter", "--add-config", quota][..], entity].concat()).await?;
    }
    let nobody =
        ["--alter", "--add-config", "producer_byte_rate=0", "--entity-type", "users", "--entity-default"];
    shell.refused(CONFIGS, &nobody, "InvalidRequestException").await?;
    stage.broker.kill().await?;
    stage.broker.start_again().await?;
    for (entity, _, told) in QUOTAS {
        let said = shell.succeed(CONFIGS, &[&["--describe"][..], entity].concat()).await?;
        ensure!(said.contains(told), "{told:?} is told as {said:?}");
    }
    let (entity, ..) = QUOTAS[1];
    let gone =
        [&["--alter", "--delete-config", "consumer_byte_rate,request_percentage"][..], entity].concat();
    shell.succeed(CONFIGS, &gone).await.map(drop)
}

/// The 99th percentile of how long durable batches of somebody else take until `done`.
async fn neighbour(address: SocketAddr, done: Arc<AtomicBool>) -> anyhow::Result<Duration> {
    let mut connection = Connection::open(address).await?;
    let batch = batch(0, 1, &record(&[b'n'; 500]));
    let mut taken = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let error = connection.produce("neighbour", 0, Acks::All, &batch).await?;
        ensure!(error == error_code::NONE, "the neighbour is refused with error {error}");
        taken.push(begun.elapsed());
        tokio::time::sleep(NEIGHBOUR_PACE.saturating_sub(begun.elapsed())).await;
    }
    taken.sort_unstable();
    ensure!(taken.len() > 100, "the neighbour sent {} batches", taken.len());
    Ok(taken[taken.len() * 99 / 100])
}

/// The number before `word` in the last line that has it.
fn figure(text: &str, word: &str) -> anyhow::Result<f64> {
    let line = text.lines().rev().find(|line| line.contains(word)).with_context(|| format!("no {word:?}"))?;
    let before = line.split(word).next().unwrap_or_default();
    let number = before.split([' ', '(', ',']).rfind(|piece| !piece.is_empty()).unwrap_or_default();
    number.parse().with_context(|| format!("{number:?} before {word:?}"))
}

/// Sets quotas of every entity, loses the broker, and throttles a producer beside another.
pub(crate) async fn quotas(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    set_and_told(stage).await?;
    let address = stage.broker.kafka();
    let mut client = Connection::open(address).await?;
    for topic in ["orders", "neighbour"] {
        client.create_topic(topic, 1).await?;
    }
    let mut command = stage.tools.apache_kafka()?.main_class(PERFORMANCE);
    command.args(["--bootstrap-server", &address.to_string(), "--topic", "orders", "--print-metrics"]);
    command.args(["--num-records", &RECORDS.to_string(), "--record-size", &RECORD_BYTES.to_string()]);
    command.args(["--throughput", "-1", "--reporting-interval", "1000"]);
    command.args(["--command-property", "client.id=slow", "batch.size=16384"]);
    let mut child = stage.spawn(&mut command)?;
    let output = child.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    // Java has started and the burst is over once it reports.
    let Some(first) = lines.next_line().await? else { bail!("the producer reports nothing") };
    let done = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(neighbour(address, done.clone()));
    let mut said = first;
    while let Some(line) = lines.next_line().await? {
        // The first metric of all: what follows is Java ending.
        done.fetch_or(line.contains("percentile") || line.contains("99.9th"), Ordering::Relaxed);
        said.push('\n');
        said.push_str(&line);
    }
    done.store(true, Ordering::Relaxed);
    let beside = beside.await??;
    stage.finish(child, "producer").await?;
    let done = Arc::new(AtomicBool::new(false));
    let alone = tokio::spawn(neighbour(address, done.clone()));
    tokio::time::sleep(ALONE).await;
    done.store(true, Ordering::Relaxed);
    let alone = alone.await??;

    let elapsed_s = RECORDS / figure(&said, " records/sec")?;
    let bytes = RECORDS * RECORD_BYTES;
    let least = RATE * (elapsed_s + BURST_S.start()) * (1.0 - HELD_WITHIN);
    let most = RATE * (elapsed_s + BURST_S.end()) * (1.0 + HELD_WITHIN);
    ensure!(
        (least..=most).contains(&bytes),
        "{bytes} bytes in {elapsed_s:.1} s; {least:.0} to {most:.0} are its quota"
    );
    let metric = said.lines().find(|line| line.contains("produce-throttle-time-max"));
    let throttle_ms = metric.and_then(|line| line.rsplit(':').next()?.trim().parse::<f64>().ok());
    let throttle_ms = throttle_ms.context("the producer has no metric produce-throttle-time-max")?;
    ensure!(throttle_ms > 0.0, "the producer's own metric knows of no throttling");
    let most = alone.mul_f64(NEIGHBOUR_RATIO_MAX).max(alone + NEIGHBOUR_SLACK);
    ensure!(beside <= most, "the neighbour's p99 is {beside:?} beside the producer and {alone:?} without it");
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    Ok(format!(
        "{:.0} kB/s of {:.0} behind the burst, throttled for up to {throttle_ms} ms by its own metric; neighbour's p99 \
         {beside:.1?} beside it, {alone:.1?} alone ({ratio:.2}x)",
        (bytes / RATE - 10.5) * RATE / elapsed_s / 1e3,
        RATE / 1e3,
    ))
}
