//! Transactions of KIP-890: the partition's leader adds what is written, and every end moves the epoch.

use serde_json::{Value, json};

use super::super::side::Side;
use super::explicit_transactions::{Producer, read};

/// Produce's first version that adds partitions by itself.
const PRODUCE: [i16; 2] = [12, 13];
const END_TXN: i16 = 5;
const TXN_OFFSET_COMMIT: i16 = 5;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("implicit", 5).await?;
    for version in PRODUCE {
        whole(side, &id, version).await?;
    }
    mixed(side, &id).await?;
    by_brokers(side).await
}

fn epoch_of(answer: &Value) -> i64 {
    answer["ProducerEpoch"].as_i64().unwrap_or_default()
}

async fn whole(side: &mut Side<'_>, id: &Value, version: i16) -> anyhow::Result<()> {
    let group = &format!("implicit-{version}");
    let producer = Producer::new(side, &format!("implicit-{version}")).await?;
    let empty = side.ask("an empty one", "EndTxn", END_TXN, producer.end(false)).await?;
    side.ask_settled("the same again", "EndTxn", END_TXN, producer.end(false)).await?;
    let producer = producer.at(epoch_of(&empty));
    side.ask_settled("an empty commit", "EndTxn", END_TXN, producer.end(true)).await?;
    // On a partition of its own: who takes it counts on from there.
    let middle = producer.produce("implicit", id, i32::from(version) - 9, 7);
    side.ask_settled("from the middle", "Produce", version, middle).await?;
    side.ask_settled("first", "Produce", version, producer.produce("implicit", id, 0, 0)).await?;
    side.ask_settled("second", "Produce", version, producer.produce("implicit", id, 0, 2)).await?;
    side.ask("second again", "Produce", version, producer.produce("implicit", id, 0, 2)).await?;
    side.ask_settled("elsewhere", "Produce", version, producer.produce("implicit", id, 1, 0)).await?;
    read(side, "open", "implicit", id, 0).await?;
    let offset = |producer: &Producer| producer.commit_offset(group, "implicit", 11);
    side.ask_settled("an offset", "TxnOffsetCommit", TXN_OFFSET_COMMIT, offset(&producer)).await?;
    let request = json!({"TransactionalIds": [format!("implicit-{version}")]});
    side.ask("open", "DescribeTransactions", 0, request.clone()).await?;
    let ended = side.ask("commit", "EndTxn", END_TXN, producer.end(true)).await?;
    side.ask_settled("commit again", "EndTxn", END_TXN, producer.end(true)).await?;
    side.ask_settled("abort after all", "EndTxn", END_TXN, producer.end(false)).await?;
    let former = producer;
    let producer = former.at(epoch_of(&ended));
    let complete = |answer: &Value| {
        answer["TransactionStates"][0]["TransactionState"]
            .as_str()
            .is_some_and(|state| state.starts_with("Complete"))
    };
    side.ask_until("done", "DescribeTransactions", 0, request, complete).await?;
    read(side, "committed", "implicit", id, 0).await?;
    side.ask("a former epoch", "Produce", version, former.produce("implicit", id, 0, 4)).await?;
    side.ask("a former epoch", "TxnOffsetCommit", TXN_OFFSET_COMMIT, offset(&former)).await?;
    side.ask_settled("the next", "Produce", version, producer.produce("implicit", id, 0, 0)).await?;
    side.ask("abort", "EndTxn", END_TXN, producer.end(false)).await?;
    side.ask_settled("abort again", "EndTxn", END_TXN, producer.end(false)).await?;
    read(side, "aborted", "implicit", id, 0).await?;
    let groups = json!({"Groups": [{"GroupId": group, "Topics": null}], "RequireStable": true});
    side.ask("what the group has", "OffsetFetch", 8, groups).await?;
    let unknown = producer.of("nobody's", producer.id());
    side.ask("unknown", "EndTxn", END_TXN, unknown.end(true)).await?;
    side.ask("unknown", "Produce", version, unknown.produce("implicit", id, 2, 0)).await?;
    side.ask("unknown", "TxnOffsetCommit", TXN_OFFSET_COMMIT, offset(&unknown)).await?;
    let foreign = producer.of(&format!("implicit-{version}"), producer.id() + 1_000_000);
    side.ask("foreign", "EndTxn", END_TXN, foreign.end(true)).await?;
    side.ask("foreign", "Produce", version, foreign.produce("implicit", id, 2, 0)).await?;
    Ok(())
}

/// A transaction that begins in one way and ends in the other.
async fn mixed(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    let producer = Producer::new(side, "begins-explicitly").await?;
    side.ask_settled("added", "AddPartitionsToTxn", 3, producer.add("implicit", &[2])).await?;
    side.ask_settled("added", "Produce", 11, producer.produce("implicit", id, 2, 0)).await?;
    let ended = side.ask("ends implicitly", "EndTxn", END_TXN, producer.end(true)).await?;
    let producer = producer.at(epoch_of(&ended));
    side.ask_settled("goes on", "Produce", 12, producer.produce("implicit", id, 2, 0)).await?;
    side.ask("ends explicitly", "EndTxn", 4, producer.end(true)).await?;
    side.ask_settled("ends explicitly again", "EndTxn", 4, producer.end(true)).await?;
    read(side, "mixed", "implicit", id, 2).await
}

/// The versions that brokers use among themselves. Of no transactions at all, Apache Kafka never answers.
async fn by_brokers(side: &mut Side<'_>) -> anyhow::Result<()> {
    let producer = Producer::new(side, "verified").await?;
    for version in [4, 5] {
        for verify_only in [true, false] {
            let transaction = |id: &str, partitions: &[i32]| {
                json!({
                    "TransactionalId": id,
                    "ProducerId": producer.id(),
                    "ProducerEpoch": producer.epoch(),
                    "VerifyOnly": verify_only,
                    "Topics": [{"Name": "implicit", "Partitions": partitions}],
                })
            };
            let request =
                json!({"Transactions": [transaction("verified", &[0, 1]), transaction("nobody's", &[0])]});
            side.ask_settled(&format!("verify {verify_only}"), "AddPartitionsToTxn", version, request)
                .await?;
        }
    }
    Ok(())
}
