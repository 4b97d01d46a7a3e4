//! Apache Kafka's `kafka-*` tools for administrators, a check for each kind of thing that they look after.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod groups;
pub(crate) mod performance;
pub(crate) mod topics;
pub(crate) mod transactions;

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::tool_shell::ToolShell;

/// How long a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(10);

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

/// Fills a topic.
async fn produce(tools: &mut ToolShell, topic: &str, records: u64) -> anyhow::Result<()> {
    let records = records.to_string();
    let args = ["--topic", topic, "--num-records", &records, "--record-size", "20", "--throughput", "-1"];
    let said = tools.succeed(PERF, &args).await?;
    ensure!(said.contains(&format!("{records} records sent")), "kafka-producer-perf-test: {said}");
    Ok(())
}

/// What a tool says about things that are where they are expected.
async fn says(tools: &mut ToolShell, class: &str, args: &[&str], wanted: &[&str]) -> anyhow::Result<String> {
    let said = tools.succeed(class, args).await?;
    for wanted in wanted {
        ensure!(said.contains(wanted), "{} did not say {wanted:?}: {said}", args.join(" "));
    }
    Ok(said)
}

/// What a tool says as soon as that is what is expected: Kafka answers some requests before its broker knows.
async fn says_soon(
    tools: &mut ToolShell,
    class: &str,
    args: &[&str],
    wanted: &[&str],
) -> anyhow::Result<String> {
    until(tools, class, args, |said| wanted.iter().all(|wanted| said.contains(wanted))).await
}

/// Runs a tool again until it says what is waited for.
async fn until(
    tools: &mut ToolShell,
    class: &str,
    args: &[&str],
    holds: impl Fn(&str) -> bool,
) -> anyhow::Result<String> {
    let began = Instant::now();
    loop {
        let said = tools.run(class, args).await?.text;
        if holds(&said) {
            return Ok(said);
        }
        ensure!(began.elapsed() < PATIENCE, "{} still says {said}", args.join(" "));
    }
}

/// The rows of a tool's table, as their columns.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect())
}
