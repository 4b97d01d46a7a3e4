//! Transactions of both generations of clients, and what readers of committed records see of them.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{batch, batches, create_topic, fetch, produce},
};
use keyway_broker::Config;
use keyway_kafka_wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, ListTransactionsRequest,
    OffsetFetchRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
    add_partitions_to_txn::AddPartitionsToTxnTopic,
    describe_producers::TopicRequest,
    list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
    offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic},
};
use keyway_record::{ProducerEpoch, ProducerId};
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::{path::Path, sync::Arc};

const TOPIC: &str = "orders";
const ID: &str = "payments";
const GROUP: &str = "workers";

const FENCED: i16 = 90;
const INVALID_PRODUCER_EPOCH: i16 = 47;

/// A producer as its client knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
    sequence: i32,
}

async fn init(client: &mut Client, timeout_ms: i32) -> Producer {
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: timeout_ms,
        producer_id: -1,
        producer_epoch: -1,
    };
    let response = call!(client, InitProducerId, 5, request);
    assert_eq!(response.error_code, 0);
    Producer { id: response.producer_id, epoch: response.producer_epoch, sequence: 0 }
}

/// By the rules of the first generation: the partition is added first.
async fn add(client: &mut Client, producer: Producer, partition: i32) -> i16 {
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.to_owned(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: TOPIC.to_owned(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let response = call!(client, AddPartitionsToTxn, 3, request);
    response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

/// Produces in `version`, which says whether the partition is added by it.
async fn send(
    client: &mut Client,
    version: i16,
    producer: &mut Producer,
    partition: i32,
    values: &[&str],
) -> i16 {
    let (id, epoch) = (ProducerId(producer.id), ProducerEpoch(producer.epoch));
    let batch = batch(values).build_transactional(id, epoch, producer.sequence);
    let mut request = produce(TOPIC, partition, -1, &batch);
    request.transactional_id = Some(ID.to_owned());
    let response = call!(client, Produce, version, request);
    let code = response.responses[0].partition_responses[0].error_code;
    if code == 0 {
        producer.sequence += values.len() as i32;
    }
    code
}

async fn end(client: &mut Client, version: i16, producer: &mut Producer, committed: bool) -> i16 {
    let request = EndTxnRequest {
        transactional_id: ID.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    };
    let response = call!(client, EndTxn, version, request);
    if response.error_code == 0 && version >= 5 {
        assert_eq!((response.producer_id, response.producer_epoch), (producer.id, producer.epoch + 1));
        *producer = Producer { epoch: response.producer_epoch, sequence: 0, ..*producer };
    }
    response.error_code
}

/// What a reader of committed records makes of the partition, as clients do it: aborted producers' batches are left out up
/// to their markers.
async fn committed(client: &mut Client, partition: i32) -> Vec<String> {
    let request = FetchRequest { isolation_level: 1, ..fetch(TOPIC, partition, 0) };
    let response = call!(client, Fetch, 12, request);
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, 0);
    let mut aborted = data.aborted_transactions.clone().expect("a list, for readers of committed records");
    let mut dropped = Vec::new();
    let mut values = Vec::new();
    for batch in batches(data.records.as_ref()) {
        assert!(batch.next_offset().0 <= data.last_stable_offset);
        let starts = aborted.extract_if(.., |one| one.first_offset <= batch.base_offset().0);
        dropped.extend(starts.map(|one| one.producer_id));
        if batch.is_control() {
            dropped.retain(|id| *id != batch.producer_id().0);
        } else if !batch.is_transactional() || !dropped.contains(&batch.producer_id().0) {
            for record in keyway_kafka_wire::records(&batch, 1 << 20).unwrap() {
                values.push(String::from_utf8_lossy(&record.unwrap().value.unwrap()).into_owned());
            }
        }
    }
    let asked = ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: TOPIC.to_owned(), partitions: vec![asked] };
    let request = ListOffsetsRequest { isolation_level: 1, topics: vec![topic], ..Default::default() };
    let latest = call!(client, ListOffsets, 5, request).topics[0].partitions[0].offset;
    assert_eq!(latest, data.last_stable_offset);
    values
}

#[tokio::test]
async fn a_transaction_counts_in_all_partitions_or_in_none() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 2).await;
    for (produce_version, end_version) in [(9, 3), (12, 5)] {
        let is_explicit = produce_version < 12;
        let mut producer = init(&mut client, 60_000).await;
        let before = [committed(&mut client, 0).await, committed(&mut client, 1).await];
        for (round, is_committed) in [true, false, true].into_iter().enumerate() {
            for partition in [0, 1] {
                if is_explicit {
                    let refused =
                        send(&mut client, produce_version, &mut producer, partition, &["early"]).await;
                    assert_eq!(refused, 48, "it was not added");
                    assert_eq!(add(&mut client, producer, partition).await, 0);
                }
                // Sequences count in each partition by itself.
                let mut here =
                    Producer { sequence: if is_explicit { 2 * round as i32 } else { 0 }, ..producer };
                let values = [format!("{produce_version}-{round}-a"), format!("{produce_version}-{round}-b")];
                let values = values.each_ref().map(String::as_str);
                assert_eq!(send(&mut client, produce_version, &mut here, partition, &values).await, 0);
            }
            let expected = |rounds: &[usize]| {
                let names = rounds.iter().flat_map(|round| ["a", "b"].map(|name| (round, name)));
                names.map(|(round, name)| format!("{produce_version}-{round}-{name}")).collect::<Vec<_>>()
            };
            let done: &[usize] = if round == 0 { &[] } else { &[0] };
            for partition in [0, 1] {
                let seen = committed(&mut client, partition as i32).await;
                assert_eq!(seen[before[partition].len()..], expected(done), "round {round} is open");
            }
            assert_eq!(end(&mut client, end_version, &mut producer, is_committed).await, 0);
            let done: &[usize] = if round == 2 { &[0, 2] } else { &[0] };
            for partition in [0, 1] {
                let seen = committed(&mut client, partition as i32).await;
                assert_eq!(seen[before[partition].len()..], expected(done), "round {round} has ended");
            }
        }
    }
}

