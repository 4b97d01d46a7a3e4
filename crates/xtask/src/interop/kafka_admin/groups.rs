//! kafka-consumer-groups and kafka-groups: every way to set a group back, what is described and what is deleted.

use std::fs;

use anyhow::{Context, ensure};

use super::{GROUPS, TOPICS, produce, rows, says};
use crate::interop::stage::Stage;
use crate::interop::tool_shell::ToolShell;

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const KAFKA_GROUPS: &str = "org.apache.kafka.tools.GroupsCommand";
const RECORDS: u64 = 1_000;

pub(crate) async fn groups(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut tools = ToolShell::start(stage)?;
    says(&mut tools, TOPICS, &["--create", "--topic", "read"], &[]).await?;
    produce(&mut tools, "read", RECORDS).await?;
    for (group, protocol) in [("readers", "classic"), ("moderns", "consumer")] {
        let count = RECORDS.to_string();
        let read = ["--topic", "read", "--from-beginning", "--max-messages", &count, "--timeout-ms", "20000"];
        let protocol = format!("group.protocol={protocol}");
        let member = ["--group", group, "--command-property", &protocol];
        says(&mut tools, CONSOLE_CONSUMER, &[&read[..], &member].concat(), &["total of 1000 messages"])
            .await?;
    }
    list(&mut tools).await?;
    let ways = reset(&mut tools, stage).await?;
    describe(&mut tools).await?;
    delete(&mut tools).await?;
    Ok(format!("groups of both protocols listed and described, set back in {ways} ways, deleted"))
}

async fn list(tools: &mut ToolShell) -> anyhow::Result<()> {
    let kinds = tools.succeed(GROUPS, &["--list", "--type"]).await?;
    for row in [["readers", "Classic"], ["moderns", "Consumer"]] {
        ensure!(rows(&kinds).any(|listed| listed == row), "not {row:?}: {kinds}");
    }
    let states = tools.succeed(GROUPS, &["--list", "--state", "empty"]).await?;
    ensure!(rows(&states).filter(|row| row.get(1) == Some(&"Empty")).count() == 2, "listed as {states}");
    let classic = tools.succeed(KAFKA_GROUPS, &["--list", "--group-type", "classic"]).await?;
    ensure!(classic.contains("readers") && !classic.contains("moderns"), "listed as {classic}");
    let consumers = tools.succeed(KAFKA_GROUPS, &["--list", "--protocol", "consumer"]).await?;
    ensure!(consumers.contains("readers") && consumers.contains("moderns"), "listed as {consumers}");
    says(tools, GROUPS, &["--validate-regex", "a.*"], &["is valid"]).await?;
    Ok(())
}

/// Sets both groups back in every way that the tool knows, and compares it with what is described then.
async fn reset(tools: &mut ToolShell, stage: &Stage<'_>) -> anyhow::Result<usize> {
    let file = stage.folder().join("offsets.csv");
    fs::write(&file, "read,0,123\n")?;
    let file = file.to_str().context("the folder has no UTF-8 name")?;
    let ways: [(&[&str], u64); 12] = [
        (&["--to-earliest"], 0),
        (&["--to-latest"], RECORDS),
        (&["--shift-by", "-300"], 700),
        (&["--shift-by", "50"], 750),
        (&["--to-current"], 750),
        (&["--shift-by", "-100000"], 0),
        (&["--to-offset", "7"], 7),
        (&["--to-offset", "70000"], RECORDS),
        (&["--by-duration", "P1D"], 0),
        (&["--to-datetime", "2090-01-01T00:00:00.000"], RECORDS),
        (&["--to-datetime", "2000-01-01T00:00:00.000"], 0),
        (&["--from-file", file], 123),
    ];
    for group in ["readers", "moderns"] {
        let reset = ["--reset-offsets", "--group", group];
        for (way, offset) in ways {
            let topics: &[&str] = match way[0] {
                "--from-file" => &[],
                "--to-offset" => &["--topic", "read:0"],
                "--shift-by" => &["--all-topics"],
                _ => &["--topic", "read"],
            };
            let before = position(tools, group).await?;
            tools.succeed(GROUPS, &[&reset[..], topics, way, &["--dry-run"]].concat()).await?;
            ensure!(position(tools, group).await? == before, "{group} was moved by a dry run of {way:?}");
            tools.succeed(GROUPS, &[&reset[..], topics, way, &["--execute"]].concat()).await?;
            let after = position(tools, group).await?;
            ensure!(after == offset, "{group} is at {after} and not at {offset} after {way:?}");
        }
    }
    let export =
        ["--reset-offsets", "--group", "readers", "--all-topics", "--to-current", "--export", "--dry-run"];
    says(tools, GROUPS, &export, &["read,0,123"]).await?;
    let nowhere = ["--reset-offsets", "--group", "readers", "--topic", "read:9", "--to-latest", "--execute"];
    says(tools, GROUPS, &nowhere, &["do not exist"]).await?;
    Ok(ways.len())
}

/// Where a group is, and that its lag is the rest.
async fn position(tools: &mut ToolShell, group: &str) -> anyhow::Result<u64> {
    let described = tools.succeed(GROUPS, &["--describe", "--group", group, "--offsets"]).await?;
    let row = rows(&described).find(|row| row.first() == Some(&group)).context("nothing is described")?;
    let number = |column: usize| row.get(column).and_then(|text| text.parse::<u64>().ok());
    let (offset, end, lag) = (number(3).context("no offset")?, number(4), number(5));
    ensure!(end == Some(RECORDS) && lag == Some(RECORDS - offset), "described as {described}");
    Ok(offset)
}

async fn describe(tools: &mut ToolShell) -> anyhow::Result<()> {
    let state = tools.succeed(GROUPS, &["--describe", "--all-groups", "--state"]).await?;
    for group in ["readers", "moderns"] {
        let row = rows(&state).find(|row| row.first() == Some(&group)).context("a group is not described")?;
        ensure!(row.contains(&"Empty") && row.last() == Some(&"0"), "described as {state}");
    }
    let members = ["--describe", "--group", "moderns", "--members"];
    says(tools, GROUPS, &members, &["has no active members"]).await?;
    // The tool's own exit status is 0 whatever has happened.
    says(tools, GROUPS, &["--describe", "--group", "nothere"], &["GroupIdNotFoundException"]).await?;
    Ok(())
}

async fn delete(tools: &mut ToolShell) -> anyhow::Result<()> {
    let offsets = ["--delete-offsets", "--group", "readers", "--topic", "read:0"];
    let said = tools.succeed(GROUPS, &offsets).await?;
    ensure!(rows(&said).any(|row| row == ["read", "0", "Successful"]), "kafka-consumer-groups: {said}");
    let nowhere = ["--delete-offsets", "--group", "readers", "--topic", "nothere"];
    says(tools, GROUPS, &nowhere, &["UnknownTopicOrPartitionException"]).await?;
    says(tools, GROUPS, &["--delete", "--group", "nothere"], &["GroupIdNotFoundException"]).await?;
    tools.succeed(GROUPS, &["--delete", "--all-groups"]).await?;
    let left = tools.succeed(GROUPS, &["--list"]).await?;
    ensure!(left.trim().is_empty(), "still listed: {left}");
    Ok(())
}
