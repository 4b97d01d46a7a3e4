//! Fetch: limits, waiting, sessions, epochs, and what cannot be read.

use serde_json::{Value, json};

use super::super::record_sets;
use super::super::side::Side;
use super::produce;

const UNKNOWN_ID: &str = "0123456789abcdef0123456789abcdef";
const ENOUGH: i32 = 1 << 20;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("fetched", 2).await?;
    for (partition, count) in [(0, 1), (0, 2), (0, 3), (1, 4)] {
        let request = produce::request("fetched", &id, partition, -1, record_sets::plain(count));
        side.ask("prepare", "Produce", 13, request).await?;
    }
    read(side, &id).await?;
    refused(side, &id).await?;
    sessions(side, &id).await
}

/// A request for one partition that does not wait.
fn request(topic: &str, id: &Value, partition: i32, offset: i64) -> Value {
    json!({
        "MaxWaitMs": 0,
        "MinBytes": 1,
        "Topics": [{"Topic": topic, "TopicId": id, "Partitions": [
            {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": ENOUGH},
        ]}],
    })
}

/// The same with fields of the partition changed.
fn with(topic: &str, id: &Value, offset: i64, fields: Value) -> Value {
    let mut request = request(topic, id, 0, offset);
    let partition = &mut request["Topics"][0]["Partitions"][0];
    for (name, value) in fields.as_object().into_iter().flatten() {
        partition[name] = value.clone();
    }
    request
}

async fn read(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    side.ask_all("from the beginning", "Fetch", |_| request("fetched", id, 0, 0)).await?;
    side.ask_all("within a batch", "Fetch", |_| request("fetched", id, 0, 4)).await?;
    side.ask_all("at the end", "Fetch", |_| request("fetched", id, 0, 6)).await?;
    for version in [4, 11, 12, 13, 18] {
        let mut waits = request("fetched", id, 0, 6);
        (waits["MaxWaitMs"], waits["MinBytes"]) = (json!(50), json!(1));
        side.ask("waits in vain", "Fetch", version, waits).await?;
        let mut more = request("fetched", id, 0, 0);
        (more["MaxWaitMs"], more["MinBytes"]) = (json!(50), json!(ENOUGH));
        side.ask("waits for more than there is", "Fetch", version, more).await?;
        for limit in [0, 1, 100, 200] {
            let mut limited = request("fetched", id, 0, 0);
            limited["MaxBytes"] = json!(limit);
            side.ask(&format!("at most {limit} bytes"), "Fetch", version, limited).await?;
            let limited = with("fetched", id, 0, json!({"PartitionMaxBytes": limit}));
            side.ask(&format!("at most {limit} bytes of the partition"), "Fetch", version, limited).await?;
        }
        let mut both = request("fetched", id, 0, 0);
        both["MaxBytes"] = json!(1);
        both["Topics"][0]["Partitions"] = json!([
            {"Partition": 1, "FetchOffset": 0, "PartitionMaxBytes": ENOUGH},
            {"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": ENOUGH},
        ]);
        side.ask("two partitions, one byte", "Fetch", version, both.clone()).await?;
        both["MaxBytes"] = json!(ENOUGH);
        side.ask("two partitions", "Fetch", version, both).await?;
        let mut committed = request("fetched", id, 0, 0);
        committed["IsolationLevel"] = json!(1);
        side.ask("committed", "Fetch", version, committed).await?;
        side.ask("nothing", "Fetch", version, json!({"MaxWaitMs": 0, "MinBytes": 0, "Topics": []})).await?;
        let mut rack = request("fetched", id, 0, 5);
        rack["RackId"] = json!("a-rack");
        side.ask("from a rack", "Fetch", version, rack).await?;
    }
    Ok(())
}

async fn refused(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    for version in [4, 5, 9, 11, 12, 13, 15, 16, 18] {
        for (step, request) in [
            ("behind the end", request("fetched", id, 0, 7)),
            ("before the beginning", request("fetched", id, 0, -1)),
            ("unknown partition", request("fetched", id, 5, 0)),
            ("partition -1", request("fetched", id, -1, 0)),
            ("unknown topic", request("not-there", &UNKNOWN_ID.into(), 0, 0)),
            ("no topic", request("", &"0".repeat(32).into(), 0, 0)),
            ("current epoch", with("fetched", id, 0, json!({"CurrentLeaderEpoch": 0}))),
            ("epoch too new", with("fetched", id, 0, json!({"CurrentLeaderEpoch": 5}))),
            ("last fetched epoch", with("fetched", id, 3, json!({"LastFetchedEpoch": 0}))),
            ("last fetched epoch too new", with("fetched", id, 3, json!({"LastFetchedEpoch": 7}))),
        ] {
            side.ask(step, "Fetch", version, request).await?;
        }
        let mut isolation = request("fetched", id, 0, 0);
        isolation["IsolationLevel"] = json!(2);
        side.ask("isolation level 2", "Fetch", version, isolation).await?;
        let mut twice = request("fetched", id, 0, 0);
        let again = twice["Topics"][0].clone();
        twice["Topics"] = json!([again, {"Topic": "not-there", "TopicId": UNKNOWN_ID, "Partitions": [
            {"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": ENOUGH},
        ]}]);
        side.ask("one is unknown", "Fetch", version, twice).await?;
    }
    Ok(())
}

async fn sessions(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    for version in [7, 12, 13, 18] {
        let mut full = request("fetched", id, 0, 6);
        (full["SessionId"], full["SessionEpoch"]) = (json!(0), json!(0));
        let answer = side.ask("a new session", "Fetch", version, full.clone()).await?;
        let session = answer["SessionId"].clone();
        let mut next = json!({"MaxWaitMs": 0, "MinBytes": 1, "Topics": [], "SessionId": session});
        next["SessionEpoch"] = json!(1);
        side.ask("its next fetch", "Fetch", version, next.clone()).await?;
        side.ask("the same epoch again", "Fetch", version, next.clone()).await?;
        next["SessionEpoch"] = json!(9);
        side.ask("an epoch too far", "Fetch", version, next.clone()).await?;
        next["SessionEpoch"] = json!(-1);
        side.ask("the session's end", "Fetch", version, next).await?;
        let unknown =
            json!({"MaxWaitMs": 0, "MinBytes": 1, "Topics": [], "SessionId": 123_456, "SessionEpoch": 1});
        side.ask("an unknown session", "Fetch", version, unknown).await?;
    }
    Ok(())
}
