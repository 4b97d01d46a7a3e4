//! Producing and reading over the Kafka protocol with clients that nobody here wrote.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::process::Command;

use super::meter::{Meter, Reading};
use super::table::{Sample, Table};
use crate::broker::{Broker, Launch};
use crate::process;
use crate::tools::{Tool, Tools};

const RUN_LIMIT: Duration = Duration::from_secs(300);
const SIZES: [usize; 2] = [100, 1024];
const ACKS: [&str; 2] = ["all", "1"];
/// Bytes of payload per run: some seconds at the rates of either system.
const PAYLOAD_BYTES: usize = 400_000_000;
const RECORDS_MAX: usize = 2_000_000;
/// Of records whose latency is looked at.
const LATENCY_SIZE: usize = 1024;
const LATENCY_RUN_S: f64 = 10.0;
/// `kafka-producer-perf-test` ends a transaction as soon as it is this old.
const TRANSACTION_MS: u32 = 100;
const CPU_PER_GB: &str = "broker CPU s/GB";

/// Round 0: first to last, round 1: last to first, and so on, so that a drift of the machine hits both alike.
pub(crate) fn order(systems: usize, round: usize) -> Vec<usize> {
    let forward = 0..systems;
    if round.is_multiple_of(2) { forward.collect() } else { forward.rev().collect() }
}

struct Bench<'a> {
    tools: &'a Tools,
    folder: &'a Path,
    percent: usize,
    brokers: Vec<Broker>,
}

/// Runs all rounds on brokers that live through all of them, as a JVM needs to get warm.
pub(crate) async fn measure(
    tools: &Tools,
    systems: &[Launch],
    rounds: usize,
    percent: u32,
    folder: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    let data = TempDir::new_in(folder)?;
    let mut brokers = Vec::new();
    for system in systems {
        let log = folder.join(format!("{}.log", system.name()));
        brokers.push(Broker::start(system, &data.path().join(system.name()), &log).await?);
    }
    let mut bench = Bench { tools, folder, percent: percent as usize, brokers };
    for (system, launch) in systems.iter().enumerate() {
        eprintln!("warming {}", launch.name());
        bench.java_produce(system, "warm-up", 100, "all").await?;
    }
    for round in 0..rounds {
        // Of the slower system, at the largest size and acks=all.
        let mut slowest = f64::MAX;
        for size in SIZES {
            for acks in ACKS {
                for system in order(systems.len(), round) {
                    let topic = format!("java-{size}-{acks}-{round}");
                    let (rate, megabytes) = bench.java_produce(system, &topic, size, acks).await?;
                    let row = format!("produce, Java, {size} B, acks={acks}");
                    table.add(&row, "records/s", system, rate);
                    table.add(&row, "MB/s", system, megabytes);
                    if (size, acks) == (LATENCY_SIZE, "all") {
                        slowest = slowest.min(rate.value);
                    }
                }
            }
        }
        for system in order(systems.len(), round) {
            let rate = bench.java_transactions(system, round).await?;
            let row = format!("produce, Java, {LATENCY_SIZE} B, a transaction each {TRANSACTION_MS} ms");
            table.add(&row, "records/s", system, rate);
        }
        for system in order(systems.len(), round) {
            let row = format!("latency, Java, {LATENCY_SIZE} B, acks=all, half of the slower one's rate");
            for (percentile, sample) in bench.java_latencies(system, round, slowest / 2.0).await? {
                table.add(&row, percentile, system, sample);
            }
        }
        for size in SIZES {
            for system in order(systems.len(), round) {
                let topic = format!("java-{size}-all-{round}");
                let sample = bench.java_consume(system, &topic, size).await?;
                table.add(&format!("catch-up read, Java, {size} B"), "MB/s", system, sample);
            }
        }
        if tools.missing(Tool::Kcat).is_none() {
            bench.librdkafka(round, table).await?;
        }
    }
    for broker in &mut bench.brokers {
        broker.check_alive()?;
        broker.kill().await?;
    }
    Ok(())
}

