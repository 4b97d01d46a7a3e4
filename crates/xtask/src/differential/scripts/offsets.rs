//! Offsets of partitions: by time and by special values, by leader epoch, and what DeleteRecords leaves.

use serde_json::{Value, json};

use super::super::record_sets;
use super::super::side::Side;
use super::produce;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let keep = [("retention.ms", "-1")];
    let id = side.create_topic_with("timed", 2, &keep).await?;
    for time in [1000, 3000, 2000, 5000] {
        let request = produce::request("timed", &id, 0, -1, record_sets::at(2, time));
        side.ask("prepare", "Produce", 13, request).await?;
    }
    by_time(side).await?;
    by_epoch(side).await?;
    deleted(side, &id).await
}

fn list(topic: &str, partition: i32, time: i64) -> Value {
    json!({
        "ReplicaId": -1,
        "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Timestamp": time}]}],
        "TimeoutMs": 5000,
    })
}

async fn by_time(side: &mut Side<'_>) -> anyhow::Result<()> {
    for time in [0, 999, 1000, 1001, 2000, 2500, 3000, 4000, 5000, 5001] {
        side.ask_all(&format!("time {time}"), "ListOffsets", |_| list("timed", 0, time)).await?;
    }
    for special in -8..=-1 {
        side.ask_all(&format!("special {special}"), "ListOffsets", |_| list("timed", 0, special)).await?;
        side.ask_all(&format!("special {special}, empty"), "ListOffsets", |_| list("timed", 1, special))
            .await?;
    }
    for version in [1, 2, 4, 5, 6, 7, 10, 11] {
        side.ask("empty", "ListOffsets", version, list("timed", 1, 1000)).await?;
        side.ask("unknown partition", "ListOffsets", version, list("timed", 7, -1)).await?;
        side.ask("unknown topic", "ListOffsets", version, list("not-there", 0, -1)).await?;
        side.ask("bad name", "ListOffsets", version, list("a/b", 0, -1)).await?;
        for isolation in [1, 2] {
            let mut committed = list("timed", 0, -1);
            committed["IsolationLevel"] = json!(isolation);
            side.ask(&format!("isolation level {isolation}"), "ListOffsets", version, committed).await?;
        }
        for epoch in [0, 5] {
            let mut of_epoch = list("timed", 0, -1);
            of_epoch["Topics"][0]["Partitions"][0]["CurrentLeaderEpoch"] = json!(epoch);
            side.ask(&format!("leader epoch {epoch}"), "ListOffsets", version, of_epoch).await?;
        }
        let mut twice = list("timed", 0, -1);
        twice["Topics"][0]["Partitions"] = json!([
            {"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 0, "Timestamp": -2},
            {"PartitionIndex": 1, "Timestamp": -1},
        ]);
        side.ask("twice", "ListOffsets", version, twice).await?;
        side.ask("nothing", "ListOffsets", version, json!({"ReplicaId": -1, "Topics": []})).await?;
        let mut replica = list("timed", 0, -1);
        replica["ReplicaId"] = json!(5);
        side.ask("by a replica", "ListOffsets", version, replica).await?;
    }
    Ok(())
}

async fn by_epoch(side: &mut Side<'_>) -> anyhow::Result<()> {
    let request = |topic: &str, partition: i32, current: i32, epoch: i32| {
        let partition = json!({"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch});
        json!({"ReplicaId": -1, "Topics": [{"Topic": topic, "Partitions": [partition]}]})
    };
    for version in side.versions("OffsetForLeaderEpoch")? {
        for (step, request) in [
            ("this epoch", request("timed", 0, -1, 0)),
            ("this epoch, empty", request("timed", 1, -1, 0)),
            ("a later epoch", request("timed", 0, -1, 3)),
            ("no epoch", request("timed", 0, -1, -1)),
            ("the leader is known", request("timed", 0, 0, 0)),
            ("the leader is newer", request("timed", 0, 5, 0)),
            ("unknown partition", request("timed", 9, -1, 0)),
            ("unknown topic", request("not-there", 0, -1, 0)),
            ("nothing", json!({"Topics": []})),
        ] {
            side.ask(step, "OffsetForLeaderEpoch", version, request).await?;
        }
    }
    Ok(())
}

async fn deleted(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    let request = |topic: &str, partition: i32, offset: i64| {
        let partition = json!({"PartitionIndex": partition, "Offset": offset});
        json!({"Topics": [{"Name": topic, "Partitions": [partition]}], "TimeoutMs": 5000})
    };
    side.create_topic_with("compacted-records", 1, &[("cleanup.policy", "compact")]).await?;
    for version in side.versions("DeleteRecords")? {
        for (step, request) in [
            ("some", request("timed", 0, 1 + i64::from(version))),
            ("none", request("timed", 0, 0)),
            ("beyond the end", request("timed", 0, 100)),
            ("offset -2", request("timed", 0, -2)),
            ("unknown partition", request("timed", 9, 0)),
            ("unknown topic", request("not-there", 0, 0)),
            ("of a compacted topic", request("compacted-records", 0, 0)),
            ("of nothing", json!({"Topics": [], "TimeoutMs": 5000})),
        ] {
            side.ask(step, "DeleteRecords", version, request).await?;
        }
        side.ask("what is left", "ListOffsets", 7, list("timed", 0, -2)).await?;
        let fetch = json!({"Topics": [{"TopicId": id, "Topic": "timed", "Partitions": [
            {"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000},
        ]}]});
        side.ask("what is gone", "Fetch", 13, fetch.clone()).await?;
        side.ask("what is gone", "Fetch", 12, fetch).await?;
        side.ask("an early time", "ListOffsets", 7, list("timed", 0, 0)).await?;
    }
    side.ask("all", "DeleteRecords", 2, request("timed", 0, -1)).await?;
    for special in [-1, -2, -3, 0] {
        side.ask(&format!("special {special} of nothing"), "ListOffsets", 7, list("timed", 0, special))
            .await?;
    }
    side.ask(
        "epoch of nothing",
        "OffsetForLeaderEpoch",
        4,
        json!({"Topics": [
            {"Topic": "timed", "Partitions": [{"Partition": 0, "LeaderEpoch": 0}]},
        ]}),
    )
    .await?;
    Ok(())
}
