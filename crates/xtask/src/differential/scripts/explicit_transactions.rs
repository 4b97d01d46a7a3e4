//! Transactions as clients before KIP-890 have them: partitions and groups are added by requests of their own.

use serde_json::{Value, json};

use super::super::record_sets;
use super::super::side::Side;
use super::commits::commit;
use super::produce;
use crate::produce_bytes::Identity;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let id = side.create_topic("transacted", 3).await?;
    initialized(side).await?;
    for version in [0, 1, 2, 3] {
        whole(side, &id, version).await?;
    }
    fenced(side, &id).await?;
    seen_by_admins(side, &id).await?;
    markers(side).await
}

/// A producer of one transactional id.
pub(super) struct Producer {
    transactional_id: String,
    id: i64,
    epoch: i64,
}

impl Producer {
    /// Asks for the id, and lets it appear in the steps by the transactional id.
    pub(super) async fn new(side: &mut Side<'_>, transactional_id: &str) -> anyhow::Result<Self> {
        let request = json!({"TransactionalId": transactional_id, "TransactionTimeoutMs": 60000});
        let mut epoch = 0;
        let mut id = -1;
        side.look_until("InitProducerId", 4, request, |answer| answer["ErrorCode"] == 0).await?;
        // A second time, as the one before is the look's: its epoch is one higher on every broker.
        let request = json!({"TransactionalId": transactional_id, "TransactionTimeoutMs": 60000});
        let answer = side.look("InitProducerId", 4, request).await?;
        if answer["ErrorCode"] == 0 {
            (id, epoch) = (
                answer["ProducerId"].as_i64().unwrap_or(-1),
                answer["ProducerEpoch"].as_i64().unwrap_or_default(),
            );
        }
        side.name(&json!(id), &format!("producer of {transactional_id}"));
        Ok(Self { transactional_id: transactional_id.to_owned(), id, epoch })
    }

    /// The same with what the broker said of its epoch.
    pub(super) fn at(&self, epoch: i64) -> Self {
        Self { transactional_id: self.transactional_id.clone(), id: self.id, epoch }
    }

    pub(super) fn of(&self, transactional_id: &str, id: i64) -> Self {
        Self { transactional_id: transactional_id.to_owned(), id, epoch: self.epoch }
    }

    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    fn fields(&self) -> Value {
        json!({
            "TransactionalId": self.transactional_id, "ProducerId": self.id, "ProducerEpoch": self.epoch,
        })
    }

    pub(super) fn add(&self, topic: &str, partitions: &[i32]) -> Value {
        json!({
            "V3AndBelowTransactionalId": self.transactional_id,
            "V3AndBelowProducerId": self.id,
            "V3AndBelowProducerEpoch": self.epoch,
            "V3AndBelowTopics": [{"Name": topic, "Partitions": partitions}],
        })
    }

    pub(super) fn add_offsets(&self, group: &str) -> Value {
        let mut request = self.fields();
        request["GroupId"] = json!(group);
        request
    }

    pub(super) fn commit_offset(&self, group: &str, topic: &str, offset: i64) -> Value {
        let mut request = commit(group, topic, &Value::Null, 0, offset);
        for topic in request["Topics"].as_array_mut().into_iter().flatten() {
            topic.as_object_mut().expect("a topic").remove("TopicId");
        }
        for (name, value) in self.fields().as_object().expect("a struct") {
            request[name] = value.clone();
        }
        request
    }

    pub(super) fn end(&self, committed: bool) -> Value {
        let mut request = self.fields();
        request["Committed"] = json!(committed);
        request
    }

    pub(super) fn produce(&self, topic: &str, id: &Value, partition: i32, sequence: i32) -> Value {
        let identity = Identity { id: self.id, epoch: self.epoch as i16, sequence };
        let records = record_sets::of_producer(identity, record_sets::TRANSACTIONAL, 2);
        let mut request = produce::request(topic, id, partition, -1, records);
        request["TransactionalId"] = json!(self.transactional_id);
        request
    }
}

