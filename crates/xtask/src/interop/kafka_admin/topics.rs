//! kafka-topics, kafka-configs, kafka-delete-records, kafka-get-offsets, kafka-log-dirs, kafka-leader-election and
//! kafka-reassign-partitions.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{CONFIGS, GET_OFFSETS, TOPICS, produce, says, says_soon, until};
use crate::interop::stage::Stage;
use crate::interop::tool_shell::ToolShell;

const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const LEADER_ELECTION: &str = "org.apache.kafka.tools.LeaderElectionCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";

pub(crate) async fn topics(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut tools = ToolShell::start(stage)?;
    tend(&mut tools).await?;
    configure(&mut tools).await?;
    offsets(&mut tools, stage).await?;
    replicas(&mut tools).await?;
    delete(&mut tools).await?;
    Ok("topics created, grown, configured, trimmed, measured and deleted by seven tools".to_string())
}

/// Created, refused, grown, described by name and by id.
async fn tend(tools: &mut ToolShell) -> anyhow::Result<()> {
    let create = ["--create", "--topic", "made", "--partitions", "3", "--config", "retention.ms=100000"];
    says(tools, TOPICS, &create, &["Created topic made."]).await?;
    tools.refused(TOPICS, &create, "already exists").await?;
    tools.succeed(TOPICS, &[&create[..], &["--if-not-exists"]].concat()).await?;
    let bad = ["--create", "--topic", "bad"];
    tools
        .refused(TOPICS, &[&bad[..], &["--config", "nonsense=1"]].concat(), "Unknown topic config name")
        .await?;
    tools.refused(TOPICS, &[&bad[..], &["--config", "retention.ms=soon"]].concat(), "retention.ms").await?;
    tools.refused(TOPICS, &["--create", "--topic", "bad/name"], "opic name").await?;
    says(tools, TOPICS, &["--create", "--topic", "placed", "--replica-assignment", "1,1"], &[]).await?;
    says_soon(tools, TOPICS, &["--describe", "--topic", "placed"], &["PartitionCount: 2", "Replicas: 1"])
        .await?;

    tools.succeed(TOPICS, &["--alter", "--topic", "made", "--partitions", "5"]).await?;
    tools.refused(TOPICS, &["--alter", "--topic", "made", "--partitions", "4"], "5 partition").await?;
    tools.refused(TOPICS, &["--alter", "--topic", "nothere", "--partitions", "4"], "does not exist").await?;
    let described = says(
        tools,
        TOPICS,
        &["--describe", "--topic", "made"],
        &["PartitionCount: 5", "retention.ms=100000"],
    )
    .await?;
    let id =
        described.split_whitespace().skip_while(|word| *word != "TopicId:").nth(1).context("no topic id")?;
    says_soon(tools, TOPICS, &["--describe", "--topic-id", id], &["Topic: made", "PartitionCount: 5"])
        .await?;
    for problem in ["--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"]
    {
        let said = tools.succeed(TOPICS, &["--describe", problem]).await?;
        ensure!(said.trim().is_empty(), "{problem}: {said}");
    }
    Ok(())
}

/// Set, shown with what they override, refused, taken back.
async fn configure(tools: &mut ToolShell) -> anyhow::Result<()> {
    let made = ["--entity-type", "topics", "--entity-name", "made"];
    let alter = [&["--alter"][..], &made].concat();
    let describe = [&["--describe"][..], &made].concat();
    let both = "cleanup.policy=[compact,delete],segment.ms=60000";
    tools.succeed(CONFIGS, &[&alter[..], &["--add-config", both]].concat()).await?;
    let set = [
        "cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact,delete, \
         DEFAULT_CONFIG:log.cleanup.policy=delete}",
        "segment.ms=60000",
        "retention.ms=100000",
    ];
    says_soon(tools, CONFIGS, &describe, &set).await?;
    let refused = [&alter[..], &["--add-config", "nonsense=1"]].concat();
    tools.refused(CONFIGS, &refused, "InvalidConfigurationException").await?;
    let refused = [&alter[..], &["--add-config", "retention.ms=soon"]].concat();
    tools.refused(CONFIGS, &refused, "InvalidConfigurationException").await?;
    let nobody = [
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        "nothere",
        "--add-config",
        "segment.ms=60000",
    ];
    tools.refused(CONFIGS, &nobody, "UnknownTopicOrPartitionException").await?;
    tools.succeed(CONFIGS, &[&alter[..], &["--delete-config", "segment.ms,cleanup.policy"]].concat()).await?;
    let all = [&describe[..], &["--all"]].concat();
    says(
        tools,
        CONFIGS,
        &all,
        &["cleanup.policy=delete", "max.message.bytes=1048588", "segment.ms=604800000"],
    )
    .await?;
    let left = tools.succeed(CONFIGS, &describe).await?;
    ensure!(!left.contains("segment.ms") && left.contains("retention.ms=100000"), "what is left is {left}");
    let brokers = ["--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"];
    says_soon(tools, CONFIGS, &brokers, &["All configs for broker 1 are:", "num.partitions=1"]).await?;
    Ok(())
}

