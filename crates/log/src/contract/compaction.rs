//! Compaction, as readers see it. What an engine calls its newest part may stay as it was, so each case ends with
//! [`filler`], which no key of the case is in.

use super::{Home, append, durable, partition, read_all};
use crate::{Compaction, LogConfig, LogStore, PartitionLog, Ticket, producers::BATCHES_KEPT};
use bytes::Bytes;
use keyway_kafka_wire::{compression::compress, records};
use keyway_record::{
    Compression, Offset, ProducerEpoch, ProducerId, Record, RecordBatch, Timestamp, batch::BatchBuilder,
};
use std::collections::BTreeMap;

const SEGMENT_BYTES: u64 = 4_000;

/// Tombstones are kept for 1,000 ms.
fn compacted() -> LogConfig {
    let compaction = Compaction { dirty_ratio_min: 0.0, delete_retention_ms: 1_000, ..Compaction::default() };
    LogConfig { segment_bytes: Some(SEGMENT_BYTES), compaction: Some(compaction), ..LogConfig::default() }
}

fn record(key: Option<&str>, value: Option<&str>) -> Record {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Record { key: key.map(bytes), value: value.map(bytes), ..Record::default() }
}

fn keyed(records: &[(&str, Option<&str>)], time: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Timestamp(time));
    records.iter().for_each(|(key, value)| builder.push(Timestamp(time), record(Some(key), *value)));
    builder
}

/// A few segments of other keys.
fn filler(store: &dyn LogStore, log: &dyn PartitionLog, time: i64) {
    let mut last = Ticket::default();
    for index in 0..12 {
        let key = format!("filler-{time}-{index}");
        last = append(store, log, &keyed(&[(&key, Some(&"x".repeat(900)))], time).build()).ticket;
    }
    durable(store, last);
}

/// Everything but the filler: offset, key, value.
fn content(log: &dyn PartitionLog) -> Vec<(i64, Option<String>, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut content = Vec::new();
    for batch in read_all(log, log.bounds().start) {
        for record in records(&batch, 1 << 20).unwrap() {
            let record = record.unwrap();
            let offset = batch.base_offset().plus(record.offset_delta.into()).0;
            content.push((offset, record.key.as_ref().map(text), record.value.as_ref().map(text)));
        }
    }
    assert!(content.is_sorted_by(|a, b| a.0 < b.0), "offsets ascend");
    content.retain(|(_, key, _)| key.as_ref().is_none_or(|key| !key.starts_with("filler")));
    content
}

fn expected(records: &[(i64, &str, Option<&str>)]) -> Vec<(i64, Option<String>, Option<String>)> {
    records.iter().map(|(at, key, value)| (*at, Some((*key).to_owned()), value.map(str::to_owned))).collect()
}

/// Random writes of few keys: the newest of each stays, at its offset, and the log got shorter.
pub fn the_newest_of_each_key_stays_where_it_was(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.configure(compacted());
    let mut random = super::random::Random::new(7);
    let mut newest = BTreeMap::new();
    let mut next = 0;
    for round in 0..3 {
        for _ in 0..150 {
            let names: Vec<String> = (0..=random.below(3)).map(|_| format!("k{}", random.below(9))).collect();
            let value = format!("{next}-{}", "v".repeat(random.below(200) as usize));
            let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), Some(value.as_str()))).collect();
            append(store.as_ref(), log.as_ref(), &keyed(&pairs, 10).build());
            for name in names {
                newest.insert(name, (next, value.clone()));
                next += 1;
            }
        }
        filler(store.as_ref(), log.as_ref(), round);
        next += 12;
        let cleaned = store.clean(Timestamp(1_000)).unwrap();
        assert_eq!(cleaned.compacted_partitions, 1);
        assert!(cleaned.compacted_bytes > 10_000, "{cleaned:?}");
        let mut left: Vec<_> =
            newest.iter().map(|(key, (at, value))| (*at, key.as_str(), Some(value.as_str()))).collect();
        left.sort_unstable();
        assert_eq!(content(log.as_ref()), expected(&left));
    }
    assert_eq!(log.bounds().start, Offset(0));
    for from in 0..next {
        let slice = log.read(Offset(from), crate::ReadLimit::bytes(1)).unwrap();
        let batch = slice.batches().next().expect("the filler comes last and is kept");
        assert!(batch.next_offset() > Offset(from));
    }
}

/// A deleted key is seen as deleted for a while, and then not at all.
pub fn tombstones_go_after_their_time(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.configure(compacted());
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some("1")), ("b", Some("1"))], 10).build());
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", None), ("c", Some("1"))], 20).build());
    filler(store.as_ref(), log.as_ref(), 30);
    store.clean(Timestamp(100)).unwrap();
    let with = [(1, "b", Some("1")), (2, "a", None), (3, "c", Some("1"))];
    assert_eq!(content(log.as_ref()), expected(&with));
    let marked = log.read(Offset(2), crate::ReadLimit::bytes(1)).unwrap().batches().next().unwrap();
    assert_eq!(marked.delete_horizon(), Some(Timestamp(1_100)));
    let first = records(&marked, 1 << 20).unwrap().next().unwrap().unwrap();
    assert_eq!(marked.base_timestamp().0 + first.timestamp_delta, 20, "its time is what it was");
    assert_eq!(marked.max_timestamp(), Timestamp(20));
    filler(store.as_ref(), log.as_ref(), 40);
    store.clean(Timestamp(1_000)).unwrap();
    assert_eq!(content(log.as_ref()), expected(&with));
    filler(store.as_ref(), log.as_ref(), 50);
    store.clean(Timestamp(1_101)).unwrap();
    assert_eq!(content(log.as_ref()), expected(&[with[0], with[2]]));
}

