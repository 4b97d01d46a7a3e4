//! A Key-Shared scene with the published Rust client: producers, workers, and every delivery in one queue, so that a
//! check is a script that decides what is acknowledged when.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use danube_client::{Consumer, DanubeClient, Producer, SubType};
use danube_core::message::StreamMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long a delivery may take; a nack's delay is shorter than this.
const DELIVERY_LIMIT: Duration = Duration::from_secs(20);
/// Between two attempts to subscribe while the broker restarts.
const RETRY_AFTER: Duration = Duration::from_millis(20);
const WARM_UP: &[u8] = b"warm-up";
const WARM_UP_MESSAGES_MAX: usize = 1000;
/// Deliveries that wait for the script; more than any worker's window.
const DELIVERIES_MAX: usize = 10_000;

/// One message at one worker.
pub(crate) struct Delivery {
    pub(crate) worker: usize,
    pub(crate) message: StreamMessage,
}

impl Delivery {
    pub(crate) fn key(&self) -> &str {
        self.message.routing_key.as_deref().unwrap_or("<none>")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.payload).into_owned()
    }
}

enum Answer {
    Ack(StreamMessage),
    Nack { message: StreamMessage, delay_ms: u64, reason: String },
}

/// A worker's next message, or the number of a worker whose client has stopped receiving for good.
type Event = Result<Delivery, usize>;

/// What a worker subscribes as, kept to do it again.
#[derive(Clone)]
struct Subscriber {
    name: String,
    subscription: String,
    filters: Vec<String>,
}

type Reply = oneshot::Sender<danube_client::errors::Result<()>>;

pub(crate) struct Scene {
    client: DanubeClient,
    topic: String,
    /// By worker; none for one that was abandoned.
    subscribers: Vec<Option<Subscriber>>,
    workers: Vec<mpsc::Sender<(Answer, Reply)>>,
    deliveries: mpsc::Receiver<Event>,
    delivered: mpsc::Sender<Event>,
    replaced: usize,
    tasks: JoinSet<()>,
}

impl Scene {
    pub(crate) async fn open(url: &str, topic: &str) -> anyhow::Result<Self> {
        let client = DanubeClient::builder().service_url(url).build().await?;
        let (delivered, deliveries) = mpsc::channel(DELIVERIES_MAX);
        Ok(Self {
            client,
            topic: topic.to_string(),
            subscribers: Vec::new(),
            workers: Vec::new(),
            deliveries,
            delivered,
            replaced: 0,
            tasks: JoinSet::new(),
        })
    }

    /// A reliable producer, created; the first one creates the topic.
    pub(crate) async fn producer(&self, name: &str) -> anyhow::Result<Producer> {
        let mut producer = self
            .client
            .new_producer()
            .with_topic(&self.topic)
            .with_name(name)
            .with_reliable_dispatch()
            .build()?;
        producer.create().await?;
        Ok(producer)
    }

    /// Adds a Key-Shared worker and returns its number.
    pub(crate) async fn worker(
        &mut self,
        name: &str,
        subscription: &str,
        filters: &[&str],
    ) -> anyhow::Result<usize> {
        let filters = filters.iter().map(|filter| filter.to_string()).collect();
        let subscriber =
            Subscriber { name: name.to_string(), subscription: subscription.to_string(), filters };
        let number = self.workers.len();
        let answers = self.start(number, &subscriber).await?;
        self.subscribers.push(Some(subscriber));
        self.workers.push(answers);
        Ok(number)
    }

    async fn start(
        &mut self,
        number: usize,
        subscriber: &Subscriber,
    ) -> anyhow::Result<mpsc::Sender<(Answer, Reply)>> {
        let builder = self.client.new_consumer().with_topic(&self.topic).with_consumer_name(&subscriber.name);
        let builder = builder.with_subscription(&subscriber.subscription);
        let builder = builder.with_subscription_type(SubType::KeyShared);
        let mut consumer = builder.with_key_filters(subscriber.filters.clone()).build()?;
        consumer.subscribe().await?;
        let stream = consumer.receive().await?;
        let (answers, answered) = mpsc::channel(1);
        self.tasks.spawn(work(number, consumer, stream, answered, self.delivered.clone()));
        Ok(answers)
    }

    /// Sends until every worker has received something: from then on who gets which key no longer changes.
    pub(crate) async fn warm_up(&mut self, producer: &Producer, keys: &[&str]) -> anyhow::Result<()> {
        let mut waiting: BTreeSet<usize> = (0..self.workers.len()).collect();
        for key in keys.iter().cycle().take(WARM_UP_MESSAGES_MAX) {
            producer.send_with_key(WARM_UP.to_vec(), None, key).await?;
            let delivery = self.any().await?;
            waiting.remove(&delivery.worker);
            self.ack(delivery).await?;
            if waiting.is_empty() {
                return Ok(());
            }
        }
        bail!("workers {waiting:?} received nothing of {WARM_UP_MESSAGES_MAX} messages")
    }

