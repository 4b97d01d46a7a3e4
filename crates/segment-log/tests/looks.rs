//! The store's own looks for what is worth compacting: at their interval, and without work where there is nothing.

use bytes::Bytes;
use keyway_log::{
    Compaction, Durability, LogConfig, LogStore, PartitionLog, StoreConfig,
    contract::{block_on, partition},
};
use keyway_record::{Record, RecordBatch, Timestamp, batch::BatchBuilder};
use keyway_runtime::World;
use keyway_segment_log::{Drive, Options, SegmentStore};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const SEGMENT_BYTES: u64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn open(folder: &tempfile::TempDir, drive: Drive) -> SegmentStore {
    let options = Options { drive, ..Options::default() };
    SegmentStore::open(&World::real(), folder.path().join("data"), options).unwrap()
}

fn compacted(store: &SegmentStore, name: &str, compaction: Compaction) -> Arc<dyn PartitionLog> {
    let log = store.create(&partition(name)).unwrap();
    let config = LogConfig { segment_bytes: Some(SEGMENT_BYTES), ..LogConfig::default() };
    log.configure(LogConfig { compaction: Some(compaction), ..config });
    log
}

/// About 200 bytes of time `time`, with one of three keys.
fn write(index: usize, time: i64) -> RecordBatch {
    let mut builder = BatchBuilder::new(Timestamp(time));
    let key = Some(Bytes::from(format!("k{}", index % 3)));
    let value = Some(Bytes::from(format!("{index}-{}", "v".repeat(100))));
    builder.push(Timestamp(time), Record { key, value, ..Record::default() });
    builder.build()
}

/// Appends so many and has them durable, but in no segment.
fn append(store: &SegmentStore, log: &dyn PartitionLog, count: usize, time: i64) {
    let tickets = (0..count).map(|index| log.append(&write(index, time)).unwrap().ticket);
    let mut wait = store.wait(tickets.max().unwrap(), Durability::Durable);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while wait.as_mut().poll(&mut context).is_pending() {
        store.step();
    }
}

#[test]
fn the_store_compacts_at_its_interval_and_not_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, Drive::Threads);
    let every = |interval_ms| StoreConfig { compaction_interval_ms: interval_ms, ..StoreConfig::default() };
    let log = compacted(&store, "a", Compaction::default());
    for (interval_ms, compacts) in [(None, false), (Some(100), true)] {
        store.configure(every(interval_ms));
        let tickets = (0..60).map(|index| log.append(&write(index, 5)).unwrap().ticket);
        block_on(store.wait(tickets.max().unwrap(), Durability::Durable)).unwrap();
        let before = log.size_bytes();
        let until = Instant::now() + if compacts { PATIENCE } else { Duration::from_millis(300) };
        while log.size_bytes() > before / 2 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(log.size_bytes() <= before / 2, compacts, "{interval_ms:?}: {} bytes", log.size_bytes());
    }
    store.close().unwrap();
}

#[test]
fn a_look_that_finds_nothing_leaves_memory_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, Drive::Steps);
    let logs = ["a", "b", "c"].map(|name| compacted(&store, name, Compaction::default()));
    for log in &logs {
        append(&store, log.as_ref(), 5, 5);
    }
    let before = store.stats();
    store.clean(Timestamp(1_000)).unwrap();
    assert_eq!(store.stats(), before, "a segment that stays open is not written");
    append(&store, logs[1].as_ref(), 20, 5);
    let before = store.stats().unwritten_bytes;
    assert_eq!(store.clean(Timestamp(1_000)).unwrap().compacted_partitions, 1);
    let (after, open) = (store.stats().unwritten_bytes, 2 * logs[0].size_bytes() as usize);
    assert!(open <= after && after < before, "only what is compacted is written: {before}, {after}, {open}");
}

/// Nothing else closes the newest segment of a log to which nobody writes.
#[test]
fn a_segment_that_is_too_old_is_closed_and_compacted_by_one_look() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, Drive::Steps);
    let lag = Compaction { lag_max_ms: 1_000, ..Compaction::default() };
    let log = compacted(&store, "a", lag);
    append(&store, log.as_ref(), 8, 500);
    let before = log.size_bytes();
    assert_eq!(store.clean(Timestamp(1_500)).unwrap().compacted_partitions, 0, "exactly the longest lag");
    assert_eq!(store.clean(Timestamp(1_501)).unwrap().compacted_partitions, 1);
    assert!(log.size_bytes() <= before / 2, "{} of {before} bytes are left", log.size_bytes());
}
