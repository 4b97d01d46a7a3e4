//! Apache Kafka from its jars: one broker in one process, and its tools' main classes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::process;

/// The folder with Kafka's jars.
#[derive(Clone)]
pub(crate) struct ApacheKafka {
    jars: PathBuf,
    logging: PathBuf,
    flush_every_batch: bool,
    /// Besides the usual ones, as in `listeners`.
    listeners: Vec<String>,
    /// Lines of settings.
    settings: String,
}

/// As Kafka's own start script sets it.
const BROKER_HEAP: &str = "-Xmx1G";
const FORMAT_LIMIT: Duration = Duration::from_secs(60);
/// Any 16 bytes in base64: every node gets a folder of its own.
const CLUSTER_ID: &str = "a2V5d2F5LWludGVyb3A";

impl ApacheKafka {
    pub(crate) fn new(jars: PathBuf, logging: PathBuf) -> Self {
        Self { jars, logging, flush_every_batch: false, listeners: Vec::new(), settings: String::new() }
    }

    /// With further listeners, `SASL_PLAINTEXT` or `SASL_SSL`, and these lines of settings.
    pub(crate) fn with(mut self, listeners: Vec<String>, settings: &str) -> Self {
        self.listeners = listeners;
        self.settings.push_str(settings);
        self
    }

    /// Whether a broker flushes to disk before it acknowledges; by default it leaves that to the operating system.
    pub(crate) fn flushing_every_batch(mut self, flush_every_batch: bool) -> Self {
        self.flush_every_batch = flush_every_batch;
        self
    }

    /// As it was told.
    pub(crate) fn flushes_every_batch(&self) -> bool {
        self.flush_every_batch
    }

    /// A command that runs one of Kafka's main classes.
    pub(crate) fn main_class(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.arg(format!("-Dlog4j2.configurationFile={}", self.logging.display()));
        command.arg("-cp").arg(format!("{}/*", self.jars.display())).arg(class);
        command
    }

    /// A command that runs a program in one file, with Kafka's clients at hand.
    pub(crate) fn source(&self, path: &Path) -> Command {
        let mut command = Command::new("java");
        command.arg(format!("-Dlog4j2.configurationFile={}", self.logging.display()));
        command.arg("-cp").arg(format!("{}/*", self.jars.display())).arg(path);
        command
    }

    /// The start command of a broker whose folder was formatted.
    pub(crate) fn command(&self, data: &Path) -> Command {
        let mut command = Command::new("java");
        // The collector and its goal are those of Kafka's start script.
        command.args([BROKER_HEAP, "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.logging.display()));
        command.arg("-cp").arg(format!("{}/*", self.jars.display()));
        command.arg("kafka.Kafka").arg(properties_path(data));
        command
    }

    /// Writes the broker's settings and formats its folder.
    pub(crate) async fn format(
        &self,
        data: &Path,
        kafka: SocketAddr,
        controller: SocketAddr,
        log: &Path,
    ) -> anyhow::Result<()> {
        self.configure(data, kafka, controller)?;
        let mut format = self.main_class("kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", CLUSTER_ID, "--config"]).arg(properties_path(data));
        process::succeed(&mut format, log, FORMAT_LIMIT).await?;
        Ok(())
    }

    /// Writes the broker's settings alone, for a folder that was formatted elsewhere.
    pub(crate) fn configure(
        &self,
        data: &Path,
        kafka: SocketAddr,
        controller: SocketAddr,
    ) -> anyhow::Result<()> {
        let mut properties = properties(data, kafka, controller, &self.listeners);
        properties.push_str(&self.settings);
        if self.flush_every_batch {
            properties.push_str("log.flush.interval.messages=1\n");
        }
        Ok(fs::write(properties_path(data), properties)?)
    }
}

fn properties_path(data: &Path) -> PathBuf {
    data.join("server.properties")
}

/// Kafka's defaults, but for what a single node needs and the rebalance delay, which is set to Keyway's.
fn properties(data: &Path, kafka: SocketAddr, controller: SocketAddr, listeners: &[String]) -> String {
    let more: String = listeners.iter().map(|listener| format!(",{listener}")).collect();
    // With a listener that is neither Kafka's own nor the controller's, each has to be named.
    let protocols = match listeners {
        [] => "",
        _ => {
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
             SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n"
        }
    };
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{kafka},CONTROLLER://{controller}{more}
advertised.listeners=PLAINTEXT://{kafka}{more}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=300
{protocols}",
        data.join("logs").display()
    )
}