#[tokio::test]
async fn the_next_producer_fences_the_one_before() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 1).await;
    let mut first = init(&mut client, 60_000).await;
    assert_eq!(send(&mut client, 12, &mut first, 0, &["half"]).await, 0);
    let mut second = init(&mut client, 60_000).await;
    assert_eq!(second.id, first.id);
    assert!(second.epoch > first.epoch);
    assert_eq!(send(&mut client, 12, &mut first, 0, &["late"]).await, INVALID_PRODUCER_EPOCH);
    assert_eq!(add(&mut client, first, 0).await, FENCED);
    assert_eq!(end(&mut client, 5, &mut first, true).await, FENCED);
    assert_eq!(end(&mut client, 1, &mut first, true).await, INVALID_PRODUCER_EPOCH, "an old client");
    assert_eq!(send(&mut client, 12, &mut second, 0, &["whole"]).await, 0);
    assert_eq!(end(&mut client, 5, &mut second, true).await, 0);
    assert_eq!(committed(&mut client, 0).await, ["whole"]);
}

#[tokio::test]
async fn a_forgotten_transaction_is_aborted() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 1).await;
    let mut producer = init(&mut client, 50).await;
    assert_eq!(send(&mut client, 12, &mut producer, 0, &["forgotten"]).await, 0);
    // A reader that waits is told as soon as the transaction is out of the way.
    let request = FetchRequest { isolation_level: 1, max_wait_ms: 20_000, ..fetch(TOPIC, 0, 0) };
    let mut reader = broker.connect().await;
    let response = call!(reader, Fetch, 12, request);
    assert_eq!(response.responses[0].partitions[0].last_stable_offset, 2);
    assert_eq!(committed(&mut client, 0).await, [""; 0]);
    assert_eq!(send(&mut client, 12, &mut producer, 0, &["late"]).await, INVALID_PRODUCER_EPOCH);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 1).await;
    let mut stranger = Producer { id: 77, epoch: 0, sequence: 0 };
    assert_eq!(add(&mut client, stranger, 0).await, 49, "nobody knows the transactional id");
    assert_eq!(end(&mut client, 5, &mut stranger, true).await, 49);
    let mut producer = init(&mut client, 60_000).await;
    assert_eq!(add(&mut client, producer, 9).await, 3, "no such partition");
    assert_eq!(add(&mut client, Producer { id: 77, ..producer }, 0).await, 49);
    assert_eq!(end(&mut client, 5, &mut producer, true).await, 48, "there is nothing to commit");
    let too_long = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: 16 * 60 * 1000,
        producer_id: -1,
        producer_epoch: -1,
    };
    assert_eq!(call!(client, InitProducerId, 5, too_long.clone()).error_code, 50);
    let nameless = InitProducerIdRequest { transactional_id: Some(String::new()), ..too_long };
    assert_eq!(call!(client, InitProducerId, 5, nameless).error_code, 42);
    let batch = batch(&["x"]).build_transactional(ProducerId(producer.id), ProducerEpoch(0), 0);
    let response = call!(client, Produce, 9, produce(TOPIC, 0, -1, &batch));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 53, "it names no transactional id");
}