impl Bench<'_> {
    fn records(&self, size: usize) -> usize {
        records(size, self.percent)
    }

    async fn run(&self, system: usize, command: &mut Command) -> anyhow::Result<(String, Reading)> {
        run(&self.brokers[system], self.folder, command).await
    }

    fn producer_perf_test(
        &self,
        system: usize,
        topic: &str,
        size: usize,
        records: usize,
        rate: Option<f64>,
    ) -> anyhow::Result<Command> {
        producer_perf_test(self.tools, self.brokers[system].kafka(), topic, size, records, rate)
    }

    /// `kafka-producer-perf-test`, everything but acks at its default: records/s and MB/s as it reports them.
    async fn java_produce(
        &self,
        system: usize,
        topic: &str,
        size: usize,
        acks: &str,
    ) -> anyhow::Result<(Sample, Sample)> {
        let mut command = self.producer_perf_test(system, topic, size, self.records(size), None)?;
        command.arg(format!("acks={acks}"));
        let (line, reading) = self.run(system, &mut command).await?;
        let records = records_per_second(&line)?;
        Ok((reading.sample(records), reading.sample(records * size as f64 / 1e6)))
    }

    /// The same in transactions, one after the other: records/s.
    async fn java_transactions(&self, system: usize, round: usize) -> anyhow::Result<Sample> {
        let topic = format!("java-transactions-{round}");
        let records = self.records(LATENCY_SIZE);
        let mut command = self.producer_perf_test(system, &topic, LATENCY_SIZE, records, None)?;
        command.arg(format!("transactional.id={topic}"));
        command.args(["--transaction-duration-ms", &TRANSACTION_MS.to_string()]);
        let (line, reading) = self.run(system, &mut command).await?;
        Ok(reading.sample(records_per_second(&line)?))
    }

    /// The same at a rate that is held: percentiles of the time from send to acknowledgement, as it reports them.
    async fn java_latencies(
        &self,
        system: usize,
        round: usize,
        rate: f64,
    ) -> anyhow::Result<Vec<(&'static str, Sample)>> {
        const PERCENTILES: [(&str, &str); 3] =
            [(" ms 50th", "ms p50"), (" ms 99th", "ms p99"), (" ms 99.9th", "ms p99.9")];
        let (topic, records) = (format!("java-latency-{round}"), (rate * LATENCY_RUN_S) as usize);
        let mut command = self.producer_perf_test(system, &topic, LATENCY_SIZE, records, Some(rate))?;
        command.arg("acks=all");
        let (line, reading) = self.run(system, &mut command).await?;
        let percentiles = PERCENTILES.into_iter().map(|(suffix, unit)| {
            let found = line.split(", ").find_map(|part| part.trim_end_matches('.').strip_suffix(suffix));
            let ms = found.with_context(|| format!("no{suffix} in {line:?}"))?.parse()?;
            anyhow::Ok((unit, reading.sample(ms)))
        });
        percentiles.collect()
    }

    /// `kafka-consumer-perf-test`: MB/s while fetching, without the time to join the group.
    async fn java_consume(&self, system: usize, topic: &str, size: usize) -> anyhow::Result<Sample> {
        let address = self.brokers[system].kafka();
        let mut command = consumer_perf_test(self.tools, address, topic, self.records(size))?;
        let (line, reading) = self.run(system, &mut command).await?;
        Ok(reading.sample(megabytes_per_second(&line)?))
    }

    /// librdkafka through kcat, a loop in C: lines of a file out, and back to nowhere; wall time of the process.
    async fn librdkafka(&self, round: usize, table: &mut Table) -> anyhow::Result<()> {
        for size in SIZES {
            let lines = self.lines(size)?;
            for system in order(self.brokers.len(), round) {
                let (address, topic) =
                    (self.brokers[system].kafka().to_string(), format!("rd-{size}-{round}"));
                let produce = |file: &Path| {
                    let mut produce = self.tools.kcat()?;
                    produce.args(["-b", &address, "-P", "-t", &topic, "-X", "acks=all", "-l"]).arg(file);
                    anyhow::Ok(produce)
                };
                // The topic is made by its first record; what is measured starts with the second.
                let first = self.folder.join("first-line");
                std::fs::write(&first, "first\n")?;
                self.run(system, &mut produce(&first)?).await?;
                let (_, reading) = self.run(system, &mut produce(&lines)?).await?;
                let rate = self.records(size) as f64 / reading.took.as_secs_f64();
                let name = format!("produce, librdkafka, {size} B, acks=all");
                table.add(&name, "records/s", system, reading.sample(rate));
                let megabytes = rate * size as f64 / 1e6;
                table.add(&name, "MB/s", system, reading.sample(megabytes));
                table.add(&name, CPU_PER_GB, system, self.cpu_per_gigabyte(size, &reading));

                let mut consume = self.tools.kcat()?;
                consume.args(["-b", &address, "-C", "-t", &topic, "-o", "beginning", "-e", "-q", "-f", ""]);
                // The end of the topic is noticed by a fetch that finds nothing: half a second by default.
                consume.args(["-X", "fetch.wait.max.ms=10"]);
                let (_, reading) = self.run(system, &mut consume).await?;
                let rate = (self.records(size) * size) as f64 / 1e6 / reading.took.as_secs_f64();
                let name = format!("catch-up read, librdkafka, {size} B");
                table.add(&name, "MB/s", system, reading.sample(rate));
                table.add(&name, CPU_PER_GB, system, self.cpu_per_gigabyte(size, &reading));
            }
        }
        Ok(())
    }

    /// What a run cost the broker for each 10^9 bytes of values.
    fn cpu_per_gigabyte(&self, size: usize, reading: &Reading) -> Sample {
        let gigabytes = (self.records(size) * size) as f64 / 1e9;
        reading.sample(reading.broker_cpu.as_secs_f64() / gigabytes)
    }

    /// A file of `size`-byte lines, written once.
    fn lines(&self, size: usize) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("lines-{size}-{}", self.records(size)));
        if !path.exists() {
            let line = "keyed event streaming ".repeat(size.div_ceil(22));
            let text = format!("{}\n", &line[..size]).repeat(self.records(size));
            std::fs::write(&path, text)?;
        }
        Ok(path)
    }
}

