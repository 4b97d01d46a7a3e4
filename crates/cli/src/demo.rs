//! `keyway demo`: the main job on one screen. Keyed records go in through the Kafka port, {WORKERS} Key-Shared workers get
//! them through the Danube port, both with published clients, and what arrived is checked.

mod verdict;

use crate::{
    client::{Acks, Client, Connect, Login, MissingTopics, NewRecord},
    failure::Failure,
};
use clap::Args;
use danube_client::{ConsumerOptions, DanubeClient, SubType};
use keyway_broker::{Broker, Config, KafkaListener};
use keyway_log::LogStore;
use keyway_record::TopicName;
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle};
use verdict::{Delivery, Verdict};

const ORDERS: usize = 8;
/// Numbers that happen to fall evenly on the three workers.
const FIRST_ORDER: usize = 107;
const STEPS: [&str; 5] = ["placed", "paid", "packed", "shipped", "delivered"];
const WORKERS: usize = 3;

/// The work of one step, so that steps of several orders are under way at once.
const STEP_WORK: Duration = Duration::from_millis(20);

/// Longest time for everything to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(20);

/// How long to look for deliveries that should not come.
const EXTRA_WAIT: Duration = Duration::from_millis(200);

/// Show the main job: keyed records in through Kafka, out to three workers by key, in order
#[derive(Args)]
pub(crate) struct Demo {}

impl Demo {
    /// Runs the demo on free ports and a temporary folder; fails if any promise was broken.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let started = Instant::now();
        let folder = tempfile::tempdir().map_err(|error| failed("cannot make a temporary folder", error))?;
        let world = World::real();
        let store = SegmentStore::open(&world, folder.path().to_owned(), Options::default());
        let store: Arc<dyn LogStore> = Arc::new(store.map_err(|error| Failure::Failed(error.to_string()))?);
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            kafka: vec![KafkaListener::plaintext(free)],
            grpc: free,
            danube_admin: free,
            http: free,
            ..Config::default()
        };
        let broker = Broker::start(config, world, store).await;
        let broker = broker.map_err(|error| Failure::Failed(error.to_string()))?;
        let (kafka, grpc) = (broker.kafka_address(), broker.grpc_address());
        print(&format!(
            "Broker up in {} ms: Kafka on {kafka}, gRPC on {grpc}.\n\
             {ORDERS} orders of {} steps go in through Kafka, {WORKERS} Key-Shared workers take them through gRPC:\n\n",
            started.elapsed().as_millis(),
            STEPS.len()
        ))?;
        let verdict = run_orders(kafka, grpc).await?;
        print(&format!("\n{}\n{}\n", verdict.table(), verdict.summary()))?;
        broker.shutdown().await.map_err(|error| Failure::Failed(error.to_string()))?;
        if verdict.is_good() { Ok(()) } else { Err(Failure::Failed("the order of keys was not kept".into())) }
    }
}

async fn run_orders(kafka: SocketAddr, grpc: SocketAddr) -> Result<Verdict, Failure> {
    let connect =
        Connect { brokers: kafka.to_string(), timeout: ARRIVAL_MAX.as_secs(), login: Login::default() };
    let client = Client::connect(&connect, MissingTopics::Refuse).await?;
    let topic = TopicName::new("orders").expect("a legal name");
    client.create_topic(&topic, Some(1)).await?;
    // A new subscription starts at the end, so the workers come first.
    let (deliveries, mut arrived) = mpsc::unbounded_channel();
    let mut workers = Vec::new();
    for index in 0..WORKERS {
        workers.push(start_worker(index, grpc, deliveries.clone()).await?);
    }
    drop(deliveries);
    produce_orders(client, topic).await?;
    let mut verdict = Verdict::new(WORKERS, ORDERS, STEPS.len());
    let deadline = tokio::time::Instant::now() + ARRIVAL_MAX;
    while !verdict.is_complete() {
        let Ok(Some(delivery)) = tokio::time::timeout_at(deadline, arrived.recv()).await else { break };
        print(&line(&delivery))?;
        verdict.add(delivery);
    }
    let deadline = tokio::time::Instant::now() + EXTRA_WAIT;
    while let Ok(Some(delivery)) = tokio::time::timeout_at(deadline, arrived.recv()).await {
        print(&line(&delivery))?;
        verdict.add(delivery);
    }
    workers.iter().for_each(JoinHandle::abort);
    Ok(verdict)
}

/// One step of every order, then the next: keys interleave as they do in life.
async fn produce_orders(client: Client, topic: TopicName) -> Result<(), Failure> {
    let producer = client.producer(topic, Acks::All).await?;
    let mut sent = Vec::with_capacity(ORDERS * STEPS.len());
    for step in 0..STEPS.len() {
        for order in 0..ORDERS {
            let record = NewRecord {
                partition: None,
                key: Some(format!("order-{}", FIRST_ORDER + order).into()),
                value: step.to_string().into(),
                headers: vec![],
            };
            sent.push(producer.enqueue(record).await?);
        }
    }
    for delivery in sent {
        delivery.await?;
    }
    producer.close().await
}

/// Subscribes, then works off what comes: report, work, ack.
async fn start_worker(
    index: usize,
    grpc: SocketAddr,
    deliveries: mpsc::UnboundedSender<Delivery>,
) -> Result<JoinHandle<()>, Failure> {
    let client = DanubeClient::builder().service_url(format!("http://{grpc}")).build().await;
    let mut consumer = client
        .map_err(|error| failed("a worker cannot connect", error))?
        .new_consumer()
        .with_topic("/default/orders")
        .with_consumer_name(format!("worker-{}", index + 1))
        .with_subscription("fulfilment")
        .with_subscription_type(SubType::KeyShared)
        .with_options(ConsumerOptions::new(5, 100, 1_000))
        .build()
        .map_err(|error| failed("a worker cannot be built", error))?;
    consumer.subscribe().await.map_err(|error| failed("a worker cannot subscribe", error))?;
    let mut messages = consumer.receive().await.map_err(|error| failed("a worker cannot receive", error))?;
    Ok(tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let step = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok());
            let delivery = Delivery {
                worker: index,
                key: message.routing_key.clone().unwrap_or_default(),
                step: step.unwrap_or(usize::MAX),
            };
            if deliveries.send(delivery).is_err() {
                return;
            }
            tokio::time::sleep(STEP_WORK).await;
            if let Err(error) = consumer.ack(&message).await {
                tracing::warn!(%error, "an ack failed; the message comes again");
            }
        }
    }))
}

/// A line with the delivery in its worker's column.
fn line(delivery: &Delivery) -> String {
    let step = STEPS.get(delivery.step).copied().unwrap_or("?");
    let indent = delivery.worker * 24;
    format!("{:indent$}worker-{}: {} {step}\n", "", delivery.worker + 1, delivery.key)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::of_stdout(&error))
}

fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("{what}: {}", error.to_string().replace('\n', " ")))
}