async fn initialized(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("InitProducerId")? {
        let id = format!("initialized-{version}");
        let request = json!({"TransactionalId": id, "TransactionTimeoutMs": 60000});
        let answer = side.ask("one", "InitProducerId", version, request.clone()).await?;
        side.name(&answer["ProducerId"], &id);
        side.ask("again", "InitProducerId", version, request).await?;
        for timeout in [0, -1, 900_000, 900_001, i32::MAX] {
            let request =
                json!({"TransactionalId": format!("{id}-{timeout}"), "TransactionTimeoutMs": timeout});
            side.ask(&format!("timeout {timeout}"), "InitProducerId", version, request).await?;
        }
        let empty = json!({"TransactionalId": "", "TransactionTimeoutMs": 60000});
        side.ask("an empty id", "InitProducerId", version, empty).await?;
        if version >= 3 {
            for (step, producer, epoch) in [
                ("its own", answer["ProducerId"].clone(), json!(1)),
                ("its own again", answer["ProducerId"].clone(), json!(1)),
                ("a former epoch", answer["ProducerId"].clone(), json!(0)),
                ("a later epoch", answer["ProducerId"].clone(), json!(9)),
                ("another's", json!(987_654), json!(1)),
            ] {
                let request = json!({
                    "TransactionalId": id, "TransactionTimeoutMs": 60000, "ProducerId": producer, "ProducerEpoch": epoch,
                });
                side.ask(step, "InitProducerId", version, request).await?;
            }
            let given = json!({"TransactionalId": format!("{id}-new"), "TransactionTimeoutMs": 60000,
                "ProducerId": 987_654, "ProducerEpoch": 1});
            side.ask("a new id is another's", "InitProducerId", version, given).await?;
        }
    }
    Ok(())
}

fn fetch(topic: &str, id: &Value, partition: i32, isolation: i8) -> Value {
    json!({"IsolationLevel": isolation, "Topics": [{"Topic": topic, "TopicId": id, "Partitions": [
        {"Partition": partition, "FetchOffset": 0, "PartitionMaxBytes": 1_000_000},
    ]}]})
}

/// What readers of both isolation levels see of a partition.
pub(super) async fn read(
    side: &mut Side<'_>,
    step: &str,
    topic: &str,
    id: &Value,
    partition: i32,
) -> anyhow::Result<()> {
    for (level, isolation) in [("uncommitted", 0), ("committed", 1)] {
        for version in [4, 12, 13, 18] {
            let step = format!("{step}, {level}");
            side.ask(&step, "Fetch", version, fetch(topic, id, partition, isolation)).await?;
        }
        let partitions = json!([{"PartitionIndex": partition, "Timestamp": -1}]);
        let request = json!({"ReplicaId": -1, "IsolationLevel": isolation, "Topics": [
            {"Name": topic, "Partitions": partitions},
        ]});
        side.ask(&format!("{step}, {level}"), "ListOffsets", 7, request).await?;
    }
    Ok(())
}

async fn whole(side: &mut Side<'_>, id: &Value, version: i16) -> anyhow::Result<()> {
    let group = &format!("transacting-{version}");
    let producer = Producer::new(side, &format!("whole-{version}")).await?;
    side.ask("before it begins", "EndTxn", version, producer.end(true)).await?;
    side.ask("abort before it begins", "EndTxn", version, producer.end(false)).await?;
    let early = producer.produce("transacted", id, 0, 0);
    side.ask("before it is added", "Produce", 11, early).await?;
    side.ask("unknown partition", "AddPartitionsToTxn", version, producer.add("transacted", &[0, 9])).await?;
    side.ask("unknown topic", "AddPartitionsToTxn", version, producer.add("not-there", &[0])).await?;
    side.ask("nothing", "AddPartitionsToTxn", version, producer.add("transacted", &[])).await?;
    side.ask_settled("two", "AddPartitionsToTxn", version, producer.add("transacted", &[0, 1])).await?;
    side.ask("again", "AddPartitionsToTxn", version, producer.add("transacted", &[1])).await?;
    for (sequence, partition) in [(0, 0), (2, 0), (0, 1)] {
        let request = producer.produce("transacted", id, partition, sequence);
        side.ask_settled("a batch", "Produce", 11, request).await?;
    }
    let again = producer.produce("transacted", id, 0, 2);
    side.ask("a batch again", "Produce", 11, again).await?;
    let other = producer.produce("transacted", id, 2, 0);
    side.ask("to a partition that is not added", "Produce", 11, other).await?;
    read(side, "open", "transacted", id, 0).await?;
    side.ask(
        "before the group is added",
        "TxnOffsetCommit",
        version,
        producer.commit_offset(group, "transacted", 5),
    )
    .await?;
    side.ask("a group", "AddOffsetsToTxn", version, producer.add_offsets(group)).await?;
    side.ask("no group", "AddOffsetsToTxn", version, producer.add_offsets("")).await?;
    side.ask("an offset", "TxnOffsetCommit", version, producer.commit_offset(group, "transacted", 5)).await?;
    side.ask(
        "of an unknown topic",
        "TxnOffsetCommit",
        version,
        producer.commit_offset(group, "not-there", 5),
    )
    .await?;
    pending(side, group).await?;
    side.ask("commit", "EndTxn", version, producer.end(true)).await?;
    side.ask_settled("commit again", "EndTxn", version, producer.end(true)).await?;
    side.ask_settled("abort after all", "EndTxn", version, producer.end(false)).await?;
    stable(side, group).await?;
    read(side, "committed", "transacted", id, 0).await?;

    side.ask_settled("another", "AddPartitionsToTxn", version, producer.add("transacted", &[0])).await?;
    side.ask_settled("a batch", "Produce", 11, producer.produce("transacted", id, 0, 4)).await?;
    side.ask("the group again", "AddOffsetsToTxn", version, producer.add_offsets(group)).await?;
    side.ask("an offset", "TxnOffsetCommit", version, producer.commit_offset(group, "transacted", 9)).await?;
    side.ask("abort", "EndTxn", version, producer.end(false)).await?;
    side.ask_settled("abort again", "EndTxn", version, producer.end(false)).await?;
    stable(side, group).await?;
    read(side, "aborted", "transacted", id, 0).await
}

