//! `cargo xtask hostile memory`: the broker in little memory, with many partitions, many idle connections, slow ones that
//! come again, and a load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::memory_limit::MemoryLimit;
use crate::broker::{Broker, Launch, fresh_log};
use crate::kafka_client::{Acks, Connection, error_code};
use crate::kafka_probe;
use crate::produce_bytes::{batch, record};
use crate::workspace;

const LIMIT_BYTES: u64 = 256 << 20;
const TOPIC: &str = "memory";
const PARTITIONS: i32 = 1_000;
const IDLE: usize = 2_000;
const SLOW: usize = 200;
const PRODUCERS: usize = 8;
const VALUE_BYTES: usize = 4_000;
/// How long it takes all that it can, to know what 70 % of it are.
const FULL_LOAD: Duration = Duration::from_secs(10);
const SHARE: f64 = 0.7;
/// Caches and buffers are filled by then.
const WARM_UP: Duration = Duration::from_secs(30);
/// From the first quarter behind the warm-up to the last one.
const GROWTH_MAX_BYTES: i64 = 8 << 20;

/// What producers count.
#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    retriable: AtomicU64,
}

/// Sends batches to all partitions in turn, so many a second, or as fast as they are answered.
async fn produce(
    address: SocketAddr,
    number: usize,
    per_second: Option<f64>,
    counts: Arc<Counts>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    let batch = batch(0, 1, &record(&[b'm'; VALUE_BYTES]));
    let begun = Instant::now();
    for count in 0_u64.. {
        let partition = (count as usize * PRODUCERS + number) % PARTITIONS as usize;
        if let Some(per_second) = per_second {
            let due = Duration::from_secs_f64(count as f64 / per_second);
            sleep(due.saturating_sub(begun.elapsed())).await;
        }
        match connection.produce(TOPIC, partition as i32, Acks::All, &batch).await? {
            error_code::NONE => counts.taken.fetch_add(1, Relaxed),
            error if error_code::is_retriable(error) => counts.retriable.fetch_add(1, Relaxed),
            error => bail!("a producer is refused with error {error}"),
        };
    }
    Ok(())
}

/// All producers for so long; how many batches a second were taken.
async fn load(
    address: SocketAddr,
    per_second: Option<f64>,
    until: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<(f64, u64)> {
    let counts = Arc::new(Counts::default());
    let mut producers = JoinSet::new();
    for number in 0..PRODUCERS {
        let of_each = per_second.map(|all| all / PRODUCERS as f64);
        producers.spawn(produce(address, number, of_each, counts.clone()));
    }
    let begun = Instant::now();
    tokio::select! {
        biased;
        Some(ended) = producers.join_next() => {
            ended??;
            bail!("a producer ended by itself");
        }
        done = until => done?,
    }
    let rate = counts.taken.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, counts.retriable.load(Relaxed)))
}

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

/// All of it for so long behind the warm-up; what was found.
pub(super) async fn run(launch: &Launch, time: Duration) -> anyhow::Result<String> {
    let folder = TempDir::with_prefix("keyway-memory-")?;
    let log = workspace::interop_target().join("logs").join("hostile-memory.log");
    fresh_log(&log)?;
    // Outlives the broker, which is in it.
    let limit;
    let mut broker = Broker::start(launch, &folder.path().join("data"), &log).await?;
    limit = MemoryLimit::put(broker.process_id()?, LIMIT_BYTES)?;
    let address = broker.kafka();
    let mut connection = Connection::open(address).await?;
    connection.create_topic(TOPIC, PARTITIONS).await?;
    let fresh = broker.resident_bytes()?;
    let waited = async {
        sleep(FULL_LOAD).await;
        Ok(())
    };
    let (full, _) = load(address, None, waited).await.context("full load")?;

    let idle = idle(address).await?;
    let evictions = Arc::new(AtomicU64::new(0));
    let mut slow_ones = JoinSet::new();
    for _ in 0..SLOW {
        slow_ones.spawn(slow(address, evictions.clone()));
    }
    let mut samples = Vec::new();
    let watching = async {
        samples = watch(&mut broker, WARM_UP + time).await?;
        Ok(())
    };
    let (rate, retriable) = load(address, Some(full * SHARE), watching).await?;
    if let Some(ended) = slow_ones.try_join_next() {
        ended??;
    }
    let measured = &samples[WARM_UP.as_secs() as usize..];
    let quarter = measured.len() / 4;
    let (first, last) = (mean(&measured[..quarter]), mean(&measured[measured.len() - quarter..]));
    let peak = broker.peak_resident_bytes()? >> 20;
    let evictions = evictions.load(Relaxed);
    let told = format!(
        "{} MiB of {}, {PARTITIONS} partitions, {} idle connections, {SLOW} slow ones ({evictions} ended), {rate:.0} \
         batches/s of {full:.0} alone, {retriable} retriable errors; resident {} MiB fresh, {} to {} MiB from the first \
         quarter of {} s to the last, {peak} MiB at most",
        LIMIT_BYTES >> 20,
        limit.kind(),
        idle.len(),
        fresh >> 20,
        first >> 20,
        last >> 20,
        measured.len()
    );
    ensure!(limit.kills()? == 0, "the kernel had to kill: {told}");
    let grown = last - first;
    ensure!(grown <= GROWTH_MAX_BYTES, "memory grows by {} KiB: {told}", grown >> 10);
    broker.kill().await?;
    Ok(told)
}
