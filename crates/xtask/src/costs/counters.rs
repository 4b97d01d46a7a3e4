//! System calls, counted by strace, and context switches, counted by the kernel.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use super::{Asker, Cost, Counted, Request};
use crate::tools::{Tool, Tools};

const REQUESTS: u64 = 2_000;
const ROUNDS: usize = 4;
const STRACE_LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn count(
    binary: &Path,
    request: Request,
    tools: &Tools,
    log: &Path,
) -> anyhow::Result<Vec<Counted>> {
    let mut asker = Asker::start(binary, log).await?;
    let before = asker.broker.context_switches()?;
    asker.ask(request, REQUESTS).await?;
    let switches = asker.broker.context_switches()? - before;
    let syscalls = match tools.missing(Tool::Strace) {
        Some(reason) => Err(reason.to_string()),
        None => Ok(least_syscalls(&mut asker, request, tools).await? as f64 / REQUESTS as f64),
    };
    asker.broker.kill().await?;
    Ok(vec![
        Counted { request, cost: Cost::ContextSwitches, per_request: Ok(switches as f64 / REQUESTS as f64) },
        Counted { request, cost: Cost::Syscalls, per_request: syscalls },
    ])
}

/// Of some rounds: a machine whose disk is slow for a moment has more hand-offs between threads, and no code does.
async fn least_syscalls(asker: &mut Asker, request: Request, tools: &Tools) -> anyhow::Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        least = least.min(syscalls(asker, request, tools).await?);
    }
    Ok(least)
}

async fn syscalls(asker: &mut Asker, request: Request, tools: &Tools) -> anyhow::Result<u64> {
    let mut command = tools.strace()?;
    command.args(["-f", "-c", "-p", &asker.broker.process_id()?.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut strace = command.spawn().context("strace")?;
    let mut said = BufReader::new(strace.stderr.take().expect("it is piped"));
    let mut line = String::new();
    timeout(STRACE_LIMIT, said.read_line(&mut line)).await.context("strace is silent")??;
    ensure!(line.contains("attached"), "strace does not attach: {line}");
    asker.ask(request, REQUESTS).await?;
    let id = strace.id().context("strace has left")?;
    kill_process(Pid::from_raw(id as i32).context("a process id is not zero")?, Signal::INT)?;
    let mut table = String::new();
    timeout(STRACE_LIMIT, said.read_to_string(&mut table)).await.context("strace does not end")??;
    strace.wait().await?;
    total_calls(&table).with_context(|| format!("no total in {table:?}"))
}

/// The number of calls in the line "100.00    0.123456    12    8000    3 total" of strace's table.
fn total_calls(table: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total_calls;

    #[test]
    fn the_total_is_read() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     61.66    0.121931          60      2007           fdatasync\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.197742          10     18071      2004 total\n";
        assert_eq!(total_calls(table), Some(18_071));
        assert_eq!(total_calls("nothing"), None);
    }
}
