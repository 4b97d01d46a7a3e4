//! A RustStream service that copies exactly once, as a group of two processes of which one is killed.
//!
//! Called with a name, this is the service; without one, it starts two of itself and looks at what they copy.

use std::borrow::Borrow;
use std::env;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use rust_clients::{Client, Codec, Librdkafka, fill};
use ruststream::{HeaderMap, OutgoingMessage};
use ruststream_rdkafka::prelude::*;
use ruststream_rdkafka::{EosPipeline, PARTITION_KEY_HEADER};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The name of this process in the group, and of its transactions.
fn name() -> String {
    env::args().nth(1).unwrap_or_default()
}

/// The record's key and its header.
#[derive(Deserialize)]
struct Marks {
    #[serde(rename = "kafka-partition-key")]
    key: String,
    number: String,
}

#[subscriber(
    KafkaTopic::new("originals")
        .group("copiers")
        .start(StartOffset::Earliest)
        .assignment(Assignment::CooperativeSticky)
        .config("session.timeout.ms", "6000")
        .config("heartbeat.interval.ms", "500")
        .commit(Commit::Transactional(name()))
)]
async fn copy(
    number: &u32,
    Headers(marks): Headers<Marks>,
    Ctx(source): Ctx<Source>,
    Out(window): Out<impl Borrow<EosPipeline>>,
) -> HandlerOutcome {
    let mut headers = HeaderMap::new();
    headers.insert(PARTITION_KEY_HEADER, marks.key);
    headers.insert("number", marks.number);
    let payload = number.to_string();
    let record = OutgoingMessage::new("copies", payload.as_bytes()).with_headers(headers);
    let pipeline: &EosPipeline = (**window).borrow();
    match pipeline.publish(&source, record, None).await {
        Ok(_) => {
            println!("{}", name());
            HandlerOutcome::ack()
        }
        Err(_) => HandlerOutcome::retry(),
    }
}

async fn serve(address: String) -> anyhow::Result<()> {
    // What a killed service leaves open holds back its partitions' readers for that long.
    let broker = KafkaBroker::new([address]).producer_config("transaction.timeout.ms", "6000");
    let broker = broker.producer_config("compression.type", "lz4");
    let app = RustStream::new(AppInfo::new("copier", "0.1.0")).with_broker(broker, |broker| {
        broker.include(copy).out(DefaultSlot, EosPublish::new(name())).build();
    });
    Ok(app.run().await?)
}

/// Starts the service in a process of its own, which says its name for every record that it copies.
fn start(name: &str, said: &Sender<String>) -> anyhow::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    let mut child = command.arg(name).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let said = said.clone();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if said.send(line).await.is_err() {
                break;
            }
        }
    });
    Ok(child)
}

/// Who copied something since this was asked the last time.
fn names(said: &mut Receiver<String>) -> Vec<String> {
    let mut names: Vec<String> = std::iter::from_fn(|| said.try_recv().ok()).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = env::var("KAFKA")?;
    if !name().is_empty() {
        return serve(address).await;
    }
    let client = Librdkafka::consumer(&address);
    for topic in ["originals", "copies"] {
        client.create_topic(topic).await?;
    }
    let (says, mut said) = channel(10_000);
    let mut reader = client.join("readers", "copies").await?;
    client.produce("originals", 0..100, Codec::Snappy).await?;
    let mut first = start("first", &says)?;
    fill(&mut reader, 0..100).await?;

    // Until both have a part of what is produced.
    let second = start("second", &says)?;
    let joined = Instant::now();
    let mut sent = 100;
    names(&mut said);
    while names(&mut said).len() < 2 {
        client.produce("originals", sent..sent + 100, Codec::Snappy).await?;
        fill(&mut reader, sent..sent + 100).await?;
        sent += 100;
        ensure!(joined.elapsed() < rust_clients::PATIENCE, "the second gets nothing");
    }
    let shared = joined.elapsed();

    // One is killed with transactions open; what it has not committed is the other's to copy.
    client.produce("originals", sent..sent + 1_000, Codec::Snappy).await?;
    first.kill().await?;
    let killed = Instant::now();
    fill(&mut reader, sent..sent + 1_000).await?;
    println!(
        "{} records copied once by two services, shared after {:.1} s; one was killed, which took {:.1} s",
        sent + 1_000,
        shared.as_secs_f64(),
        killed.elapsed().as_secs_f64()
    );
    drop(second);
    Ok(())
}
