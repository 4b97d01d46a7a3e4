//! VerifiableProducer and VerifiableConsumer: what the one says was acknowledged, the others say they have read, once and
//! in order, while members come and go and the broker is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::sleep;

use super::{PATIENCE, POLL, Program, named, verifiable_producer};
use crate::interop::stage::Stage;
use crate::kafka_client::Connection;

const CONSUMER: &str = "org.apache.kafka.tools.VerifiableConsumer";
const TOPIC: &str = "verified";
const PARTITIONS: i32 = 4;
/// The producer goes on until it is told to stop.
const RECORDS_PER_SECOND: usize = 400;

/// With members of a classic group.
pub(crate) async fn classic(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    verify(stage, "classic").await
}

/// With members of a KIP-848 group.
pub(crate) async fn consumer(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    verify(stage, "consumer").await
}

async fn verify(stage: &mut Stage<'_>, protocol: &str) -> anyhow::Result<String> {
    Connection::open(stage.broker.kafka()).await?.create_topic(TOPIC, PARTITIONS).await?;
    let mut members = Vec::new();
    for number in 0..2 {
        members.push(member(stage, protocol, number)?);
    }
    for member in &mut members {
        member.reach("partitions_assigned", 1).await?;
    }
    let rate = RECORDS_PER_SECOND.to_string();
    let mut producer = verifiable_producer(stage, TOPIC, &["--throughput", &rate, "--repeating-keys", "40"])?;
    producer.more("producer_send_success", RECORDS_PER_SECOND).await?;
    members.push(member(stage, protocol, 2)?);
    members[2].reach("records_consumed", 1).await?;
    stage.broker.kill().await?;
    stage.broker.start_again().await?;
    for member in &mut members {
        member.more("records_consumed", 1).await?;
    }
    // One leaves, and the others take over what it had.
    let mut read = vec![members.remove(0).terminate().await?];
    producer.more("producer_send_success", RECORDS_PER_SECOND).await?;
    let sent = producer.terminate().await?;
    wait_for_all(&members, &read, named(&sent, "producer_send_success").count()).await?;
    for member in members {
        read.push(member.terminate().await?);
    }
    judge(&sent, &read)
}

fn member(stage: &Stage<'_>, protocol: &str, number: usize) -> anyhow::Result<Program> {
    let mut command = stage.tools.apache_kafka()?.main_class(CONSUMER);
    command.args(["--bootstrap-server", &stage.broker.kafka().to_string()]);
    command.args(["--topic", TOPIC, "--group-id", "verifiers", "--group-protocol", protocol, "--verbose"]);
    Program::start(stage, format!("member {number}"), &mut command)
}

/// Waits until the members that are left have read what those that left had not.
async fn wait_for_all(members: &[Program], left: &[Vec<Value>], records: usize) -> anyhow::Result<()> {
    let by_others: usize = left.iter().map(|events| named(events, "record_data").count()).sum();
    let began = Instant::now();
    loop {
        let read = by_others + members.iter().map(|member| member.count("record_data")).sum::<usize>();
        if read >= records {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{read} of {records} were read after {} s", PATIENCE.as_secs());
        sleep(POLL).await;
    }
}

/// A record's place.
type Place = (u64, u64);

fn judge(sent: &[Value], read: &[Vec<Value>]) -> anyhow::Result<String> {
    let refused = named(sent, "producer_send_error").next();
    ensure!(refused.is_none(), "a record was not acknowledged: {}", refused.unwrap_or(&Value::Null));
    let acknowledged = places(named(sent, "producer_send_success"))?;
    let told = named(sent, "tool_data").next().context("the producer has not counted")?;
    let all = told["sent"] == told["acked"] && told["acked"] == acknowledged.len();
    ensure!(all, "{} records were acknowledged, it says {told}", acknowledged.len());
    in_order(&acknowledged)?;

    let mut seen: BTreeMap<Place, u64> = BTreeMap::new();
    for (number, events) in read.iter().enumerate() {
        ensure!(named(events, "shutdown_complete").count() == 1, "member {number} did not leave in order");
        let of_member = places(named(events, "record_data"))?;
        ensure!(!of_member.is_empty(), "member {number} has read nothing");
        for (place, value) in of_member {
            let before = seen.insert(place, value);
            ensure!(before.is_none(), "{value} at {place:?} was read twice");
        }
    }
    ensure!(
        seen == acknowledged,
        "what was read is not what was acknowledged: {:?}",
        difference(&acknowledged, &seen)
    );
    let committed = committed(read)?;
    for partition in 0..PARTITIONS as u64 {
        let end = acknowledged.keys().filter(|place| place.0 == partition).map(|place| place.1 + 1).max();
        ensure!(
            committed.get(&partition) == end.as_ref(),
            "partition {partition} ends at {end:?}, and {:?} is committed",
            committed.get(&partition)
        );
    }
    let records = acknowledged.len();
    Ok(format!("{records} records read once and in order by 3 members, through a kill -9 of the broker"))
}

/// Values by place. A value or a place that comes twice is an error, and so is one member reading backwards.
fn places<'a>(events: impl Iterator<Item = &'a Value>) -> anyhow::Result<BTreeMap<Place, u64>> {
    let mut values = BTreeMap::new();
    let mut once = BTreeSet::new();
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for event in events {
        let number = |field: &str| event[field].as_u64().with_context(|| format!("no {field} in {event}"));
        let value: u64 = event["value"].as_str().context("a record without a value")?.parse()?;
        let (partition, offset) = (number("partition")?, number("offset")?);
        ensure!(once.insert(value), "{value} is there twice");
        let before = last.insert(partition, offset);
        ensure!(before < Some(offset), "partition {partition}: {offset} came after {before:?}");
        values.insert((partition, offset), value);
    }
    Ok(values)
}

/// A producer's records lie in the order in which it sent them, without a gap between them.
fn in_order(stored: &BTreeMap<Place, u64>) -> anyhow::Result<()> {
    let places: Vec<(&Place, &u64)> = stored.iter().collect();
    for pair in places.windows(2) {
        let [((partition, offset), value), ((next_partition, next_offset), next_value)] = pair else {
            continue;
        };
        if partition == next_partition {
            ensure!(
                offset + 1 == *next_offset,
                "partition {partition}: nothing between {offset} and {next_offset}"
            );
            ensure!(value < next_value, "partition {partition}: {next_value} lies behind {value}");
        }
    }
    Ok(())
}

/// The last offset that a commit was acknowledged for, by partition.
fn committed(read: &[Vec<Value>]) -> anyhow::Result<BTreeMap<u64, u64>> {
    let mut offsets: BTreeMap<u64, u64> = BTreeMap::new();
    for event in read.iter().flat_map(|events| named(events, "offsets_committed")) {
        if event["success"] != true {
            continue;
        }
        for offset in event["offsets"].as_array().context("a commit without offsets")? {
            let partition = offset["partition"].as_u64().context("no partition")?;
            let offset = offset["offset"].as_u64().context("no offset")?;
            let highest = offsets.entry(partition).or_default();
            *highest = offset.max(*highest);
        }
    }
    Ok(offsets)
}

/// The first few records that only one side has.
fn difference(left: &BTreeMap<Place, u64>, right: &BTreeMap<Place, u64>) -> Vec<Place> {
    let only = |one: &BTreeMap<Place, u64>, other: &BTreeMap<Place, u64>| {
        one.keys().filter(|place| !other.contains_key(place)).copied().collect::<Vec<_>>()
    };
    only(left, right).into_iter().chain(only(right, left)).take(5).collect()
}
