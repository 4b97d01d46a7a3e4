//! topic list, create, describe, delete.

use crate::keyway::Server;
use serde_json::json;

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
    let partition = |index, next| json!({"partition": index, "first_offset": 0, "next_offset": next});
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
