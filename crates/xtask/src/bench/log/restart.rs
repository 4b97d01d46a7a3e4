//! How long a start takes with many partitions: after a clean stop and after `kill -9` under load, until the first answer
//! and until the first record is served.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::time::sleep;

use super::raw::encoded_batch;
use super::{Amount, idle_cpu_percent};
use crate::bench::candidate::Candidate;
use crate::bench::table::{Sample, Table};
use crate::broker::{Broker, Launch};
use crate::kafka_client::{Acks, Connection};

const TOPIC: &str = "many";
/// Payload of all partitions together at 100 percent.
const BYTES: u64 = 2 << 30;
const RECORD_BYTES: usize = 1_024;
/// A broker at rest is one that has had this long to finish its start.
const SETTLE: Duration = Duration::from_secs(3);
const STOP_LIMIT: Duration = Duration::from_secs(120);
const SERVE_LIMIT: Duration = Duration::from_secs(180);
/// Requests in flight while the partitions are filled.
const IN_FLIGHT: i32 = 50;

/// Fills, stops, starts, kills and starts a broker.
pub(super) async fn measure(
    launch: &Launch,
    system: usize,
    amount: &Amount,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut candidate = Candidate::start(launch, system, folder).await?;
    let broker = &mut candidate.broker;
    let mut add = |what: &str, unit, value| {
        let name = format!("{what}, {} partitions", amount.partitions);
        table.add(&name, unit, system, Sample::of(value));
    };
    let began = Instant::now();
    let mut connection = Connection::open(broker.kafka()).await?;
    connection.create_topic(TOPIC, amount.partitions).await?;
    ready_to_write(&mut connection, amount.partitions).await?;
    add("create", "ms", began.elapsed().as_secs_f64() * 1e3);
    let bytes = BYTES * u64::from(amount.percent) / 100;
    fill(&mut connection, amount.partitions, bytes).await?;
    sleep(SETTLE).await;
    add("idle CPU", "% of a core", idle_cpu_percent(broker, amount).await?);
    add("resident memory", "MiB", broker.resident_bytes()? as f64 / f64::from(1 << 20));

    let (took, status) = broker.terminate(STOP_LIMIT).await?;
    // Apache Kafka leaves with 143 after SIGTERM.
    ensure!(status.success() || broker.is_kafka(), "left with {status} after SIGTERM");
    add("clean stop", "ms", took.as_secs_f64() * 1e3);
    let (answer, record) = start_and_read(broker).await?;
    add("clean restart, first answer", "ms", answer);
    add("clean restart, first record", "ms", record);

    // What is not yet checkpointed, flushed or snapshotted is what a recovery has to do.
    let mut connection = Connection::open(broker.kafka()).await?;
    ready_to_write(&mut connection, amount.partitions).await?;
    fill(&mut connection, amount.partitions, bytes / 4).await?;
    broker.kill().await?;
    let (answer, record) = start_and_read(broker).await?;
    add("kill -9 restart, first answer", "ms", answer);
    add("kill -9 restart, first record", "ms", record);
    candidate.stop().await
}

/// Writes one record to each partition; a broker may have answered the creation before they can be written.
async fn ready_to_write(connection: &mut Connection, partitions: i32) -> anyhow::Result<()> {
    let batch = encoded_batch(RECORD_BYTES, RECORD_BYTES);
    let began = Instant::now();
    for partition in 0..partitions {
        while connection.produce(TOPIC, partition, Acks::One, &batch).await? != 0 {
            ensure!(began.elapsed() < SERVE_LIMIT, "partition {partition} cannot be written");
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Writes to all partitions in turn.
async fn fill(connection: &mut Connection, partitions: i32, bytes: u64) -> anyhow::Result<()> {
    let each = (bytes / partitions as u64).max(RECORD_BYTES as u64);
    // Several smaller ones, or a partition would be written once.
    let batch = encoded_batch((each / 8).min(1_000_000) as usize, RECORD_BYTES);
    let rounds = (each / batch.len() as u64).max(1) as i32;
    let requests = rounds * partitions;
    for number in 0..requests + IN_FLIGHT {
        if number < requests {
            connection.send_batch(TOPIC, number % partitions, Acks::One, &batch).await?;
        }
        if number >= IN_FLIGHT && number - IN_FLIGHT < requests {
            let code = connection.produced().await?.error_code;
            ensure!(code == 0, "a batch is refused with error {code}");
        }
    }
    Ok(())
}

/// Milliseconds from the start of the process to its first answer, and to the first record.
async fn start_and_read(broker: &mut Broker) -> anyhow::Result<(f64, f64)> {
    let began = Instant::now();
    broker.start_again().await?;
    loop {
        let served = async {
            let (batches, _) = Connection::open(broker.kafka()).await?.fetch(TOPIC, 0, 0).await?;
            anyhow::Ok(!batches.is_empty())
        };
        if served.await.unwrap_or(false) {
            let record = began.elapsed().as_secs_f64() * 1e3;
            return Ok((broker.start_to_answer().as_secs_f64() * 1e3, record));
        }
        ensure!(began.elapsed() < SERVE_LIMIT, "no record {} s after the start", SERVE_LIMIT.as_secs());
        broker.check_alive().context("while a record is waited for")?;
        sleep(Duration::from_millis(2)).await;
    }
}