/// Every kind of offset; records deleted up to one.
async fn offsets(tools: &mut ToolShell, stage: &Stage<'_>) -> anyhow::Result<()> {
    says(tools, TOPICS, &["--create", "--topic", "filled"], &[]).await?;
    produce(tools, "filled", 100).await?;
    let file = stage.folder().join("offsets.json");
    let delete = ["--offset-json-file", file.to_str().context("the folder has no UTF-8 name")?];
    let up_to = |offset: i64| {
        let json =
            format!(r#"{{"version":1,"partitions":[{{"topic":"filled","partition":0,"offset":{offset}}}]}}"#);
        fs::write(&file, json)
    };
    up_to(40)?;
    says(tools, DELETE_RECORDS, &delete, &["partition: filled-0\tlow_watermark: 40"]).await?;
    up_to(101)?;
    says(tools, DELETE_RECORDS, &delete, &["partition: filled-0\terror:"]).await?;
    let at = [("-2", "40"), ("earliest", "40"), ("-1", "100"), ("latest", "100"), ("-4", "40"), ("1", "40")];
    for (time, offset) in at {
        let said = tools.succeed(GET_OFFSETS, &["--topic", "filled", "--time", time]).await?;
        ensure!(said.trim() == format!("filled:0:{offset}"), "--time {time}: {said}");
    }
    // Later than everything there is, and what only tiered storage has.
    for time in ["4000000000000", "latest-tiered", "earliest-pending-upload"] {
        let said = tools.succeed(GET_OFFSETS, &["--topic", "filled", "--time", time]).await?;
        ensure!(said.trim().is_empty(), "--time {time}: {said}");
    }
    let newest = tools.succeed(GET_OFFSETS, &["--topic", "filled", "--time", "max-timestamp"]).await?;
    let offset = newest.trim().strip_prefix("filled:0:").and_then(|offset| offset.parse::<u64>().ok());
    ensure!(offset.is_some_and(|offset| (40..100).contains(&offset)), "the newest record is at {newest}");
    let some = ["--topic-partitions", "made:1-3,filled", "--exclude-internal-topics"];
    let said = tools.succeed(GET_OFFSETS, &some).await?;
    ensure!(said.split_whitespace().eq(["filled:0:100", "made:1:0", "made:2:0"]), "{said}");
    tools.refused(GET_OFFSETS, &["--topic", "nothere"], "Could not match any topic-partitions").await?;

    let said = tools.succeed(LOG_DIRS, &["--describe", "--topic-list", "filled,nothere"]).await?;
    let json: Value = serde_json::from_str(said.lines().last().context("it said nothing")?)?;
    let partitions = &json["brokers"][0]["logDirs"][0]["partitions"];
    let size = partitions[0]["size"].as_u64().context("no size")?;
    ensure!(partitions[0]["partition"] == "filled-0" && size > 100 * 20, "kafka-log-dirs: {said}");
    ensure!(partitions.as_array().is_some_and(|all| all.len() == 1), "kafka-log-dirs: {said}");
    tools.refused(LOG_DIRS, &["--describe", "--broker-list", "7"], "do not exist").await?;
    Ok(())
}

/// One copy is always the right one, and never on its way.
async fn replicas(tools: &mut ToolShell) -> anyhow::Result<()> {
    for kind in ["preferred", "unclean"] {
        let one = ["--election-type", kind, "--topic", "made", "--partition", "0"];
        says(tools, LEADER_ELECTION, &one, &["Valid replica already elected for partitions made-0"]).await?;
        tools.succeed(LEADER_ELECTION, &["--election-type", kind, "--all-topic-partitions"]).await?;
    }
    let nobody = ["--election-type", "preferred", "--topic", "nothere", "--partition", "0"];
    tools.refused(LEADER_ELECTION, &nobody, "UnknownTopicOrPartitionException").await?;
    says(tools, REASSIGN, &["--list"], &["No partition reassignments found."]).await?;
    Ok(())
}

async fn delete(tools: &mut ToolShell) -> anyhow::Result<()> {
    tools.refused(TOPICS, &["--delete", "--topic", "nothere"], "does not exist").await?;
    tools.succeed(TOPICS, &["--delete", "--topic", "nothere", "--if-exists"]).await?;
    tools.succeed(TOPICS, &["--delete", "--topic", "made|placed|filled"]).await?;
    until(tools, TOPICS, &["--list", "--exclude-internal"], |said| said.trim().is_empty()).await?;
    Ok(())
}
