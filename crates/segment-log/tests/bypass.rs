//! Large commits are written once: what they cost, and what is left of them where segments cannot be written.

mod crash;

use crash::{
    disk::{Counts, CrashDisk, Ending},
    history::{folder, open_with},
};
use keyway_log::{
    AppendError, Durability, LogStore, PartitionLog, ReadLimit, Ticket,
    contract::{append, batch, partition, read_all},
};
use keyway_record::{
    Offset, Outcome, ProducerEpoch, ProducerId, Record, RecordBatch, Timestamp, batch::BatchBuilder,
};
use keyway_segment_log::{Bypass, Drive, DurableBy, Options, SegmentStore};
use std::{
    path::Path,
    task::{Context, Waker},
};

const LARGE: usize = 300 << 10;

fn options() -> Options {
    Options { bypass_bytes_min: 256 << 10, drive: Drive::Steps, ..Options::default() }
}

fn open(disk: &CrashDisk, options: Options) -> SegmentStore {
    open_with(disk, options).unwrap_or_else(|error| panic!("{error}"))
}

/// Commits until `ticket` is durable, and does nothing else.
fn commit(store: &SegmentStore, ticket: Ticket) {
    let mut wait = store.wait(ticket, Durability::Durable);
    while wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        assert!(store.step());
    }
}

/// Appends batches of `len` bytes and waits for each; returns what the last 10 of 20 cost, and their bytes.
fn cost(options: Options, len: usize) -> (Counts, u64) {
    const COUNT: u64 = 10;
    let disk = CrashDisk::new(1);
    let store = open(&disk, options);
    let log = store.create(&partition("a")).unwrap();
    let sent = batch(1, len, 5);
    let produce = || {
        for _ in 0..COUNT {
            commit(&store, append(&store, log.as_ref(), &sent).ticket);
        }
    };
    produce();
    store.checkpoint().unwrap();
    let before = disk.counts();
    produce();
    let syncs = disk.counts().syncs - before.syncs;
    store.checkpoint().unwrap();
    let written_bytes = disk.counts().written_bytes - before.written_bytes;
    assert_eq!(read_all(log.as_ref(), Offset(0)).len() as u64, 2 * COUNT);
    (Counts { written_bytes, syncs, ..Counts::default() }, COUNT * sent.bytes().len() as u64)
}

#[test]
fn large_commits_are_written_once_and_flushed_twice() {
    let (bypassing, bytes) = cost(options(), LARGE);
    let per_byte = bypassing.written_bytes as f64 / bytes as f64;
    assert!((1.0..1.05).contains(&per_byte), "{per_byte} bytes written for one that was acknowledged");
    assert_eq!(bypassing.syncs, 20, "each commit flushes the segment and the write-ahead log");

    let (holding, bytes) = cost(Options { bypass: Bypass::Never, ..options() }, LARGE);
    let per_byte = holding.written_bytes as f64 / bytes as f64;
    assert!((2.0..2.05).contains(&per_byte), "{per_byte} bytes written for one that was acknowledged");
    assert_eq!(holding.syncs, 10);

    let (small, bytes) = cost(options(), 100 << 10);
    assert!(small.written_bytes >= 2 * bytes, "what is not large does not bypass");
    assert_eq!(small.syncs, 10);
    let (unflushed, _) = cost(Options { durable_by: DurableBy::Os, ..options() }, LARGE);
    assert_eq!(unflushed.syncs, 0, "who chose not to flush does not flush segments either");
}

#[test]
fn what_bypassed_is_there_after_a_crash_and_recovery_does_not_read_it() {
    let disk = CrashDisk::new(1);
    let store = open(&disk, options());
    let logs: Vec<_> = ["a", "b", "c"].map(|name| store.create(&partition(name)).unwrap()).into();
    let mut sent = [0; 3];
    for round in 0..6 {
        // Small before large, large before small, and both in one commit.
        for (index, log) in logs.iter().enumerate() {
            let len = if (round + index) % 3 == 0 { 100 } else { LARGE };
            let ticket = append(&store, log.as_ref(), &batch(1, len, 5)).ticket;
            sent[index] += 1;
            if round % 2 == 0 {
                commit(&store, ticket);
            }
        }
    }
    while store.step() {}
    let stats = store.stats();
    assert!(stats.bypassed_bytes >= 12 * LARGE as u64, "{stats:?}");
    assert!(stats.unwritten_bytes < 1_000, "{stats:?}");
    drop((logs, store));
    for _ in 0..2 {
        disk.restart(Ending::PowerCut);
        let before = disk.counts();
        let store = open(&disk, options());
        assert_eq!(disk.counts().segment_reads, before.segment_reads);
        for (name, sent) in ["a", "b", "c"].into_iter().zip(sent) {
            let log = store.open(&partition(name)).unwrap();
            assert_eq!(
                (log.bounds().high_watermark, read_all(log.as_ref(), Offset(0)).len()),
                (Offset(sent), sent as usize)
            );
        }
    }
}

#[test]
fn where_a_segment_cannot_be_written_the_write_ahead_log_holds_the_batch() {
    let disk = CrashDisk::new(1);
    let store = open(&disk, options());
    let log = store.create(&partition("a")).unwrap();
    commit(&store, append(&store, log.as_ref(), &batch(1, LARGE, 5)).ticket);
    disk.set_broken(Some(folder().join("segments")));
    commit(&store, append(&store, log.as_ref(), &batch(1, LARGE, 5)).ticket);
    assert_eq!(log.bounds().high_watermark, Offset(2), "it is durable all the same");
    assert!(matches!(log.append(&batch(1, 10, 5)), Err(AppendError::Offline { .. })));
    drop((log, store));
    disk.restart(Ending::PowerCut);
    disk.set_broken(None);
    let store = open(&disk, options());
    let log = store.open(&partition("a")).unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 2);
    commit(&store, append(&store, log.as_ref(), &batch(1, LARGE, 5)).ticket);
    store.close().unwrap();
    assert_eq!(segment_files(&disk, log.as_ref()), 1, "one after the other in one segment");
}

