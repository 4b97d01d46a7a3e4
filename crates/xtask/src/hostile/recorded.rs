//! What real clients send: their requests, taken down on the way to the broker.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::broker::Broker;
use crate::process;
use crate::proxy::Proxy;
use crate::tools::{Tool, Tools};

/// One program.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);
/// One that sent fewer did not get to work; kcat only asks once.
const REQUESTS_MIN: usize = 5;

/// Clients that can be had, by what they need.
pub(super) const CLIENTS: &[(&str, Tool)] = &[
    ("librdkafka", Tool::Python),
    ("a librdkafka group", Tool::Python),
    ("kafka-python", Tool::Python),
    ("kcat", Tool::Kcat),
    ("Java", Tool::ApacheKafka),
];

/// Requests of all clients whose tools are there, and the names of those.
pub(super) struct Recorded {
    pub(super) requests: Vec<Vec<u8>>,
    pub(super) clients: Vec<&'static str>,
}

fn command(client: &str, tools: &Tools, address: &str) -> anyhow::Result<Command> {
    let mut command = match client {
        "librdkafka" => tools.python("kafka/all_codecs.py")?,
        "a librdkafka group" => tools.python("kafka/group.py")?,
        "kafka-python" => tools.python("kafka/with_kafka_python.py")?,
        "kcat" => {
            let mut command = tools.kcat()?;
            command.args(["-b", address, "-L", "-J"]);
            command
        }
        _ => {
            let class = "org.apache.kafka.tools.ProducerPerformance";
            let mut command = tools.apache_kafka()?.main_class(class);
            command.args(["--bootstrap-server", address, "--topic", "java", "--num-records", "100"]);
            command.args(["--record-size", "100", "--throughput", "-1"]);
            command
        }
    };
    command.env("KAFKA", address);
    Ok(command)
}

impl Recorded {
    /// Runs them one after the other, each behind a proxy of its own.
    pub(super) async fn make(
        broker: &Broker,
        tools: &Tools,
        log: &Path,
        names: &[&str],
    ) -> anyhow::Result<Self> {
        let mut recorded = Self { requests: Vec::new(), clients: Vec::new() };
        for &(client, tool) in CLIENTS {
            if !names.contains(&client) || tools.missing(tool).is_some() {
                continue;
            }
            let proxy = Proxy::start(broker.kafka(), 0).await?;
            let mut command = command(client, tools, &proxy.address().to_string())?;
            process::succeed(&mut command, log, PROGRAM_LIMIT).await.with_context(|| client.to_owned())?;
            let requests = proxy.recorded();
            let least = if client == "kcat" { 1 } else { REQUESTS_MIN };
            ensure!(requests.len() >= least, "{client} sent {} requests", requests.len());
            recorded.requests.extend(requests);
            recorded.clients.push(client);
        }
        Ok(recorded)
    }
}
