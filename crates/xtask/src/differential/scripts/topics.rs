//! Topics come, are described, grow and go.

use serde_json::{Value, json};

use super::super::side::Side;

const NO_ID: &str = "00000000000000000000000000000000";
const UNKNOWN_ID: &str = "0123456789abcdef0123456789abcdef";
const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    created(side).await?;
    described(side).await?;
    grown(side).await?;
    deleted(side).await
}

fn topic(name: &str, partitions: i32, replication: i16) -> Value {
    json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": replication})
}

async fn created(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("CreateTopics")? {
        let name = format!("made-by-{version}");
        let configs = json!([{"Name": "retention.ms", "Value": "86400000"}]);
        let mut wanted = topic(&name, 2, 1);
        wanted["Configs"] = configs;
        let request = json!({"Topics": [wanted], "timeoutMs": 5000});
        side.ask("one", "CreateTopics", version, request.clone()).await?;
        side.wait_for_topic(&name, 2).await?;
        side.ask("again", "CreateTopics", version, request).await?;
    }
    let long = "n".repeat(250);
    let full = "f".repeat(249);
    for version in [2, 4, 5, 7] {
        for (step, wanted) in [
            ("no partitions", topic("no-partitions", 0, 1)),
            ("minus two partitions", topic("minus-two", -2, 1)),
            ("default partitions", topic(&format!("default-partitions-{version}"), -1, 1)),
            ("default replication", topic(&format!("default-replication-{version}"), 1, -1)),
            ("no replicas", topic("no-replicas", 1, 0)),
            ("minus two replicas", topic("minus-two-replicas", 1, -2)),
            ("empty name", topic("", 1, 1)),
            ("dot", topic(".", 1, 1)),
            ("two dots", topic("..", 1, 1)),
            ("slash", topic("a/b", 1, 1)),
            ("blank", topic("a b", 1, 1)),
            ("too long", topic(&long, 1, 1)),
            ("as long as may be", topic(&format!("{}{version}", &full[1..]), 1, 1)),
            ("internal", topic("__consumer_offsets", 1, 1)),
        ] {
            side.ask(step, "CreateTopics", version, json!({"Topics": [wanted], "timeoutMs": 5000})).await?;
        }
        for (step, config, value) in [
            ("unknown config", "no.such.config", json!("1")),
            ("no number", "retention.ms", json!("many")),
            ("out of range", "segment.bytes", json!("1")),
            ("null value", "retention.ms", Value::Null),
            ("cleanup policy", "cleanup.policy", json!("shred")),
            ("empty config", "", json!("1")),
        ] {
            let mut wanted = topic("configured-badly", 1, 1);
            wanted["Configs"] = json!([{"Name": config, "Value": value}]);
            side.ask(step, "CreateTopics", version, json!({"Topics": [wanted]})).await?;
        }
        let mut assigned = topic(&format!("assigned-{version}"), -1, -1);
        assigned["Assignments"] =
            json!([{"PartitionIndex": 0, "BrokerIds": [1]}, {"PartitionIndex": 1, "BrokerIds": [1]}]);
        side.ask("assigned", "CreateTopics", version, json!({"Topics": [assigned]})).await?;
        let mut counted = topic("counted-twice", 1, 1);
        counted["Assignments"] = json!([{"PartitionIndex": 0, "BrokerIds": [1]}]);
        side.ask("assigned and counted", "CreateTopics", version, json!({"Topics": [counted]})).await?;
        for (step, assignments) in [
            ("assigned to nobody", json!([{"PartitionIndex": 0, "BrokerIds": []}])),
            ("assigned twice", json!([{"PartitionIndex": 0, "BrokerIds": [1, 1]}])),
            ("assigned to a stranger", json!([{"PartitionIndex": 0, "BrokerIds": [77]}])),
            ("assigned with a hole", json!([{"PartitionIndex": 1, "BrokerIds": [1]}])),
            (
                "one partition assigned twice",
                json!([{"PartitionIndex": 0, "BrokerIds": [1]}, {"PartitionIndex": 0, "BrokerIds": [1]}]),
            ),
        ] {
            let mut wanted = topic("assigned-badly", -1, -1);
            wanted["Assignments"] = assignments;
            side.ask(step, "CreateTopics", version, json!({"Topics": [wanted]})).await?;
        }
        let validated = json!({"Topics": [topic("only-validated", 3, 1)], "validateOnly": true});
        side.ask("validated", "CreateTopics", version, validated).await?;
        let existing = json!({"Topics": [topic("made-by-7", 3, 1)], "validateOnly": true});
        side.ask("validated, exists", "CreateTopics", version, existing).await?;
        let twice = json!({"Topics": [topic("twice", 1, 1), topic("twice", 2, 1), topic(&format!("once-{version}"), 1, 1)]});
        side.ask("twice", "CreateTopics", version, twice).await?;
        side.ask("nothing", "CreateTopics", version, json!({"Topics": []})).await?;
    }
    // Names that a metric could not tell apart.
    side.ask("with a dot", "CreateTopics", 7, json!({"Topics": [topic("a.collision", 1, 1)]})).await?;
    side.ask("with an underscore", "CreateTopics", 7, json!({"Topics": [topic("a_collision", 1, 1)]}))
        .await?;
    Ok(())
}

