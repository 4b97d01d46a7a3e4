//! What requests leave in the audit log.

use super::*;
use crate::access::Lines;
use keyway_kafka_wire::messages as m;
use serde_json::{Value, json};

/// The lines since the last call, each checked for what all have, and without that.
pub(super) fn told(lines: &Lines, principal: &str) -> Vec<Value> {
    let stripped = |line: Value| {
        let Value::Object(mut line) = line else { panic!("{line} is no object") };
        let time = line.remove("time").expect("a time");
        let time: jiff::Timestamp = time.as_str().unwrap().parse().expect("RFC 3339");
        assert!(time.as_second() > 1_700_000_000);
        assert_eq!(line.remove("principal").unwrap(), principal);
        assert_eq!(line.remove("address").unwrap(), "10.0.0.1:40000");
        assert_eq!(line.remove("listener").unwrap(), "PLAINTEXT");
        Value::Object(line)
    };
    lines.take().into_iter().map(stripped).collect()
}

async fn started() -> (Arc<Lines>, Arc<Node>) {
    let lines = Arc::new(Lines::default());
    let config = crate::Config { audit: Some(lines.clone()), ..config(&[]) };
    (lines, node_of(config, Arc::new(MemoryStore::new())).await)
}

#[tokio::test]
async fn administrative_changes_are_told_once_they_are_made() {
    let (lines, node) = started().await;
    let root = async |request: Request, version| {
        answer(&node, &caller("root"), &request, version).await;
        told(&lines, "User:root")
    };
    let create = |validate_only| {
        let topic = m::create_topics::CreatableTopic {
            name: "t".to_owned(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        };
        Request::CreateTopics(m::CreateTopicsRequest {
            topics: vec![topic],
            validate_only,
            timeout_ms: 1_000,
        })
    };
    assert!(root(create(true), 7).await.is_empty(), "nothing is made");
    let created = json!({"event": "topic_created", "topic": "t", "partitions": 2});
    assert_eq!(root(create(false), 7).await, [created]);
    assert!(root(create(false), 7).await.is_empty(), "it is there already");
    let auto = json!({"event": "topic_created", "topic": "auto", "partitions": 1});
    assert_eq!(root(Request::Metadata(requests::metadata("auto", true)), 12).await, [auto]);

    let more =
        m::create_partitions::CreatePartitionsTopic { name: "t".to_owned(), count: 3, assignments: None };
    let more = m::CreatePartitionsRequest { topics: vec![more], timeout_ms: 1_000, validate_only: false };
    let grown = json!({"event": "partitions_added", "topic": "t", "partitions": 3});
    assert_eq!(root(Request::CreatePartitions(more), 3).await, [grown]);

    let configs = |kind, name: &str, config: &str, value: &str| {
        let config = m::incremental_alter_configs::AlterableConfig {
            name: config.to_owned(),
            config_operation: i8::from(value.is_empty()),
            value: Some(value.to_owned()),
        };
        let resource = m::incremental_alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: vec![config],
        };
        Request::IncrementalAlterConfigs(m::IncrementalAlterConfigsRequest {
            resources: vec![resource],
            validate_only: false,
        })
    };
    let changed = |kind: &str, name: &str, set: Value, removed: Value| json!({"event": "configs_changed", "resource_type": kind, "resource": name, "set": set, "removed": removed});
    for (value, set, removed) in
        [("1000", json!({"retention.ms": "1000"}), json!([])), ("", json!({}), json!(["retention.ms"]))]
    {
        let told = root(configs(2, "t", "retention.ms", value), 1).await;
        assert_eq!(told, [changed("Topic", "t", set, removed)]);
    }
    assert!(root(configs(2, "t", "retention.ms", ""), 1).await.is_empty(), "it was not set");
    let told = root(configs(4, "", "log.retention.ms", "5000"), 1).await;
    assert_eq!(told, [changed("Broker", "", json!({"log.retention.ms": "5000"}), json!([]))]);
    let told = root(configs(32, "g", "consumer.session.timeout.ms", "50000"), 1).await;
    assert_eq!(told, [changed("Group", "g", json!({"consumer.session.timeout.ms": "50000"}), json!([]))]);

    let topic = m::delete_topics::DeleteTopicState { name: Some("t".to_owned()), ..Default::default() };
    let delete = m::DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    let deleted = json!({"event": "topic_deleted", "topic": "t"});
    assert_eq!(root(Request::DeleteTopics(delete.clone()), 6).await, [deleted]);
    assert!(root(Request::DeleteTopics(delete), 6).await.is_empty());
}

