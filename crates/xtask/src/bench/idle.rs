//! What a broker costs before it does anything: time to the first answer, memory at rest and with idle connections.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::candidate::Candidate;
use super::table::{Sample, Table};
use crate::broker::Launch;
use crate::kafka_client::Connection;

/// A broker at rest is one that has had this long to finish its start.
const REST: Duration = Duration::from_secs(3);

const MIB: f64 = (1 << 20) as f64;

/// Clients that are connected and have nothing to say.
const IDLE_CONNECTIONS: usize = 2_000;

/// Starts every system on an empty folder, in an order that alternates.
pub(crate) async fn measure(
    systems: &[Launch],
    rounds: usize,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    for round in 0..rounds {
        for system in super::kafka::order(systems.len(), round) {
            let candidate = Candidate::start(&systems[system], system, folder).await?;
            let start_ms = candidate.broker.start_to_answer().as_secs_f64() * 1000.0;
            table.add("start to first answer, empty folder", "ms", system, Sample::of(start_ms));
            sleep(REST).await;
            let rest = candidate.broker.resident_bytes()? as f64;
            table.add("resident memory at rest", "MiB", system, Sample::of(rest / MIB));
            let mut connections = candidate.connect(IDLE_CONNECTIONS).await?;
            for connection in &mut connections {
                introduce(connection).await?;
            }
            sleep(REST).await;
            let idle = candidate.broker.resident_bytes()? as f64;
            let row = format!("resident memory with {IDLE_CONNECTIONS} idle connections");
            table.add(&row, "MiB", system, Sample::of(idle / MIB));
            let each = (idle - rest) / 1024.0 / connections.len() as f64;
            table.add(&row, "KiB more for each", system, Sample::of(each));
            candidate.stop().await?;
        }
    }
    Ok(())
}

/// Asks what any client asks first: ApiVersions, and Metadata of no topic.
async fn introduce(connection: &mut Connection) -> anyhow::Result<()> {
    const API_VERSIONS: i16 = 18;
    const METADATA: i16 = 3;
    connection.call(API_VERSIONS, 0, &[]).await?;
    // From version 1 on an empty list means none.
    connection.call(METADATA, 1, &0_i32.to_be_bytes()).await?;
    Ok(())
}
