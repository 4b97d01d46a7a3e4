//! Compaction through crashes and failing disks: the newest value of each key is where it was, or the log as it was.
//!
//! A failure prints the operation; `KEYWAY_CRASH_AT=17` repeats it.

mod crash;

use bytes::Bytes;
use crash::{
    disk::{CrashDisk, Ending, Fault},
    history,
};
use keyway_log::{
    Compaction, Durability, LogConfig, LogStore, PartitionLog, ReadError, ReadLimit,
    contract::{EPOCH, append, block_on, partition, read_all},
};
use keyway_record::{Offset, Record, RecordBatch, Records, Timestamp, batch::BatchBuilder};
use keyway_segment_log::SegmentStore;
use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

const NOW: Timestamp = Timestamp(1_000);

/// Key and value of each offset.
type Content = BTreeMap<Offset, (Bytes, Bytes)>;

fn config() -> LogConfig {
    let compaction = Compaction { dirty_ratio_min: 0.0, ..Compaction::default() };
    LogConfig { segment_bytes: Some(2_000), compaction: Some(compaction), ..LogConfig::default() }
}

fn write(key: usize, value: usize) -> RecordBatch {
    let mut builder = BatchBuilder::new(Timestamp(5));
    let value = Some(Bytes::from(format!("{value}-{}", "v".repeat(100))));
    builder
        .push(Timestamp(5), Record { key: Some(Bytes::from(format!("k{key}"))), value, ..Record::default() });
    builder.build()
}

fn content(log: &dyn PartitionLog) -> Content {
    let mut content = Content::new();
    for batch in read_all(log, log.bounds().start) {
        for record in Records::new(batch.record_section(), batch.record_count()) {
            let record = record.unwrap();
            let offset = batch.base_offset().plus(record.offset_delta.into());
            content.insert(offset, (record.key.unwrap(), record.value.unwrap()));
        }
    }
    content
}

fn newest(content: &Content) -> BTreeMap<Bytes, (Offset, Bytes)> {
    content.iter().map(|(offset, (key, value))| (key.clone(), (*offset, value.clone()))).collect()
}

/// Writes of few keys, durable and in segments, and all that was written.
fn written(disk: &CrashDisk) -> Content {
    let store = history::open(disk).unwrap();
    let log = store.create(&partition("a")).unwrap();
    log.configure(config());
    let mut ticket = Default::default();
    for index in 0..60 {
        ticket = append(&store, log.as_ref(), &write(index * 7 % 9, index)).ticket;
        while store.step() {}
    }
    block_on(store.wait(ticket, Durability::Durable)).unwrap();
    let all = content(log.as_ref());
    assert_eq!(all.len(), 60);
    store.close().unwrap();
    all
}

fn opened(disk: &CrashDisk) -> (SegmentStore, Arc<dyn PartitionLog>) {
    let store = history::open(disk).unwrap_or_else(|error| panic!("{error}"));
    let log = store.open(&partition("a")).unwrap();
    log.configure(config());
    (store, log)
}

/// Nothing that is read was not written there, and of no key the newest value is missing.
fn check(log: &dyn PartitionLog, all: &Content) {
    let read = content(log);
    assert!(read.iter().all(|(offset, record)| all.get(offset) == Some(record)), "{read:?}");
    assert_eq!(newest(&read), newest(all));
    assert_eq!(log.bounds().end, Offset(all.len() as i64));
}

