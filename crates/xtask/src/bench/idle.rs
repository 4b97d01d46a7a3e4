//! What a broker costs before it does anything: time to the first answer, memory at rest.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::candidate::Candidate;
use super::table::{Sample, Table};
use crate::broker::Launch;

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
            let candidate = Candidate::start(&systems[system], system, folder).await?;
            let start_ms = candidate.broker.start_to_answer().as_secs_f64() * 1000.0;
            table.add("start to first answer, empty folder", "ms", system, Sample::of(start_ms));
            sleep(REST).await;
            let resident_mib = candidate.broker.resident_bytes()? as f64 / f64::from(1 << 20);
            table.add("resident memory at rest", "MiB", system, Sample::of(resident_mib));
            candidate.stop().await?;
        }
    }
    Ok(())
}
