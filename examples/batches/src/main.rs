//! Publishing in batches: what belongs together is published at once, in a transaction, so that it is seen together or not
//! at all. A service does so for every measurement it reads; those below zero are thought better of.

use std::convert::Infallible;
use std::time::Duration;
use std::{env, error::Error};

use futures_util::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists;
use ruststream_rdkafka::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::timeout;

#[derive(Serialize, Deserialize, Outgoing)]
#[outgoing(name = "input_data_1")]
struct Measurement {
    data: f64,
}

#[derive(Clone, Serialize, Deserialize, Outgoing)]
#[outgoing(name = "output_pairs")]
struct Part {
    of: f64,
    data: f64,
}

#[derive(OutSlot)]
#[publishes(Part)]
struct Parts;

#[subscriber(KafkaTopic::new("input_data_1").group("splitters").start(StartOffset::Earliest).commit(Commit::Tracked))]
async fn split(input: &Measurement, Out(parts): Out<impl TransactionalPublisher, Parts>) -> HandlerOutcome {
    let batch = [0.5, 2.0].map(|factor| Part { of: input.data, data: input.data * factor });
    let published = async {
        parts.begin_transaction().await.ok()?;
        try_join_all(batch.iter().map(|part| parts.message(part).publish())).await.ok()?;
        if input.data < 0.0 { parts.abort().await.ok() } else { parts.commit().await.ok() }
    };
    if published.await.is_some() { HandlerOutcome::ack() } else { HandlerOutcome::retry() }
}

#[derive(FromRef)]
struct Reports {
    arrivals: Sender<Vec<Part>>,
}

/// Reads what was committed, as many as have come.
#[subscriber(KafkaTopic::new("output_pairs").group("readers").start(StartOffset::Earliest))]
async fn report(parts: &[Part], State(arrivals): State<Sender<Vec<Part>>>) -> HandlerOutcome {
    arrivals.send(parts.to_vec()).await.ok();
    HandlerOutcome::ack()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("KAFKA").unwrap_or("127.0.0.1:9092".into());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &address).create()?;
    let topics =
        ["input_data_1", "output_pairs"].map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
    for created in admin.create_topics(&topics, &AdminOptions::new()).await? {
        created.or_else(|(name, code)| if code == TopicAlreadyExists { Ok(name) } else { Err(code) })?;
    }

    let (arrivals, mut arrived) = mpsc::channel(100);
    let app = RustStream::new(AppInfo::new("splitter", "0.1.0"));
    let app = app.on_startup(async move |()| Ok::<_, Infallible>(Reports { arrivals }));
    let app = app.with_broker(KafkaBroker::new([address]), |broker| {
        broker.include(split).out(Parts, Publish::default().transactional_id("splitter")).build();
        broker.include(report.batch(nonzero!(100)));
        broker.after_startup(Publish::default(), async move |publisher| {
            let inputs = [-1.0, 1.0, 2.0, -3.0, 4.0].map(|data| Measurement { data });
            try_join_all(inputs.iter().map(|input| publisher.message(input).publish())).await.map(drop)
        });
    });
    let running = app.start().await?;
    let mut seen = Vec::new();
    while !seen.iter().any(|part: &Part| part.data == 8.0) {
        let parts = timeout(Duration::from_secs(30), arrived.recv()).await?.ok_or("no reports")?;
        println!("{} parts: {:?}", parts.len(), parts.iter().map(|part| part.data).collect::<Vec<_>>());
        seen.extend(parts);
    }
    running.shutdown().await?;
    assert!(seen.iter().all(|part| part.of > 0.0), "parts of what was aborted");
    assert!(seen.chunks(2).all(|pair| pair.len() == 2 && pair[0].of == pair[1].of), "half a pair");
    println!("3 pairs, each whole, and none of the 2 that were aborted");
    Ok(())
}