/// How many records of a size make a run.
pub(super) fn records(size: usize, percent: usize) -> usize {
    (PAYLOAD_BYTES / size).min(RECORDS_MAX) * percent / 100
}

/// Runs a client; its last line, and what it cost.
pub(super) async fn run(
    broker: &Broker,
    folder: &Path,
    command: &mut Command,
) -> anyhow::Result<(String, Reading)> {
    let meter = Meter::start_beside_flushes(broker, folder)?;
    let finished = process::succeed(command, &folder.join("clients.log"), RUN_LIMIT).await?;
    Ok((finished.summary(), meter.read()?))
}

/// `kafka-producer-perf-test`, everything at its default; producer properties may follow.
pub(super) fn producer_perf_test(
    tools: &Tools,
    address: SocketAddr,
    topic: &str,
    size: usize,
    records: usize,
    rate: Option<f64>,
) -> anyhow::Result<Command> {
    let mut command = tools.apache_kafka()?.main_class("org.apache.kafka.tools.ProducerPerformance");
    let throughput = rate.map_or("-1".to_string(), |rate| format!("{rate:.0}"));
    command.args(["--topic", topic, "--throughput", &throughput]);
    command.args(["--num-records", &records.to_string(), "--record-size", &size.to_string()]);
    command.arg("--producer-props").arg(format!("bootstrap.servers={address}"));
    Ok(command)
}

/// `kafka-consumer-perf-test`, everything at its default.
pub(super) fn consumer_perf_test(
    tools: &Tools,
    address: SocketAddr,
    topic: &str,
    records: usize,
) -> anyhow::Result<Command> {
    let mut command = tools.apache_kafka()?.main_class("org.apache.kafka.tools.ConsumerPerformance");
    command.args(["--bootstrap-server", &address.to_string(), "--topic", topic]);
    command.args(["--num-records", &records.to_string(), "--hide-header"]);
    Ok(command)
}

/// 10^6 bytes a second while fetching, in `kafka-consumer-perf-test`'s line.
pub(super) fn megabytes_per_second(line: &str) -> anyhow::Result<f64> {
    let columns: Vec<&str> = line.split(", ").collect();
    let fetched = columns.get(8).with_context(|| format!("no fetch rate in {line:?}"))?;
    Ok(fetched.trim().parse::<f64>()? * f64::from(1 << 20) / 1e6)
}

/// From "100000 records sent, 50000.0 records/sec (4.77 MB/sec), ...".
pub(super) fn records_per_second(line: &str) -> anyhow::Result<f64> {
    let rate = line.split(", ").nth(1).and_then(|rates| rates.split(" records/sec").next());
    Ok(rate.with_context(|| format!("no rate in {line:?}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn the_order_alternates() {
        assert_eq!(order(2, 0), [0, 1]);
        assert_eq!(order(2, 1), [1, 0]);
        assert_eq!(order(2, 2), [0, 1]);
    }
}
