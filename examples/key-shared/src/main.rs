//! Key-Shared: workers share a subscription, and each key is served by one of them, one message at a time, in order.
//!
//! Two workers have the keys divided between them; two others name the keys they want.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;
use std::{env, process};

use danube_client::{Consumer, DanubeClient, SubType};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::timeout;

const WORKERS: [(&str, &str, &[&str]); 4] = [
    ("worker_a", "orders_sub", &[]),
    ("worker_b", "orders_sub", &[]),
    ("payments_worker", "orders_filtered", &["payment", "invoice"]),
    ("logistics_worker", "orders_filtered", &["ship*", "return"]),
];
const HELLO: &str = "hello";
const REFUSED_ONCE: &str = "Payment for order #1001";
const EVENTS: [(&str, &str); 6] = [
    ("payment", REFUSED_ONCE),
    ("shipping", "Order #1001 shipped via express"),
    ("invoice", "Invoice for order #1001"),
    ("payment", "Payment for order #1002"),
    ("return", "Return request for order #998"),
    ("shipping", "Order #1002 shipped via standard"),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DANUBE").unwrap_or("http://127.0.0.1:6650".into());
    let client = DanubeClient::builder().service_url(&url).build().await?;
    let topic = format!("/default/orders-{}", process::id());
    let builder = client.new_producer().with_topic(&topic).with_name("orders_producer");
    let mut producer = builder.with_reliable_dispatch().build()?;
    producer.create().await?;

    let (report, mut reports) = mpsc::channel(100);
    for (name, subscription, filters) in WORKERS {
        let builder = client.new_consumer().with_topic(&topic).with_consumer_name(name);
        let builder = builder.with_subscription(subscription).with_subscription_type(SubType::KeyShared);
        let filters = filters.iter().map(|filter| filter.to_string()).collect();
        let mut consumer = builder.with_key_filters(filters).build()?;
        consumer.subscribe().await?;
        tokio::spawn(work(name, consumer, report.clone()));
    }
    let mut next = async || {
        timeout(Duration::from_secs(10), reports.recv()).await.ok().flatten().ok_or("no message in time")
    };

    // Keys move while workers come and go. Once every worker has answered a hello, keys stay where they are.
    let mut silent = BTreeSet::from(WORKERS.map(|(name, ..)| name));
    while !silent.is_empty() {
        for key in ["payment", "shipping", "a", "b", "c", "d", "e", "f"] {
            producer.send_with_key(HELLO.into(), None, key).await?;
        }
        silent.remove(next().await?.0);
    }
    for (key, text) in EVENTS {
        producer.send_with_key(text.into(), None, key).await?;
    }

    // Both subscriptions get every event, and the refused one twice.
    let mut seen = BTreeMap::<(String, &str), Vec<String>>::new();
    while seen.values().flatten().count() < 2 * (EVENTS.len() + 1) {
        let (worker, key, text) = next().await?;
        if text != HELLO {
            println!("{worker:<16} key={key:<8} {text}");
            seen.entry((key, worker)).or_default().push(text);
        }
    }
    for ((key, worker), texts) in &seen {
        let sent = EVENTS.iter().filter(|(of, _)| of == key).map(|(_, text)| *text);
        let sent: Vec<_> = sent.flat_map(|text| vec![text; 1 + usize::from(text == REFUSED_ONCE)]).collect();
        assert_eq!(*texts, sent, "what {worker} got of {key}");
    }
    assert_eq!(seen.len(), 2 * 4, "a key went to two workers of one subscription");
    println!("4 keys, each at one worker of each subscription, in order");
    Ok(())
}

/// Acknowledges every message, but for one that it wants to see again a moment later.
async fn work(name: &'static str, mut consumer: Consumer, report: Sender<(&'static str, String, String)>) {
    let mut stream = consumer.receive().await.expect("subscribed");
    let mut refused = false;
    while let Some(message) = stream.recv().await {
        let key = message.routing_key.clone().unwrap_or_default();
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        if text == REFUSED_ONCE && !refused {
            refused = true;
            consumer.nack(&message, Some(200), Some("card reader is busy".into())).await.expect("refused");
        } else {
            consumer.ack(&message).await.expect("acknowledged");
        }
        report.send((name, key, text)).await.expect("main listens");
    }
}
