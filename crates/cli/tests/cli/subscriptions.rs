//! Subscriptions from the command line: created, seen, moved, told what to do with failures, deleted.

use crate::keyway::{Server, numbered_lines, run, signal, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

/// A topic of two partitions with five records in each.
fn server() -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run(["topic", "create", "orders", "--partitions", "2"]).good();
    for partition in ["0", "1"] {
        server.run_with_input(["produce", "orders", "-p", partition], numbered_lines(5).as_bytes()).good();
    }
    (data, server)
}

fn describe(server: &Server, name: &str) -> Value {
    server.run(["subscription", "describe", "orders", name, "-o", "json"]).good().json().remove(0)
}

fn cursors(server: &Server, name: &str) -> Vec<Value> {
    let described = describe(server, name);
    let partitions = described["partition_views"].as_array().unwrap().iter();
    partitions.map(|partition| partition["cursor"].clone()).collect()
}

#[test]
fn a_subscription_starts_where_it_is_told_and_is_seen() {
    let (_data, server) = server();
    assert_eq!(server.run(["subscription", "list"]).good().text(), "");
    for (name, start, lag) in [
        ("all", "earliest", 10),
        ("new", "latest", 0),
        ("some", "offset:3", 4),
        ("past", "time:0", 10),
        ("future", "time:2100-01-01T00:00:00Z", 0),
    ] {
        server.run(["subscription", "create", "orders", name, "--start", start]).good();
        assert_eq!(describe(&server, name)["lag_messages"], lag, "{name}");
    }
    server.run(["subscription", "create", "orders", "shared", "--type", "shared"]).good();
    let listed = server.run(["subscription", "list", "-o", "json"]).good().json();
    assert_eq!(listed.len(), 6);
    assert_eq!(listed[0]["subscription"], "all");
    assert_eq!((&listed[4]["subscription"], &listed[4]["type"]), (&json!("shared"), &json!("shared")));
    let lines = server.run(["subscription", "list"]).good();
    assert!(lines.lines()[0].starts_with("orders  all     key_shared  0  10"), "{}", lines.text());
    let text = server.run(["subscription", "describe", "orders", "some"]).good();
    for words in
        ["lag           4 messages", "orders.some.dlq", "PARTITION", "CONSUMER", "after 5 redeliveries block"]
    {
        assert!(text.text().contains(words), "{words} is missing: {}", text.text());
    }
    assert_eq!(server.run(["subscription", "keys", "orders", "all"]).good().lines().len(), 1);
}

#[test]
fn a_subscription_moves_and_its_move_outlives_a_restart() {
    let (data, server) = server();
    server.run(["subscription", "create", "orders", "s"]).good();
    server
        .run(["subscription", "seek", "orders", "s", "--start", "earliest"])
        .fails(2, &["delivers", "--yes"]);
    assert_eq!(cursors(&server, "s"), [5, 5]);
    let sought = server
        .run(["subscription", "seek", "orders", "s", "--start", "offset:2", "--yes", "-o", "json"])
        .good();
    assert_eq!(sought.json()[0]["partitions"][1], json!({"partition": 1, "offset": 2}));
    assert_eq!(cursors(&server, "s"), [2, 2]);
    server.kill();
    let server = Server::start(data.path());
    assert_eq!(cursors(&server, "s"), [2, 2]);
    let reset = server.run(["subscription", "reset", "orders", "s", "--yes"]).good();
    assert_eq!(reset.lines()[1].split_whitespace().collect::<Vec<_>>(), ["0", "5"]);
    assert_eq!(cursors(&server, "s"), [5, 5]);
}

#[test]
fn a_subscription_is_deleted_with_its_position() {
    let (_data, server) = server();
    server.run(["subscription", "create", "orders", "a/b c", "--start", "earliest"]).good();
    server.run(["subscription", "create", "orders", "a/b c"]).fails(1, &["a/b c", "already"]);
    server.run(["subscription", "delete", "orders", "a/b c"]).fails(2, &["a/b c", "--yes"]);
    server.run(["subscription", "delete", "orders", "a/b c", "--yes"]).good();
    server
        .run(["subscription", "delete", "orders", "a/b c", "--yes"])
        .fails(3, &["a/b c", "subscription list"]);
    server.run(["subscription", "describe", "orders", "a/b c"]).fails(3, &["a/b c"]);
    server.run(["subscription", "create", "orders", "a/b c"]).good();
    assert_eq!(cursors(&server, "a/b c"), [5, 5]);
}

