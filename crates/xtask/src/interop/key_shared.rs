//! The Key-Shared document: the same five scenes with the published Rust client (here) and the published Python client
//! (`interop/danube`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::scene::Scene;
use super::stage::Stage;

/// Three workers, each key at one of them, in order.
pub(crate) async fn distribution(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const KEYS: usize = 40;
    const PER_KEY: usize = 5;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    for name in ["worker_1", "worker_2", "worker_3"] {
        scene.worker(name, "orders_sub", &[]).await?;
    }
    let keys: Vec<String> = (0..KEYS).map(|number| format!("order-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    scene.warm_up(&producer, &keys).await?;
    for number in 0..PER_KEY {
        for key in &keys {
            producer.send_with_key(number.to_string().into_bytes(), None, key).await?;
        }
    }

    let (mut owner, mut seen) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
    for _ in 0..KEYS * PER_KEY {
        let delivery = scene.next().await?;
        let key = delivery.key().to_string();
        let first = *owner.entry(key.clone()).or_insert(delivery.worker);
        ensure!(first == delivery.worker, "{key} went to workers {first} and {}", delivery.worker);
        seen.entry(key).or_default().push(delivery.text());
        scene.ack(delivery).await?;
    }
    let wanted: Vec<String> = (0..PER_KEY).map(|number| number.to_string()).collect();
    for (key, texts) in &seen {
        ensure!(*texts == wanted, "{key} came as {texts:?}");
    }
    let shares: Vec<usize> =
        (0..3).map(|worker| owner.values().filter(|owned| **owned == worker).count()).collect();
    ensure!(shares.iter().all(|share| *share > 0), "keys per worker: {shares:?}");
    Ok(format!("{} messages, {KEYS} keys over three workers as {shares:?}", KEYS * PER_KEY))
}

/// Exact names, `*`, `?`; what matches nobody is skipped by this subscription and by no other.
pub(crate) async fn filters(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const PAYMENTS: [&str; 2] = ["payment", "invoice"];
    const LOGISTICS: [&str; 4] = ["shipping", "shipment", "return", "eu-west-1"];
    const UNMATCHED: [&str; 4] = ["refund", "pay", "payments", "eu-west-10"];
    const ROUNDS: usize = 3;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    let payments = scene.worker("payments_worker", "orders_filtered", &["payment", "invoice"]).await?;
    let logistics =
        scene.worker("logistics_worker", "orders_filtered", &["ship*", "return", "eu-west-?"]).await?;
    scene.warm_up(&producer, &["payment", "shipping"]).await?;
    let auditor = scene.worker("auditor", "orders_audit", &[]).await?;

    let mut sent = Vec::new();
    for number in 0..ROUNDS {
        for key in UNMATCHED.iter().chain(&PAYMENTS).chain(&LOGISTICS) {
            producer.send_with_key(number.to_string().into_bytes(), None, key).await?;
            sent.push((key.to_string(), number.to_string()));
        }
    }
    let filtered = ROUNDS * (PAYMENTS.len() + LOGISTICS.len());
    let mut audited = Vec::new();
    for _ in 0..filtered + sent.len() {
        let delivery = scene.next().await?;
        let key = delivery.key().to_string();
        if delivery.worker == auditor {
            audited.push((key, delivery.text()));
        } else {
            let owner = if PAYMENTS.contains(&key.as_str()) { payments } else { logistics };
            ensure!(delivery.worker == owner && !UNMATCHED.contains(&key.as_str()), "{key} went astray");
        }
        scene.ack(delivery).await?;
    }
    audited.sort();
    sent.sort();
    ensure!(audited == sent, "the subscription without filters has not seen everything");
    let skipped = sent.len() - filtered;
    Ok(format!("{filtered} messages by filter, {skipped} skipped there and seen by another subscription"))
}

/// A held message holds its key and nothing else.
pub(crate) async fn one_in_flight(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const OTHERS: usize = 60;
    const SLOW: usize = 3;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    scene.worker("worker_1", "orders_sub", &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    for number in 0..SLOW {
        producer.send_with_key(format!("slow-{number}").into_bytes(), None, "slow").await?;
    }
    for number in 0..OTHERS {
        producer
            .send_with_key(number.to_string().into_bytes(), None, &format!("order-{}", number % 20))
            .await?;
    }

    let (mut held, mut others) = (None, 0);
    while held.is_none() || others < OTHERS {
        let delivery = scene.next().await?;
        if delivery.key() == "slow" {
            ensure!(held.is_none(), "{} came while another of its key was held", delivery.text());
            held = Some(delivery);
        } else {
            others += 1;
            scene.ack(delivery).await?;
        }
    }
    for number in 0..SLOW {
        let delivery = held.take().context("nothing is held")?;
        ensure!(delivery.text() == format!("slow-{number}"), "{} came out of order", delivery.text());
        scene.ack(delivery).await?;
        if number + 1 < SLOW {
            held = Some(scene.next().await?);
        }
    }
    Ok(format!("{OTHERS} messages of other keys passed a held one"))
}

/// A refused message comes again, not before its time, and its key waits for it.
pub(crate) async fn nack(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const DELAY: Duration = Duration::from_millis(1500);
    const OTHERS: usize = 10;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    scene.worker("worker_1", "orders_sub", &[]).await?;
    scene.warm_up(&producer, &["warm"]).await?;
    producer.send_with_key(b"first".to_vec(), None, "payment").await?;
    let refused = scene.next().await?;
    let refused_at = Instant::now();
    scene.nack(refused, DELAY.as_millis() as u64, "card declined").await?;
    producer.send_with_key(b"second".to_vec(), None, "payment").await?;
    for number in 0..OTHERS {
        producer.send_with_key(number.to_string().into_bytes(), None, "shipping").await?;
    }

    let (mut order, mut waited) = (Vec::new(), Duration::ZERO);
    for _ in 0..OTHERS + 2 {
        let delivery = scene.next().await?;
        if delivery.text() == "first" {
            waited = refused_at.elapsed();
        }
        order.push(delivery.text());
        scene.ack(delivery).await?;
    }
    ensure!(order[OTHERS..] == ["first", "second"], "came as {order:?}");
    ensure!(waited >= DELAY, "came again after {} ms", waited.as_millis());
    let (waited, delay) = (waited.as_millis(), DELAY.as_millis());
    Ok(format!("again after {waited} ms of {delay}, its key waited, the other key did not"))
}

/// `send()` without a key: the producer's name is the key.
pub(crate) async fn producer_name_key(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const PRODUCERS: usize = 8;
    const PER_PRODUCER: usize = 5;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let warm = scene.producer("orders_producer").await?;
    for name in ["worker_1", "worker_2"] {
        scene.worker(name, "orders_sub", &[]).await?;
    }
    let keys: Vec<String> = (0..20).map(|number| format!("warm-{number}")).collect();
    scene.warm_up(&warm, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        producers.push(scene.producer(&format!("producer-{number}")).await?);
    }
    for number in 0..PER_PRODUCER {
        for producer in &producers {
            producer.send(number.to_string().into_bytes(), None).await?;
        }
    }

    let (mut owner, mut next) = (BTreeMap::new(), BTreeMap::<String, usize>::new());
    let mut held = BTreeMap::new();
    for _ in 0..PRODUCERS * PER_PRODUCER {
        let delivery = scene.next().await?;
        ensure!(delivery.message.routing_key.is_none(), "sent without a key, came with {}", delivery.key());
        let name = delivery.message.producer_name.clone();
        let first = *owner.entry(name.clone()).or_insert(delivery.worker);
        ensure!(first == delivery.worker, "{name} went to two workers");
        let number = next.entry(name.clone()).or_default();
        ensure!(
            delivery.text() == number.to_string(),
            "{name}: {} came instead of {number}",
            delivery.text()
        );
        *number += 1;
        ensure!(held.insert(name.clone(), delivery).is_none(), "{name}: two in flight");
        if held.len() == PRODUCERS {
            for (_, delivery) in std::mem::take(&mut held) {
                scene.ack(delivery).await?;
            }
        }
    }
    let workers: BTreeSet<usize> = owner.into_values().collect();
    Ok(format!("{PRODUCERS} producers without keys over {} workers, one in flight, in order", workers.len()))
}

/// A worker that leaves with messages in hand: they and its keys go to the one that stays, in order.
pub(crate) async fn worker_loss(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const KEYS: usize = 20;
    const PER_KEY: usize = 3;
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let producer = scene.producer("orders_producer").await?;
    let stays = scene.worker("stays", "orders_sub", &[]).await?;
    let leaves = scene.worker("leaves", "orders_sub", &[]).await?;
    let keys: Vec<String> = (0..KEYS).map(|number| format!("order-{number}")).collect();
    scene.warm_up(&producer, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for number in 0..PER_KEY {
        for key in &keys {
            producer.send_with_key(number.to_string().into_bytes(), None, key).await?;
        }
    }
    // One of each key is in flight; nothing is acknowledged yet.
    let (mut at_first, mut held) = (BTreeMap::new(), Vec::new());
    for _ in 0..KEYS {
        let delivery = scene.next().await?;
        ensure!(delivery.text() == "0", "{}: {} came first", delivery.key(), delivery.text());
        at_first.insert(delivery.key().to_string(), delivery.worker);
        held.push(delivery);
    }
    let moved = at_first.values().filter(|worker| **worker == leaves).count();
    ensure!(
        at_first.len() == KEYS && moved > 0,
        "{} keys, {moved} at the worker that leaves",
        at_first.len()
    );
    scene.abandon(leaves);
    let left_at = Instant::now();
    let mut next = BTreeMap::<String, usize>::new();
    for delivery in held.into_iter().filter(|delivery| delivery.worker == stays) {
        next.insert(delivery.key().to_string(), 1);
        scene.ack(delivery).await?;
    }
    while next.len() < KEYS || next.values().any(|number| *number < PER_KEY) {
        // The abandoned client reports that it is gone; a delivery to it would be one too many.
        let delivery = scene.next_of(stays).await?;
        let number = next.entry(delivery.key().to_string()).or_default();
        ensure!(
            delivery.text() == number.to_string(),
            "{}: {} instead of {number}",
            delivery.key(),
            delivery.text()
        );
        *number += 1;
        scene.ack(delivery).await?;
    }
    Ok(format!(
        "{moved} of {KEYS} keys moved with what was in flight, done after {} ms",
        left_at.elapsed().as_millis()
    ))
}

async fn python(stage: &mut Stage<'_>, program: &str) -> anyhow::Result<String> {
    Ok(stage.run_python(program, &[]).await?.summary())
}

pub(crate) async fn python_distribution(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    python(stage, "danube/distribution.py").await
}

pub(crate) async fn python_filters(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    python(stage, "danube/filters.py").await
}

pub(crate) async fn python_one_in_flight(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    python(stage, "danube/one_in_flight.py").await
}

pub(crate) async fn python_nack(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    python(stage, "danube/nack.py").await
}

pub(crate) async fn python_producer_name_key(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    python(stage, "danube/producer_name_key.py").await
}
