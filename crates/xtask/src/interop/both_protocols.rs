//! The two protocols meet in one topic: `orders` is `/default/orders`.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use super::kafka_clients;
use super::scene::Scene;
use super::stage::Stage;

const TOPIC: &str = "orders";
const KEYS: usize = 25;
const PER_KEY: usize = 8;

/// Two workers, and a producer that created the topic.
async fn workers(stage: &Stage<'_>) -> anyhow::Result<Scene> {
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    for name in ["worker_1", "worker_2"] {
        scene.worker(name, "orders_sub", &[]).await?;
    }
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key-{number}")).collect();
    scene.warm_up(&producer, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(scene)
}

/// Every `key-K:N` has to arrive once, at its key's worker, with N rising from 0.
async fn arrive_by_key(scene: &mut Scene, header: Option<&str>) -> anyhow::Result<String> {
    let (mut owner, mut next) = (BTreeMap::new(), BTreeMap::<String, usize>::new());
    for _ in 0..KEYS * PER_KEY {
        let delivery = scene.next().await?;
        let (key, text) = (delivery.key().to_string(), delivery.text());
        let first = *owner.entry(key.clone()).or_insert(delivery.worker);
        ensure!(first == delivery.worker, "{key} went to two workers");
        let number = next.entry(key.clone()).or_default();
        ensure!(text == format!("{key}:{number}"), "{key}: {text} came instead of {number}");
        if let Some(header) = header {
            let found = delivery.message.attributes.get(header);
            ensure!(found == Some(&number.to_string()), "attributes {:?}", delivery.message.attributes);
        }
        *number += 1;
        scene.ack(delivery).await?;
    }
    let shares: Vec<usize> =
        (0..2).map(|worker| owner.values().filter(|owned| **owned == worker).count()).collect();
    Ok(format!("{} records of {KEYS} keys at two workers as {shares:?}, in order", KEYS * PER_KEY))
}

/// confluent-kafka produces, Danube workers receive: key as routing key, headers as attributes.
pub(crate) async fn confluent_to_workers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut scene = workers(stage).await?;
    let (keys, per_key) = (KEYS.to_string(), PER_KEY.to_string());
    stage.run_python("kafka/produce_keyed.py", &[TOPIC, &keys, &per_key]).await?;
    arrive_by_key(&mut scene, Some("number")).await
}

/// kcat produces, Danube workers receive.
pub(crate) async fn kcat_to_workers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut scene = workers(stage).await?;
    let lines: Vec<String> = (0..PER_KEY)
        .flat_map(|number| (0..KEYS).map(move |key| format!("key-{key}/key-{key}:{number}")))
        .collect();
    let file = stage.folder().join("lines");
    std::fs::write(&file, lines.join("\n"))?;
    let mut kcat = stage.tools.kcat()?;
    kcat.args(["-b", &stage.broker.kafka().to_string(), "-P", "-t", TOPIC, "-K/", "-l"]).arg(&file);
    stage.run(&mut kcat).await?;
    arrive_by_key(&mut scene, None).await
}

/// Danube producers send, a Kafka consumer reads: routing key, attributes, publish time.
pub(crate) async fn danube_to_kafka(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const MESSAGES: usize = 100;
    let scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    let before_ms = now_ms()?;
    for number in 0..MESSAGES {
        let attributes = HashMap::from([
            ("tenant".to_string(), format!("tenant-{}", number % 3)),
            ("number".to_string(), number.to_string()),
        ]);
        let payload = format!("payload-{number}").into_bytes();
        producer.send_with_key(payload, Some(attributes), &format!("key-{}", number % 7)).await?;
    }
    let after_ms = now_ms()?;

    let records = kafka_clients::read(stage, TOPIC, MESSAGES).await?;
    for (number, record) in records.iter().enumerate() {
        ensure!(record.value == format!("payload-{number}"), "{} at place {number}", record.value);
        ensure!(record.key == Some(format!("key-{}", number % 7)), "key {:?}", record.key);
        ensure!((record.partition, record.offset) == (0, number as i64), "at offset {}", record.offset);
        let tenant = record.headers.get("tenant").context("no header `tenant`")?;
        ensure!(*tenant == format!("tenant-{}", number % 3), "tenant {tenant}");
        ensure!(record.headers.get("number") == Some(&number.to_string()), "headers {:?}", record.headers);
        let (first, last) = (before_ms, after_ms);
        ensure!((first..=last).contains(&record.timestamp_ms), "published at {}", record.timestamp_ms);
    }
    Ok(format!("{MESSAGES} messages read with key, headers and timestamp"))
}

fn now_ms() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64)
}
