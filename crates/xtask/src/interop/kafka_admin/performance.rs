//! kafka-consumer-perf-test and kafka-e2e-latency; the producer's has a check of its own.

use anyhow::{Context, ensure};

use super::{TOPICS, produce, says};
use crate::interop::stage::Stage;
use crate::interop::tool_shell::ToolShell;

const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";
const LATENCY: &str = "org.apache.kafka.tools.EndToEndLatency";
const RECORDS: u64 = 20_000;

pub(crate) async fn performance(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut tools = ToolShell::start(stage)?;
    says(&mut tools, TOPICS, &["--create", "--topic", "measured", "--partitions", "3"], &[]).await?;
    produce(&mut tools, "measured", RECORDS).await?;
    let count = RECORDS.to_string();
    let args = ["--topic", "measured", "--num-records", &count, "--timeout", "20000"];
    let said = tools.succeed(CONSUMER_PERF, &args).await?;
    let figures: Vec<&str> =
        said.lines().last().context("it said nothing")?.split(',').map(str::trim).collect();
    ensure!(figures.get(4).is_some_and(|read| *read == count), "kafka-consumer-perf-test: {said}");

    let args =
        ["--topic", "latency", "--num-records", "200", "--producer-acks", "all", "--record-size", "100"];
    let said = tools.succeed(LATENCY, &args).await?;
    let average = said.lines().find_map(|line| line.strip_prefix("Avg latency: ")).context("no latency")?;
    Ok(format!("{RECORDS} records read, {average} from a producer through the disk to a consumer"))
}
