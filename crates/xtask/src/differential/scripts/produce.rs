//! Produce: what is appended, what is refused, and what an idempotent producer is told.

use serde_json::{Value, json};

use super::super::record_sets;
use super::super::side::Side;
use super::idempotent;
use crate::produce_bytes::{Identity, batch, batch_of, keyed_record};

const UNKNOWN_ID: &str = "0123456789abcdef0123456789abcdef";
/// Where the bytes of a batch's header are.
mod place {
    pub(super) const BASE_OFFSET: usize = 7;
    pub(super) const MAGIC: usize = 16;
    pub(super) const CHECKSUM: usize = 20;
}
const ZSTD: i16 = 4;
const LOG_APPEND_TIME: i16 = 8;
const CONTROL: i16 = 0x20;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("produced", 3).await?;
    acknowledged(side, &id).await?;
    refused(side, &id).await?;
    of_topics_configs(side).await?;
    without_an_answer(side).await?;
    idempotent::script(side).await
}

/// A request with one batch for one partition.
pub(super) fn request(topic: &str, id: &Value, partition: i32, acks: i16, records: Value) -> Value {
    let partitions = json!([{"Index": partition, "Records": records}]);
    json!({
        "Acks": acks,
        "TimeoutMs": 5000,
        "TopicData": [{"Name": topic, "TopicId": id, "PartitionData": partitions}],
    })
}

async fn acknowledged(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    for acks in [-1, 1] {
        side.ask_all(&format!("acks {acks}"), "Produce", |_| {
            request("produced", id, 0, acks, record_sets::plain(2))
        })
        .await?;
    }
    Ok(())
}

async fn refused(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    let one = || record_sets::plain(1);
    let wrong = side.create_topic("wrong", wrong_batches().len() as i32).await?;
    for version in [3, 7, 8, 9, 12, 13] {
        for acks in [2, -2] {
            let request = request("produced", id, 1, acks, one());
            side.ask(&format!("acks {acks}"), "Produce", version, request).await?;
        }
        let unknown = request("not-there", &UNKNOWN_ID.into(), 0, -1, one());
        side.ask("unknown topic", "Produce", version, unknown).await?;
        let no_id = "0".repeat(32).into();
        side.ask("no topic", "Produce", version, request("", &no_id, 0, -1, one())).await?;
        for partition in [3, -1] {
            let request = request("produced", id, partition, -1, one());
            side.ask(&format!("partition {partition}"), "Produce", version, request).await?;
        }
        // Each has a partition of its own: what one broker takes and the other refuses moves no other offsets.
        for (partition, (step, records)) in wrong_batches().into_iter().enumerate() {
            let request = request("wrong", &wrong, partition as i32, -1, records);
            side.ask(step, "Produce", version, request).await?;
        }
        side.ask("no topics", "Produce", version, json!({"Acks": -1, "TimeoutMs": 5000, "TopicData": []}))
            .await?;
        let no_partitions = json!([{"Name": "produced", "TopicId": id, "PartitionData": []}]);
        let request = json!({"Acks": -1, "TimeoutMs": 5000, "TopicData": no_partitions});
        side.ask("no partitions", "Produce", version, request).await?;
        let mixed = json!([
            {"Index": 1, "Records": one()}, {"Index": 9, "Records": one()}, {"Index": 2, "Records": one()},
        ]);
        let topics = json!([{"Name": "produced", "TopicId": id, "PartitionData": mixed}]);
        let request = json!({"Acks": -1, "TimeoutMs": 5000, "TopicData": topics});
        side.ask("good and bad", "Produce", version, request).await?;
        let earliest =
            json!({"Topics": [{"Name": "produced", "Partitions": [{"PartitionIndex": 1, "Timestamp": -1}]}]});
        side.ask(&format!("what {version} left"), "ListOffsets", 5, earliest).await?;
    }
    Ok(())
}

