//! Disks that fail or fill up: what stops, what goes on, and what is still there afterwards.

mod crash;

use crash::{
    disk::{CrashDisk, Ending},
    history::{self, folder},
};
use keyway_log::{
    AppendError, LogStore,
    contract::{append, batch, partition, read_all},
};
use keyway_record::Offset;
use keyway_segment_log::{Bypass, Options};

#[test]
fn a_partition_that_cannot_be_written_is_offline_alone_and_loses_nothing() {
    let disk = CrashDisk::new(1);
    let store = history::open(&disk).unwrap();
    let (broken, sound) = (store.create(&partition("a")).unwrap(), store.create(&partition("b")).unwrap());
    disk.set_broken(Some(folder().join("segments/a-0.0")));
    let mut acknowledged = 0;
    let reason = loop {
        append(&store, sound.as_ref(), &batch(1, 1_000, 5));
        while store.step() {}
        match broken.append(&batch(1, 1_000, 5)) {
            Ok(_) => acknowledged += 1,
            Err(AppendError::Offline { reason }) => break reason,
            Err(error) => panic!("{error}"),
        }
        assert!(acknowledged < 20, "the segment is not written");
    };
    assert_eq!(reason, "writing a segment failed: input/output error");
    let before = sound.bounds().end.0;
    assert_eq!(store.figures().offline_partitions, 1);
    assert_eq!(read_all(broken.as_ref(), Offset(0)).len(), acknowledged, "reads go on from memory");
    append(&store, sound.as_ref(), &batch(1, 10, 5));
    while store.step() {}
    assert_eq!(read_all(sound.as_ref(), Offset(0)).len() as i64, before + 1);
    drop((broken, sound, store));

    disk.restart(Ending::PowerCut);
    let store = history::open(&disk).unwrap();
    let broken = store.open(&partition("a")).unwrap();
    assert_eq!(read_all(broken.as_ref(), Offset(0)).len(), acknowledged, "the write-ahead log has it");
    disk.set_broken(None);
    store.checkpoint().unwrap();
    append(&store, broken.as_ref(), &batch(1, 10, 5));
    assert_eq!(store.figures().offline_partitions, 0);
    store.close().unwrap();
}

#[test]
fn a_partition_is_back_once_its_files_can_be_written() {
    let disk = CrashDisk::new(1);
    let store = history::open(&disk).unwrap();
    let log = store.create(&partition("a")).unwrap();
    append(&store, log.as_ref(), &batch(1, 1_000, 5));
    while store.step() {}
    disk.set_broken(Some(folder().join("segments")));
    store.checkpoint().expect("the write-ahead log has what the segment cannot");
    assert!(matches!(log.append(&batch(1, 10, 5)), Err(AppendError::Offline { .. })));
    disk.set_broken(None);
    store.checkpoint().unwrap();
    append(&store, log.as_ref(), &batch(1, 10, 5));
    while store.step() {}
    assert_eq!((log.bounds().high_watermark, store.figures().offline_partitions), (Offset(2), 0));
}

#[test]
fn a_full_disk_refuses_producers_and_keeps_room_for_the_brokers_own_state() {
    let disk = CrashDisk::new(1);
    disk.set_free(8 << 20);
    let store = history::open(&disk).unwrap();
    let (data, state) =
        (store.create(&partition("a")).unwrap(), store.create(&partition("__groups")).unwrap());
    append(&store, data.as_ref(), &batch(1, 1_000, 5));
    while store.step() {}
    // A sixteenth is kept, 1 MiB, and held.
    disk.set_free(0);
    store.step();
    assert!(store.figures().is_space_low);
    assert_eq!(data.append(&batch(1, 1_000, 5)), Err(AppendError::NoSpace));
    append(&store, state.as_ref(), &batch(1, 100, 5));
    while store.step() {}
    assert_eq!(read_all(data.as_ref(), Offset(0)).len(), 1, "reads go on");
    assert_eq!(read_all(state.as_ref(), Offset(0)).len(), 1, "and so does what the broker remembers");
    disk.set_free(8 << 20);
    store.step();
    append(&store, data.as_ref(), &batch(1, 1_000, 5));
    while store.step() {}
    assert!(!store.figures().is_space_low);
    assert_eq!(read_all(data.as_ref(), Offset(0)).len(), 2);
}

/// Between two looks at the file system nobody can use up what is kept.
#[test]
fn a_burst_does_not_use_up_what_is_kept() {
    let disk = CrashDisk::new(1);
    disk.set_free((1 << 20) + 40_000);
    let store = history::open(&disk).unwrap();
    let log = store.create(&partition("a")).unwrap();
    let taken = (0..100).take_while(|_| log.append(&batch(1, 100, 5)).is_ok()).count();
    assert_eq!(taken, 9, "each may take a page of the write-ahead log and twice its bytes");
    assert_eq!(log.append(&batch(1, 100, 5)), Err(AppendError::NoSpace));
}

