//! librdkafka as a producer that keeps an account, in a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::account::{Account, Kind, SharedAccount, Told};
use crate::process;

/// It has its own limit for its last records.
const END_LIMIT: Duration = Duration::from_secs(60);

/// `interop/kafka/crash_producer.py`, running.
pub(crate) struct LibrdkafkaProducer {
    child: Child,
    input: ChildStdin,
    reader: JoinHandle<anyhow::Result<()>>,
    account: SharedAccount,
}

impl LibrdkafkaProducer {
    /// Starts `command`, to which topic, name and kind are added.
    pub(crate) fn start(mut command: Command, topic: &str, name: &str, kind: Kind) -> anyhow::Result<Self> {
        command.args([topic, name]);
        if kind == Kind::Plain {
            command.arg("plain");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let account = Account::new(name, kind, 0).shared();
        let written = SharedAccount::clone(&account);
        let reader = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await? {
                let told = told(&line).with_context(|| format!("crash_producer.py printed {line:?}"))?;
                written.lock().expect("the judge does not panic").told.push(told);
            }
            Ok(())
        });
        Ok(Self { child, input, reader, account })
    }

    /// Lets it finish what it has queued; everything it was told.
    pub(crate) async fn stop(self, log: &Path) -> anyhow::Result<Account> {
        drop(self.input);
        let finished = process::finish_child(self.child, "crash_producer.py", log, END_LIMIT).await?;
        self.reader.await??;
        ensure!(finished.status.success(), "{}", finished.stderr.trim());
        let mut account = self.account.lock().expect("its reader does not panic");
        let Account { name, kind, .. } = &*account;
        let mut whole = Account::new(name, *kind, 0);
        std::mem::swap(&mut *account, &mut whole);
        // All that it has sent it was told of.
        whole.sent = whole.told.len() as u64;
        Ok(whole)
    }
}

/// "NAME:NUMBER", partition and offset; the offset is negative if the answer had none.
fn told(line: &str) -> Option<Told> {
    let mut columns = line.split('\t');
    let (value, partition) = (columns.next()?, columns.next()?);
    let offset: i64 = columns.next()?.parse().ok()?;
    let number = value.split_once(':')?.1.parse().ok()?;
    Some(Told { number, partition: partition.parse().ok()?, offset: (offset >= 0).then_some(offset) })
}
