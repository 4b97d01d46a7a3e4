//! The log itself: raw produce requests in closed loops, latency in an open loop, memory under load, restarts with many
//! partitions, and what rest costs. Every measurement has a broker and a folder of its own.

mod open_loop;
mod raw;
mod restart;

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::sleep;

use super::candidate::Candidate;
use super::machine;
use super::meter::Meter;
use super::table::Table;
use crate::broker::{Broker, Launch};
use crate::kafka_client::Acks;
use raw::Shape;

/// One closed loop of a round at 100 percent.
const LOOP_TIME: Duration = Duration::from_secs(10);
/// Before each closed loop: a JVM has to get warm, and a log to have files to use again.
const WARM_UP_TIME: Duration = Duration::from_secs(8);
const WARM_UP_MIN: Duration = Duration::from_secs(2);
const OPEN_LOOP_RATE: u64 = 1_000;
const OPEN_LOOP_REQUESTS: u64 = 20_000;
const OPEN_LOOP_WARM_UP: u64 = 3_000;
const OPEN_LOOP_RECORD_BYTES: usize = 100;
/// How long a broker is watched at rest.
const REST: Duration = Duration::from_secs(10);

const SHAPES: [(&str, Shape); 5] = [
    ("raw 16 KiB x 5", Shape { connections: 1, in_flight: 5, batch_bytes: 16 << 10, record_bytes: 100 }),
    ("raw 64 KiB x 5", Shape { connections: 1, in_flight: 5, batch_bytes: 64 << 10, record_bytes: 100 }),
    // A little less than 1 MiB, the largest batch that brokers take by default.
    ("raw 1 MiB x 5", Shape { connections: 1, in_flight: 5, batch_bytes: 1_000_000, record_bytes: 1_024 }),
    ("1 connection, 1 in flight", Shape { connections: 1, in_flight: 1, batch_bytes: 0, record_bytes: 100 }),
    (
        "64 connections, 1 in flight",
        Shape { connections: 64, in_flight: 1, batch_bytes: 0, record_bytes: 100 },
    ),
];

/// How much to measure.
pub(crate) struct Amount {
    pub(crate) rounds: usize,
    pub(crate) percent: u32,
    pub(crate) partitions: i32,
}

impl Amount {
    fn time(&self, whole: Duration) -> Duration {
        (whole * self.percent / 100).max(Duration::from_millis(300))
    }

    fn warm_up(&self) -> Duration {
        self.time(WARM_UP_TIME).max(WARM_UP_MIN)
    }

    fn count(&self, whole: u64) -> u64 {
        (whole * u64::from(self.percent) / 100).max(200)
    }
}

/// Measures every system once per round, in an order that alternates.
pub(crate) async fn measure(
    systems: &[Launch],
    amount: &Amount,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    for round in 0..amount.rounds {
        for (name, shape) in SHAPES {
            for system in super::kafka::order(systems.len(), round) {
                let candidate = start(&systems[system], system, folder, amount).await?;
                candidate.closed_loop(name, shape, amount, table).await?;
            }
        }
        for system in super::kafka::order(systems.len(), round) {
            let candidate = start(&systems[system], system, folder, amount).await?;
            candidate.open_loop(amount, table).await?;
        }
        for system in super::kafka::order(systems.len(), round) {
            restart::measure(&systems[system], system, amount, folder, table).await?;
        }
    }
    Ok(())
}

/// Starts a broker, at full size only once the machine has nothing else to do.
async fn start(launch: &Launch, system: usize, folder: &Path, amount: &Amount) -> anyhow::Result<Candidate> {
    if amount.percent >= 100 {
        machine::wait_until_idle().await?;
    }
    Candidate::start(launch, system, folder).await
}

impl Candidate {
    async fn closed_loop(
        self,
        name: &str,
        shape: Shape,
        amount: &Amount,
        table: &mut Table,
    ) -> anyhow::Result<()> {
        let address = self.broker.kafka();
        raw::run(address, "warm-up", Acks::All, shape, amount.warm_up()).await?;
        let meter = Meter::start_beside_flushes(&self.broker, self.data.path())?;
        let ran = raw::run(address, "measured", Acks::All, shape, amount.time(LOOP_TIME)).await?;
        let reading = meter.read()?;
        let mut add = |unit, value| table.add(name, unit, self.system, reading.sample(value));
        if shape.batch_bytes > 0 {
            add("MB/s", ran.megabytes_per_s());
            add("broker CPU s/GB", reading.broker_cpu.as_secs_f64() / ran.gigabytes());
        } else {
            add("requests/s", ran.requests_per_s());
            add("us of broker CPU a request", reading.broker_cpu.as_secs_f64() * 1e6 / ran.requests as f64);
        }
        percentiles(&ran.latency, &mut add);
        add("peak resident MiB", self.broker.peak_resident_bytes()? as f64 / f64::from(1 << 20));
        self.stop().await
    }

    async fn open_loop(self, amount: &Amount, table: &mut Table) -> anyhow::Result<()> {
        let address = self.broker.kafka();
        let shape =
            Shape { connections: 1, in_flight: 1, batch_bytes: 0, record_bytes: OPEN_LOOP_RECORD_BYTES };
        // Makes the topic, and gets a JVM warm.
        raw::run(address, "measured", Acks::All, shape, amount.warm_up()).await?;
        let run = move |count| {
            tokio::task::spawn_blocking(move || {
                open_loop::run(address, "measured", OPEN_LOOP_RATE, count, OPEN_LOOP_RECORD_BYTES)
            })
        };
        run(amount.count(OPEN_LOOP_WARM_UP)).await??;
        let meter = Meter::start_beside_flushes(&self.broker, self.data.path())?;
        let latency = run(amount.count(OPEN_LOOP_REQUESTS)).await??;
        let reading = meter.read()?;
        let name = format!("open loop, {OPEN_LOOP_RATE}/s, {OPEN_LOOP_RECORD_BYTES} B");
        percentiles(&latency, &mut |unit, value| {
            table.add(&name, unit, self.system, reading.sample(value));
        });
        self.stop().await
    }
}

fn percentiles(latency: &Histogram<u64>, add: &mut impl FnMut(&'static str, f64)) {
    for (unit, quantile) in [("p50 us", 0.5), ("p99 us", 0.99), ("p99.9 us", 0.999)] {
        add(unit, latency.value_at_quantile(quantile) as f64);
    }
    add("max us", latency.max() as f64);
}

/// Processor time of a broker that nobody asks anything, percent of one core.
async fn idle_cpu_percent(broker: &Broker, amount: &Amount) -> anyhow::Result<f64> {
    let time = amount.time(REST).max(Duration::from_secs(3));
    let before = broker.cpu()?;
    sleep(time).await;
    Ok(100.0 * broker.cpu()?.saturating_sub(before).as_secs_f64() / time.as_secs_f64())
}
