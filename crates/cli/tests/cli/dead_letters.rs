//! Dead letters from the command line, made by workers that fail: seen, given back, given up.

use crate::keyway::Server;
use danube_client::{ConsumerOptions, DanubeClient, SubType};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const DLQ: &str = "orders.billing.dlq";

/// Longest wait for what should come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker that takes `count` messages of the subscription and fails, or does, each of them. Returns keys and values.
fn work(server: &Server, count: usize, fails: bool) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = format!("http://{}", server.grpc);
    let seen = runtime.block_on(async {
        let client = DanubeClient::builder().service_url(url).build().await.unwrap();
        let consumer = client
            .new_consumer()
            .with_topic("/default/orders")
            .with_consumer_name("worker")
            .with_subscription("billing")
            .with_subscription_type(SubType::KeyShared)
            .with_options(ConsumerOptions::new(5, 100, 1_000));
        let mut consumer = consumer.build().unwrap();
        consumer.subscribe().await.unwrap();
        let mut messages = consumer.receive().await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < count {
            let message = tokio::time::timeout(PATIENCE, messages.recv()).await.unwrap().unwrap();
            if fails {
                consumer.nack(&message, None, Some("no stock".to_owned())).await.unwrap();
            } else {
                consumer.ack(&message).await.unwrap();
            }
            let value = String::from_utf8(message.payload.to_vec()).unwrap();
            seen.push((message.routing_key.clone().unwrap_or_default(), value));
        }
        seen
    });
    runtime.shutdown_background();
    seen
}

fn waiting(server: &Server) -> Value {
    let listed = server.run(["dlq", "list", "-o", "json"]).good().json();
    listed.first().map_or(Value::Null, |topic| topic["waiting"].clone())
}

fn wait_for(server: &Server, count: usize) {
    let begun = std::time::Instant::now();
    while waiting(server) != count {
        assert!(begun.elapsed() < PATIENCE, "{} letters, not {count}", waiting(server));
    }
}

#[test]
fn failed_messages_become_dead_letters_and_come_back_by_replay() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run(["topic", "create", "orders"]).good();
    server
        .run([
            "subscription",
            "policy",
            "set",
            "orders",
            "billing",
            "--max-redelivery-count",
            "0",
            "--poison-policy",
            "dead_letter",
        ])
        .good();
    server.run(["subscription", "create", "orders", "billing", "--start", "earliest"]).good();
    let lines = "a:0\nb:1\na:2\nb:3\na:4\nb:5\n";
    server.run_with_input(["produce", "orders", "-K", ":", "-H", "trace=t1"], lines.as_bytes()).good();
    assert_eq!(server.run(["dlq", "list"]).good().text(), "");
    assert_eq!(work(&server, 6, true).len(), 6);
    wait_for(&server, 6);

    let listed = server.run(["dlq", "list"]).good();
    assert_eq!(listed.text(), "orders.billing.dlq  6  billing of orders\n");
    let shown = server.run(["dlq", "show", DLQ, "--key", "b", "--limit", "2", "-o", "json"]).good().json();
    assert_eq!(shown.len(), 2);
    for (field, value) in [
        ("key", json!("b")),
        ("value", json!("1")),
        ("reason", json!("no stock")),
        ("attempts", json!(1)),
        ("original_topic", json!("orders")),
        ("original_subscription", json!("billing")),
        ("original_offset", json!(1)),
        ("poison_policy", json!("dead_letter")),
        ("headers", json!([["trace", "t1"]])),
    ] {
        assert_eq!(shown[0][field], value, "{field}");
    }
    let text = server.run(["dlq", "show", DLQ]).good();
    assert_eq!(text.lines().len(), 7);
    assert!(
        text.text().contains("orders 0:1 billing") && text.text().contains("no stock"),
        "{}",
        text.text()
    );

    assert_eq!(
        server.run(["dlq", "replay", DLQ, "--key", "b", "--limit", "2"]).good().text(),
        "2 replayed\n"
    );
    let mut back = work(&server, 2, false);
    assert_eq!(back, [("b".to_owned(), "1".to_owned()), ("b".to_owned(), "3".to_owned())]);
    // Not by kill -9, after which the two that were just acked may come once more.
    let (status, said) = server.stop(Signal::TERM);
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    let server = Server::start(data.path());
    assert_eq!(waiting(&server), 4);
    server.run(["topic", "create", "second-chance"]).good();
    let sent = server.run(["dlq", "replay", DLQ, "--key", "b", "--to", "second-chance"]).good();
    assert_eq!(sent.text(), "1 replayed\n");
    let record = server.run(["consume", "second-chance", "-e", "-o", "json"]).good().json().remove(0);
    assert_eq!((&record["key"], &record["value"]), (&json!("b"), &json!("5")));
    assert_eq!(record["headers"], json!([["trace", "t1"]]));
    assert_eq!(server.run(["dlq", "replay", DLQ]).good().text(), "3 replayed\n");
    back = work(&server, 3, false);
    assert_eq!(back.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["0", "2", "4"]);
    assert_eq!(waiting(&server), 0);
    assert_eq!(server.run(["dlq", "replay", DLQ]).good().text(), "0 replayed\n");
}

#[test]
fn what_nobody_wants_is_purged_and_what_has_no_way_back_stays() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    for (topic, origin) in [("lost.s.dlq", "x-original-topic=gone"), ("lost.s.dlq", "trace=1")] {
        server.run(["produce", topic, "-k", "k", "-v", "x", "-H", origin]).good();
    }
    let refused = server.run(["dlq", "replay", "lost.s.dlq"]);
    assert_eq!((refused.code, refused.text()), (Some(1), "0 replayed\n"));
    assert!(
        refused.stderr.contains("'gone' does not exist") && refused.stderr.contains("--to"),
        "{}",
        refused.stderr
    );
    server.run(["dlq", "purge", "lost.s.dlq"]).fails(2, &["all dead letters", "for good", "--yes"]);
    assert_eq!(
        server.run(["dlq", "purge", "lost.s.dlq", "--limit", "1", "--yes"]).good().text(),
        "1 purged\n"
    );
    assert_eq!(waiting(&server), 1);
    assert_eq!(server.run(["dlq", "purge", "lost.s.dlq", "--yes"]).good().text(), "1 purged\n");
    assert_eq!(waiting(&server), 0);
    server.run(["dlq", "show", "nowhere"]).fails(3, &["nowhere"]);
}
