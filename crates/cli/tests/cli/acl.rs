//! `keyway acl` in the folder of a broker that does not run; with a running one Kafka's own tool is beside it.

use crate::keyway::run;
use std::fs;

#[test]
fn rules_are_added_listed_explained_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let acl =
        |words: &[&str]| run(["acl"].iter().chain(words).copied().chain(["--data", &data, "--log", "off"]));
    let read = ["--principal", "User:alice", "--operation", "READ"];
    let orders = ["--topic", "orders-", "--resource-pattern-type", "prefixed"];
    acl(&[&["add"][..], &read, &orders].concat()).good();
    acl(&[&["add"][..], &read, &["--topic", "orders-secret", "--deny"]].concat()).good();
    acl(&["add", "--principal", "User:bob", "--operation", "Read,describe_configs", "--subscription", "w"])
        .good();

    let listed = acl(&["list", "-o", "json"]).good().json();
    assert_eq!(listed.len(), 4);
    let alices = acl(&[
        "list",
        "--principal",
        "User:alice",
        "--topic",
        "orders-eu",
        "--resource-pattern-type",
        "match",
    ]);
    assert_eq!(alices.good().text(), "User:alice  allow  READ  topic  prefixed  orders-  *\n");
    acl(&["list", "--deny", "-o", "json"]).good().json()[0]["resource"]
        .as_str()
        .filter(|name| *name == "orders-secret")
        .unwrap();

    let config = folder.path().join("server.properties");
    let class = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    fs::write(&config, format!("authorizer.class.name={class}\nsuper.users=User:root\n")).unwrap();
    let config = config.display().to_string();
    for (principal, operation, topic, why) in [
        (
            "User:alice",
            "DESCRIBE",
            "orders-eu",
            "allowed by the rule: User:alice may Read Topic prefix orders- from *; READ implies DESCRIBE",
        ),
        (
            "User:alice",
            "READ",
            "orders-secret",
            "denied by the rule: User:alice may not Read Topic orders-secret from *; it goes before",
        ),
        ("User:bob", "READ", "orders-eu", "denied: there are rules about the resource"),
        ("User:bob", "READ", "elsewhere", "denied: no rule is about the resource"),
        ("User:root", "READ", "elsewhere", "allowed: super users may do everything"),
    ] {
        let asked = [
            "explain",
            "--principal",
            principal,
            "--operation",
            operation,
            "--topic",
            topic,
            "--config",
            &config,
        ];
        let told = acl(&asked).good();
        assert!(told.text().contains(why), "{}", told.text());
    }

    acl(&["remove", "--principal", "User:bob"]).fails(2, &["2 rules", "--yes"]);
    acl(&["remove", "--deny", "--yes"]).fails(2, &["name a principal or a resource"]);
    assert_eq!(acl(&["remove", "--principal", "User:bob", "--yes", "-o", "json"]).good().json().len(), 2);
    acl(&["remove", "--principal", "User:bob", "--yes"]).fails(3, &["no rule matches"]);
    acl(&["add", "--principal", "alice", "--operation", "READ", "--cluster"]).fails(2, &["User:NAME"]);
    acl(&["add", "--principal", "User:a", "--operation", "READ"]).fails(2, &["--topic"]);
    acl(&["add", "--principal", "User:a", "--operation", "FLY", "--cluster"]).fails(2, &["ALTER_CONFIGS"]);
}
