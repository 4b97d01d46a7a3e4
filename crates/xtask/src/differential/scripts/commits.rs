//! Committed offsets of groups without members: committed, fetched in all forms, deleted with their groups.

use serde_json::{Value, json};

use super::super::side::Side;

const UNKNOWN_ID: &str = "0123456789abcdef0123456789abcdef";

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("committed", 3).await?;
    committed(side, &id).await?;
    fetched(side, &id).await?;
    deleted(side).await
}

pub(super) fn commit(group: &str, topic: &str, id: &Value, partition: i32, offset: i64) -> Value {
    let partitions =
        json!([{"PartitionIndex": partition, "CommittedOffset": offset, "CommittedMetadata": "some words"}]);
    json!({"GroupId": group, "Topics": [{"Name": topic, "TopicId": id, "Partitions": partitions}]})
}

async fn committed(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    for version in side.versions("OffsetCommit")? {
        let offset = 100 + i64::from(version);
        let good = || commit("keeps", "committed", id, 0, offset);
        let with = |name: &str, value: Value| {
            let mut request = good();
            request["Topics"][0]["Partitions"][0][name] = value;
            request
        };
        let of = |name: &str, value: Value| {
            let mut request = good();
            request[name] = value;
            request
        };
        for (step, request) in [
            ("one", good()),
            ("no metadata", with("CommittedMetadata", Value::Null)),
            ("long metadata", with("CommittedMetadata", "m".repeat(4096).into())),
            ("too long metadata", with("CommittedMetadata", "m".repeat(4097).into())),
            ("offset -1", with("CommittedOffset", json!(-1))),
            ("offset -2", with("CommittedOffset", json!(-2))),
            ("a leader epoch", with("CommittedLeaderEpoch", json!(7))),
            ("unknown partition", commit("keeps", "committed", id, 9, 1)),
            ("partition -1", commit("keeps", "committed", id, -1, 1)),
            ("unknown topic", commit("keeps", "not-there", &UNKNOWN_ID.into(), 0, 1)),
            ("empty group", commit("", "committed", id, 0, 1)),
            ("a generation", of("GenerationIdOrMemberEpoch", json!(3))),
            ("a member", of("MemberId", json!("somebody"))),
            ("a member of a generation", {
                let mut request = of("MemberId", json!("somebody"));
                request["GenerationIdOrMemberEpoch"] = json!(3);
                request
            }),
            ("a new group's member", {
                let mut request = commit("new-group", "committed", id, 0, 1);
                request["MemberId"] = json!("somebody");
                request["GenerationIdOrMemberEpoch"] = json!(3);
                request
            }),
            ("an instance", {
                // Without a member the broker cannot know it.
                let mut request = good();
                request["GroupInstanceId"] = json!("somebody");
                if version < 7 { good() } else { request }
            }),
            ("nothing", json!({"GroupId": "keeps", "Topics": []})),
            ("no partitions", {
                json!({"GroupId": "keeps", "Topics": [{"Name": "committed", "TopicId": id, "Partitions": []}]})
            }),
        ] {
            side.ask(step, "OffsetCommit", version, request).await?;
        }
        let mixed = json!({"GroupId": "keeps", "Topics": [
            {"Name": "committed", "TopicId": id, "Partitions": [
                {"PartitionIndex": 1, "CommittedOffset": offset, "CommittedMetadata": ""},
                {"PartitionIndex": 9, "CommittedOffset": offset, "CommittedMetadata": ""},
            ]},
            {"Name": "not-there", "TopicId": UNKNOWN_ID, "Partitions": [
                {"PartitionIndex": 0, "CommittedOffset": offset, "CommittedMetadata": ""},
            ]},
        ]});
        side.ask("good and bad", "OffsetCommit", version, mixed).await?;
        let all = json!({"GroupId": "keeps", "Topics": null});
        side.ask(&format!("what {version} left"), "OffsetFetch", 7, all).await?;
    }
    Ok(())
}

/// A request that names topics and, from version 8 on, groups.
fn fetch(group: &str, topics: Value) -> Value {
    // Version 1 cannot ask for all.
    json!({"GroupId": group, "Topics": topics, "Groups": [{"GroupId": group, "Topics": topics}]})
}

