//! `cargo xtask costs`: what one request costs the broker in things that can be counted, against committed limits. A busy
//! machine changes wall time; it hardly changes these.

mod counters;
mod valgrind;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::broker::{self, Broker, Launch};
use crate::kafka_client::{Acks, Connection};
use crate::produce_bytes::{batch, keyed_record};
use crate::tools::{Tool, Tools};
use crate::workspace;

/// Which binary to count.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,
}

/// What one connection asks for, one request at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    /// One record of 100 bytes, durable.
    Produce,
    /// One record of 100 bytes, from memory.
    Fetch,
}

/// Something that is counted per request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cost {
    Syscalls,
    ContextSwitches,
    Instructions,
    Allocations,
}

/// The gate, about twice of what was measured when it was set: a change that doubles a cost is one to look at.
/// Release profile, x86-64, two cores.
const LIMITS: [(Request, Cost, f64); 8] = [
    (Request::Produce, Cost::Syscalls, 11.0),
    (Request::Produce, Cost::ContextSwitches, 10.0),
    (Request::Produce, Cost::Instructions, 40_000.0),
    (Request::Produce, Cost::Allocations, 26.0),
    (Request::Fetch, Cost::Syscalls, 8.0),
    (Request::Fetch, Cost::ContextSwitches, 4.0),
    (Request::Fetch, Cost::Instructions, 28_000.0),
    (Request::Fetch, Cost::Allocations, 34.0),
];

/// One cost as it was counted, or why it was not.
struct Counted {
    request: Request,
    cost: Cost,
    per_request: Result<f64, String>,
}

/// Counts everything and prints a line for each; the exit code is 1 if one is over its limit.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tools = Tools::prepare([Tool::Strace, Tool::Valgrind]).await?;
    let binary = workspace::keyway(args.broker).await?;
    let log = workspace::interop_target().join("logs").join("costs.broker.log");
    broker::fresh_log(&log)?;
    match count(&binary, &tools, &log).await {
        Ok(lines) => {
            println!("{lines}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("{error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// One line for each cost; an error if one is over its limit.
pub(crate) async fn count(binary: &Path, tools: &Tools, log: &Path) -> anyhow::Result<String> {
    let mut counted = Vec::new();
    for request in [Request::Produce, Request::Fetch] {
        counted.extend(counters::count(binary, request, tools, log).await.context("outside of valgrind")?);
        counted.extend(valgrind::count(binary, request, tools, log).await.context("under valgrind")?);
    }
    let lines: Vec<String> = counted.iter().map(Counted::line).collect();
    let over: Vec<String> = counted.iter().filter(|one| one.is_over()).map(Counted::line).collect();
    ensure!(over.is_empty(), "over the limit: {}", over.join("; "));
    Ok(lines.join("; "))
}

impl Counted {
    fn limit(&self) -> f64 {
        let found = LIMITS.iter().find(|(request, cost, _)| (*request, *cost) == (self.request, self.cost));
        found.expect("every cost has its limit").2
    }

    fn is_over(&self) -> bool {
        self.per_request.as_ref().is_ok_and(|count| *count > self.limit())
    }

    fn line(&self) -> String {
        let (request, cost) = (self.request, self.cost);
        match &self.per_request {
            Ok(count) => format!("{request:?} {cost:?} {count:.1} of {}", self.limit()),
            Err(reason) => format!("{request:?} {cost:?} skipped ({reason})"),
        }
    }
}

/// A broker with a topic, and a connection that asks.
struct Asker {
    broker: Broker,
    connection: Connection,
    batch: Vec<u8>,
    _folder: TempDir,
}

const TOPIC: &str = "costs";
const RECORD_BYTES: usize = 100;

impl Asker {
    async fn start(binary: &Path, log: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("keyway-costs-")?;
        let launch = Launch::keyway(binary.to_path_buf());
        let broker = Broker::start(&launch, &folder.path().join("data"), log).await?;
        let mut connection = Connection::open(broker.kafka()).await?;
        connection.create_topic(TOPIC, 1).await?;
        let batch = batch(0, 1, &keyed_record(0, b"key", &[b'v'; RECORD_BYTES]));
        let mut asker = Self { broker, connection, batch, _folder: folder };
        // Something to fetch, and buffers that have grown.
        asker.ask(Request::Produce, 100).await?;
        asker.ask(Request::Fetch, 100).await?;
        Ok(asker)
    }

    /// Makes so many requests, one after the other.
    async fn ask(&mut self, request: Request, count: u64) -> anyhow::Result<()> {
        for number in 0..count {
            match request {
                Request::Produce => {
                    let code = self.connection.produce(TOPIC, 0, Acks::All, &self.batch).await?;
                    ensure!(code == 0, "a batch is refused with error {code}");
                }
                Request::Fetch => {
                    let bytes_max = self.batch.len() as i32;
                    let (batches, _) =
                        self.connection.fetch_at_most(TOPIC, 0, (number % 100) as i64, bytes_max).await?;
                    ensure!(batches.len() == 1, "{} batches are fetched instead of one", batches.len());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_over_its_limit_is_seen() {
        let counted =
            |count| Counted { request: Request::Produce, cost: Cost::Syscalls, per_request: Ok(count) };
        let limit = counted(0.0).limit();
        assert!(counted(limit + 1.0).is_over() && !counted(limit - 1.0).is_over());
        let skipped = Counted { per_request: Err("no strace".to_string()), ..counted(0.0) };
        assert!(!skipped.is_over() && skipped.line().contains("skipped (no strace)"));
    }
}
