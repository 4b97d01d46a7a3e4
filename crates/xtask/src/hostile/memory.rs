//! `cargo xtask hostile --memory`: the broker in little memory, with many partitions, many idle connections, slow ones that
//! come again, and a load; at the end more arrives at a time than there is memory for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::load::{self, Loaded, Target};
use super::memory_limit::MemoryLimit;
use super::overload::{self, Overloaded};
use crate::broker::{Broker, Launch, fresh_log};
use crate::kafka_client::Connection;
use crate::kafka_probe;
use crate::workspace;

const LIMIT_BYTES: u64 = 256 << 20;
const TOPIC: &str = "memory";
const PARTITIONS: i32 = 1_000;
const IDLE: usize = 2_000;
const SLOW: usize = 200;
/// Partitions are opened by their first batches.
const FIRST_BATCHES: Duration = Duration::from_secs(5);
/// How long it takes all that it can, to know what 70 % of it are.
const FULL_LOAD: Duration = Duration::from_secs(10);
const SHARE: f64 = 0.7;
/// With less than that share nothing is shown.
const SHARE_MIN: f64 = 0.6;
/// Caches and buffers are filled by then.
const WARM_UP: Duration = Duration::from_secs(30);
/// From the first quarter behind the warm-up to the last one.
const GROWTH_MAX_BYTES: i64 = 8 << 20;

/// Begins a request and never goes on, again and again.
async fn slow(address: SocketAddr, evictions: Arc<AtomicU64>) -> anyhow::Result<()> {
    loop {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(&(50_i32 << 20).to_be_bytes()).await?;
        connection.write_all(&[0; 100]).await?;
        let _ = connection.read(&mut [0; 16]).await;
        evictions.fetch_add(1, Relaxed);
    }
}

async fn idle(address: SocketAddr) -> anyhow::Result<Vec<TcpStream>> {
    let mut connections = Vec::new();
    for number in 0..IDLE {
        let mut connection = TcpStream::connect(address).await?;
        kafka_probe::ask(&mut connection, number as i32).await?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Resident memory, a sample a second.
async fn watch(broker: &mut Broker, time: Duration) -> anyhow::Result<Vec<u64>> {
    let mut ticks = interval(Duration::from_secs(1));
    let mut samples = Vec::new();
    while samples.len() < time.as_secs() as usize {
        ticks.tick().await;
        broker.check_alive()?;
        samples.push(broker.resident_bytes()?);
    }
    Ok(samples)
}

fn mean(samples: &[u64]) -> i64 {
    (samples.iter().sum::<u64>() / samples.len().max(1) as u64) as i64
}

/// What was found behind the warm-up.
struct Found {
    /// Batches a second without idle and slow connections.
    full: f64,
    loaded: Loaded,
    /// Resident bytes.
    fresh: u64,
    samples: Vec<u64>,
    overloaded: Overloaded,
    beside_overload: Loaded,
    peak_before_overload: u64,
    peak: u64,
    evictions: u64,
}

/// All of it for so long behind the warm-up; what was found.
pub(super) async fn run(launch: &Launch, time: Duration) -> anyhow::Result<String> {
    let folder = TempDir::with_prefix("keyway-memory-")?;
    let log = workspace::interop_target().join("logs").join("hostile-memory.log");
    fresh_log(&log)?;
    let limit = MemoryLimit::new(LIMIT_BYTES)?;
    let inside = limit.enter()?;
    let mut broker = Broker::start(launch, &folder.path().join("data"), &log).await?;
    drop(inside);
    let found = find(&mut broker, time).await;
    // Whatever ended because of it, this is the reason.
    if let Err(error) = &found
        && limit.kills()? > 0
    {
        bail!("the kernel had to kill the broker in {} MiB: {error:#}", LIMIT_BYTES >> 20);
    }
    let told = format!("{} MiB of {}, {}", LIMIT_BYTES >> 20, limit.kind(), found?.judge()?);
    broker.kill().await?;
    Ok(told)
}

async fn find(broker: &mut Broker, time: Duration) -> anyhow::Result<Found> {
    let address = broker.kafka();
    let target = Target { address, topic: TOPIC, partitions: PARTITIONS };
    Connection::open(address).await?.create_topic(TOPIC, PARTITIONS).await?;
    let fresh = broker.resident_bytes()?;
    let waited = async |time| {
        sleep(time).await;
        Ok(())
    };
    load::beside(target, None, waited(FIRST_BATCHES)).await.context("first batches")?;
    let ((), full) = load::beside(target, None, waited(FULL_LOAD)).await.context("full load")?;
    let wanted = Some(full.taken * SHARE);

    let _idle = idle(address).await?;
    let evictions = Arc::new(AtomicU64::new(0));
    let mut slow_ones = JoinSet::new();
    for _ in 0..SLOW {
        slow_ones.spawn(slow(address, evictions.clone()));
    }
    let (mut samples, loaded) = load::beside(target, wanted, watch(broker, WARM_UP + time)).await?;
    let peak_before_overload = broker.peak_resident_bytes()?;
    let overload = load::beside(target, wanted, overload::run(broker)).await;
    let (overloaded, beside_overload) = overload.context("overload")?;
    if let Some(ended) = slow_ones.try_join_next() {
        ended??;
    }
    Ok(Found {
        full: full.taken,
        loaded,
        fresh,
        samples: samples.split_off(WARM_UP.as_secs() as usize),
        overloaded,
        beside_overload,
        peak_before_overload,
        peak: broker.peak_resident_bytes()?,
        evictions: evictions.load(Relaxed),
    })
}

impl Found {
    /// What is told of it, or what is wrong with it.
    fn judge(&self) -> anyhow::Result<String> {
        let Self { full, loaded, fresh, samples, overloaded, beside_overload, evictions, .. } = self;
        let quarter = samples.len() / 4;
        let (first, last) = (mean(&samples[..quarter]), mean(&samples[samples.len() - quarter..]));
        let share = loaded.taken / full;
        let told = format!(
            "{PARTITIONS} partitions, {IDLE} idle connections, {SLOW} slow ones ({evictions} ended), {:.0} batches/s, \
             {:.0} % of {full:.0} alone, {} retriable errors; resident {} MiB fresh, {} to {} MiB from the first quarter \
             of {} s to the last, {} MiB at most; overload: {overloaded}, {:.0} small batches/s beside it, {} MiB at most",
            loaded.taken,
            share * 1e2,
            loaded.retriable,
            fresh >> 20,
            first >> 20,
            last >> 20,
            samples.len(),
            self.peak_before_overload >> 20,
            beside_overload.taken,
            self.peak >> 20
        );
        ensure!(share >= SHARE_MIN, "the load is no load: {told}");
        let grown = last - first;
        ensure!(grown <= GROWTH_MAX_BYTES, "memory grows by {} KiB: {told}", grown >> 10);
        Ok(told)
    }
}
