//! Clients that go as fast as they may are held to their quotas: librdkafka's and Danube's, writing and reading.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::scene::Scene;
use super::stage::Stage;
use crate::kafka_client::Connection;
use crate::produce_bytes;

/// Of each of the four clients, bytes a second.
const RATE: f64 = 400_000.0;
const HELD_WITHIN: f64 = 0.1;
/// A rate is measured over 11 windows of 1 s, so ten seconds' worth pass at once; then it is held.
const BURST: Duration = Duration::from_secs(11);
/// As long as all windows: what is saved up in one of them is spent within the measurement.
const MEASURED: Duration = Duration::from_secs(11);
const VALUE_BYTES: usize = 10_000;
/// More than a reader may read in the whole time, burst included.
const TO_READ: usize = 2_000;

const QUOTAS: [(&str, &str); 4] = [
    ("slow_producer", "producer_byte_rate"),
    ("slow_consumer", "consumer_byte_rate"),
    ("slow_danube_producer", "producer_byte_rate"),
    ("slow_danube_worker", "consumer_byte_rate"),
];

/// What the program with librdkafka has found.
#[derive(Deserialize)]
struct Librdkafka {
    written_per_s: f64,
    read_per_s: f64,
    producer_throttle_ms: f64,
    consumer_throttle_ms: f64,
}

/// Bytes of values that pass a Danube client within the measurement.
struct Meter {
    begins: Instant,
    ends: Instant,
    bytes: usize,
}

impl Meter {
    fn start() -> Self {
        let begins = Instant::now() + BURST;
        Self { begins, ends: begins + MEASURED, bytes: 0 }
    }

    fn add(&mut self, bytes: usize) {
        if (self.begins..self.ends).contains(&Instant::now()) {
            self.bytes += bytes;
        }
    }

    fn per_second(&self) -> f64 {
        self.bytes as f64 / MEASURED.as_secs_f64()
    }
}

/// A Danube producer that sends one message after the other.
async fn danube_writes(url: &str) -> anyhow::Result<f64> {
    let scene = Scene::open(url, "/default/danube-written").await?;
    let producer = scene.producer("slow_danube_producer").await?;
    let mut meter = Meter::start();
    while let Ok(sent) = timeout_at(meter.ends, producer.send(vec![b'v'; VALUE_BYTES], None)).await {
        sent?;
        meter.add(VALUE_BYTES);
    }
    Ok(meter.per_second())
}

/// A Danube worker that acknowledges whatever comes.
async fn danube_reads(mut scene: Scene) -> anyhow::Result<f64> {
    let mut meter = Meter::start();
    while let Ok(delivery) = timeout_at(meter.ends, scene.next()).await {
        let delivery = delivery?;
        meter.add(delivery.message.payload.len());
        scene.ack(delivery).await?;
    }
    Ok(meter.per_second())
}

/// Quotas, topics, and what there is to read; the worker reads what is written once it has subscribed.
async fn prepare(stage: &Stage<'_>) -> anyhow::Result<Scene> {
    let address = stage.broker.kafka();
    let mut connection = Connection::open(address).await?;
    connection.create_topic("written", 1).await?;
    for (client, quota) in QUOTAS {
        connection.set_quota(client, quota, RATE).await?;
    }
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/to-read").await?;
    scene.producer("nobody").await?;
    scene.worker("slow_danube_worker", "slow", &[]).await?;
    let value = "v".repeat(VALUE_BYTES);
    // Each has a key of its own, so that no worker waits for itself.
    let messages = (0..TO_READ).map(|number| (format!("key-{number}"), value.clone()));
    produce_bytes::fill(address, "to-read", messages).await?;
    Ok(scene)
}

/// All four at once.
pub(crate) async fn held(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let worker = prepare(stage).await?;
    let url = stage.broker.danube_url();
    let seconds = [BURST, MEASURED].map(|time| time.as_secs().to_string());
    let args = ["written", "to-read", &seconds[0], &seconds[1]];
    let (librdkafka, danube_written, danube_read) = tokio::try_join!(
        stage.run_python("kafka/throttled.py", &args),
        danube_writes(&url),
        danube_reads(worker)
    )?;
    let summary = librdkafka.summary();
    let librdkafka: Librdkafka = serde_json::from_str(&summary).with_context(|| summary.clone())?;
    let rates = [
        ("librdkafka's producer", librdkafka.written_per_s),
        ("its consumer", librdkafka.read_per_s),
        ("Danube's producer", danube_written),
        ("its worker", danube_read),
    ];
    let told = rates.map(|(who, rate)| format!("{who} {:.0} kB/s", rate / 1e3)).join(", ");
    for (who, rate) in rates {
        let off = (rate / RATE - 1.0).abs();
        ensure!(off <= HELD_WITHIN, "{who} is {:.0} % off its {:.0} kB/s: {told}", off * 1e2, RATE / 1e3);
    }
    let Librdkafka { producer_throttle_ms, consumer_throttle_ms, .. } = librdkafka;
    let known = producer_throttle_ms > 0.0 && consumer_throttle_ms > 0.0;
    ensure!(
        known,
        "librdkafka knows of throttling for {producer_throttle_ms} and {consumer_throttle_ms} ms at most"
    );
    Ok(format!(
        "{told}, all of {:.0}; throttled for up to {producer_throttle_ms} and {consumer_throttle_ms} ms by librdkafka's \
         own figures",
        RATE / 1e3
    ))
}
