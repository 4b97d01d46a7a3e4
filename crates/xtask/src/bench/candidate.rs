//! A broker that is measured on a folder of its own.

use std::path::Path;

use tempfile::TempDir;

use crate::broker::{Broker, Launch};
use crate::kafka_client::Connection;

pub(crate) struct Candidate {
    pub(crate) broker: Broker,
    /// Its column.
    pub(crate) system: usize,
    /// Gone with it.
    pub(crate) data: TempDir,
}

impl Candidate {
    /// Starts `launch` on an empty folder inside `folder`, which keeps its output.
    pub(crate) async fn start(launch: &Launch, system: usize, folder: &Path) -> anyhow::Result<Self> {
        let data = TempDir::new_in(folder)?;
        let log = folder.join(format!("{}.log", launch.name()));
        Ok(Self { broker: Broker::start(launch, data.path(), &log).await?, system, data })
    }

    /// So many connections, one after the other: Kafka resets what comes faster than it accepts.
    pub(crate) async fn connect(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(self.broker.kafka()).await?);
        }
        Ok(connections)
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.broker.check_alive()?;
        self.broker.kill().await
    }
}
