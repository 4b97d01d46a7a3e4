//! A load of small batches: as much as is answered, or so much a second.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::kafka_client::{Acks, Connection, error_code};
use crate::produce_bytes::{batch, record};

const PRODUCERS: usize = 8;
/// Requests of a producer that are on their way at a time: as many as Kafka's producers keep.
const IN_FLIGHT: usize = 5;
const VALUE_BYTES: usize = 4_000;

/// Where it goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) topic: &'static str,
    pub(super) partitions: i32,
}

/// What came of it.
pub(super) struct Loaded {
    /// Batches a second.
    pub(super) taken: f64,
    pub(super) retriable: u64,
}

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    retriable: AtomicU64,
}

/// All producers until `other` is done, and what that found.
pub(super) async fn beside<T>(
    target: Target,
    per_second: Option<f64>,
    other: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Loaded)> {
    let counts = Arc::new(Counts::default());
    let mut producers = JoinSet::new();
    for number in 0..PRODUCERS {
        let of_each = per_second.map(|all| all / PRODUCERS as f64);
        producers.spawn(produce(target, number, of_each, counts.clone()));
    }
    let begun = Instant::now();
    let found = tokio::select! {
        biased;
        Some(ended) = producers.join_next() => {
            ended??;
            bail!("a producer ended by itself");
        }
        found = other => found?,
    };
    let taken = counts.taken.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
    Ok((found, Loaded { taken, retriable: counts.retriable.load(Relaxed) }))
}

/// Sends to all partitions in turn. Whoever is behind its schedule catches up without a pause: the shortest one of tokio's
/// timer is a millisecond, longer than a batch takes.
async fn produce(
    target: Target,
    number: usize,
    per_second: Option<f64>,
    counts: Arc<Counts>,
) -> anyhow::Result<()> {
    let Target { address, topic, partitions } = target;
    let mut connection = Connection::open(address).await?;
    let batch = batch(0, 1, &record(&[b'm'; VALUE_BYTES]));
    let begun = Instant::now();
    let (mut sent, mut in_flight) = (0_usize, 0);
    loop {
        let due = per_second.map_or(begun, |rate| begun + Duration::from_secs_f64(sent as f64 / rate));
        if in_flight < IN_FLIGHT && due <= Instant::now() {
            let partition = (sent * PRODUCERS + number) % partitions as usize;
            connection.send_batch(topic, partition as i32, Acks::All, &batch).await?;
            sent += 1;
            in_flight += 1;
        } else if in_flight > 0 {
            match connection.produced().await?.error_code {
                error_code::NONE => counts.taken.fetch_add(1, Relaxed),
                error if error_code::is_retriable(error) => counts.retriable.fetch_add(1, Relaxed),
                error => bail!("a producer is refused with error {error}"),
            };
            in_flight -= 1;
        } else {
            sleep_until(due).await;
        }
    }
}
