//! Consumers that read past what a power cut leaves: their log was cut, and its epochs tell them so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::stage::Stage;
use crate::broker::{Broker, DURABILITY_OS, Launch};
use crate::workspace;

const TOPIC: &str = "truncated";

/// librdkafka: with `auto.offset.reset=error` it says so, else it goes back and misses nothing.
pub(crate) async fn librdkafka(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let program = |stage: &Stage<'_>| stage.python("kafka/truncation.py", &[TOPIC]);
    cut_under(stage, program).await
}

/// Apache Kafka's own: with `auto.offset.reset=none` it names the offset, else it goes back to there and misses nothing.
pub(crate) async fn java(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let program = |stage: &Stage<'_>| {
        let source = workspace::programs().join("kafka/Truncation.java");
        let mut command = stage.tools.apache_kafka()?.source(&source);
        command.args([&stage.broker.kafka().to_string(), TOPIC]);
        Ok(command)
    };
    cut_under(stage, program).await
}

/// Runs a program that reads, and between its "early" and its "read" has the broker lose what it wrote in between.
async fn cut_under(
    stage: &mut Stage<'_>,
    program: impl FnOnce(&Stage<'_>) -> anyhow::Result<Command>,
) -> anyhow::Result<String> {
    let binary = stage.broker.keyway().context("only Keyway's data folder is known here")?.to_path_buf();
    let data = stage.folder().join("unflushed");
    let launch = Launch::Keyway { binary, options: vec![DURABILITY_OS.to_string()] };
    stage.broker.kill().await?;
    stage.broker = Broker::start(&launch, &data, &stage.log().with_extension("broker.log")).await?;

    let mut command = program(stage)?;
    let mut child = stage.spawn(&mut command)?;
    let mut input = child.stdin.take().context("no input")?;
    let mut output = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut summary = String::new();
    while let Some(line) = output.next_line().await? {
        match line.as_str() {
            // What the operating system has written back by now is all that is left later.
            "early" => copy_folder(&data, &left(stage))?,
            "read" => {
                stage.broker.kill().await?;
                fs::remove_dir_all(&data)?;
                fs::rename(left(stage), &data)?;
                stage.broker.start_again().await?;
            }
            _ => {
                summary = line;
                continue;
            }
        }
        input.write_all(b"\n").await?;
    }
    let finished = stage.finish(child, "truncation").await?;
    ensure!(finished.status.success(), "{}", finished.stderr.trim());
    Ok(summary)
}

/// Where the copy waits.
fn left(stage: &Stage<'_>) -> PathBuf {
    stage.folder().join("left")
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