#[test]
fn where_a_segment_cannot_be_flushed_the_write_ahead_log_holds_the_batch() {
    let disk = CrashDisk::new(1);
    let store = open(&disk, options());
    let log = store.create(&partition("a")).unwrap();
    for _ in 0..2 {
        commit(&store, append(&store, log.as_ref(), &batch(1, LARGE, 5)).ticket);
    }
    disk.set_unsyncable(Some(folder().join("segments")));
    commit(&store, append(&store, log.as_ref(), &batch(1, LARGE, 5)).ticket);
    assert_eq!(log.bounds().high_watermark, Offset(3), "it is durable all the same");
    assert!(matches!(log.append(&batch(1, 10, 5)), Err(AppendError::Offline { .. })));
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 3);
    drop((log, store));
    disk.set_unsyncable(None);
    for _ in 0..2 {
        disk.restart(Ending::PowerCut);
        let store = open(&disk, options());
        let log = store.open(&partition("a")).unwrap();
        assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 3);
        store.checkpoint().unwrap();
    }
}

fn segment_files(disk: &CrashDisk, log: &dyn PartitionLog) -> usize {
    assert_eq!(read_all(log, Offset(0)).len(), 3);
    let is_segment = |path: &Path| path.extension().is_some_and(|it| it == "log");
    disk.paths().iter().filter(|path| is_segment(path)).count()
}

/// A marker says in its records how a transaction ended, and replay sees no records of what bypassed.
#[test]
fn a_transaction_that_bypassed_ends_as_it_did() {
    let (id, epoch, now) = (ProducerId(7), ProducerEpoch(0), Timestamp(1_000));
    let disk = CrashDisk::new(1);
    let store = open(&disk, options());
    let log = store.create(&partition("a")).unwrap();
    let mut records = BatchBuilder::new(now);
    records.push(now, Record { value: Some(vec![7; LARGE].into()), ..Record::default() });
    append(&store, log.as_ref(), &records.build_transactional(id, epoch, 0));
    let marker = RecordBatch::marker(id, epoch, Outcome::Abort, 0, now);
    commit(&store, append(&store, log.as_ref(), &marker).ticket);
    assert!(store.stats().bypassed_bytes > LARGE as u64);
    drop((log, store));
    disk.restart(Ending::PowerCut);
    let store = open(&disk, options());
    let log = store.open(&partition("a")).unwrap();
    assert_eq!((log.last_stable(), log.open_transaction(id)), (Offset(2), None));
    let slice = log.read(Offset(0), ReadLimit::committed_bytes(1 << 20)).unwrap();
    assert_eq!(slice.aborted.len(), 1);
}

/// Replay meets the trim when it knows the segment only as the manifest states it, which is wholly before the new start.
#[test]
fn a_segment_that_was_trimmed_for_a_part_of_it_is_kept() {
    let small = Options { arena_bytes_max: 64 << 10, ..options() };
    let disk = CrashDisk::new(1);
    let store = open(&disk, small.clone());
    let log = store.create(&partition("a")).unwrap();
    append(&store, log.as_ref(), &batch(3, 100, 5));
    store.checkpoint().unwrap();
    append(&store, log.as_ref(), &batch(5, 10_000, 5));
    while store.step() {}
    assert_eq!(store.stats().unwritten_bytes, 0, "the segment has it");
    commit(&store, log.trim(Offset(5)).unwrap());
    commit(&store, append(&store, log.as_ref(), &batch(1, LARGE, 5)).ticket);
    drop((log, store));
    for _ in 0..2 {
        disk.restart(Ending::PowerCut);
        let store = open(&disk, small.clone());
        store.checkpoint().unwrap();
        let log = store.open(&partition("a")).unwrap();
        assert_eq!(log.bounds().start, Offset(5));
        assert_eq!(read_all(log.as_ref(), Offset(5)).len(), 2);
    }
}

/// A reference to a segment that grew since the manifest must say the whole of it, though the batches before it are in the
/// write-ahead log, and recovery may have run out of memory for them.
#[test]
fn references_behind_more_than_memory_holds_are_followed() {
    let small = Options { arena_bytes_max: 2 << 20, segment_bytes: 1 << 20, ..options() };
    let disk = CrashDisk::new(1);
    let store = open(&disk, small.clone());
    let log = store.create(&partition("a")).unwrap();
    for index in 0..60 {
        // Nothing fits behind a large one, so that the next segment begins where recovery's knowledge ends.
        let len = if index % 7 == 6 { 1_000 << 10 } else { 100 << 10 };
        commit(&store, append(&store, log.as_ref(), &batch(1, len, 5)).ticket);
        while store.step() {}
    }
    assert!(store.stats().bypassed_bytes >= 8 * (1_000 << 10));
    drop((log, store));
    disk.restart(Ending::PowerCut);
    let store = open(&disk, Options { segment_bytes: 3 << 20, arena_bytes_max: 256 << 10, ..small });
    let log = store.open(&partition("a")).unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 60);
    store.close().unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 60);
}