#[tokio::test]
async fn people_can_look_at_transactions_and_end_one_that_hangs() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 2).await;
    let mut producer = init(&mut client, 60_000).await;
    assert_eq!(send(&mut client, 12, &mut producer, 1, &["a", "b"]).await, 0);

    let ids = DescribeTransactionsRequest { transactional_ids: vec![ID.to_owned(), "nobody".to_owned()] };
    let described = call!(client, DescribeTransactions, 0, ids).transaction_states;
    assert_eq!(described[0].transaction_state, "Ongoing");
    assert_eq!((described[0].producer_id, described[0].transaction_timeout_ms), (producer.id, 60_000));
    assert!(described[0].transaction_start_time_ms > 0);
    assert_eq!(
        (described[0].topics[0].topic.as_str(), &described[0].topics[0].partitions),
        (TOPIC, &vec![1])
    );
    assert_eq!(described[1].error_code, 105);

    let list = |states: &[&str], pattern: Option<&str>, duration| ListTransactionsRequest {
        state_filters: states.iter().map(|state| (*state).to_owned()).collect(),
        transactional_id_pattern: pattern.map(str::to_owned),
        duration_filter: duration,
        ..Default::default()
    };
    for (request, found) in [
        (list(&[], None, -1), true),
        (list(&["Ongoing"], Some("pay.*"), -1), true),
        (list(&["Empty"], None, -1), false),
        (list(&["NoSuchState"], None, -1), false),
        (list(&[], Some("pay"), -1), false),
        (list(&[], None, 60_000), false),
    ] {
        let listed = call!(client, ListTransactions, 2, request.clone());
        assert_eq!(listed.transaction_states.len(), usize::from(found), "{request:?}");
        assert_eq!(listed.unknown_state_filters.len(), usize::from(request.state_filters == ["NoSuchState"]));
    }
    assert_eq!(call!(client, ListTransactions, 2, list(&[], Some("("), -1)).error_code, 128);

    let topic = TopicRequest { name: TOPIC.to_owned(), partition_indexes: vec![0, 1, 2] };
    let producers = DescribeProducersRequest { topics: vec![topic] };
    let partitions = call!(client, DescribeProducers, 0, producers.clone()).topics.remove(0).partitions;
    assert!(partitions[0].active_producers.is_empty());
    let active = &partitions[1].active_producers[0];
    assert_eq!((active.producer_id, active.last_sequence), (producer.id, 1));
    assert_eq!(active.current_txn_start_offset, 0);
    assert_eq!(partitions[2].error_code, 3);

    let marker = WritableTxnMarker {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![WritableTxnMarkerTopic { name: TOPIC.to_owned(), partition_indexes: vec![1, 2] }],
        ..Default::default()
    };
    let request = WriteTxnMarkersRequest { markers: vec![marker.clone()] };
    let written = call!(client, WriteTxnMarkers, 1, request).markers.remove(0).topics.remove(0).partitions;
    assert_eq!((written[0].error_code, written[1].error_code), (0, 3));
    let after = call!(client, DescribeProducers, 0, producers).topics.remove(0).partitions.remove(1);
    assert_eq!(after.active_producers[0].current_txn_start_offset, -1);
    assert_eq!(committed(&mut client, 1).await, [""; 0]);
    let newer = init(&mut client, 60_000).await;
    assert!(newer.epoch > producer.epoch);
    let request =
        WriteTxnMarkersRequest { markers: vec![WritableTxnMarker { producer_epoch: -1, ..marker }] };
    let refused = call!(client, WriteTxnMarkers, 1, request).markers.remove(0).topics.remove(0).partitions;
    assert_eq!(refused[0].error_code, 42);
}

