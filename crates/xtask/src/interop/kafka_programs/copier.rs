//! TransactionalMessageCopier: what copiers of one group read, write and commit in transactions, a third of them aborted,
//! is in the output exactly once and in order, though the broker and one of them are killed.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::sleep;

use super::{PATIENCE, POLL, Program, named, verifiable_producer};
use crate::interop::stage::Stage;
use crate::interop::tool_shell::ToolShell;
use crate::kafka_client::Connection;

const COPIER: &str = "org.apache.kafka.tools.TransactionalMessageCopier";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const INPUT: &str = "to-copy";
const OUTPUT: &str = "copied";
const PARTITIONS: i32 = 3;
const RECORDS: usize = 12_000;
const RECORDS_PER_TRANSACTION: usize = 50;
const COPIERS: usize = 3;

/// Values by partition, in their order.
type Values = BTreeMap<u64, Vec<String>>;

pub(crate) async fn random_aborts(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut connection = Connection::open(stage.broker.kafka()).await?;
    connection.create_topic(INPUT, PARTITIONS).await?;
    connection.create_topic(OUTPUT, PARTITIONS).await?;
    let input = fill(stage).await?;

    let mut copiers = Vec::new();
    for number in 0..COPIERS {
        copiers.push(copier(stage, number)?);
    }
    copied(&copiers, RECORDS / 8).await?;
    stage.broker.kill().await?;
    stage.broker.start_again().await?;
    copied(&copiers, RECORDS / 3).await?;
    // Another with its transactional id takes over what it leaves unfinished.
    let killed = copiers.remove(0).kill().await?;
    ensure!(remaining(&killed) != Some(0), "the copier was done before it was killed");
    copiers.insert(0, copier(stage, 0)?);
    for copier in copiers {
        copier.finish().await?;
    }

    let output = read_committed(stage).await?;
    for (partition, values) in &input {
        let copies = output.get(partition).map_or(&[][..], Vec::as_slice);
        let common = values.iter().zip(copies).take_while(|(value, copy)| value == copy).count();
        ensure!(
            common == values.len() && copies.len() == values.len(),
            "partition {partition}: {} copies of {} records, the same up to {common}",
            copies.len(),
            values.len()
        );
    }
    Ok(format!(
        "{RECORDS} records copied once and in order by {COPIERS} copiers with random aborts, a copier and the broker killed"
    ))
}

/// Fills the input; what it is.
async fn fill(stage: &Stage<'_>) -> anyhow::Result<Values> {
    let count = RECORDS.to_string();
    let producer = verifiable_producer(stage, INPUT, &["--max-messages", &count, "--repeating-keys", "60"])?;
    let sent = producer.finish().await?;
    let mut places = BTreeMap::new();
    for record in named(&sent, "producer_send_success") {
        let place = (record["partition"].as_u64().context("no partition")?, record["offset"].as_u64());
        places.insert(place, record["value"].as_str().context("no value")?.to_string());
    }
    ensure!(places.len() == RECORDS, "{} records were acknowledged", places.len());
    let mut values = Values::new();
    for ((partition, _), value) in places {
        values.entry(partition).or_default().push(value);
    }
    ensure!(values.len() == PARTITIONS as usize, "{} partitions have records", values.len());
    Ok(values)
}

fn copier(stage: &Stage<'_>, number: usize) -> anyhow::Result<Program> {
    let mut command = stage.tools.apache_kafka()?.main_class(COPIER);
    command.args([
        "--broker-list",
        &stage.broker.kafka().to_string(),
        "--group-mode",
        "--use-group-metadata",
    ]);
    // Of the input partition it takes no notice then, but asks for one.
    command.args(["--input-topic", INPUT, "--input-partition", "-1", "--output-topic", OUTPUT]);
    command.args(["--transaction-size", &RECORDS_PER_TRANSACTION.to_string(), "--enable-random-aborts"]);
    command.args(["--consumer-group", "copiers", "--transactional-id", &format!("copier-{number}")]);
    Program::start(stage, format!("copier {number}"), &mut command)
}

/// Waits until the copiers have committed this many records together.
async fn copied(copiers: &[Program], records: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let all: u64 = copiers.iter().map(|copier| total(&copier.printed())).sum();
        if all >= records as u64 {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{all} of {records} were copied after {} s", PATIENCE.as_secs());
        sleep(POLL).await;
    }
}

/// How many records a copier has committed, by what it said last.
fn total(events: &[Value]) -> u64 {
    events.iter().rev().find_map(|event| event["totalProcessed"].as_u64()).unwrap_or(0)
}

/// How many it still had to copy.
fn remaining(events: &[Value]) -> Option<u64> {
    events.iter().rev().find_map(|event| event["remaining"].as_u64())
}

/// What a reader of committed records finds in the output.
async fn read_committed(stage: &Stage<'_>) -> anyhow::Result<Values> {
    let args = ["--topic", OUTPUT, "--from-beginning", "--timeout-ms", "5000"];
    let shown = ["--formatter-property", "print.partition=true", "--isolation-level", "read_committed"];
    let text = ToolShell::start(stage)?.succeed(CONSOLE_CONSUMER, &[&args[..], &shown].concat()).await?;
    let mut values = Values::new();
    for line in text.lines() {
        let Some((partition, value)) = line.strip_prefix("Partition:").and_then(|rest| rest.split_once('\t'))
        else {
            continue;
        };
        values.entry(partition.parse()?).or_default().push(value.to_string());
    }
    Ok(values)
}