async fn pending(side: &mut Side<'_>, group: &str) -> anyhow::Result<()> {
    for stable in [false, true] {
        let topics = json!([{"Name": "transacted", "PartitionIndexes": [0, 1]}]);
        let request = json!({"Groups": [{"GroupId": group, "Topics": topics}], "RequireStable": stable});
        side.ask(&format!("stable {stable}"), "OffsetFetch", 8, request).await?;
        let all = json!({"Groups": [{"GroupId": group, "Topics": null}], "RequireStable": stable});
        side.ask(&format!("all stable {stable}"), "OffsetFetch", 8, all).await?;
    }
    Ok(())
}

async fn stable(side: &mut Side<'_>, group: &str) -> anyhow::Result<()> {
    const UNSTABLE_OFFSET_COMMIT: i64 = 88;
    let topics = json!([{"Name": "transacted", "PartitionIndexes": [0]}]);
    let request = json!({"Groups": [{"GroupId": group, "Topics": topics}], "RequireStable": true});
    let settled = |answer: &Value| {
        answer["Groups"][0]["Topics"][0]["Partitions"][0]["ErrorCode"] != UNSTABLE_OFFSET_COMMIT
    };
    side.ask_until("what the group has", "OffsetFetch", 8, request, settled).await?;
    Ok(())
}

/// Producers with a former epoch, and ids that nobody has.
async fn fenced(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    let producer = Producer::new(side, "fenced").await?;
    let former = producer.at(producer.epoch() - 1);
    let later = producer.at(producer.epoch() + 5);
    let foreign = producer.of("fenced", producer.id() + 1_000_000);
    let unknown = producer.of("nobody's", producer.id());
    let empty = producer.of("", producer.id());
    for (who, producer) in [
        ("former", &former),
        ("later", &later),
        ("foreign", &foreign),
        ("unknown", &unknown),
        ("empty", &empty),
    ] {
        for version in [0, 1, 2, 3] {
            side.ask(who, "AddPartitionsToTxn", version, producer.add("transacted", &[0])).await?;
            side.ask(who, "AddOffsetsToTxn", version, producer.add_offsets("fencing")).await?;
            side.ask(who, "EndTxn", version, producer.end(true)).await?;
            let offset = producer.commit_offset("fencing", "transacted", 3);
            side.ask(who, "TxnOffsetCommit", version, offset).await?;
        }
        side.ask(who, "Produce", 11, producer.produce("transacted", id, 1, 0)).await?;
    }
    side.ask_settled("the true one", "AddPartitionsToTxn", 3, producer.add("transacted", &[2])).await?;
    side.ask_settled("the true one", "Produce", 11, producer.produce("transacted", id, 2, 0)).await?;
    side.ask("former, of an open one", "Produce", 11, former.produce("transacted", id, 2, 0)).await?;
    side.ask("former, of an open one", "EndTxn", 3, former.end(true)).await?;
    // Who comes again ends what was open.
    let request = json!({"TransactionalId": "fenced", "TransactionTimeoutMs": 60000});
    side.ask_settled("comes again", "InitProducerId", 4, request).await?;
    side.ask("fenced", "EndTxn", 3, producer.end(true)).await?;
    side.ask("fenced", "Produce", 11, producer.produce("transacted", id, 2, 2)).await?;
    read(side, "fenced", "transacted", id, 2).await
}

