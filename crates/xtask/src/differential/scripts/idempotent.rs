//! Sequences and epochs of an idempotent producer.

use serde_json::{Value, json};

use super::super::record_sets;
use super::super::side::Side;
use super::produce::request;
use crate::produce_bytes::Identity;

/// A broker remembers that many batches of a producer.
const REMEMBERED: i32 = 5;
const UNKNOWN_PRODUCER: i64 = 999_999;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    side.ask_all(
        "no transaction",
        "InitProducerId",
        |_| json!({"TransactionalId": null, "TransactionTimeoutMs": 60000}),
    )
    .await?;
    for timeout in [0, -1, i32::MAX] {
        let request = json!({"TransactionalId": null, "TransactionTimeoutMs": timeout});
        side.ask(&format!("timeout {timeout}"), "InitProducerId", 5, request).await?;
    }
    let given =
        json!({"TransactionalId": null, "TransactionTimeoutMs": 60000, "ProducerId": 12, "ProducerEpoch": 3});
    side.ask("an id is given", "InitProducerId", 5, given).await?;
    let given = json!({"TransactionalId": null, "TransactionTimeoutMs": 60000, "ProducerId": 12});
    side.ask("half an id is given", "InitProducerId", 5, given).await?;

    let topic = side.create_topic("idempotent", 4).await?;
    for version in [3, 8, 13] {
        let answer = side.look("InitProducerId", 4, json!({"TransactionalId": null})).await?;
        let id = answer["ProducerId"].as_i64().unwrap_or(-1);
        side.name(&answer["ProducerId"], &format!("producer {version}"));
        let batch = |epoch: i16, sequence: i32, count: i32| {
            record_sets::of_producer(Identity { id, epoch, sequence }, 0, count)
        };
        let mut steps: Vec<(String, Value)> = vec![
            ("first".into(), batch(0, 0, 2)),
            ("second".into(), batch(0, 2, 1)),
            ("second again".into(), batch(0, 2, 1)),
            ("first again".into(), batch(0, 0, 2)),
            ("first, but shorter".into(), batch(0, 0, 1)),
            ("a gap".into(), batch(0, 5, 1)),
        ];
        steps.extend((3..3 + REMEMBERED).map(|number| (format!("number {number}"), batch(0, number, 1))));
        steps.extend([
            ("the oldest remembered".into(), batch(0, 3, 1)),
            ("forgotten".into(), batch(0, 0, 2)),
            ("next epoch from the middle".into(), batch(1, 8, 1)),
            ("next epoch".into(), batch(1, 0, 1)),
            ("former epoch".into(), batch(0, 8, 1)),
            ("former epoch again".into(), batch(0, 7, 1)),
            ("far epoch".into(), batch(9, 0, 1)),
        ]);
        for (step, records) in steps {
            side.ask(&step, "Produce", version, request("idempotent", &topic, 0, -1, records)).await?;
        }
        let unknown =
            |id, sequence, count| record_sets::of_producer(Identity { id, epoch: 0, sequence }, 0, count);
        let stranger = UNKNOWN_PRODUCER + i64::from(version);
        for (step, records) in [
            ("a stranger from the middle", unknown(stranger, 7, 1)),
            ("up to the last number", unknown(stranger + 100, i32::MAX - 1, 2)),
            ("over the last number", unknown(stranger + 100, 0, 1)),
            ("across the last number", unknown(stranger + 200, i32::MAX - 1, 5)),
            ("behind it", unknown(stranger + 200, 3, 1)),
        ] {
            side.ask(step, "Produce", version, request("idempotent", &topic, 1, -1, records)).await?;
        }
    }
    let asked = json!({"Topics": [
        {"Name": "idempotent", "PartitionIndexes": [0, 2, 9]}, {"Name": "not-there", "PartitionIndexes": [0]},
    ]});
    side.ask("of idempotent producers", "DescribeProducers", 0, asked).await?;
    side.ask("of nothing", "DescribeProducers", 0, json!({"Topics": []})).await?;
    Ok(())
}
