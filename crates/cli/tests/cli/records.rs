//! produce and consume.

use crate::keyway::{Server, finish, numbered_lines, run, signal, wait};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
};

fn server() -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    (data, server)
}

#[test]
fn lines_go_in_and_come_out() {
    let (_data, server) = server();
    let lines = numbered_lines(20_000);
    server.run_with_input(["produce", "numbers"], lines.as_bytes()).good();
    assert!(server.run(["consume", "numbers", "-e"]).good().text() == lines);
    let first = server.run(["consume", "numbers", "--from-beginning", "-n", "3"]).good();
    assert_eq!(first.lines(), ["0", "1", "2"]);
}

#[test]
fn a_file_goes_in_and_bytes_stay_as_they_are() {
    let (data, server) = server();
    let file = data.path().join("lines");
    fs::write(&file, b"\xff\xfe\n\ncr\r\nno end").unwrap();
    server.run(["produce", "bytes", "-f", file.to_str().unwrap()]).good();
    assert_eq!(server.run(["consume", "bytes", "-e"]).good().stdout, b"\xff\xfe\n\ncr\r\nno end\n");
    let values = server.run(["consume", "bytes", "-e", "-o", "json"]).good().json();
    assert_eq!(values[0]["value_base64"], "//4=");
    assert_eq!(values[0].get("value"), None);
    assert_eq!(values[1]["value"], "");
}

#[test]
fn keys_headers_and_partitions_come_back_as_json() {
    let (_data, server) = server();
    server.run(["topic", "create", "orders", "--partitions", "3"]).good();
    let produce =
        ["produce", "orders", "-k", "order-1", "-v", "paid", "-H", "source=shop=2", "-H", "none", "-p", "2"];
    let written = server.run(produce.into_iter().chain(["-o", "json"])).good().json();
    assert_eq!(written, [json!({"topic": "orders", "partition": 2, "offset": 0})]);
    let read = server.run(["consume", "orders", "-e", "-o", "json"]).good().json();
    let timestamp = read[0]["timestamp"].as_i64().unwrap();
    assert!(timestamp > 1_700_000_000_000, "{timestamp}");
    let expected = json!({
        "topic": "orders", "partition": 2, "offset": 0, "timestamp": timestamp, "key": "order-1", "value": "paid",
        "headers": [["source", "shop=2"], ["none", null]],
    });
    assert_eq!(read, [expected]);
    server.run(["produce", "orders", "-p", "3", "-v", "x"]).fails(3, &["orders", "partition 3"]);
}

#[test]
fn a_delimiter_splits_keys_and_a_key_keeps_to_its_partition_in_order() {
    let (_data, server) = server();
    server.run(["topic", "create", "orders", "--partitions", "4"]).good();
    let lines: String = (0..400).map(|index| format!("key-{}::{index}\n", index % 10)).collect();
    server.run_with_input(["produce", "orders", "-K", "::"], lines.as_bytes()).good();
    let records = server.run(["consume", "orders", "-e", "-o", "json"]).good().json();
    assert_eq!(records.len(), 400);
    for key in 0..10 {
        let mine = || records.iter().filter(|record| record["key"] == format!("key-{key}"));
        assert!(mine().all(|record| record["partition"] == mine().next().unwrap()["partition"]));
        let values: Vec<usize> =
            mine().map(|record| record["value"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(values, (0..40).map(|step| step * 10 + key).collect::<Vec<_>>());
    }
    server.run_with_input(["produce", "tabs", "-K", r"\t"], b"k\tv\tw\nno key\n").good();
    assert_eq!(server.run(["consume", "tabs", "-e"]).good().text(), "k\tv\tw\nno key\n");
}

#[test]
fn every_level_of_acks_delivers() {
    let (_data, server) = server();
    for (acks, offset) in [("all", json!(0)), ("1", json!(1)), ("0", json!(null))] {
        let written =
            server.run(["produce", "levels", "--acks", acks, "-v", acks, "-o", "json"]).good().json();
        assert_eq!(written, [json!({"topic": "levels", "partition": 0, "offset": offset})]);
    }
    assert_eq!(server.run(["consume", "levels", "-e"]).good().lines(), ["all", "1", "0"]);
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    server.run_with_input(["produce", "numbers"], numbered_lines(10).as_bytes()).good();
    let first = server.run(["consume", "numbers", "-g", "readers", "--from-beginning", "-n", "4"]).good();
    assert_eq!(first.lines(), ["0", "1", "2", "3"]);
    server.kill();
    let server = Server::start(data.path());
    let rest = server.run(["consume", "numbers", "-g", "readers", "-e"]).good();
    assert_eq!(rest.lines(), ["4", "5", "6", "7", "8", "9"]);
    assert_eq!(server.run(["consume", "numbers", "-g", "readers", "-e"]).good().lines(), [""; 0]);
    assert_eq!(server.run(["consume", "numbers", "-g", "others", "-e"]).good().lines().len(), 10);
}

#[test]
fn a_tail_says_what_it_waits_for_and_prints_what_comes() {
    let (_data, server) = server();
    server.run(["produce", "news", "-v", "old"]).good();
    let mut tail = server.spawn(["consume", "news"]);
    let mut hint = String::new();
    BufReader::new(tail.stderr.as_mut().unwrap()).read_line(&mut hint).unwrap();
    assert!(hint.contains("--from-beginning") && hint.contains("the 1 that 'news' holds"), "{hint}");
    server.run(["produce", "news", "-v", "new"]).good();
    let mut line = String::new();
    let mut stdout = BufReader::new(tail.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "new\n");
    signal(&tail, Signal::INT);
    assert_eq!(wait(&mut tail).code(), Some(130));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_closed_pipe_ends_an_idle_consume_without_a_word() {
    let (_data, server) = server();
    server.run(["produce", "news", "-v", "old"]).good();
    let mut tail = server.spawn(["consume", "news", "--from-beginning"]);
    let mut line = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(wait(&mut tail).code(), Some(141));
    let mut said = String::new();
    tail.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn a_signal_ends_a_produce_after_what_it_has_read() {
    let (_data, server) = server();
    let mut producer = server.spawn(["produce", "typed", "-o", "json"]);
    let mut stdin = producer.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"one\ntwo\n").unwrap();
    let mut acknowledged = BufReader::new(producer.stdout.as_mut().unwrap()).lines();
    assert!(acknowledged.nth(1).unwrap().unwrap().contains(r#""offset":1"#));
    signal(&producer, Signal::TERM);
    assert_eq!(finish(producer).code, Some(143));
    drop(stdin);
    assert_eq!(server.run(["consume", "typed", "-e"]).good().lines(), ["one", "two"]);
}

#[test]
fn what_is_missing_is_named() {
    let (_data, server) = server();
    server.run(["consume", "nowhere"]).fails(3, &["nowhere", "topic create"]);
    server.run(["produce", "no/slash", "-v", "x"]).fails(2, &["'/'", "--help"]);
    server.run(["produce", "t", "-f", "/nowhere/file"]).fails(1, &["/nowhere/file"]);
    run(["consume", "t", "-b", "127.0.0.1:1"]).fails(5, &["127.0.0.1:1", "keyway serve"]);
    run(["produce", "t", "-v", "x", "-b", "127.0.0.1:1"]).fails(5, &["127.0.0.1:1", "keyway serve"]);
}
