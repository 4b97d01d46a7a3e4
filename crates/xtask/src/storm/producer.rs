//! A storm's producers: numbered messages per key, each sent until the broker has said that it is stored.

use std::sync::Arc;
use std::time::Duration;

use danube_client::{DanubeClient, Producer};
use tokio::sync::watch;
use tokio::time::sleep;

use super::arena::{Arena, TOPIC};
use crate::random::Random;

/// Between two attempts while the broker restarts.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// The keys of a producer's hot part: few enough to queue.
const HOT_KEYS: u64 = 4;

/// A reliable producer; the first one creates the topic.
pub(super) async fn connect(url: &str, name: &str) -> anyhow::Result<Producer> {
    let client = DanubeClient::builder().service_url(url).build().await?;
    let builder = client.new_producer().with_topic(TOPIC).with_name(name);
    let mut producer = builder.with_reliable_dispatch().build()?;
    producer.create().await?;
    Ok(producer)
}

/// Sends to every `producers`-th key until told to stop, and finishes the message that it is about.
pub(super) async fn send(
    arena: Arc<Arena>,
    number: usize,
    producers: usize,
    pause: Duration,
    stop: watch::Receiver<bool>,
) {
    let mut random = Random::new(arena.seed ^ (number as u64 + 1) << 32);
    let own = (arena.keys - number).div_ceil(producers) as u64;
    let mut producer = None;
    while !*stop.borrow() {
        // Every other message goes to one of a few keys.
        let keys = if random.below(2) == 0 { own.min(HOT_KEYS) } else { own };
        let key = random.below(keys) as usize * producers + number;
        let sequence = arena.ledger(|ledger, now| ledger.sending(now, key));
        loop {
            let connected = match producer.take() {
                Some(connected) => connected,
                None => match connect(&arena.url, &format!("producer-{number}")).await {
                    Ok(connected) => connected,
                    Err(_) => {
                        sleep(RETRY_AFTER).await;
                        continue;
                    }
                },
            };
            let payload = sequence.to_string().into_bytes();
            if connected.send_with_key(payload, None, &format!("key-{key}")).await.is_ok() {
                arena.ledger(|ledger, _| ledger.stored(key, sequence));
                producer = Some(connected);
                break;
            }
            sleep(RETRY_AFTER).await;
        }
        sleep(pause).await;
    }
}
