//! kafka-transactions: what is under way is listed and described, and ended by force.

use anyhow::{Context, ensure};

use super::{GET_OFFSETS, PERF, TOPICS, rows, says};
use crate::interop::kafka_programs::Program;
use crate::interop::stage::Stage;
use crate::interop::tool_shell::ToolShell;

const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const ID: &str = "payments";

pub(crate) async fn transactions(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut tools = ToolShell::start(stage)?;
    says(&mut tools, TOPICS, &["--create", "--topic", "paid"], &[]).await?;
    let mut producer = producer(stage)?;
    let start = started(&mut tools, &mut producer).await?;
    producer.kill().await?;

    let listed = tools.succeed(TRANSACTIONS, &["list"]).await?;
    let row = rows(&listed).find(|row| row.first() == Some(&ID)).context("the transaction is not listed")?;
    ensure!(row.last() == Some(&"Ongoing"), "listed as {listed}");
    let id = row[2].to_string();
    for (filter, value, matches) in [
        ("--transactional-id-pattern", "pay.*", true),
        ("--transactional-id-pattern", "repay.*", false),
        ("--duration-filter", "0", true),
        ("--duration-filter", "600000", false),
    ] {
        let listed = tools.succeed(TRANSACTIONS, &["list", filter, value]).await?;
        ensure!(listed.contains(ID) == matches, "{filter} {value}: {listed}");
    }
    let described = describe(&mut tools).await?;
    ensure!(described[4] == "Ongoing" && described[8] == "paid-0", "described as {described:?}");
    ensure!(described[6].parse::<u64>().is_ok(), "no start: {described:?}");
    // Its coordinator knows it, so it hangs nowhere, however old it is.
    let hanging = ["find-hanging", "--topic", "paid", "--partition", "0", "--max-transaction-timeout", "0"];
    let said = tools.succeed(TRANSACTIONS, &hanging).await?;
    ensure!(!said.contains("paid"), "hanging: {said}");
    let nothing = ["abort", "--topic", "paid", "--partition", "0", "--start-offset", "987654"];
    tools.refused(TRANSACTIONS, &nothing, "Could not find any open transactions").await?;
    let nobody = ["describe", "--transactional-id", "nobody"];
    tools.refused(TRANSACTIONS, &nobody, "could not be found").await?;

    tools.succeed(TRANSACTIONS, &["forceTerminateTransaction", "--transactionalId", ID]).await?;
    let described = describe(&mut tools).await?;
    ensure!(described[2] == id && described[4] != "Ongoing", "described as {described:?}");
    ensure!(open_transaction(&mut tools).await?.is_none(), "the transaction is still open");
    // Whoever has begun none counts as older than everything.
    let listed = tools.succeed(TRANSACTIONS, &["list", "--duration-filter", "600000"]).await?;
    ensure!(listed.contains(ID), "listed as {listed}");
    let stable = ["--topic", "paid", "--time", "latest"];
    let end: u64 =
        tools.succeed(GET_OFFSETS, &stable).await?.trim().rsplit(':').next().unwrap_or_default().parse()?;
    ensure!(end > start, "the log ends at {end}");
    Ok(format!("a transaction from offset {start} listed, described and terminated"))
}

/// A producer that never ends its first transaction.
fn producer(stage: &Stage<'_>) -> anyhow::Result<Program> {
    let mut command = stage.tools.apache_kafka()?.main_class(PERF);
    command.args(["--bootstrap-server", &stage.broker.kafka().to_string(), "--topic", "paid"]);
    command.args(["--num-records", "100000", "--record-size", "10", "--throughput", "20"]);
    command.args(["--transactional-id", ID, "--transaction-duration-ms", "600000"]);
    Program::start(stage, "the producer", &mut command)
}

/// Waits until the producer has a transaction under way; the offset at which it began.
async fn started(tools: &mut ToolShell, producer: &mut Program) -> anyhow::Result<u64> {
    let began = std::time::Instant::now();
    loop {
        producer.check_alive()?;
        if let Some(start) = open_transaction(tools).await? {
            return Ok(start);
        }
        ensure!(began.elapsed() < crate::interop::kafka_programs::PATIENCE, "no transaction begins");
    }
}

/// Where the topic's open transaction began.
async fn open_transaction(tools: &mut ToolShell) -> anyhow::Result<Option<u64>> {
    let described = ["describe-producers", "--topic", "paid", "--partition", "0"];
    let said = tools.succeed(TRANSACTIONS, &described).await?;
    Ok(rows(&said).filter_map(|row| row.last()?.parse().ok()).next())
}

async fn describe(tools: &mut ToolShell) -> anyhow::Result<Vec<String>> {
    let said = tools.succeed(TRANSACTIONS, &["describe", "--transactional-id", ID]).await?;
    let row = rows(&said).find(|row| row.get(1) == Some(&ID)).context("it is not described")?;
    Ok(row.into_iter().map(str::to_string).collect())
}
