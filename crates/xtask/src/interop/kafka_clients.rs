//! Kafka's clients in other languages; what is checked is in the programs of `interop/kafka`.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::stage::Stage;

/// One record as `read_json.py` prints it.
#[derive(Deserialize)]
pub(crate) struct ReadRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: u64,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// Reads the first `count` records of a topic with librdkafka.
pub(crate) async fn read(stage: &Stage<'_>, topic: &str, count: usize) -> anyhow::Result<Vec<ReadRecord>> {
    read_json(stage, &[topic, &count.to_string()]).await
}

/// Reads a topic from its beginning to its end with librdkafka.
pub(crate) async fn read_all(stage: &Stage<'_>, topic: &str) -> anyhow::Result<Vec<ReadRecord>> {
    read_json(stage, &[topic]).await
}

async fn read_json(stage: &Stage<'_>, args: &[&str]) -> anyhow::Result<Vec<ReadRecord>> {
    let finished = stage.run_python("kafka/read_json.py", args).await?;
    finished.stdout.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

pub(crate) async fn confluent_codecs(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/all_codecs.py", &[]).await?.summary())
}

pub(crate) async fn confluent_group(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/group.py", &[]).await?.summary())
}

pub(crate) async fn kafka_python(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/with_kafka_python.py", &[]).await?.summary())
}

pub(crate) async fn aiokafka(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/with_aiokafka.py", &[]).await?.summary())
}

/// kcat produces from a file with keys, lists the topic and reads it back.
pub(crate) async fn kcat(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const RECORDS: usize = 300;
    let address = stage.broker.kafka().to_string();
    let lines: Vec<String> =
        (0..RECORDS).map(|number| format!("key-{}:value-{number}", number % 9)).collect();
    let file = stage.folder().join("lines");
    std::fs::write(&file, lines.join("\n"))?;
    let mut produce = stage.tools.kcat()?;
    produce
        .args(["-b", &address, "-P", "-t", "cats", "-K:", "-H", "from=kcat", "-z", "lz4", "-l"])
        .arg(&file);
    stage.run(&mut produce).await?;
    let mut consume = stage.tools.kcat()?;
    consume.args(["-b", &address, "-C", "-t", "cats", "-o", "beginning", "-e", "-q", "-f", "%k:%s\\n"]);
    let read = stage.run(&mut consume).await?.stdout;
    ensure!(read.lines().eq(lines.iter().map(String::as_str)), "{} lines differ", read.lines().count());
    let mut list = stage.tools.kcat()?;
    let listed = stage.run(list.args(["-b", &address, "-L", "-J"])).await?.stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    let topics = listed["topics"].as_array().context("no topics")?;
    ensure!(topics.iter().any(|topic| topic["topic"] == "cats"), "the topic is not listed");
    Ok(format!("{RECORDS} records out, listed and back"))
}