#[test]
fn a_policy_is_set_word_by_word() {
    let (data, server) = server();
    let get = |server: &Server| {
        server.run(["subscription", "policy", "get", "orders", "s", "-o", "json"]).good().json().remove(0)
    };
    let mut expected = get(&server);
    assert_eq!(expected["is_set"], false);
    let set = ["subscription", "policy", "set", "orders", "s"];
    server.run(set).fails(2, &["--poison-policy"]);
    let options = [
        ("--max-redelivery-count", "2", json!(2)),
        ("--ack-timeout-ms", "5000", json!(5_000)),
        ("--base-redelivery-delay-ms", "10", json!(10)),
        ("--max-redelivery-delay-ms", "100", json!(100)),
        ("--backoff-strategy", "fixed", json!("fixed")),
        ("--poison-policy", "dead_letter", json!("dead_letter")),
        ("--dead-letter-topic", "lost-orders", json!("lost-orders")),
        ("--jitter-percent", "5", json!(5)),
        ("--unacked-max", "64", json!(64)),
    ];
    let words = options.iter().flat_map(|(option, value, _)| [*option, *value]);
    server.run(set.into_iter().chain(words)).good();
    for (option, _, value) in options {
        expected[option.trim_start_matches('-').replace('-', "_")] = value;
    }
    expected["is_set"] = json!(true);
    assert_eq!(get(&server), expected);
    server.run(set.into_iter().chain(["--poison-policy", "shred"])).fails(2, &["shred", "park"]);
    server.run(set.into_iter().chain(["--ack-timeout-ms", "1"])).fails(2, &["ack timeout of 1 ms"]);
    server.run(set.into_iter().chain(["--dead-letter-topic", ""])).good();
    expected["dead_letter_topic"] = Value::Null;
    server.kill();
    let server = Server::start(data.path());
    assert_eq!(get(&server), expected);
    let text = server.run(["subscription", "policy", "get", "orders", "s"]).good();
    assert!(text.lines().contains(&"poison_policy              dead_letter"), "{}", text.text());
}

#[test]
fn watching_repeats_the_picture_until_told_to_stop() {
    let (_data, server) = server();
    server.run(["subscription", "create", "orders", "s", "--start", "earliest"]).good();
    let twice =
        server.run(["subscription", "watch", "orders", "s", "-n", "2", "--interval-ms", "100"]).good();
    assert_eq!(twice.lines().iter().filter(|line| line.starts_with("lag           10 messages")).count(), 2);
    assert!(twice.text().contains("0/s delivered") && !twice.text().contains('\x1b'), "{}", twice.text());
    let all = server.run(["subscription", "watch", "-n", "2", "--interval-ms", "100", "-o", "json"]).good();
    assert_eq!(all.json()[1]["subscriptions"][0]["lag_messages"], 10);

    let mut watch = server.spawn(["subscription", "watch", "--interval-ms", "100"]);
    let mut line = String::new();
    BufReader::new(watch.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("TOPIC"), "{line}");
    signal(&watch, Signal::INT);
    assert_eq!(wait(&mut watch).code(), Some(130));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let (_data, server) = server();
    server.run(["subscription", "describe", "nowhere", "s"]).fails(3, &["nowhere", "topic list"]);
    server.run(["subscription", "seek", "orders", "s", "--start", "earliest", "--yes"]).fails(3, &["'s'"]);
    server.run(["subscription", "keys", "orders", "s"]).fails(3, &["'s'", "create"]);
    server.run(["subscription", "create", "orders", "s", "--start", "noon"]).fails(2, &["noon", "earliest"]);
    server.run(["subscription", "create", "orders", "s"]).good();
    server.run(["subscription", "keys", "orders", "s", "--key", "k"]).fails(3, &["'k'"]);
    let nobody = ["subscription", "list", "--http", "127.0.0.1:1"];
    run(nobody).fails(5, &["127.0.0.1:1", "keyway serve", "--http"]);
    // Another protocol's port answers too, but not as this one.
    run(["subscription", "list", "--http", &server.kafka, "--timeout", "2"]).fails(5, &[&server.kafka]);
}