/// Runs `case` at every operation until it says that the fault came too late.
fn at_every_operation(case: impl Fn(u64) -> bool) -> u64 {
    let alone: Option<u64> = std::env::var("KEYWAY_CRASH_AT").ok().map(|at| at.parse().unwrap());
    let mut runs = 0;
    for at in alone.map_or(0..u64::MAX, |at| at..at + 1) {
        runs += 1;
        match std::panic::catch_unwind(AssertUnwindSafe(|| case(at))) {
            Ok(true) => {}
            Ok(false) => break,
            Err(panic) => {
                eprintln!("KEYWAY_CRASH_AT={at} repeats it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    runs
}

#[test]
fn a_crash_at_any_operation_keeps_the_newest_of_each_key() {
    let runs = at_every_operation(|at| {
        let disk = CrashDisk::new(at);
        let all = written(&disk);
        let (store, log) = opened(&disk);
        disk.plan(Some(Fault::Crash(at)));
        _ = store.clean(NOW);
        while store.step() {}
        let hit = disk.has_crashed();
        drop((log, store));
        disk.restart(if at % 3 == 0 { Ending::Kill } else { Ending::PowerCut });
        let (store, log) = opened(&disk);
        check(log.as_ref(), &all);
        // It is done again, over what the crash left behind, and this time it lasts.
        store.clean(NOW).unwrap();
        check(log.as_ref(), &all);
        store.close().unwrap();
        drop((log, store));
        disk.restart(Ending::PowerCut);
        let (store, log) = opened(&disk);
        check(log.as_ref(), &all);
        assert!(content(log.as_ref()).len() < 40, "it was compacted");
        drop((log, store));
        hit
    });
    assert!(runs > 15 || std::env::var_os("KEYWAY_CRASH_AT").is_some(), "only {runs} crash points");
}

#[test]
fn a_failing_operation_leaves_the_log_as_it_was_or_compacted() {
    let runs = at_every_operation(|at| {
        let disk = CrashDisk::new(at);
        let all = written(&disk);
        let (store, log) = opened(&disk);
        disk.plan(Some(Fault::Error(at)));
        _ = store.clean(NOW);
        check(log.as_ref(), &all);
        while store.step() {}
        let hit = disk.hit().is_some();
        drop((log, store));
        disk.restart(Ending::PowerCut);
        let (_store, log) = opened(&disk);
        check(log.as_ref(), &all);
        hit
    });
    assert!(runs > 15 || std::env::var_os("KEYWAY_CRASH_AT").is_some(), "only {runs} failures");
}

/// The log is compacted again and again, and only what it needs stays on the disk.
#[test]
fn old_segments_are_removed() {
    let disk = CrashDisk::new(1);
    let mut all = written(&disk);
    for round in 0..5 {
        let (store, log) = opened(&disk);
        for index in 0..20 {
            let appended = append(&store, log.as_ref(), &write(index % 4, round * 100 + index));
            while store.step() {}
            block_on(store.wait(appended.ticket, Durability::Durable)).unwrap();
        }
        all.append(&mut content(log.as_ref()));
        store.clean(NOW).unwrap();
        while store.step() {}
        check(log.as_ref(), &all);
        store.close().unwrap();
    }
    let segments: Vec<_> = disk
        .contents()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    let bytes: usize = segments.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 8_000, "{bytes} bytes in {} segments are left", segments.len());
}

/// Every sampled bit of a compacted segment and of its index, its batches' unprotected first bytes included.
#[test]
fn no_flipped_bit_of_a_compacted_log_is_served() {
    let disk = CrashDisk::new(1);
    let all = written(&disk);
    let (store, log) = opened(&disk);
    store.clean(NOW).unwrap();
    store.close().unwrap();
    let whole = content(log.as_ref());
    drop((log, store));
    let of_a = |path: &std::path::Path| path.starts_with(history::folder().join("segments"));
    let files: Vec<_> = disk.contents().into_iter().filter(|(path, _)| of_a(path)).collect();
    assert!(files.iter().any(|(path, _)| path.extension().is_some_and(|extension| extension == "idx")));
    let base = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap()[..20].parse().unwrap();
    let newest_segment = files.iter().map(|(path, _)| Offset(base(path))).max().unwrap();
    let mut refused = 0;
    for (path, bytes) in files {
        let is_index = path.extension().is_some_and(|extension| extension == "idx");
        for bit in (0..bytes.len() * 8).step_by(if is_index { 5 } else { 3 }) {
            let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
            disk.change(&path, flip);
            let (store, log) = opened(&disk);
            let mut read = Content::new();
            let mut next = Offset::ZERO;
            while next < log.bounds().high_watermark {
                match log.read(next, ReadLimit::bytes(1)) {
                    Ok(slice) => {
                        for batch in slice.batches() {
                            // What protects a batch's first bytes is written when its segment is sealed.
                            let is_sealed = batch.base_offset() < newest_segment;
                            assert!(!is_sealed || batch.leader_epoch() == EPOCH, "{path:?} bit {bit}");
                            for record in Records::new(batch.record_section(), batch.record_count()) {
                                let record = record.unwrap();
                                let offset = batch.base_offset().plus(record.offset_delta.into());
                                read.insert(offset, (record.key.unwrap(), record.value.unwrap()));
                            }
                        }
                        next = slice.next.max(next.next());
                    }
                    Err(ReadError::Corrupt { .. }) => next = next.next(),
                    Err(error) => panic!("{path:?} bit {bit}: {error}"),
                }
            }
            let is_right = |(offset, record)| all.get(offset) == Some(record);
            assert!(read.iter().all(is_right), "{path:?} bit {bit}");
            if is_index {
                assert_eq!(read, whole, "{path:?} bit {bit}: an index can be made again");
            } else {
                refused += usize::from(read != whole);
            }
            drop((log, store));
            disk.change(&path, flip);
        }
    }
    assert!(refused > 1_000, "{refused}");
}
