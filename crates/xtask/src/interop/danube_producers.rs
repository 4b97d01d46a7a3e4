//! Danube producers that outlive every crash, and the order in which their messages have to be delivered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::scene::Scene;

const RETRY_AFTER: Duration = Duration::from_millis(5);

/// What a producer was told is written, as `NAME:NUMBER`.
pub(crate) type Acknowledged = Arc<Mutex<Vec<String>>>;

/// A Danube producer that sends each number until it is acknowledged, with a new client after every error.
async fn send_for_ever(
    url: String,
    topic: &'static str,
    name: &'static str,
    acknowledged: Acknowledged,
    stop: watch::Receiver<bool>,
) -> usize {
    let mut number = 0;
    while !*stop.borrow() {
        let Ok(scene) = Scene::open(&url, topic).await else { continue };
        let Ok(producer) = scene.producer(name).await else {
            sleep(RETRY_AFTER).await;
            continue;
        };
        while !*stop.borrow() {
            let text = format!("{name}:{number}");
            if producer.send_with_key(text.clone().into_bytes(), None, name).await.is_err() {
                break;
            }
            acknowledged.lock().expect("no producer panics").push(text);
            number += 1;
        }
    }
    number
}

/// Each is a producer and the key of its messages.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// Tasks that send for ever, their acknowledgements, and what stops them.
pub(crate) struct DanubeProducers {
    tasks: Vec<JoinHandle<usize>>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    stop: watch::Sender<bool>,
}

impl DanubeProducers {
    pub(crate) fn start(url: &str, topic: &'static str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let acknowledged: Vec<Acknowledged> = NAMES.iter().map(|_| Acknowledged::default()).collect();
        let tasks = NAMES
            .iter()
            .zip(&acknowledged)
            .map(|(name, written)| {
                let url = url.to_string();
                tokio::spawn(send_for_ever(url, topic, name, Arc::clone(written), stopped.clone()))
            })
            .collect();
        Self { tasks, acknowledged, stop }
    }

    /// Stops them; how many numbers each has got through.
    pub(crate) async fn stop(self) -> anyhow::Result<Vec<usize>> {
        self.stop.send(true).ok().context("every producer has left")?;
        let mut sent = Vec::new();
        for task in self.tasks {
            sent.push(task.await?);
        }
        Ok(sent)
    }
}

/// Receives and acknowledges until everything that was sent has come, as soon as it is known how much that is: a key may
/// be rewound, but never skips. How many deliveries it took.
pub(crate) async fn in_order(
    scene: &mut Scene,
    sent: &mut watch::Receiver<Option<Vec<usize>>>,
) -> anyhow::Result<usize> {
    let (mut deliveries, mut next) = (0_usize, BTreeMap::<String, usize>::new());
    loop {
        let known = sent.borrow_and_update().clone();
        if let Some(known) = known
            // One more is there if its producer was stopped before it was answered.
            && NAMES.iter().zip(&known).all(|(name, sent)| next.get(*name).copied().unwrap_or(0) >= *sent)
        {
            return Ok(deliveries);
        }
        tokio::select! {
            biased;
            _ = sent.changed(), if sent.borrow().is_none() => {}
            delivery = scene.next_within_crashes() => {
                let delivery = delivery?;
                deliveries += 1;
                let text = delivery.text();
                let (name, number) = text.split_once(':').context("a foreign message")?;
                let number: usize = number.parse()?;
                let expected = next.entry(name.to_string()).or_default();
                ensure!(number <= *expected, "{name}: {number} came, {expected} was skipped");
                *expected = (*expected).max(number + 1);
                // An acknowledgement that meets a dead broker is repeated by the redelivery.
                let _ = scene.ack(delivery).await;
            }
        }
    }
}
