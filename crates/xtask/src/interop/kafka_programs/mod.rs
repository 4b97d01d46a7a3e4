//! The programs of Apache Kafka's system tests: they print what they do, a JSON object per line, and that is judged.

pub(crate) mod compaction;
pub(crate) mod copier;
pub(crate) mod verifiable;

use std::fs::{self, OpenOptions};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::stage::Stage;

const VERIFIABLE_PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";

/// What a program may take for any one step, a start of Apache Kafka included.
pub(in crate::interop) const PATIENCE: Duration = Duration::from_secs(60);
pub(in crate::interop) const POLL: Duration = Duration::from_millis(20);

/// A running program and what it has printed so far.
pub(in crate::interop) struct Program {
    name: String,
    child: Child,
    printed: Arc<Mutex<Vec<Value>>>,
    reader: JoinHandle<std::io::Result<()>>,
}

impl Program {
    /// Starts it; what it complains of goes to the check's log.
    pub(in crate::interop) fn start(
        stage: &Stage<'_>,
        name: impl Into<String>,
        command: &mut Command,
    ) -> anyhow::Result<Self> {
        let complaints = OpenOptions::new().create(true).append(true).open(stage.log())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&printed);
        let reader = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await? {
                // Whatever is no event is kept too, as a text: a judge looks for the events that it knows.
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                written.lock().expect("no reader panics").push(event);
            }
            Ok(())
        });
        Ok(Self { name: name.into(), child, printed, reader })
    }

    fn printed(&self) -> MutexGuard<'_, Vec<Value>> {
        self.printed.lock().expect("no reader panics")
    }

    /// How many events of a name it has printed.
    fn count(&self, event: &str) -> usize {
        named(&self.printed(), event).count()
    }

    /// Waits until it has printed this many more events of a name.
    pub(in crate::interop) async fn more(&mut self, event: &str, count: usize) -> anyhow::Result<()> {
        self.reach(event, self.count(event) + count).await
    }

    /// Waits until it has printed this many events of a name in all.
    pub(in crate::interop) async fn reach(&mut self, event: &str, count: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.count(event) < count {
            self.check_alive()?;
            ensure!(
                began.elapsed() < PATIENCE,
                "{}: {} of {count} {event} after {} s",
                self.name,
                self.count(event),
                PATIENCE.as_secs()
            );
            sleep(POLL).await;
        }
        Ok(())
    }

    /// An error if it has left by itself.
    pub(in crate::interop) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} left ({status}), after {:?}", self.name, self.printed().last()),
            None => Ok(()),
        }
    }

    /// Waits until it leaves by itself, content; everything it has printed.
    pub(in crate::interop) async fn finish(mut self) -> anyhow::Result<Vec<Value>> {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.with_context(|| format!("{} does not come to an end", self.name))??;
        ensure!(status.success(), "{}: {status}, after {:?}", self.name, self.printed().last());
        self.last_words().await
    }

    /// `kill -9`; everything it has printed.
    pub(in crate::interop) async fn kill(mut self) -> anyhow::Result<Vec<Value>> {
        self.check_alive()?;
        self.child.kill().await?;
        self.last_words().await
    }

    /// SIGTERM, upon which it tidies up; everything it has printed.
    pub(in crate::interop) async fn terminate(mut self) -> anyhow::Result<Vec<Value>> {
        let id = self.child.id().with_context(|| format!("{} is gone already", self.name))?;
        kill_process(Pid::from_raw(id as i32).context("a process id is not zero")?, Signal::TERM)?;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.with_context(|| format!("{} does not leave", self.name))??;
        self.last_words().await
    }

    async fn last_words(self) -> anyhow::Result<Vec<Value>> {
        self.reader.await??;
        Ok(std::mem::take(&mut *self.printed.lock().expect("no reader panics")))
    }
}

/// A VerifiableProducer that tries again, which it does not by default: a restart of the broker costs no record.
pub(in crate::interop) fn verifiable_producer(
    stage: &Stage<'_>,
    topic: &str,
    args: &[&str],
) -> anyhow::Result<Program> {
    let config = stage.folder().join("producer.properties");
    fs::write(&config, "enable.idempotence=true\nretries=2147483647\n")?;
    let mut command = stage.tools.apache_kafka()?.main_class(VERIFIABLE_PRODUCER);
    command.args(["--bootstrap-server", &stage.broker.kafka().to_string(), "--topic", topic]).args(args);
    command.arg("--command-config").arg(config);
    Program::start(stage, "the producer", &mut command)
}

/// The events of a name.
fn named<'a>(events: &'a [Value], name: &str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["name"] == name)
}
