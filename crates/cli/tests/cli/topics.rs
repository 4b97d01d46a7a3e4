//! topic list, create, describe, delete.

use crate::keyway::Server;
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    assert_eq!(server.run(["topic", "list"]).good().text(), "");

    server.run(["topic", "create", "orders", "--partitions", "2"]).good();
    server.run(["topic", "create", "a"]).good();
    server.run(["topic", "create", "orders"]).fails(1, &["orders", "--if-not-exists"]);
    server.run(["topic", "create", "orders", "--if-not-exists"]).good();
    server.run(["topic", "create", "none", "--partitions", "0"]).fails(2, &["--partitions"]);

    assert_eq!(server.run(["topic", "list"]).good().text(), "a       1\norders  2\n");
    let listed = server.run(["topic", "list", "-o", "json"]).good().json();
    assert_eq!(listed, [json!({"topic": "a", "partitions": 1}), json!({"topic": "orders", "partitions": 2})]);

    server.run(["produce", "orders", "-p", "1", "-v", "x"]).good();
    let described = server.run(["topic", "describe", "orders", "-o", "json"]).good().json();
    let partition =
        |index, next| json!({"partition": index, "first_offset": 0, "next_offset": next, "leader_epoch": 0});
    assert_eq!(
        described,
        [json!({"topic": "orders", "durability": "fsync", "partitions": [partition(0, 0), partition(1, 1)]})]
    );
    assert_eq!(server.run(["topic", "describe", "orders"]).good().lines().len(), 4);
    server.run(["topic", "describe", "nowhere"]).fails(3, &["nowhere"]);

    server.run(["topic", "delete", "orders"]).fails(2, &["orders", "--yes"]);
    assert_eq!(server.run(["topic", "list"]).good().lines().len(), 2);
    server.run(["topic", "delete", "orders", "--yes"]).good();
    server.run(["topic", "delete", "orders", "--yes"]).fails(3, &["orders"]);
    server.kill();

    let server = Server::start(data.path());
    assert_eq!(server.run(["topic", "list"]).good().text(), "a  1\n");
}

#[test]
fn a_damaged_record_is_shown_once_somebody_meets_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    for value in ["first", "second", "third"] {
        server.run(["produce", "orders", "-v", value]).good();
    }
    assert_eq!(server.run(["topic", "damaged", "-o", "json"]).good().json(), [] as [serde_json::Value; 0]);
    assert!(server.stop(Signal::TERM).0.success());

    let folders = std::fs::read_dir(data.path().join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.into_iter().find(|path| path.to_str().unwrap().contains("/orders-0.")).unwrap();
    let file = folder.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let server = Server::start(data.path());
    let mut reader = server.spawn(["consume", "orders", "--from-beginning"]);
    let begun = Instant::now();
    let shown = loop {
        let shown = server.run(["topic", "damaged", "-o", "json"]).good().json();
        if !shown.is_empty() {
            break shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody noticed");
        std::thread::sleep(Duration::from_millis(50));
    };
    reader.kill().unwrap();
    reader.wait().unwrap();
    let of = |name: &str| shown[0][name].clone();
    assert_eq!(
        (shown.len(), of("topic"), of("first_offset"), of("next_offset")),
        (1, json!("orders"), json!(1), json!(2))
    );
    assert_eq!(of("file"), json!(file));
    assert_eq!(server.run(["topic", "damaged"]).good().lines().len(), 1);
}
