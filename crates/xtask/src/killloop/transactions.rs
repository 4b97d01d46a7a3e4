//! Transactional producers, and a group that reads what they committed.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::group::Group;
use super::ledger::{Counts, Ledger, judge};
use crate::kafka_client::Connection;
use crate::process;
use crate::witness::Found;

pub(super) const TOPIC: &str = "killed_transactions";
pub(super) const PARTITIONS: i32 = 3;
const TRANSACTIONAL_IDS: [&str; 2] = ["first", "second"];

/// The last transaction waits for the broker, and may have to be undone by another producer.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Everybody who is concerned with transactions.
pub(super) struct Transactions {
    running: Vec<TransactionalProducer>,
    /// Of producers that have left.
    left: Vec<Ledger>,
    readers: Group,
}

impl Transactions {
    /// Nobody writes yet; `readers` are those of the topic.
    pub(super) fn new(readers: Group) -> Self {
        Self { running: Vec::new(), left: Vec::new(), readers }
    }

    /// Starts producers, who take over the transactional ids of those before. `round` is new each time.
    pub(super) fn start(
        &mut self,
        round: usize,
        log: &Path,
        command: impl Fn() -> anyhow::Result<Command>,
    ) -> anyhow::Result<()> {
        for id in TRANSACTIONAL_IDS {
            let name = format!("{id}_{round}");
            self.running.push(TransactionalProducer::start(command()?, id, &name, log)?);
        }
        Ok(())
    }

    /// Lets producers end what they do, and judges what readers see by what they were told.
    pub(super) async fn rest_and_judge(
        &mut self,
        connection: &mut Connection,
        log: &Path,
    ) -> anyhow::Result<Counts> {
        for producer in std::mem::take(&mut self.running) {
            self.left.push(producer.stop(log).await?);
        }
        let mut visible = Found::default();
        for partition in 0..PARTITIONS {
            visible.partitions.push(connection.read_committed(TOPIC, partition).await?);
        }
        let counts = judge(&self.left.iter().collect::<Vec<_>>(), &visible)?;
        self.readers.catch_up(connection, &visible).await?;
        Ok(counts)
    }

    /// Ends the readers; how many records they have seen.
    pub(super) async fn stop(self, log: &Path) -> anyhow::Result<usize> {
        self.readers.stop(log).await
    }
}

/// `interop/kafka/crash_transactions.py`, running.
struct TransactionalProducer {
    child: Child,
    input: ChildStdin,
    reader: JoinHandle<anyhow::Result<()>>,
    ledger: Arc<Mutex<Ledger>>,
}

impl TransactionalProducer {
    /// Starts `command`, what it says of its connections goes to `log`. Who had the same transactional id before is fenced;
    /// `name` is the producer's in its records.
    fn start(mut command: Command, transactional_id: &str, name: &str, log: &Path) -> anyhow::Result<Self> {
        command.args([TOPIC, &PARTITIONS.to_string(), transactional_id, name]);
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let ledger = Arc::new(Mutex::new(Ledger::new(name)));
        let written = Arc::clone(&ledger);
        let reader = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await? {
                let taken = written.lock().expect("the judge does not panic").take(&line);
                taken.with_context(|| format!("crash_transactions.py printed {line:?}"))?;
            }
            Ok(())
        });
        Ok(Self { child, input, reader, ledger })
    }

    /// Lets it end the transaction that it is in; all of them.
    async fn stop(self, log: &Path) -> anyhow::Result<Ledger> {
        drop(self.input);
        let finished = process::finish_child(self.child, "crash_transactions.py", log, END_LIMIT).await?;
        self.reader.await??;
        let status = finished.status;
        ensure!(status.success(), "a transactional producer left with {status}: see {}", log.display());
        let mut ledger = self.ledger.lock().expect("its reader does not panic");
        Ok(std::mem::take(&mut *ledger))
    }
}
