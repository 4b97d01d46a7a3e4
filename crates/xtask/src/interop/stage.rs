//! What a check stands on: a fresh broker, the tools, a folder of its own and a log.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::broker::{self, Broker, Launch};
use crate::process::{self, Finished};
use crate::tools::Tools;
use crate::workspace;

/// One program of a check; the check as a whole has its own limit.
const PROGRAM_LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct Stage<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) broker: Broker,
    folder: TempDir,
    log: PathBuf,
    seed: u64,
    random: u64,
}

/// Where a check's output goes.
pub(crate) fn log(check: &str) -> PathBuf {
    workspace::interop_target().join("logs").join(format!("{check}.log"))
}

fn broker_log(check: &str) -> PathBuf {
    workspace::interop_target().join("logs").join(format!("{check}.broker.log"))
}

impl<'a> Stage<'a> {
    pub(crate) async fn set(
        check: &str,
        tools: &'a Tools,
        launch: &Launch,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let (log, broker_log) = (log(check), broker_log(check));
        broker::fresh_log(&log)?;
        broker::fresh_log(&broker_log)?;
        let folder = TempDir::with_prefix("keyway-interop-")?;
        let broker = Broker::start(launch, &folder.path().join("data"), &broker_log).await?;
        Ok(Self { tools, broker, folder, log, seed, random: seed })
    }

    /// A check that ends well ends with a living broker.
    pub(crate) async fn clear(mut self) -> anyhow::Result<()> {
        self.broker.check_alive()?;
        self.broker.kill().await
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the output of the check's programs goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What the check's random numbers come from; `--seed` repeats them.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The next random number below `bound` (SplitMix64).
    pub(crate) fn random(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A Python program of `interop/`, told where the broker is.
    pub(crate) fn python(&self, program: &str, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.tools.python(program)?;
        command.args(args);
        command.env("KAFKA", self.broker.kafka().to_string()).env("DANUBE", self.broker.danube_url());
        command.env("HTTP", self.broker.http().to_string());
        Ok(command)
    }

    /// Runs a Python program; what it prints last is the check's detail.
    pub(crate) async fn run_python(&self, program: &str, args: &[&str]) -> anyhow::Result<Finished> {
        self.run(&mut self.python(program, args)?).await
    }

    /// A program of `interop/go`, told where the broker is.
    pub(crate) fn go(&self, program: &str, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.tools.go(program)?;
        command.args(args).env("KAFKA", self.broker.kafka().to_string());
        Ok(command)
    }

    /// Runs a program of `interop/go`; what it prints last is the check's detail.
    pub(crate) async fn run_go(&self, program: &str, args: &[&str]) -> anyhow::Result<Finished> {
        self.run(&mut self.go(program, args)?).await
    }

    /// One of Apache Kafka's main classes, with `--bootstrap-server` set.
    pub(crate) async fn run_kafka_tool(&self, class: &str, args: &[&str]) -> anyhow::Result<Finished> {
        let mut command = self.tools.apache_kafka()?.main_class(class);
        command.args(["--bootstrap-server", &self.broker.kafka().to_string()]).args(args);
        self.run(&mut command).await
    }

    /// Runs a program to its end; a bad exit status is an error.
    pub(crate) async fn run(&self, command: &mut Command) -> anyhow::Result<Finished> {
        process::succeed(command, &self.log, PROGRAM_LIMIT).await
    }

    /// Starts a program that is to be fed or stopped later.
    pub(crate) fn spawn(&self, command: &mut Command) -> anyhow::Result<Child> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command.spawn()?)
    }

    /// Waits for a program from [`Stage::spawn`].
    pub(crate) async fn finish(&self, child: Child, name: &str) -> anyhow::Result<Finished> {
        process::finish_child(child, name, &self.log, PROGRAM_LIMIT).await
    }
}