/// Batches that are wrong in one way each. Null records are not among them: Apache Kafka never answers those.
fn wrong_batches() -> Vec<(&'static str, Value)> {
    let good = batch(0, 1, &record_sets::section(1));
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        record_sets::bytes(&bytes)
    };
    let of_attributes = |attributes| record_sets::bytes(&batch(attributes, 1, &record_sets::section(1)));
    let identity = Identity { id: 4711, epoch: 0, sequence: -1 };
    let unnumbered = batch_of(identity, 0, 1, &record_sets::section(1));
    let skipping = [keyed_record(0, b"a", b"1"), keyed_record(2, b"b", b"2")].concat();
    vec![
        ("empty records", "".into()),
        ("two batches", record_sets::bytes(&[good.as_slice(), &good].concat())),
        ("cut short", record_sets::bytes(&good[..good.len() - 1])),
        ("half a header", record_sets::bytes(&good[..30])),
        ("wrong checksum", changed(place::CHECKSUM, !good[place::CHECKSUM])),
        ("magic 1", changed(place::MAGIC, 1)),
        ("magic 3", changed(place::MAGIC, 3)),
        ("base offset 5", changed(place::BASE_OFFSET, 5)),
        ("codec 5", of_attributes(5)),
        ("codec 7", of_attributes(7)),
        ("not zstd after all", of_attributes(ZSTD)),
        ("log append time", of_attributes(LOG_APPEND_TIME)),
        ("a marker", of_attributes(CONTROL)),
        ("a transaction's", of_attributes(record_sets::TRANSACTIONAL)),
        ("no sequence", record_sets::bytes(&unnumbered)),
        ("more counted", record_sets::bytes(&batch(0, 3, &record_sets::section(2)))),
        ("fewer counted", record_sets::bytes(&batch(0, 1, &record_sets::section(2)))),
        ("none counted", record_sets::bytes(&batch(0, 0, &[]))),
        ("an offset is skipped", record_sets::bytes(&batch(0, 2, &skipping))),
        ("too large", record_sets::bytes(&batch(0, 1, &keyed_record(0, b"k", &[b'v'; 1_100_000])))),
        ("of the far future", record_sets::at(1, FAR_FUTURE_MS)),
    ]
}

/// The year 2200.
const FAR_FUTURE_MS: i64 = 7_258_118_400_000;

/// What topics' configs change.
async fn of_topics_configs(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic_with("compacted", 1, &[("cleanup.policy", "compact")]).await?;
    let without_key = {
        // Attributes, timestamp delta, offset delta, no key, an empty value, no headers; all varints of one byte.
        let section = [12, 0, 0, 0, 1, 0, 0];
        record_sets::bytes(&batch(0, 1, &section))
    };
    for version in [7, 8, 13] {
        let keyless = request("compacted", &id, 0, -1, without_key.clone());
        side.ask("without a key", "Produce", version, keyless).await?;
        side.ask("with a key", "Produce", version, request("compacted", &id, 0, -1, record_sets::plain(1)))
            .await?;
    }
    let id = side.create_topic_with("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).await?;
    for version in [3, 8, 13] {
        let request = request("stamped", &id, 0, -1, record_sets::at(2, 1000));
        side.ask("stamped by the broker", "Produce", version, request).await?;
    }
    let id = side.create_topic_with("small", 1, &[("max.message.bytes", "100")]).await?;
    for count in [1, 20] {
        let request = request("small", &id, 0, -1, record_sets::plain(count));
        side.ask(&format!("{count} records"), "Produce", 9, request).await?;
    }
    let id = side.create_topic_with("recent", 1, &[("message.timestamp.before.max.ms", "1000")]).await?;
    side.ask("too old", "Produce", 9, request("recent", &id, 0, -1, record_sets::at(2, 1000))).await?;
    Ok(())
}

/// `acks=0`: silence, or the end of the connection.
async fn without_an_answer(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("unanswered", 1).await?;
    for version in [3, 9, 13] {
        for (step, partition, records) in [
            ("good", 0, record_sets::plain(1)),
            ("bad partition", 7, record_sets::plain(1)),
            ("bad batch", 0, "00".into()),
        ] {
            let request = request("unanswered", &id, partition, 0, records);
            let connection = format!("{step} {version}");
            side.post(&connection, "Produce", version, request).await?;
            let next = json!({"Topics": [{"Name": "unanswered"}], "AllowAutoTopicCreation": false});
            side.send(&connection, "Metadata", 9, next).await?;
            side.answer(&connection, &format!("after {connection}")).await?;
        }
    }
    Ok(())
}