/// Sends an offset of the group in the producer's transaction; version 5 adds the group by it.
async fn send_offset(client: &mut Client, version: i16, producer: Producer, offset: i64) -> i16 {
    let request = TxnOffsetCommitRequest {
        transactional_id: ID.to_owned(),
        group_id: GROUP.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: TOPIC.to_owned(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    call!(client, TxnOffsetCommit, version, request).topics[0].partitions[0].error_code
}

/// The group's offset, or why it is not told.
async fn offset(client: &mut Client, require_stable: bool) -> Result<i64, i16> {
    let topic =
        OffsetFetchRequestTopics { name: TOPIC.to_owned(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        topics: Some(vec![topic]),
        member_epoch: -1,
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
    let partition = call!(client, OffsetFetch, 8, request).groups[0].topics[0].partitions[0].clone();
    if partition.error_code == 0 { Ok(partition.committed_offset) } else { Err(partition.error_code) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_count_with_their_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = start(folder.path()).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 1).await;
    let mut told = -1;
    for (offset_version, end_version) in [(3, 3), (5, 5)] {
        for (round, is_committed) in [true, false].into_iter().enumerate() {
            let mut producer = init(&mut client, 60_000).await;
            if offset_version < 5 {
                assert_eq!(
                    send_offset(&mut client, offset_version, producer, 5).await,
                    48,
                    "it was not added"
                );
                let request = AddOffsetsToTxnRequest {
                    transactional_id: ID.to_owned(),
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                    group_id: GROUP.to_owned(),
                };
                assert_eq!(call!(client, AddOffsetsToTxn, 3, request).error_code, 0);
            }
            let sent = 10 * i64::from(offset_version) + round as i64;
            assert_eq!(send_offset(&mut client, offset_version, producer, sent).await, 0);
            assert_eq!(offset(&mut client, false).await, Ok(told));
            assert_eq!(offset(&mut client, true).await, Err(88), "it is about to change");
            broker.shutdown().await;
            broker = start(folder.path()).await;
            client = broker.connect().await;
            assert_eq!(offset(&mut client, true).await, Err(88), "after a restart as well");
            assert_eq!(end(&mut client, end_version, &mut producer, is_committed).await, 0);
            if is_committed {
                told = sent;
            }
            assert_eq!(offset(&mut client, true).await, Ok(told));
        }
    }
    let old = init(&mut client, 60_000).await;
    init(&mut client, 60_000).await;
    assert_eq!(send_offset(&mut client, 5, old, 7).await, INVALID_PRODUCER_EPOCH);
}

async fn start(folder: &Path) -> TestBroker {
    let store =
        SegmentStore::open(&World::real(), folder.to_owned(), Options::default()).expect("a folder of ours");
    TestBroker::on(Arc::new(store), Config::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_outlives_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, TOPIC, 1).await;
    let mut producer = init(&mut client, 60_000).await;
    assert_eq!(send(&mut client, 12, &mut producer, 0, &["before"]).await, 0);
    broker.shutdown().await;
    let broker = start(folder.path()).await;
    let mut client = broker.connect().await;
    assert_eq!(committed(&mut client, 0).await, [""; 0]);
    assert_eq!(send(&mut client, 12, &mut producer, 0, &["after"]).await, 0);
    assert_eq!(end(&mut client, 5, &mut producer, true).await, 0);
    assert_eq!(committed(&mut client, 0).await, ["before", "after"]);
    broker.shutdown().await;
    let broker = start(folder.path()).await;
    let mut client = broker.connect().await;
    assert_eq!(committed(&mut client, 0).await, ["before", "after"]);
    let next = init(&mut client, 60_000).await;
    assert_eq!((next.id, next.epoch), (producer.id, producer.epoch + 1));
}