    async fn event(&mut self) -> anyhow::Result<Event> {
        let event = timeout(DELIVERY_LIMIT, self.deliveries.recv()).await;
        let event = event.with_context(|| format!("no delivery for {} s", DELIVERY_LIMIT.as_secs()))?;
        Ok(event.expect("the scene holds a sender itself"))
    }

    async fn any(&mut self) -> anyhow::Result<Delivery> {
        match self.event().await? {
            Ok(delivery) => Ok(delivery),
            Err(worker) => bail!("the client of worker {worker} has given up"),
        }
    }

    /// The next delivery; what is left of the warm-up is acknowledged on the way.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Delivery> {
        loop {
            let delivery = self.any().await?;
            if delivery.message.payload.as_ref() != WARM_UP {
                return Ok(delivery);
            }
            self.ack(delivery).await?;
        }
    }

    /// The next delivery to one worker; what others still receive is left unanswered.
    pub(crate) async fn next_of(&mut self, worker: usize) -> anyhow::Result<Delivery> {
        loop {
            let delivery = self.any().await?;
            if delivery.worker == worker {
                return Ok(delivery);
            }
        }
    }

    /// As [`Scene::next`], for a broker that is killed meanwhile: a warm-up message may go unacknowledged, and a client
    /// that gives up is replaced by a new one of the same name, which is what its documentation leaves to the
    /// application.
    pub(crate) async fn next_within_crashes(&mut self) -> anyhow::Result<Delivery> {
        loop {
            let delivery = match self.event().await? {
                Ok(delivery) => delivery,
                Err(worker) => {
                    self.replace(worker).await?;
                    continue;
                }
            };
            if delivery.message.payload.as_ref() != WARM_UP {
                return Ok(delivery);
            }
            let _ = self.ack(delivery).await;
        }
    }

    async fn replace(&mut self, worker: usize) -> anyhow::Result<()> {
        let Some(subscriber) = self.subscribers[worker].clone() else { return Ok(()) };
        let before = Instant::now();
        loop {
            match self.start(worker, &subscriber).await {
                Ok(answers) => {
                    self.workers[worker] = answers;
                    self.replaced += 1;
                    return Ok(());
                }
                Err(error) if before.elapsed() > DELIVERY_LIMIT => {
                    return Err(error.context("a new client cannot subscribe"));
                }
                // The broker may be down just now.
                Err(_) => sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Ends a worker's client for good; what it holds stays unanswered.
    pub(crate) fn abandon(&mut self, worker: usize) {
        self.subscribers[worker] = None;
        // Its task ends with the last sender of its answers.
        self.workers[worker] = mpsc::channel(1).0;
    }

    /// How many clients had to be replaced.
    pub(crate) fn replaced(&self) -> usize {
        self.replaced
    }

    pub(crate) async fn ack(&self, delivery: Delivery) -> anyhow::Result<()> {
        self.answer(delivery.worker, Answer::Ack(delivery.message)).await
    }

    pub(crate) async fn nack(&self, delivery: Delivery, delay_ms: u64, reason: &str) -> anyhow::Result<()> {
        let reason = reason.to_string();
        self.answer(delivery.worker, Answer::Nack { message: delivery.message, delay_ms, reason }).await
    }

    async fn answer(&self, worker: usize, answer: Answer) -> anyhow::Result<()> {
        let (reply, replied) = oneshot::channel();
        self.workers[worker].send((answer, reply)).await.ok().context("the worker has stopped")?;
        Ok(replied.await.context("the worker has stopped")??)
    }
}

/// Owns one consumer: passes its messages on and answers them as told.
async fn work(
    number: usize,
    mut consumer: Consumer,
    mut stream: mpsc::Receiver<StreamMessage>,
    mut answers: mpsc::Receiver<(Answer, Reply)>,
    delivered: mpsc::Sender<Event>,
) {
    loop {
        tokio::select! {
            biased;
            answer = answers.recv() => {
                let Some((answer, reply)) = answer else { break };
                let done = match answer {
                    Answer::Ack(message) => consumer.ack(&message).await,
                    Answer::Nack { message, delay_ms, reason } => {
                        consumer.nack(&message, Some(delay_ms), Some(reason)).await
                    }
                };
                // A script that no longer waits has given up on this delivery.
                let _ = reply.send(done);
            }
            message = stream.recv() => {
                let Some(message) = message else {
                    // Without a reader the scene is over anyway.
                    let _ = delivered.send(Err(number)).await;
                    break;
                };
                if delivered.send(Ok(Delivery { worker: number, message })).await.is_err() {
                    break;
                }
            }
        }
    }
    consumer.close().await;
}
