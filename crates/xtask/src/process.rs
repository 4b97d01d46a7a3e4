//! Running other programs: with a time limit, with their output kept, and never left behind.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What a program left behind.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The last line of `stdout`, where our own programs put what they found.
    pub(crate) fn summary(&self) -> String {
        last_line(&self.stdout).unwrap_or_default().to_string()
    }

    /// Why the program failed, as well as its output tells it.
    fn reason(&self) -> String {
        last_line(&self.stderr).or(last_line(&self.stdout)).unwrap_or("no output").to_string()
    }
}

fn last_line(text: &str) -> Option<&str> {
    // What every panic of a Rust program ends with says nothing of its reason.
    let says_nothing = |line: &str| line.is_empty() || line.starts_with("note: run with `RUST_BACKTRACE");
    text.lines().rev().map(str::trim).find(|line| !says_nothing(line))
}

/// Runs `command` to its end, whatever its exit status; its output is appended to `log`.
pub(crate) async fn finish(command: &mut Command, log: &Path, limit: Duration) -> anyhow::Result<Finished> {
    let name = format!("{:?}", command.as_std());
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} does not start"))?;
    finish_child(child, &name, log, limit).await
}

/// Waits for a child whose output is piped.
pub(crate) async fn finish_child(
    child: Child,
    name: &str,
    log: &Path,
    limit: Duration,
) -> anyhow::Result<Finished> {
    let output = match timeout(limit, child.wait_with_output()).await {
        Ok(output) => output.with_context(|| format!("waiting for {name}"))?,
        Err(_) => bail!("not done after {} s: {}", limit.as_secs(), shortened(name)),
    };
    let finished = Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "$ {name}\n{}{}({})", finished.stdout, finished.stderr, finished.status)?;
    Ok(finished)
}

/// Runs `command` and turns a bad exit status into an error that carries the program's last words.
pub(crate) async fn succeed(command: &mut Command, log: &Path, limit: Duration) -> anyhow::Result<Finished> {
    let finished = finish(command, log, limit).await?;
    if !finished.status.success() {
        bail!("{} ({})", finished.reason(), finished.status);
    }
    Ok(finished)
}

fn shortened(name: &str) -> String {
    const SHOWN: usize = 120;
    let tail: String = name.chars().rev().take(SHOWN).collect();
    tail.chars().rev().collect()
}