async fn fetched(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    for version in side.versions("OffsetFetch")? {
        let topic = |name: &str, id: &Value, partitions: Value| match version {
            0..=7 => json!([{"Name": name, "PartitionIndexes": partitions}]),
            _ => json!([{"Name": name, "TopicId": id, "PartitionIndexes": partitions}]),
        };
        for (step, group, topics) in [
            ("some", "keeps", topic("committed", id, json!([0, 1, 2]))),
            ("unknown partition", "keeps", topic("committed", id, json!([0, 9]))),
            ("unknown topic", "keeps", topic("not-there", &UNKNOWN_ID.into(), json!([0]))),
            ("unknown group", "never-seen", topic("committed", id, json!([0]))),
            ("empty group", "", topic("committed", id, json!([0]))),
            ("no topics", "keeps", json!([])),
            ("no partitions", "keeps", topic("committed", id, json!([]))),
        ] {
            side.ask(step, "OffsetFetch", version, strip(fetch(group, topics), version)).await?;
        }
        if version >= 2 {
            for group in ["keeps", "never-seen"] {
                let request = strip(fetch(group, Value::Null), version);
                side.ask(&format!("all of {group}"), "OffsetFetch", version, request).await?;
            }
        }
        if version >= 7 {
            let mut stable = strip(fetch("keeps", Value::Null), version);
            stable["RequireStable"] = json!(true);
            side.ask("stable", "OffsetFetch", version, stable).await?;
        }
        if version >= 8 {
            let groups = json!({"Groups": [
                {"GroupId": "keeps", "Topics": null},
                {"GroupId": "never-seen", "Topics": null},
                {"GroupId": "keeps", "Topics": topic("committed", id, json!([1]))},
            ]});
            side.ask("of groups", "OffsetFetch", version, groups).await?;
            side.ask("of no group", "OffsetFetch", version, json!({"Groups": []})).await?;
        }
        if version >= 9 {
            let member = json!({"Groups": [
                {"GroupId": "keeps", "MemberId": "somebody", "MemberEpoch": 3, "Topics": null},
            ]});
            side.ask("by a member", "OffsetFetch", version, member).await?;
        }
    }
    Ok(())
}

/// Topics are named in one place or the other.
fn strip(mut request: Value, version: i16) -> Value {
    if let Some(fields) = request.as_object_mut() {
        fields.remove(if version >= 8 { "Topics" } else { "Groups" });
    }
    request
}

async fn deleted(side: &mut Side<'_>) -> anyhow::Result<()> {
    let request = |group: &str, topic: &str, partitions: &[i32]| {
        let partitions: Vec<Value> = partitions.iter().map(|one| json!({"PartitionIndex": one})).collect();
        json!({"GroupId": group, "Topics": [{"Name": topic, "Partitions": partitions}]})
    };
    for (step, request) in [
        ("one", request("keeps", "committed", &[0])),
        ("one again", request("keeps", "committed", &[0])),
        ("unknown partition", request("keeps", "committed", &[9])),
        ("unknown topic", request("keeps", "not-there", &[0])),
        ("unknown group", request("never-seen", "committed", &[0])),
        ("empty group", request("", "committed", &[0])),
        ("nothing", json!({"GroupId": "keeps", "Topics": []})),
    ] {
        side.ask(step, "OffsetDelete", 0, request).await?;
    }
    side.ask("is left", "OffsetFetch", 8, json!({"Groups": [{"GroupId": "keeps", "Topics": null}]})).await?;
    for version in side.versions("DeleteGroups")? {
        let again = commit(&format!("goes-{version}"), "committed", &"0".repeat(32).into(), 0, 5);
        side.look("OffsetCommit", 9, again).await?;
        let groups = json!([format!("goes-{version}"), "never-seen", ""]);
        side.ask("some", "DeleteGroups", version, json!({"GroupsNames": groups})).await?;
        side.ask("again", "DeleteGroups", version, json!({"GroupsNames": [format!("goes-{version}")]}))
            .await?;
        side.ask("none", "DeleteGroups", version, json!({"GroupsNames": []})).await?;
        let twice = json!({"GroupsNames": ["never-seen", "never-seen"]});
        side.ask("twice", "DeleteGroups", version, twice).await?;
    }
    for version in side.versions("DescribeGroups")? {
        let groups = json!({"Groups": ["keeps", "never-seen", "goes-0", ""]});
        side.ask("without members", "DescribeGroups", version, groups).await?;
    }
    side.ask_all(
        "without members",
        "ConsumerGroupDescribe",
        |_| json!({"GroupIds": ["keeps", "never-seen", ""]}),
    )
    .await?;
    Ok(())
}
