//! One worker with the published Rust client, on a runtime of its own: dropping that runtime breaks its connection as a
//! killed process would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use danube_client::{Consumer, DanubeClient, SubType};
use danube_core::message::StreamMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::arena::{Arena, SUBSCRIPTION, TOPIC};
use super::band;
use super::ledger::{Answer, Arrival, Hand};
use super::plan::{Fate, fate};

/// Between two attempts to subscribe while the broker restarts.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How a worker ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Killed,
    Left,
}

/// Whether this name stands for a process of Python workers.
pub(super) fn is_band(name: &str) -> bool {
    name.starts_with("python")
}

/// A worker, or a band of them, that lives.
pub(super) struct Worker {
    pub(super) name: String,
    end: oneshot::Sender<End>,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    /// Starts a worker; `subscribed` is told once it is.
    pub(super) fn start(
        arena: &Arc<Arena>,
        name: String,
        subscribed: mpsc::Sender<()>,
    ) -> anyhow::Result<Self> {
        let (end, ended) = oneshot::channel();
        let (arena, named) = (Arc::clone(arena), name.clone());
        let thread = thread::Builder::new().name(name.clone()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime needs a few file descriptors only");
            if is_band(&named) {
                return runtime.block_on(band::live(&arena, &named, ended, subscribed));
            }
            let mut hand = arena.new_hand();
            runtime.block_on(live(&arena, &named, &mut hand, ended, subscribed));
            // From here on the broker may give to others what this one holds; its connection ends after that.
            arena.gone(hand);
            drop(runtime);
        })?;
        Ok(Self { name, end, thread })
    }

    /// Tells it to end; it has ended a moment later.
    pub(super) fn end(self, end: End) -> thread::JoinHandle<()> {
        // A worker that has panicked is found when its thread is joined.
        let _ = self.end.send(end);
        self.thread
    }
}

/// Subscribes and works until told to end; a client that has given up is replaced by a new one.
async fn live(
    arena: &Arena,
    name: &str,
    hand: &mut Hand,
    mut ended: oneshot::Receiver<End>,
    subscribed: mpsc::Sender<()>,
) {
    loop {
        let consumer = tokio::select! {
            biased;
            _ = &mut ended => return,
            consumer = subscribe(arena, name) => consumer,
        };
        // Nobody waits for those that come back.
        let _ = subscribed.try_send(());
        let Subscribed { mut consumer, stream } = consumer;
        let worked = {
            let work = work(arena, *hand, name, &mut consumer, stream);
            tokio::pin!(work);
            tokio::select! {
                biased;
                end = &mut ended => Err(end.unwrap_or(End::Killed)),
                worked = &mut work => Ok(worked),
            }
        };
        match worked {
            Err(End::Killed) => return,
            Err(End::Left) => {
                arena.gone(*hand);
                consumer.close().await;
                return;
            }
            Ok(Ok(())) => {
                arena.gone(*hand);
                *hand = arena.new_hand();
                arena.gave_up();
                consumer.close().await;
            }
            Ok(Err(error)) => {
                arena.accuse(&format!("worker {name}: {error:#}"));
                return;
            }
        }
    }
}

struct Subscribed {
    consumer: Consumer,
    stream: mpsc::Receiver<StreamMessage>,
}

/// Every tenth worker wants some of the keys only.
pub(super) fn filter_of(name: &str) -> Option<&'static str> {
    name.ends_with('3').then_some("*7")
}

async fn subscribe(arena: &Arena, name: &str) -> Subscribed {
    loop {
        match try_subscribe(arena, name).await {
            Ok(consumer) => return consumer,
            // The broker is down just now.
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}

async fn try_subscribe(arena: &Arena, name: &str) -> anyhow::Result<Subscribed> {
    let client = DanubeClient::builder().service_url(&arena.url).build().await?;
    let builder = client.new_consumer().with_topic(TOPIC).with_consumer_name(name);
    let builder = builder.with_subscription(SUBSCRIPTION).with_subscription_type(SubType::KeyShared);
    let filters = filter_of(name).map(str::to_string).into_iter().collect();
    let mut consumer = builder.with_key_filters(filters).build()?;
    consumer.subscribe().await?;
    let stream = consumer.receive().await?;
    Ok(Subscribed { consumer, stream })
}

/// Takes messages and answers them as their fate has it, until the client's stream ends.
async fn work(
    arena: &Arena,
    hand: Hand,
    name: &str,
    consumer: &mut Consumer,
    mut stream: mpsc::Receiver<StreamMessage>,
) -> anyhow::Result<()> {
    let mut later: BTreeMap<(Instant, u64), (StreamMessage, Arrival, Answer)> = BTreeMap::new();
    loop {
        let due = later.first_key_value().map(|((at, _), _)| *at);
        tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let (_, (message, arrival, answer)) = later.pop_first().expect("one is due");
                give(arena, consumer, &message, arrival, answer).await;
            }
            message = stream.recv() => {
                let Some(message) = message else { return Ok(()) };
                let arrival = read(hand, name, &message)?;
                let times = arena.delivered(arrival);
                let (after_ms, answer) = match fate(arena.seed, arrival.offset, times, arena.withheld_per_mille) {
                    Fate::Ack { after_ms } => (after_ms, Answer::Ack),
                    Fate::Nack { after_ms, delay_ms } => (after_ms, Answer::Nack { delay_ms }),
                    Fate::Withhold => {
                        arena.withheld();
                        continue;
                    }
                };
                if after_ms == 0 {
                    give(arena, consumer, &message, arrival, answer).await;
                } else {
                    let at = Instant::now() + Duration::from_millis(after_ms);
                    later.insert((at, arrival.token), (message, arrival, answer));
                }
            }
        }
    }
}

async fn give(
    arena: &Arena,
    consumer: &mut Consumer,
    message: &StreamMessage,
    arrival: Arrival,
    answer: Answer,
) {
    arena.answering(arrival, answer);
    let given = match answer {
        Answer::Ack => consumer.ack(message).await,
        Answer::Nack { delay_ms } => {
            consumer.nack(message, Some(delay_ms), Some("the storm".to_string())).await
        }
    };
    if given.is_ok() {
        arena.confirmed(arrival);
    }
}

fn read(hand: Hand, name: &str, message: &StreamMessage) -> anyhow::Result<Arrival> {
    let key = message.routing_key.as_deref().context("a message without a key")?;
    if filter_of(name).is_some() {
        ensure!(key.ends_with('7'), "got {key}, which its filter does not match");
    }
    Ok(Arrival {
        hand,
        key: key.strip_prefix("key-").context("a foreign key")?.parse()?,
        number: std::str::from_utf8(&message.payload)?.parse()?,
        offset: message.msg_id.topic_offset,
        token: message.request_id,
    })
}