async fn described(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("described", 3).await?;
    side.ask_all(
        "one",
        "Metadata",
        |_| json!({"Topics": [{"Name": "described", "TopicId": NO_ID}], "AllowAutoTopicCreation": false}),
    )
    .await?;
    // Before version 4 a topic that is asked for comes into being.
    for version in 4..=13 {
        let request =
            json!({"Topics": [{"Name": "not-there", "TopicId": NO_ID}], "AllowAutoTopicCreation": false});
        side.ask("unknown", "Metadata", version, request).await?;
    }
    side.ask_all(
        "bad name",
        "Metadata",
        |_| json!({"Topics": [{"Name": "a/b", "TopicId": NO_ID}], "AllowAutoTopicCreation": false}),
    )
    .await?;
    side.ask_all("nothing", "Metadata", |version| {
        // An empty array asks for all topics in version 0.
        if version == 0 { json!({"Topics": [{"Name": "described"}]}) } else { json!({"Topics": []}) }
    })
    .await?;
    side.ask_all("with operations", "Metadata", |_| {
        json!({
            "Topics": [{"Name": "described", "TopicId": NO_ID}],
            "IncludeTopicAuthorizedOperations": true,
            "IncludeClusterAuthorizedOperations": true,
        })
    })
    .await?;
    for version in [10, 11, 12, 13] {
        let by_id = json!({"Topics": [{"Name": null, "TopicId": id}], "AllowAutoTopicCreation": false});
        side.ask("by id", "Metadata", version, by_id).await?;
        let unknown = json!({"Topics": [{"Name": null, "TopicId": UNKNOWN_ID}]});
        side.ask("unknown id", "Metadata", version, unknown).await?;
        let both = json!({"Topics": [{"Name": "described", "TopicId": id}]});
        side.ask("name and id", "Metadata", version, both).await?;
        let neither = json!({"Topics": [{"Name": null, "TopicId": NO_ID}]});
        side.ask("neither", "Metadata", version, neither).await?;
    }
    for version in [0, 3, 4, 8, 13] {
        let name = format!("comes-by-itself-{version}");
        let request = json!({"Topics": [{"Name": name, "TopicId": NO_ID}], "AllowAutoTopicCreation": true});
        let settled = |answer: &Value| answer["Topics"][0]["ErrorCode"] == 0;
        side.ask("comes by itself", "Metadata", version, request.clone()).await?;
        side.ask_until("is there", "Metadata", version, request, settled).await?;
    }

    let asked = json!([{"Name": "described"}, {"Name": "not-there"}, {"Name": "made-by-7"}]);
    side.ask("several", "DescribeTopicPartitions", 0, json!({"Topics": asked})).await?;
    for limit in [1, 2, 4, 0, -1] {
        let request = json!({"Topics": asked, "ResponsePartitionLimit": limit});
        side.ask(&format!("at most {limit}"), "DescribeTopicPartitions", 0, request).await?;
    }
    for (step, name, partition) in [
        ("from the middle", "described", 1),
        ("behind the last", "described", 3),
        ("before the first", "described", -1),
        ("from an unknown", "e", 0),
        ("from a gone partition", "made-by-7", 9),
    ] {
        let cursor = json!({"TopicName": name, "PartitionIndex": partition});
        side.ask(step, "DescribeTopicPartitions", 0, json!({"Topics": asked, "Cursor": cursor})).await?;
    }
    side.ask(
        "twice",
        "DescribeTopicPartitions",
        0,
        json!({"Topics": [{"Name": "described"}, {"Name": "described"}]}),
    )
    .await?;

    for version in side.versions("DescribeLogDirs")? {
        let asked = json!([{"Topic": "described", "Partitions": [0, 2, 9]}, {"Topic": "not-there", "Partitions": [0]}]);
        side.ask("some", "DescribeLogDirs", version, json!({"Topics": asked})).await?;
        side.ask("nothing", "DescribeLogDirs", version, json!({"Topics": []})).await?;
    }

    for version in side.versions("ElectLeaders")? {
        for kind in [0, 1, 7] {
            let asked = json!([{"Topic": "described", "Partitions": [0, 9]}, {"Topic": "not-there", "Partitions": [0]}]);
            let request = json!({"ElectionType": kind, "TopicPartitions": asked});
            side.ask(&format!("type {kind}"), "ElectLeaders", version, request).await?;
        }
        side.ask("of nothing", "ElectLeaders", version, json!({"TopicPartitions": []})).await?;
        side.ask("of all", "ElectLeaders", version, json!({"TopicPartitions": null})).await?;
    }
    let asked = json!([{"Name": "described", "PartitionIndexes": [0, 9]}, {"Name": "not-there", "PartitionIndexes": [0]}]);
    side.ask("some", "ListPartitionReassignments", 0, json!({"Topics": asked})).await?;
    side.ask("all", "ListPartitionReassignments", 0, json!({"Topics": null})).await?;
    side.ask("nothing", "ListPartitionReassignments", 0, json!({"Topics": []})).await?;
    Ok(())
}

