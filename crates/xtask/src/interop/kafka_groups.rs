//! Consumer groups by both protocols: the Java client and librdkafka share topics, and Kafka's tool looks after them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::Child;

use super::stage::Stage;

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSUMER: &str = "org.apache.kafka.tools.VerifiableConsumer";
const PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

const TOPIC: &str = "looked-after";
const RECORDS: usize = 500;

/// Twice as long as the consumer protocol waits for a member, and as long as the check may take otherwise.
const PATIENCE: Duration = Duration::from_secs(90);

/// librdkafka under the consumer protocol: names, expressions, growth, nothing twice.
pub(crate) async fn confluent_consumer(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/consumer_group.py", &[]).await?.summary())
}

/// librdkafka's members change the protocol of a running group, there and back.
pub(crate) async fn confluent_upgrade(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/upgrade_group.py", &[]).await?.summary())
}

/// The Java client in a classic group, and Kafka's tool for it.
pub(crate) async fn java_classic(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    java(stage, "classic").await
}

/// The Java client in a consumer group, and Kafka's tool for it.
pub(crate) async fn java_consumer(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    java(stage, "consumer").await
}

/// Two members share a topic; the tool describes them and refuses to touch what is in use. When they are gone, it sets
/// offsets back, deletes some, and at last the group.
async fn java(stage: &mut Stage<'_>, protocol: &str) -> anyhow::Result<String> {
    let create = ["--create", "--topic", TOPIC, "--partitions", "4"];
    stage.run_kafka_tool(TOPICS, &create).await?;
    let count = RECORDS.to_string();
    stage.run_kafka_tool(PRODUCER, &["--topic", TOPIC, "--max-messages", &count]).await?;
    let mut members = vec![member(stage, protocol)?, member(stage, protocol)?];
    let described = ["--describe", "--group", "team", "--members", "--verbose"];
    wait_until(stage, &described, is_shared).await.context("not two partitions each")?;
    let state = tool(stage, &["--describe", "--group", "team", "--state"]).await?;
    ensure!(state.contains("Stable"), "the state is {state}");
    let kinds = tool(stage, &["--list", "--type", protocol]).await?;
    ensure!(kinds.lines().any(|line| line.starts_with("team")), "listed as {kinds:?}");
    let used = format!("{TOPIC}:0");
    let in_use = tool(stage, &["--delete-offsets", "--group", "team", "--topic", &used]).await;
    let said = format!("{in_use:?}");
    ensure!(said.contains("GroupSubscribedToTopic"), "offsets in use were deleted: {said}");
    for mut member in members.drain(..) {
        member.kill().await?;
    }
    let state = ["--describe", "--group", "team", "--state"];
    wait_until(stage, &state, |said| said.contains("Empty")).await.context("the killed members stay")?;

    let reset = ["--reset-offsets", "--group", "team", "--topic", TOPIC, "--to-earliest", "--execute"];
    tool(stage, &reset).await?;
    tool(stage, &["--delete-offsets", "--group", "team", "--topic", &used]).await?;
    let offsets = tool(stage, &["--describe", "--group", "team", "--offsets"]).await?;
    let rows: Vec<&str> = offsets.lines().filter(|line| line.contains(TOPIC)).collect();
    let set_back = rows.iter().all(|row| column(row, 3) == Some("0"));
    ensure!(rows.len() == 3 && set_back, "offsets are {offsets}");
    tool(stage, &["--delete", "--group", "team"]).await?;
    let left = tool(stage, &["--list"]).await?;
    ensure!(!left.lines().any(|line| line.trim() == "team"), "still listed: {left:?}");
    Ok("two members described, offsets set back and deleted, the group deleted".to_string())
}

/// Whether two members have two of the four partitions each.
fn is_shared(described: &str) -> bool {
    described.lines().filter(|line| column(line, 4) == Some("2")).count() == 2
}

fn column(line: &str, index: usize) -> Option<&str> {
    line.split_whitespace().nth(index)
}

fn member(stage: &Stage<'_>, protocol: &str) -> anyhow::Result<Child> {
    let mut command = stage.tools.apache_kafka()?.main_class(CONSUMER);
    command.args(["--bootstrap-server", &stage.broker.kafka().to_string()]);
    command.args(["--topic", TOPIC, "--group-id", "team", "--group-protocol", protocol]);
    // So that killed members are soon taken for gone; the consumer protocol has its timeout from the broker.
    if protocol == "classic" {
        command.args(["--session-timeout", "6000"]);
    }
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).kill_on_drop(true);
    command.spawn().context("VerifiableConsumer")
}

/// Asks the tool until it says what is waited for.
async fn wait_until(stage: &Stage<'_>, args: &[&str], holds: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let said = tool(stage, args).await?;
        if holds(&said) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "after {} s: {said}", PATIENCE.as_secs());
    }
}

async fn tool(stage: &Stage<'_>, args: &[&str]) -> anyhow::Result<String> {
    let finished = stage.run_kafka_tool(GROUPS, args).await?;
    Ok(format!("{}{}", finished.stdout, finished.stderr))
}
