//! A broker on free ports, and workers built on the published client.

use danube_client::{DanubeClient, Producer, SubType};
use keyway_broker::{Broker, Config, KafkaListener};
use keyway_log::{LogStore, MemoryStore};
use keyway_runtime::World;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tonic::{Code, Status, transport::Channel};

/// Longest wait for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing must happen where nothing should.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

pub(crate) struct TestBroker {
    pub(crate) broker: Broker,
    pub(crate) url: String,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::start_on(Arc::new(MemoryStore::new()), free_port()).await
    }

    pub(crate) async fn start_on(store: Arc<dyn LogStore>, grpc: SocketAddr) -> Self {
        Self::start_as(Config { grpc, ..Config::default() }, store).await
    }

    /// A broker with settings; all ports but `grpc` are free ones.
    pub(crate) async fn start_as(config: Config, store: Arc<dyn LogStore>) -> Self {
        let config = Config {
            kafka: vec![KafkaListener::plaintext(free_port())],
            danube_admin: free_port(),
            http: free_port(),
            ..config
        };
        let broker = Broker::start(config, World::real(), store).await.expect("the broker starts");
        let url = format!("http://{}", broker.grpc_address());
        Self { broker, url }
    }

    /// A connection to the port of Danube's administration.
    pub(crate) async fn admin(&self) -> Channel {
        let url = format!("http://{}", self.broker.danube_admin_address());
        Channel::from_shared(url).expect("a URL").connect().await.expect("connected")
    }

    /// A connection for calls by hand.
    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).expect("a URL").connect().await.expect("connected")
    }

    pub(crate) async fn producer(&self, topic: &str) -> Producer {
        producer(&self.url, topic).await
    }

    /// A Key-Shared worker that acks whatever it gets.
    pub(crate) async fn worker(&self, topic: &str, name: &str) -> Worker {
        Spec::new(topic, name).start(&self.url).await
    }
}

pub(crate) fn free_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

pub(crate) fn code<T>(answer: Result<T, Status>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

pub(crate) async fn client(url: &str) -> DanubeClient {
    DanubeClient::builder().service_url(url).build().await.expect("a client")
}

/// A producer of a reliable topic, which is made if it is missing.
pub(crate) async fn producer(url: &str, topic: &str) -> Producer {
    let builder = client(url).await.new_producer().with_topic(topic).with_name("p").with_reliable_dispatch();
    let mut producer = builder.build().expect("a producer");
    producer.create().await.expect("the producer is created");
    producer
}

pub(crate) async fn send(producer: &Producer, key: &str, payload: impl ToString) {
    let payload = payload.to_string().into_bytes();
    producer.send_with_key(payload, None, key).await.expect("the message is sent");
}

/// What a worker got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Got {
    pub(crate) worker: String,
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
    pub(crate) offset: u64,
    pub(crate) topic: String,
    pub(crate) producer: String,
    pub(crate) publish_time: u64,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What a worker is to do with a message that it holds, by offset.
#[derive(Debug)]
enum Answer {
    Ack(u64),
    Nack(u64, Option<u64>),
    Close,
}

/// How a worker is to be.
pub(crate) struct Spec {
    topic: String,
    name: String,
    subscription: String,
    sub_type: SubType,
    filters: Vec<String>,
    auto_ack: bool,
}

impl Spec {
    pub(crate) fn new(topic: &str, name: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            name: name.to_owned(),
            subscription: "sub".to_owned(),
            sub_type: SubType::KeyShared,
            filters: Vec::new(),
            auto_ack: true,
        }
    }

    pub(crate) fn of_type(self, sub_type: SubType) -> Self {
        Self { sub_type, ..self }
    }

    pub(crate) fn in_subscription(self, subscription: &str) -> Self {
        Self { subscription: subscription.to_owned(), ..self }
    }

    pub(crate) fn with_filters(self, filters: &[&str]) -> Self {
        Self { filters: filters.iter().map(|filter| (*filter).to_owned()).collect(), ..self }
    }

    /// Messages are answered by hand.
    pub(crate) fn by_hand(self) -> Self {
        Self { auto_ack: false, ..self }
    }

    pub(crate) async fn start(self, url: &str) -> Worker {
        self.try_start(url).await.expect("the consumer subscribes")
    }

    pub(crate) async fn try_start(self, url: &str) -> Result<Worker, danube_client::errors::DanubeError> {
        let mut consumer = client(url)
            .await
            .new_consumer()
            .with_topic(self.topic)
            .with_consumer_name(self.name.clone())
            .with_subscription(self.subscription)
            .with_subscription_type(self.sub_type)
            .with_key_filters(self.filters)
            .build()?;
        consumer.subscribe().await?;
        let mut stream = consumer.receive().await?;
        let (got, received) = mpsc::unbounded_channel();
        let (answer, mut answers) = mpsc::unbounded_channel();
        let worker = self.name;
        let auto_ack = self.auto_ack;
        tokio::spawn(async move {
            let mut held = BTreeMap::new();
            loop {
                tokio::select! {
                    biased;
                    answer = answers.recv() => match answer {
                        Some(Answer::Ack(offset)) => {
                            let message = held.remove(&offset).expect("the message is held");
                            consumer.ack(&message).await.expect("the ack is taken");
                        }
                        Some(Answer::Nack(offset, delay_ms)) => {
                            let message = held.remove(&offset).expect("the message is held");
                            let reason = Some("not now".to_owned());
                            consumer.nack(&message, delay_ms, reason).await.expect("the nack is taken");
                        }
                        Some(Answer::Close) | None => {
                            consumer.close().await;
                            return;
                        }
                    },
                    message = stream.recv() => {
                        let Some(message) = message else { return };
                        let it = Got {
                            worker: worker.clone(),
                            key: message.routing_key.clone(),
                            payload: String::from_utf8_lossy(&message.payload).into_owned(),
                            offset: message.msg_id.topic_offset,
                            topic: message.msg_id.topic_name.clone(),
                            producer: message.producer_name.clone(),
                            publish_time: message.publish_time,
                            attributes: message.attributes.clone().into_iter().collect(),
                        };
                        if auto_ack {
                            consumer.ack(&message).await.expect("the ack is taken");
                        } else {
                            held.insert(message.msg_id.topic_offset, message);
                        }
                        if got.send(it).is_err() {
                            consumer.close().await;
                            return;
                        }
                    }
                }
            }
        });
        Ok(Worker { received, answer })
    }
}