async fn grown(side: &mut Side<'_>) -> anyhow::Result<()> {
    side.create_topic("grows", 1).await?;
    side.create_topic("grows-twice", 1).await?;
    for version in side.versions("CreatePartitions")? {
        let grow = |name: &str, count: i32, assignments: Value, validate_only: bool| {
            json!({
                "Topics": [{"Name": name, "Count": count, "Assignments": assignments}],
                "TimeoutMs": 5000,
                "ValidateOnly": validate_only,
            })
        };
        let count = i32::from(version) + 2;
        side.ask("validated", "CreatePartitions", version, grow("grows", 50, Value::Null, true)).await?;
        side.ask("one more", "CreatePartitions", version, grow("grows", count, Value::Null, false)).await?;
        side.wait_for_topic("grows", count).await?;
        side.ask("as many", "CreatePartitions", version, grow("grows", count, Value::Null, false)).await?;
        for (step, name, count, assignments) in [
            ("fewer", "grows", 1, Value::Null),
            ("none", "grows", 0, Value::Null),
            ("minus one", "grows", -1, Value::Null),
            ("unknown topic", "not-there", 3, Value::Null),
            ("empty name", "", 3, Value::Null),
            ("too few assigned", "grows", 50, json!([{"BrokerIds": [1]}])),
            ("assigned to a stranger", "grows", count + 1, json!([{"BrokerIds": [77]}])),
            ("assigned to nobody", "grows", count + 1, json!([{"BrokerIds": []}])),
        ] {
            side.ask(step, "CreatePartitions", version, grow(name, count, assignments, false)).await?;
        }
        let twice = json!({"Topics": [
            {"Name": "grows-twice", "Count": 6, "Assignments": null},
            {"Name": "grows-twice", "Count": 7, "Assignments": null},
        ]});
        side.ask("twice", "CreatePartitions", version, twice).await?;
        side.ask("nothing", "CreatePartitions", version, json!({"Topics": []})).await?;
    }
    Ok(())
}

async fn deleted(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("DeleteTopics")? {
        let name = format!("goes-{version}");
        let other = format!("goes-by-id-{version}");
        side.create_topic(&name, 1).await?;
        let id = side.create_topic(&other, 1).await?;
        let by_name = |name: &str| {
            json!({
                "Topics": [{"Name": name, "TopicId": NO_ID}],
                "TopicNames": [name],
                "TimeoutMs": 5000,
            })
        };
        let gone = |answer: &Value| answer["Topics"][0]["ErrorCode"] == UNKNOWN_TOPIC_OR_PARTITION;
        side.ask("one", "DeleteTopics", version, by_name(&name)).await?;
        let asked = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false});
        side.ask_until("is gone", "Metadata", 9, asked, gone).await?;
        side.ask("again", "DeleteTopics", version, by_name(&name)).await?;
        side.ask("empty name", "DeleteTopics", version, by_name("")).await?;
        let twice = json!({"Topics": [
            {"Name": "assigned-7", "TopicId": NO_ID}, {"Name": "assigned-7", "TopicId": NO_ID},
        ], "TimeoutMs": 5000});
        if version >= 6 {
            side.ask("twice", "DeleteTopics", version, twice).await?;
            let both = json!({"Topics": [{"Name": other, "TopicId": id}], "TimeoutMs": 5000});
            side.ask("name and id", "DeleteTopics", version, both).await?;
            let neither = json!({"Topics": [{"Name": null, "TopicId": NO_ID}], "TimeoutMs": 5000});
            side.ask("neither", "DeleteTopics", version, neither).await?;
            let by_id = json!({"Topics": [{"Name": null, "TopicId": id}], "TimeoutMs": 5000});
            side.ask("by id", "DeleteTopics", version, by_id.clone()).await?;
            let unknown = json!({"Topics": [{"Name": null, "TopicId": UNKNOWN_ID}], "TimeoutMs": 5000});
            side.ask("unknown id", "DeleteTopics", version, unknown).await?;
        }
        side.ask("nothing", "DeleteTopics", version, json!({"Topics": [], "TopicNames": []})).await?;
    }
    Ok(())
}