#[tokio::test]
async fn changes_of_users_rules_and_quotas_are_told_without_their_secrets() {
    let (lines, node) = started().await;
    let root = async |request: Request, version| {
        answer(&node, &caller("root"), &request, version).await;
        told(&lines, "User:root")
    };
    let upsertion = m::alter_user_scram_credentials::ScramCredentialUpsertion {
        name: "alice".to_owned(),
        mechanism: 1,
        iterations: 4_096,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from_static(&[7; 32]),
    };
    let users = |deletions, upsertions| {
        Request::AlterUserScramCredentials(m::AlterUserScramCredentialsRequest { deletions, upsertions })
    };
    let told = |event: &str| json!({"event": event, "user": "alice", "mechanism": "SCRAM-SHA-256"});
    assert_eq!(root(users(vec![], vec![upsertion]), 0).await, [told("user_set")]);
    let deletion =
        m::alter_user_scram_credentials::ScramCredentialDeletion { name: "alice".to_owned(), mechanism: 1 };
    assert_eq!(root(users(vec![deletion.clone()], vec![]), 0).await, [told("user_removed")]);
    assert!(root(users(vec![deletion], vec![]), 0).await.is_empty(), "there is nothing to remove");

    let row = |api| ROWS.iter().find(|row| row.api == api).unwrap();
    let of = |api| requests::request(row(api), *row(api).versions.end(), OWN);
    let rule = "User:carol may Read Topic elsewhere from *";
    let (create, delete) = (of(ApiKey::CreateAcls), of(ApiKey::DeleteAcls));
    assert_eq!(root(create.clone(), 3).await, [json!({"event": "rule_added", "rule": rule})]);
    assert!(root(create, 3).await.is_empty(), "it is there already");
    assert_eq!(root(delete, 3).await, [json!({"event": "rule_removed", "rule": rule})]);

    let quota = |value: f64, validate_only| {
        let entity =
            m::alter_client_quotas::EntityData { entity_type: "client-id".to_owned(), entity_name: None };
        let op = m::alter_client_quotas::OpData {
            key: "producer_byte_rate".to_owned(),
            value,
            remove: value == 0.0,
        };
        let entries = vec![m::alter_client_quotas::EntryData { entity: vec![entity], ops: vec![op] }];
        Request::AlterClientQuotas(m::AlterClientQuotasRequest { entries, validate_only })
    };
    let told = |set: Value, removed: Value| json!({"event": "quotas_changed", "entity": {"client-id": null}, "set": set, "removed": removed});
    assert!(root(quota(9.0, true), 1).await.is_empty());
    assert_eq!(root(quota(9.0, false), 1).await, [told(json!({"producer_byte_rate": 9.0}), json!([]))]);
    assert_eq!(root(quota(0.0, false), 1).await, [told(json!({}), json!(["producer_byte_rate"]))]);
}

#[tokio::test]
async fn a_denied_client_in_a_loop_has_one_line() {
    let (lines, node) = started().await;
    for _ in 0..100 {
        answer(&node, &caller("alice"), &Request::Metadata(requests::metadata("t", false)), 12).await;
    }
    let denied = json!({
        "event": "denied", "operation": "Describe", "resource_type": "Topic", "resource": "t", "decision": "no_rule",
    });
    assert_eq!(told(&lines, "User:alice"), [denied]);
}