/// A consumer of the published client. Dropping it closes its stream.
pub(crate) struct Worker {
    received: mpsc::UnboundedReceiver<Got>,
    answer: mpsc::UnboundedSender<Answer>,
}

impl Worker {
    pub(crate) async fn next(&mut self) -> Got {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.expect("a message comes in time").expect("the worker runs")
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Got> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.next().await);
        }
        all
    }

    /// Nothing comes for a while.
    pub(crate) async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(SILENCE, self.received.recv()).await.is_err()
    }

    pub(crate) fn ack(&self, offset: u64) {
        self.answer.send(Answer::Ack(offset)).expect("the worker runs");
    }

    pub(crate) fn nack(&self, offset: u64, delay_ms: Option<u64>) {
        self.answer.send(Answer::Nack(offset, delay_ms)).expect("the worker runs");
    }

    /// Closes the consumer as an application does that ends; returns once its stream is gone.
    pub(crate) async fn close(mut self) {
        self.answer.send(Answer::Close).expect("the worker runs");
        let end = async { while self.received.recv().await.is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the worker ends");
    }
}

/// The next message that any of these workers gets.
pub(crate) async fn next_of(workers: &mut [Worker]) -> Got {
    let all = workers.iter_mut().map(|worker| Box::pin(worker.received.recv()));
    let (got, _, _) = tokio::time::timeout(PATIENCE, futures_util::future::select_all(all))
        .await
        .expect("a message comes in time");
    got.expect("the worker runs")
}

pub(crate) async fn take_of(workers: &mut [Worker], count: usize) -> Vec<Got> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(next_of(workers).await);
    }
    all
}

/// Sends messages of ever new keys until every worker has got one: from then on all of them are connected.
pub(crate) async fn warm_up(producer: &Producer, workers: &mut [Worker], names: &[&str]) {
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..1_000 {
        send(producer, &format!("warm-up-{index}"), "warm-up").await;
        seen.insert(next_of(workers).await.worker);
        if names.iter().all(|name| seen.contains(*name)) {
            return;
        }
    }
    panic!("of {names:?} only {seen:?} got messages");
}
