//! Apache Kafka's command line tools one after the other in one Java process, which starts once instead of for each.

use std::fmt::Write;
use std::fs::OpenOptions;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::stage::Stage;
use crate::workspace;

/// One tool, the start of Java included.
const TOOL_LIMIT: Duration = Duration::from_secs(60);
/// No tool of a check prints more.
const PRINTED_BYTES_MAX: usize = 64 << 20;

/// A Java process that runs tools.
pub(super) struct ToolShell {
    /// Killed when dropped.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    bootstrap: String,
    log: std::path::PathBuf,
}

/// What a tool left behind.
pub(super) struct Said {
    status: i32,
    /// What it has printed to either stream.
    pub(super) text: String,
}

impl ToolShell {
    pub(super) fn start(stage: &Stage<'_>) -> anyhow::Result<Self> {
        let complaints = OpenOptions::new().create(true).append(true).open(stage.log())?;
        let source = workspace::programs().join("kafka/ToolShell.java");
        let mut command = stage.tools.apache_kafka()?.source(&source);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let bootstrap = stage.broker.kafka().to_string();
        Ok(Self { _child: child, input, output, bootstrap, log: stage.log().to_path_buf() })
    }

    /// Runs a tool with `--bootstrap-server` set, whatever its exit status.
    pub(super) async fn run(&mut self, class: &str, args: &[&str]) -> anyhow::Result<Said> {
        let bootstrap = self.bootstrap.clone();
        let mut all = vec!["--bootstrap-server", &bootstrap];
        all.extend(args);
        self.run_bare(class, &all).await
    }

    /// Runs a tool that has to succeed; what it has printed.
    pub(super) async fn succeed(&mut self, class: &str, args: &[&str]) -> anyhow::Result<String> {
        let said = self.run(class, args).await?;
        ensure!(said.status == 0, "{} {}: {}", name(class), args.join(" "), said.reason());
        Ok(said.text)
    }

    /// Runs a tool that has to fail; what it has printed, which has to name the reason.
    pub(super) async fn refused(
        &mut self,
        class: &str,
        args: &[&str],
        reason: &str,
    ) -> anyhow::Result<String> {
        let said = self.run(class, args).await?;
        ensure!(said.status != 0, "{} {} was accepted: {}", name(class), args.join(" "), said.reason());
        let named = said.text.contains(reason);
        ensure!(named, "{} {} did not speak of {reason}: {}", name(class), args.join(" "), said.text);
        Ok(said.text)
    }

    /// Runs a tool with these arguments alone.
    pub(super) async fn run_bare(&mut self, class: &str, args: &[&str]) -> anyhow::Result<Said> {
        let mut line = class.to_string();
        for arg in args {
            ensure!(!arg.contains(['\t', '\n']), "an argument with a tab or a line end: {arg:?}");
            write!(line, "\t{arg}")?;
        }
        line.push('\n');
        self.input.write_all(line.as_bytes()).await?;
        let said = match timeout(TOOL_LIMIT, self.answer()).await {
            Ok(said) => said.with_context(|| name(class).to_string())?,
            Err(_) => {
                bail!("{} {} is not done after {} s", name(class), args.join(" "), TOOL_LIMIT.as_secs())
            }
        };
        let mut log = OpenOptions::new().append(true).open(&self.log)?;
        std::io::Write::write_all(&mut log, format!("$ {line}{}({})\n", said.text, said.status).as_bytes())?;
        Ok(said)
    }

    async fn answer(&mut self) -> anyhow::Result<Said> {
        let mut head = String::new();
        self.output.read_line(&mut head).await?;
        let (status, bytes) = head.trim().split_once(' ').context("the tools' process has left")?;
        let (status, bytes) = (status.parse()?, bytes.parse()?);
        ensure!(bytes <= PRINTED_BYTES_MAX, "{bytes} bytes were printed");
        let mut text = vec![0; bytes];
        self.output.read_exact(&mut text).await?;
        Ok(Said { status, text: String::from_utf8(text).context("what it printed is no text")? })
    }
}

impl Said {
    pub(super) fn succeeded(&self) -> bool {
        self.status == 0
    }

    /// The last line that says something and is no line of a stack trace.
    fn reason(&self) -> &str {
        let told = |line: &&str| !line.is_empty() && !line.starts_with("at ");
        self.text.lines().map(str::trim).rev().find(told).unwrap_or("it printed nothing")
    }
}

/// The class without its package.
fn name(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}