/// What a flush that failed should have made durable is marked as clean by the operating system: it must come from
/// elsewhere, though memory does not have it any more.
#[test]
fn a_segment_that_cannot_be_flushed_takes_its_partition_offline_and_loses_nothing() {
    let disk = CrashDisk::new(1);
    // None of it goes straight to its segment.
    let options = Options { bypass: Bypass::Never, ..history::options() };
    let store = history::open_with(&disk, options).unwrap();
    let (broken, sound) = (store.create(&partition("a")).unwrap(), store.create(&partition("b")).unwrap());
    append(&store, broken.as_ref(), &batch(1, 100, 5));
    store.checkpoint().unwrap();
    disk.set_unsyncable(Some(folder().join("segments/a-0.0")));
    let mut acknowledged = 1;
    while store.figures().offline_partitions == 0 {
        append(&store, broken.as_ref(), &batch(1, 3_000, 5));
        acknowledged += 1;
        while store.step() {}
        assert!(acknowledged < 80, "no checkpoint");
    }
    assert!(acknowledged > 5, "{acknowledged}: memory holds no more than four of them");
    match broken.append(&batch(1, 1_000, 5)) {
        Err(AppendError::Offline { reason }) => {
            assert_eq!(reason, "flushing a segment failed: input/output error");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(read_all(broken.as_ref(), Offset(0)).len(), acknowledged);
    let sealed_len = |disk: &CrashDisk| {
        let first = folder().join("segments/a-0.0/00000000000000000000.log");
        disk.contents().iter().find(|(path, _)| *path == first).map(|(_, bytes)| bytes.len())
    };
    let first_len = sealed_len(&disk);

    // Others go on, for longer than the write-ahead log is.
    let checkpoints = store.stats().checkpoints;
    let mut others = 0;
    for _ in 0..200 {
        append(&store, sound.as_ref(), &batch(1, 1_000, 5));
        others += 1;
        while store.step() {}
    }
    assert!(store.stats().checkpoints > checkpoints + 3);
    assert!(store.stats().wal_bytes < history::options().wal_bytes_max);
    assert_eq!(store.figures().offline_partitions, 1);
    assert_eq!(sealed_len(&disk), first_len, "what could not be flushed is not touched");

    let other = disk.fork();
    other.restart(Ending::PowerCut);
    let reopened = history::open(&other).unwrap();
    let log = reopened.open(&partition("a")).unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), acknowledged, "the write-ahead log has it");
    assert_eq!(read_all(reopened.open(&partition("b")).unwrap().as_ref(), Offset(0)).len(), others);
    drop((log, reopened));

    disk.set_unsyncable(None);
    store.checkpoint().unwrap();
    assert_eq!(store.figures().offline_partitions, 0);
    append(&store, broken.as_ref(), &batch(1, 1_000, 5));
    while store.step() {}
    assert_eq!(read_all(broken.as_ref(), Offset(0)).len(), acknowledged + 1);
    let next = folder().join("segments/a-0.0/00000000000000000001.log");
    assert!(disk.paths().contains(&next), "what followed the last good flush is in a file of its own");
    store.close().unwrap();
    disk.restart(Ending::PowerCut);
    let store = history::open(&disk).unwrap();
    let log = store.open(&partition("a")).unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), acknowledged + 1);
}

/// A flush of the whole file system tells that something failed, and not what.
#[test]
fn a_failed_flush_of_everything_is_pinned_down_or_stops_the_store() {
    for is_told in [true, false] {
        let disk = CrashDisk::new(1);
        disk.set_volume(true);
        let store = history::open(&disk).unwrap();
        let logs: Vec<_> = (0..40).map(|n| store.create(&partition(&format!("t{n}"))).unwrap()).collect();
        for log in &logs {
            append(&store, log.as_ref(), &batch(1, 100, 5));
        }
        disk.set_unsyncable(Some(folder().join("segments/t7-0.7")));
        if !is_told {
            disk.forget_failures();
        }
        let done = store.checkpoint();
        assert_eq!(done.is_ok(), is_told, "{done:?}");
        assert_eq!(store.figures().offline_partitions, u64::from(is_told));
        drop((logs, store));
        disk.set_unsyncable(None);
        disk.restart(Ending::PowerCut);
        let store = history::open(&disk).unwrap();
        for target in store.list() {
            assert_eq!(read_all(store.open(&target).unwrap().as_ref(), Offset(0)).len(), 1);
        }
    }
}

/// What is counted as kept, somebody else may take; what is held, nobody.
#[test]
fn another_user_of_the_disk_cannot_take_what_is_held() {
    const TOTAL: usize = 16 << 20;
    for is_held in [true, false] {
        let disk = CrashDisk::new(1);
        disk.set_capacity(TOTAL, 0);
        let store = history::open(&disk).unwrap();
        let (data, state) =
            (store.create(&partition("a")).unwrap(), store.create(&partition("__groups")).unwrap());
        append(&store, data.as_ref(), &batch(1, 1_000, 5));
        while store.step() {}
        let reserve = folder().join("reserve");
        let reserve_len = || disk.contents().iter().find(|(path, _)| *path == reserve).unwrap().1.len();
        assert_eq!(reserve_len(), 1 << 20, "a sixteenth");
        if !is_held {
            disk.change(&reserve, Vec::clear);
        }
        disk.set_capacity(TOTAL, disk.free_bytes());
        store.step();
        assert_eq!(data.append(&batch(1, 1_000, 5)), Err(AppendError::NoSpace));
        let mut appended = 0;
        for _ in 0..60 {
            let Ok(_) = state.append(&batch(1, 100, 5)) else { break };
            appended += 1;
            while store.step() {}
        }
        if !is_held {
            assert!(appended < 60, "without it the write-ahead log finds no space");
            continue;
        }
        assert_eq!((appended, reserve_len()), (60, 0));
        assert_eq!(read_all(data.as_ref(), Offset(0)).len(), 1, "reads go on");
        assert_eq!(read_all(state.as_ref(), Offset(0)).len(), 60, "and so does what the broker remembers");
        assert_eq!(data.append(&batch(1, 1_000, 5)), Err(AppendError::NoSpace));

        disk.set_capacity(TOTAL, 0);
        store.step();
        assert_eq!(reserve_len(), 1 << 20, "it is held again");
        append(&store, data.as_ref(), &batch(1, 1_000, 5));
        while store.step() {}
        assert_eq!(read_all(data.as_ref(), Offset(0)).len(), 2);
        store.close().unwrap();
    }
}
