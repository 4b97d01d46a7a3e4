//! What a broker costs before it does anything: time to the first answer, memory at rest.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::table::{Sample, Table};
use crate::broker::{Broker, Launch};

/// A broker at rest is one that has had this long to finish its start.
const REST: Duration = Duration::from_secs(3);

/// Starts every system on an empty folder, in an order that alternates.
pub(crate) async fn measure(
    systems: &[Launch],
    rounds: usize,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    for round in 0..rounds {
        for system in super::kafka::order(systems.len(), round) {
            let data = TempDir::new_in(folder)?;
            let log = folder.join(format!("{}.log", systems[system].name()));
            let mut broker = Broker::start(&systems[system], data.path(), &log).await?;
            let start_ms = broker.start_to_answer().as_secs_f64() * 1000.0;
            table.add("start to first answer, empty folder", "ms", system, Sample::of(start_ms));
            sleep(REST).await;
            let resident_mib = broker.resident_bytes()? as f64 / f64::from(1 << 20);
            table.add("resident memory at rest", "MiB", system, Sample::of(resident_mib));
            broker.kill().await?;
        }
    }
    Ok(())
}
