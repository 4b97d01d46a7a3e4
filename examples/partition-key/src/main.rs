//! Publishing with a partition key: a service reads `input_data` and publishes to `output_data` under one key, so that all
//! of it is in one partition, in order.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use std::{env, error::Error};

use futures_util::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists;
use ruststream::HeaderMap;
use ruststream_rdkafka::prelude::*;
use ruststream_rdkafka::{PARTITION_KEY_HEADER, context::keys::Key};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::timeout;

#[derive(Serialize, Deserialize, Outgoing)]
#[outgoing(name = "input_data")]
struct Measurement {
    data: f64,
}

#[derive(Serialize, Deserialize, Outgoing)]
#[outgoing(name = "output_data")]
struct Raised {
    data: f64,
}

#[derive(OutSlot)]
#[publishes(Raised)]
struct Output;

#[subscriber(KafkaTopic::new("input_data").group("raisers").start(StartOffset::Earliest).commit(Commit::Tracked))]
async fn raise_by_one(input: &Measurement, Out(output): Out<impl Publisher, Output>) -> HandlerOutcome {
    let raised = Raised { data: input.data + 1.0 };
    let mut headers = HeaderMap::new();
    headers.insert(PARTITION_KEY_HEADER, "key");
    let published = output.message(&raised).with_headers(headers).publish().await;
    if published.is_ok() { HandlerOutcome::ack() } else { HandlerOutcome::retry() }
}

type Arrival = (i32, Option<Vec<u8>>, f64);

#[derive(FromRef)]
struct Reports {
    arrivals: Sender<Arrival>,
}

#[subscriber(KafkaTopic::new("output_data").group("reporters").start(StartOffset::Earliest))]
async fn report(
    raised: &Raised,
    Ctx(partition): Ctx<Partition>,
    Ctx(key): Ctx<Key>,
    State(arrivals): State<Sender<Arrival>>,
) -> HandlerOutcome {
    println!("output {} in partition {partition}", raised.data);
    arrivals.send((partition, key.map(|key| key.to_vec()), raised.data)).await.ok();
    HandlerOutcome::ack()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("KAFKA").unwrap_or("127.0.0.1:9092".into());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &address).create()?;
    let topics = [("input_data", 1), ("output_data", 3)];
    let topics = topics.map(|(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
    for created in admin.create_topics(&topics, &AdminOptions::new()).await? {
        created.or_else(|(name, code)| if code == TopicAlreadyExists { Ok(name) } else { Err(code) })?;
    }

    let (arrivals, mut arrived) = mpsc::channel(100);
    let app = RustStream::new(AppInfo::new("raiser", "0.1.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(Reports { arrivals }));
    let app = app.with_broker(KafkaBroker::new([address]), |broker| {
        broker.include(raise_by_one).out(Output, Publish::default()).build();
        broker.include(report);
        broker.after_startup(Publish::default(), async move |publisher| {
            let inputs: Vec<_> = (0..10).map(|data| Measurement { data: data.into() }).collect();
            try_join_all(inputs.iter().map(|input| publisher.message(input).publish())).await.map(drop)
        });
    });
    let running = app.start().await?;
    let (mut partitions, mut numbers) = (BTreeSet::new(), Vec::new());
    while !numbers.ends_with(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) {
        let (at, key, data) = timeout(Duration::from_secs(30), arrived.recv()).await?.ok_or("no reports")?;
        assert_eq!(key.as_deref(), Some(b"key".as_slice()), "{data} has another key");
        partitions.insert(at);
        numbers.push(data as u64);
    }
    running.shutdown().await?;
    assert_eq!(partitions.len(), 1, "one key, but partitions {partitions:?}");
    println!("10 outputs under one key, all in one of 3 partitions, in order");
    Ok(())
}