/// `min.compaction.lag.ms` and `min.cleanable.dirty.ratio` hold compaction back, `max.compaction.lag.ms` does not wait.
pub fn young_records_are_left_alone(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let with = |compaction| LogConfig { compaction: Some(compaction), ..compacted() };
    let lag = Compaction { lag_min_ms: 500, dirty_ratio_min: 0.0, ..Compaction::default() };
    log.configure(with(lag));
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some("1")), ("a", Some("2"))], 1_000).build());
    filler(store.as_ref(), log.as_ref(), 1_000);
    assert_eq!(store.clean(Timestamp(1_400)).unwrap().compacted_partitions, 0);
    assert_eq!(content(log.as_ref()).len(), 2);
    store.clean(Timestamp(1_500)).unwrap();
    assert_eq!(content(log.as_ref()), expected(&[(1, "a", Some("2"))]));
    let ratio = Compaction { dirty_ratio_min: 1.0, lag_max_ms: 5_000, ..Compaction::default() };
    log.configure(with(ratio));
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some("3"))], 2_000).build());
    filler(store.as_ref(), log.as_ref(), 2_000);
    assert_eq!(store.clean(Timestamp(2_500)).unwrap().compacted_partitions, 0, "not dirty enough");
    store.clean(Timestamp(7_001)).unwrap();
    assert_eq!(content(log.as_ref()).last().unwrap().2.as_deref(), Some("3"));
    assert_eq!(content(log.as_ref()).len(), 1, "older than the longest lag");
}

/// They may have been there before the topic was compacted.
pub fn records_without_a_key_stay(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.configure(compacted());
    let mut mixed = BatchBuilder::new(Timestamp(5));
    for (key, value) in [(None, Some("x")), (Some("a"), Some("1")), (None, None), (Some("a"), Some("2"))] {
        mixed.push(Timestamp(5), record(key, value));
    }
    append(store.as_ref(), log.as_ref(), &mixed.build());
    filler(store.as_ref(), log.as_ref(), 10);
    store.clean(Timestamp(100)).unwrap();
    let offsets: Vec<i64> = content(log.as_ref()).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(offsets, [0, 2, 3]);
}

/// A retry is a retry, and a producer's last batch keeps its place even with nothing in it.
pub fn producers_are_known_after_compaction(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.configure(compacted());
    let numbered = |sequence, value: &str| {
        keyed(&[("a", Some(value))], 5).build_for(ProducerId(9), ProducerEpoch(0), sequence)
    };
    for sequence in 0..BATCHES_KEPT as i32 {
        append(store.as_ref(), log.as_ref(), &numbered(sequence, "old"));
    }
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some("new"))], 6).build());
    filler(store.as_ref(), log.as_ref(), 10);
    store.clean(Timestamp(100)).unwrap();
    let last = BATCHES_KEPT as i64 - 1;
    assert_eq!(content(log.as_ref()), expected(&[(last + 1, "a", Some("new"))]));
    let kept = log.read(Offset(0), crate::ReadLimit::bytes(1)).unwrap().batches().next().unwrap();
    assert_eq!((kept.base_offset(), kept.record_count()), (Offset(last), 0));
    assert_eq!((kept.producer_id(), kept.base_sequence()), (ProducerId(9), last as i32));
    let again = append(store.as_ref(), log.as_ref(), &numbered(last as i32, "old"));
    assert!(again.duplicate);
    assert_eq!(again.base_offset, Offset(last));
}

/// A compressed batch stays compressed, the records that stay keep their times.
pub fn codecs_and_times_stay(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.configure(compacted());
    let mut builder = BatchBuilder::new(Timestamp(100));
    for (time, key) in [(100, "a"), (300, "a"), (200, "b")] {
        builder.push(Timestamp(time), record(Some(key), Some("v")));
    }
    let plain: RecordBatch = builder.build();
    let sent =
        plain.with_record_section(Compression::Lz4, &compress(Compression::Lz4, &plain.record_section()));
    append(store.as_ref(), log.as_ref(), &sent);
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some("w"))], 150).build());
    filler(store.as_ref(), log.as_ref(), 10);
    store.clean(Timestamp(1_000)).unwrap();
    let kept = log.read(Offset(0), crate::ReadLimit::bytes(1)).unwrap().batches().next().unwrap();
    assert_eq!((kept.base_offset(), kept.next_offset()), (Offset(0), Offset(3)));
    assert_eq!((kept.compression(), kept.record_count()), (Compression::Lz4, 1));
    assert_eq!(kept.max_timestamp(), Timestamp(200));
    let left = records(&kept, 1 << 20).unwrap().next().unwrap().unwrap();
    assert_eq!((left.offset_delta, kept.base_timestamp().0 + left.timestamp_delta), (2, 200));
    assert_eq!(log.find(Timestamp(160)).unwrap(), Some(Offset(0)));
    assert_eq!(log.find(Timestamp(201)).unwrap(), None, "the record of 300 is gone");
}

/// After a restart it is as compacted as before, and goes on.
pub fn a_compacted_log_is_kept(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.configure(compacted());
    for value in ["1", "2", "3"] {
        append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some(value))], 5).build());
    }
    filler(store.as_ref(), log.as_ref(), 10);
    store.clean(Timestamp(100)).unwrap();
    store.close().unwrap();
    drop((log, store));
    let store = home();
    let log = store.open(&partition("a")).unwrap();
    assert_eq!(content(log.as_ref()), expected(&[(2, "a", Some("3"))]));
    log.configure(compacted());
    append(store.as_ref(), log.as_ref(), &keyed(&[("a", Some("4"))], 5).build());
    filler(store.as_ref(), log.as_ref(), 20);
    store.clean(Timestamp(200)).unwrap();
    assert_eq!(content(log.as_ref()), expected(&[(15, "a", Some("4"))]));
}
