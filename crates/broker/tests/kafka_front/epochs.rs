//! A broker that lost what readers had seen says so: by the epoch under which it leads, and by where epochs end.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{append, batch, batches, create_topic, fetch, metadata_of, values},
};
use keyway_broker::Config;
use keyway_kafka_wire::messages::{
    ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::OffsetFetchRequestTopic,
    offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use keyway_runtime::World;
use keyway_segment_log::{DurableBy, Options, SegmentStore};
use std::{path::Path, sync::Arc};

const FENCED: i16 = 74;
const UNKNOWN: i16 = 75;

async fn start(folder: &Path) -> TestBroker {
    let options = Options { durable_by: DurableBy::Os, ..Options::default() };
    let store = SegmentStore::open(&World::real(), folder.to_owned(), options).expect("a folder of ours");
    TestBroker::on(Arc::new(store), Config::default()).await
}

/// What a power cut at this moment may leave: whatever comes later is not there.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A broker that had `a`, `b`, `c` in epoch 0, was read to the end, lost `c`, and has `d` of epoch 1 in its place.
async fn broker_that_lost_one(folder: &Path) -> (TestBroker, Client) {
    let (before, after) = (folder.join("before"), folder.join("after"));
    let broker = start(&before).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    append(&mut client, "orders", 0, &batch(&["a", "b"]).build()).await.unwrap();
    copy(&before, &after);
    append(&mut client, "orders", 0, &batch(&["c"]).build()).await.unwrap();
    assert_eq!(values(&mut client, "orders", 0, 0).await, ["a", "b", "c"]);
    assert_eq!(leader_epoch(&mut client, "orders").await, 0);
    drop(client);
    broker.shutdown().await;
    let broker = start(&after).await;
    let mut client = broker.connect().await;
    append(&mut client, "orders", 0, &batch(&["d"]).build()).await.unwrap();
    assert_eq!(values(&mut client, "orders", 0, 0).await, ["a", "b", "d"]);
    (broker, client)
}

async fn leader_epoch(client: &mut Client, topic: &str) -> i32 {
    call!(client, Metadata, 9, metadata_of(topic)).topics[0].partitions[0].leader_epoch
}

/// Error, epoch and end of an OffsetForLeaderEpoch.
async fn epoch_end(client: &mut Client, current: i32, asked: i32, version: i16) -> (i16, i32, i64) {
    let partition =
        OffsetForLeaderPartition { partition: 0, current_leader_epoch: current, leader_epoch: asked };
    let topic = OffsetForLeaderTopic { topic: "orders".to_owned(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
    let response = call!(client, OffsetForLeaderEpoch, version, request);
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.leader_epoch, found.end_offset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ends_of_epochs_tell_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, mut client) = broker_that_lost_one(folder.path()).await;
    assert_eq!(leader_epoch(&mut client, "orders").await, 1);
    for version in 2..=4 {
        assert_eq!(epoch_end(&mut client, 1, 0, version).await, (0, 0, 2));
        assert_eq!(epoch_end(&mut client, -1, 1, version).await, (0, 1, 3));
        assert_eq!(epoch_end(&mut client, 1, 2, version).await, (0, -1, -1), "an epoch to come");
        assert_eq!(epoch_end(&mut client, 1, -1, version).await, (0, -1, -1), "no epoch");
        assert_eq!(epoch_end(&mut client, 0, 0, version).await, (FENCED, -1, -1));
        assert_eq!(epoch_end(&mut client, 2, 0, version).await, (UNKNOWN, -1, -1));
    }
    create_topic(&mut client, "later", 1).await;
    assert_eq!(leader_epoch(&mut client, "later").await, 1, "all partitions have one epoch");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_tells_where_the_readers_log_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, mut client) = broker_that_lost_one(folder.path()).await;
    let ask = |offset, current, last, max_wait_ms| {
        let mut request = fetch("orders", 0, offset);
        let partition = &mut request.topics[0].partitions[0];
        (partition.current_leader_epoch, partition.last_fetched_epoch) = (current, last);
        (request.max_wait_ms, request.min_bytes) = (max_wait_ms, 1 << 20);
        request
    };
    // Who is told something does not wait for records; the client here has less patience than these requests.
    for (current, last, error) in [(0, -1, FENCED), (2, -1, UNKNOWN), (1, 5, 1)] {
        let response = call!(client, Fetch, 12, ask(2, current, last, 60_000));
        assert_eq!(response.responses[0].partitions[0].error_code, error);
    }
    for offset in [3, 1_000] {
        let response = call!(client, Fetch, 12, ask(offset, 1, 0, 60_000));
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark), (0, 3));
        assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 2));
        assert_eq!(batches(data.records.as_ref()).len(), 0);
    }
    for (offset, current, last, expected) in [(2, 1, 0, 1), (3, 1, 1, 0), (0, -1, -1, 2)] {
        let response = call!(client, Fetch, 12, ask(offset, current, last, 0));
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.diverging_epoch.epoch), (0, -1));
        assert_eq!(batches(data.records.as_ref()).len(), expected);
    }
    let all = call!(client, Fetch, 12, fetch("orders", 0, 0));
    let all = batches(all.responses[0].partitions[0].records.as_ref());
    assert_eq!(all.iter().map(|batch| batch.leader_epoch().0).collect::<Vec<_>>(), [0, 1]);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_come_with_the_epochs_of_their_records() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, mut client) = broker_that_lost_one(folder.path()).await;
    let ask = |timestamp, current_leader_epoch| {
        let partition =
            ListOffsetsPartition { timestamp, current_leader_epoch, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: "orders".to_owned(), partitions: vec![partition] };
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
    };
    for (timestamp, expected) in
        [(-2, (0, 0)), (-1, (3, 1)), (1_001, (1, 0)), (-3, (1, 0)), (9_999, (-1, -1))]
    {
        let response = call!(client, ListOffsets, 7, ask(timestamp, 1));
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.error_code, (found.offset, found.leader_epoch)), (0, expected), "{timestamp}");
    }
    for (current, error) in [(0, FENCED), (2, UNKNOWN)] {
        let response = call!(client, ListOffsets, 7, ask(-1, current));
        assert_eq!(response.topics[0].partitions[0].error_code, error);
    }
    let partition =
        OffsetCommitRequestPartition { committed_offset: 2, committed_leader_epoch: 0, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "orders".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let commit =
        OffsetCommitRequest { group_id: "workers".to_owned(), topics: vec![topic], ..Default::default() };
    assert_eq!(call!(client, OffsetCommit, 8, commit).topics[0].partitions[0].error_code, 0);
    let topic = OffsetFetchRequestTopic { name: "orders".to_owned(), partition_indexes: vec![0] };
    let asked = OffsetFetchRequest {
        group_id: "workers".to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let fetched = call!(client, OffsetFetch, 7, asked);
    let found = &fetched.topics[0].partitions[0];
    assert_eq!((found.committed_offset, found.committed_leader_epoch), (2, 0));
    broker.shutdown().await;
}