async fn seen_by_admins(side: &mut Side<'_>, id: &Value) -> anyhow::Result<()> {
    let producer = Producer::new(side, "seen").await?;
    let topic = side.create_topic("seen", 2).await?;
    let ids = json!({"TransactionalIds": ["seen", "whole-3", "fenced", "nobody's", ""]});
    side.ask("none is open", "DescribeTransactions", 0, ids.clone()).await?;
    side.ask_settled("open", "AddPartitionsToTxn", 3, producer.add("seen", &[0])).await?;
    side.ask_settled("open", "Produce", 11, producer.produce("seen", &topic, 0, 0)).await?;
    side.ask("one is open", "DescribeTransactions", 0, ids).await?;
    side.ask("none", "DescribeTransactions", 0, json!({"TransactionalIds": []})).await?;
    let asked = json!({"Topics": [{"Name": "seen", "PartitionIndexes": [0, 1, 9]}]});
    side.ask("one is open", "DescribeProducers", 0, asked).await?;
    let _ = id;
    for version in side.versions("ListTransactions")? {
        for (step, request) in [
            ("open", json!({"StateFilters": ["Ongoing"]})),
            ("of an unknown state", json!({"StateFilters": ["Ongoing", "Sleeping"]})),
            ("only of an unknown state", json!({"StateFilters": ["Sleeping"]})),
            ("of small letters", json!({"StateFilters": ["ongoing"]})),
            ("of a producer", json!({"ProducerIdFilters": [producer.id()]})),
            ("of nobody", json!({"ProducerIdFilters": [123_456_789]})),
        ] {
            side.ask(step, "ListTransactions", version, request).await?;
        }
    }
    for (step, request) in [
        ("long", json!({"StateFilters": ["Ongoing"], "DurationFilter": 1_000_000})),
        ("any length", json!({"StateFilters": ["Ongoing"], "DurationFilter": 0})),
        ("by pattern", json!({"TransactionalIdPattern": "whole-[12]"})),
        ("by part of a name", json!({"TransactionalIdPattern": "whole"})),
        ("by no pattern", json!({"TransactionalIdPattern": "("})),
        ("by an empty pattern", json!({"TransactionalIdPattern": "", "StateFilters": ["Ongoing"]})),
    ] {
        side.ask(step, "ListTransactions", 2, request).await?;
    }
    side.ask("the seen one", "EndTxn", 3, producer.end(true)).await?;
    let settled = |answer: &Value| answer["TransactionStates"][0]["TransactionState"] == "CompleteCommit";
    let request = json!({"TransactionalIds": ["seen"]});
    side.ask_until("done", "DescribeTransactions", 0, request, settled).await?;
    Ok(())
}

/// What an admin writes to end a transaction that hangs.
async fn markers(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("WriteTxnMarkers")? {
        let producer = Producer::new(side, &format!("hangs-{version}")).await?;
        let topic = format!("hanging-{version}");
        let id = side.create_topic(&topic, 2).await?;
        side.ask_settled("open", "AddPartitionsToTxn", 3, producer.add(&topic, &[0])).await?;
        side.ask_settled("open", "Produce", 11, producer.produce(&topic, &id, 0, 0)).await?;
        let marker = |topic: &str, partitions: &[i32], epoch: i64, term: i32| {
            json!({"Markers": [{
                "ProducerId": producer.id(),
                "ProducerEpoch": epoch,
                "TransactionResult": false,
                "Topics": [{"Name": topic, "PartitionIndexes": partitions}],
                "CoordinatorEpoch": term,
            }]})
        };
        let epoch = producer.epoch();
        for (step, request) in [
            ("unknown topic", marker("not-there", &[0], epoch, -1)),
            ("unknown partition", marker(&topic, &[9], epoch, -1)),
            ("a former epoch", marker(&topic, &[0], epoch - 1, -1)),
            ("nothing is open", marker(&topic, &[1], epoch, -1)),
            ("abort", marker(&topic, &[0], epoch, -1)),
            ("abort again", marker(&topic, &[0], epoch, -1)),
            ("no marker", json!({"Markers": []})),
        ] {
            side.ask(step, "WriteTxnMarkers", version, request).await?;
        }
        read(side, &format!("marked {version}"), &topic, &id, 0).await?;
    }
    Ok(())
}
