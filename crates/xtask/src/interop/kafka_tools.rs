//! Apache Kafka's own command line tools, by their main classes.

use anyhow::{Context, bail, ensure};
use tokio::io::AsyncWriteExt;

use super::stage::Stage;
use crate::process::Finished;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";

async fn produce(
    stage: &Stage<'_>,
    topic: &str,
    records: usize,
    properties: &[&str],
) -> anyhow::Result<Finished> {
    let records = records.to_string();
    let args = ["--topic", topic, "--num-records", &records, "--record-size", "100", "--throughput", "-1"];
    let mut command = stage.tools.apache_kafka()?.main_class(PERF);
    let bootstrap = format!("bootstrap.servers={}", stage.broker.kafka());
    command.args(args).arg("--producer-props").arg(bootstrap).args(properties);
    stage.run(&mut command).await
}

/// The first `count` values of a topic.
async fn consume(stage: &Stage<'_>, topic: &str, count: usize, args: &[&str]) -> anyhow::Result<Vec<String>> {
    let count = count.to_string();
    let mut all =
        vec!["--topic", topic, "--from-beginning", "--max-messages", &count, "--timeout-ms", "20000"];
    all.extend(args);
    let finished = stage.run_kafka_tool(CONSOLE_CONSUMER, &all).await?;
    Ok(finished.stdout.lines().map(str::to_string).collect())
}

/// The Java producer with its defaults, which are idempotence and acks=all, and every record there afterwards.
pub(crate) async fn producer_perf_test(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const RECORDS: usize = 100_000;
    let produced = produce(stage, "perf", RECORDS, &[]).await?;
    let line = produced.summary();
    ensure!(line.starts_with(&format!("{RECORDS} records sent")), "the last line is {line:?}");
    ensure!(!produced.stderr.contains("ERROR"), "the producer reported errors");
    let values = consume(stage, "perf", RECORDS, &[]).await?;
    ensure!(values.len() == RECORDS, "{} of {RECORDS} records", values.len());
    let rate = line.split(',').nth(1).unwrap_or_default().trim().to_string();
    Ok(format!("{RECORDS} records at {rate}, all read by kafka-console-consumer"))
}

/// The Java producer in every codec; its snappy and lz4 frames differ from librdkafka's.
pub(crate) async fn codecs(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const RECORDS: usize = 5_000;
    const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in CODECS {
        produce(stage, "codecs", RECORDS, &[&format!("compression.type={codec}")]).await.context(codec)?;
    }
    let values = consume(stage, "codecs", RECORDS * CODECS.len(), &[]).await?;
    ensure!(values.len() == RECORDS * CODECS.len(), "{} records", values.len());
    ensure!(values.iter().all(|value| value.len() == 100), "a value has not its 100 bytes");
    Ok(format!("{} records in {}", values.len(), CODECS.join(", ")))
}

/// Keyed lines in through the console producer, out through the console consumer.
pub(crate) async fn console(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const RECORDS: usize = 50;
    let lines: Vec<String> = (0..RECORDS).map(|number| format!("key-{}:line {number}", number % 5)).collect();
    let mut command = stage.tools.apache_kafka()?.main_class(CONSOLE_PRODUCER);
    command.args(["--bootstrap-server", &stage.broker.kafka().to_string(), "--topic", "lines"]);
    command.args(["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]);
    let mut producer = stage.spawn(&mut command)?;
    let mut input = producer.stdin.take().context("no input to write to")?;
    input.write_all((lines.join("\n") + "\n").as_bytes()).await?;
    drop(input);
    let finished = stage.finish(producer, CONSOLE_PRODUCER).await?;
    ensure!(finished.status.success(), "kafka-console-producer: {}", finished.status);
    let keys = ["--formatter-property", "print.key=true", "--formatter-property", "key.separator=:"];
    let read = consume(stage, "lines", RECORDS, &keys).await?;
    ensure!(read == lines, "{} lines came back, the first is {:?}", read.len(), read.first());
    Ok(format!("{RECORDS} keyed lines there and back"))
}

/// Create, list, describe, delete; creating twice is refused by name.
pub(crate) async fn topics(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let create = ["--create", "--topic", "made", "--partitions", "3", "--replication-factor", "1"];
    stage.run_kafka_tool(TOPICS, &create).await?;
    let Err(refused) = stage.run_kafka_tool(TOPICS, &create).await else {
        bail!("it could be created twice")
    };
    ensure!(refused.to_string().contains("TopicExistsException"), "creating it twice said: {refused:#}");
    let listed = stage.run_kafka_tool(TOPICS, &["--list"]).await?.stdout;
    ensure!(listed.lines().any(|line| line.trim() == "made"), "the list is {listed:?}");
    let described = stage.run_kafka_tool(TOPICS, &["--describe", "--topic", "made"]).await?.stdout;
    ensure!(described.contains("PartitionCount: 3"), "described as {described:?}");
    let partitions = described.lines().filter(|line| line.contains("Leader: ")).count();
    ensure!(partitions == 3, "{partitions} partitions are described");
    stage.run_kafka_tool(TOPICS, &["--delete", "--topic", "made"]).await?;
    let listed = stage.run_kafka_tool(TOPICS, &["--list"]).await?.stdout;
    ensure!(!listed.lines().any(|line| line.trim() == "made"), "still listed after its deletion");
    Ok("created, refused twice, listed, described, deleted".to_string())
}

/// A group that has read a part: listed, and described with position, end and lag.
pub(crate) async fn consumer_groups(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const RECORDS: usize = 1_000;
    produce(stage, "lagging", RECORDS, &[]).await?;
    // The console consumer commits what it has shown when it leaves.
    let read = consume(stage, "lagging", RECORDS, &["--group", "readers"]).await?;
    ensure!(read.len() == RECORDS, "{} records", read.len());
    const BEHIND: usize = 250;
    produce(stage, "lagging", BEHIND, &[]).await?;
    let listed = stage.run_kafka_tool(GROUPS, &["--list"]).await?.stdout;
    ensure!(listed.lines().any(|line| line.trim() == "readers"), "the list is {listed:?}");
    let described = stage.run_kafka_tool(GROUPS, &["--describe", "--group", "readers"]).await?.stdout;
    let row =
        described.lines().find(|line| line.contains("lagging")).context("the topic is not described")?;
    let columns: Vec<&str> = row.split_whitespace().collect();
    let wanted = [RECORDS.to_string(), (RECORDS + BEHIND).to_string(), BEHIND.to_string()];
    ensure!(columns.windows(3).any(|window| window == wanted), "described as {row:?}, not as {wanted:?}");
    Ok(format!("position {RECORDS}, end {}, lag {BEHIND}", RECORDS + BEHIND))
}
