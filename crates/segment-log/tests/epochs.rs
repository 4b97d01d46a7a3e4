//! When a start moves the leader epoch on, and when it does not. Crashes at every operation are in `recovery`.

mod crash;

use crash::{
    disk::{CrashDisk, Ending, Fault},
    history::{self, folder},
};
use keyway_log::{
    LogStore, PartitionLog,
    contract::{append, batch, durable, partition, read_all},
    epochs::EpochEnd,
};
use keyway_record::{LeaderEpoch, Offset, Timestamp};
use keyway_segment_log::{Drive, DurableBy, OnDamage, Options, SegmentStore};
use std::sync::Arc;

fn fsync() -> Options {
    history::options()
}

fn os() -> Options {
    Options { durable_by: DurableBy::Os, ..history::options() }
}

fn open(disk: &CrashDisk, options: &Options) -> (SegmentStore, Arc<dyn PartitionLog>) {
    let store = history::open_with(disk, options.clone()).unwrap_or_else(|error| panic!("{error}"));
    let log = store.open(&partition("a")).or_else(|_| store.create(&partition("a"))).unwrap();
    (store, log)
}

/// Appends `count` records, each in a commit of its own.
fn fill(store: &SegmentStore, log: &dyn PartitionLog, count: usize) {
    for _ in 0..count {
        append(store, log, &batch(1, 100, 5));
        while store.step() {}
    }
}

fn epoch(disk: &CrashDisk, options: &Options) -> i32 {
    open(disk, options).1.leader_epoch().0
}

fn ended(log: &dyn PartitionLog, epoch: i32) -> Option<(i32, i64)> {
    log.epoch_end(LeaderEpoch(epoch)).map(|EpochEnd { epoch, end }| (epoch.0, end.0))
}

#[test]
fn a_kill_or_a_power_cut_moves_nothing_on_under_fsync() {
    for ending in [Ending::Kill, Ending::PowerCut] {
        let disk = CrashDisk::new(1);
        for _ in 0..4 {
            let (store, log) = open(&disk, &fsync());
            fill(&store, log.as_ref(), 5);
            // Not waited for: nobody has seen it.
            append(&store, log.as_ref(), &batch(1, 100, 5));
            assert_eq!(log.leader_epoch(), LeaderEpoch(0));
            drop((store, log));
            disk.restart(ending);
        }
    }
}

#[test]
fn a_close_moves_nothing_on() {
    for options in [fsync(), os()] {
        let disk = CrashDisk::new(1);
        for life in 0..4 {
            let (store, log) = open(&disk, &options);
            assert_eq!((log.leader_epoch().0, log.bounds().end.0), (0, life * 5));
            fill(&store, log.as_ref(), 5);
            store.close().unwrap();
            drop((store, log));
            disk.restart(Ending::PowerCut);
        }
    }
}

#[test]
fn each_start_after_an_unflushed_life_moves_on_by_one() {
    let disk = CrashDisk::new(1);
    for life in 0..4 {
        let (store, log) = open(&disk, &os());
        assert_eq!(log.leader_epoch().0, life);
        fill(&store, log.as_ref(), 5);
        let epochs: Vec<_> = read_all(log.as_ref(), Offset(0)).iter().map(|it| it.leader_epoch().0).collect();
        let expected: Vec<_> = (0..=life).flat_map(|epoch| [epoch; 5]).collect();
        assert_eq!(epochs, expected);
        for asked in 0..=life {
            assert_eq!(ended(log.as_ref(), asked), Some((asked, i64::from(asked + 1) * 5)));
        }
        drop((store, log));
        disk.restart(Ending::Kill);
    }
    // The life that is over counts, not the one that begins.
    assert_eq!(epoch(&disk, &fsync()), 4);
    assert_eq!(epoch(&disk, &fsync()), 4);
    assert_eq!(epoch(&disk, &os()), 4);
    assert_eq!(epoch(&disk, &os()), 5);
}

#[test]
fn an_epoch_without_records_leaves_no_trace() {
    let disk = CrashDisk::new(1);
    let (store, log) = open(&disk, &os());
    fill(&store, log.as_ref(), 3);
    drop((store, log));
    assert_eq!(epoch(&disk, &os()), 1);
    let (store, log) = open(&disk, &os());
    assert_eq!(log.leader_epoch(), LeaderEpoch(2));
    fill(&store, log.as_ref(), 1);
    assert_eq!(ended(log.as_ref(), 0), Some((0, 3)));
    assert_eq!(ended(log.as_ref(), 1), Some((0, 3)));
    assert_eq!(ended(log.as_ref(), 2), Some((2, 4)));
    assert_eq!(ended(log.as_ref(), 3), None);
}

#[test]
fn a_cut_log_moves_on_wherever_the_cut_is_interrupted() {
    for at in 0.. {
        let disk = CrashDisk::new(at);
        let (store, log) = open(&disk, &fsync());
        fill(&store, log.as_ref(), 3);
        drop((store, log));
        let wal = folder().join("wal/000.wal");
        // A mark follows each commit, so the third block is that of the second record.
        disk.change(&wal, |bytes| bytes[2 * 4096 + 100] ^= 1);
        let cut = Options { on_damage: OnDamage::Cut, ..fsync() };
        disk.plan(Some(Fault::Crash(at)));
        let interrupted = history::open_with(&disk, cut.clone()).is_err();
        disk.restart(if at % 2 == 0 { Ending::PowerCut } else { Ending::Kill });
        let (store, log) = open(&disk, &cut);
        assert_eq!(log.bounds().end, Offset(1));
        assert!(log.leader_epoch().0 > 0, "interrupted at operation {at}");
        assert_eq!(ended(log.as_ref(), 0), Some((0, 1)));
        drop((store, log));
        assert!(epoch(&disk, &fsync()) > 0);
        if !interrupted {
            assert!(at > 5, "only {at} operations");
            return;
        }
    }
}

#[test]
fn one_damaged_manifest_takes_no_epoch_back() {
    for slot in 0..2 {
        let disk = CrashDisk::new(1);
        let (store, log) = open(&disk, &os());
        fill(&store, log.as_ref(), 3);
        drop((store, log));
        let damage = || disk.change(&folder().join(format!("manifest.{slot}")), |bytes| bytes[50] ^= 1);
        damage();
        assert_eq!(epoch(&disk, &fsync()), 1, "what readers may have seen is known: slot {slot}");
        damage();
        assert_eq!(epoch(&disk, &fsync()), 1, "that it was answered for is known: slot {slot}");
    }
}

#[test]
fn a_partition_made_again_has_none_of_the_epochs_before() {
    let disk = CrashDisk::new(1);
    for _ in 0..3 {
        let (store, log) = open(&disk, &os());
        fill(&store, log.as_ref(), 5);
        drop((store, log));
    }
    let (store, _) = open(&disk, &os());
    store.delete(&partition("a")).unwrap();
    let log = store.create(&partition("a")).unwrap();
    fill(&store, log.as_ref(), 2);
    store.close().unwrap();
    drop((store, log));
    let (_, log) = open(&disk, &os());
    assert_eq!(ended(log.as_ref(), 3), Some((3, 2)));
    assert_eq!(ended(log.as_ref(), 1), Some((1, 0)), "of an epoch before the first, where that begins");
}

#[test]
fn trims_retention_and_segments_keep_the_epochs_of_what_is_left() {
    let disk = CrashDisk::new(1);
    for _ in 0..4 {
        let (store, log) = open(&disk, &os());
        fill(&store, log.as_ref(), 20);
        store.checkpoint().unwrap();
        drop((store, log));
    }
    let (store, log) = open(&disk, &os());
    log.trim(Offset(45)).unwrap();
    while store.step() {}
    let check = |log: &dyn PartitionLog, current: i32| {
        assert_eq!(log.epoch_of(Offset(45)), Some(LeaderEpoch(2)));
        assert_eq!(ended(log, 1), Some((1, 45)));
        assert_eq!(ended(log, 2), Some((2, 60)));
        assert_eq!(ended(log, 3), Some((3, 80)));
        assert_eq!(ended(log, current), Some((current, 80)));
    };
    check(log.as_ref(), 4);
    store.clean(Timestamp(10)).unwrap();
    store.checkpoint().unwrap();
    drop((store, log));
    let (store, log) = open(&disk, &os());
    check(log.as_ref(), 5);
    // All of it gone: the newest epoch is known still.
    log.trim(Offset(80)).unwrap();
    while store.step() {}
    assert_eq!((ended(log.as_ref(), 5), ended(log.as_ref(), 4)), (Some((5, 80)), Some((4, 80))));
    store.close().unwrap();
    drop((store, log));
    let (_, log) = open(&disk, &os());
    assert_eq!((log.leader_epoch(), ended(log.as_ref(), 5)), (LeaderEpoch(5), Some((5, 80))));
}

#[test]
fn compacted_batches_keep_their_epochs() {
    let options = Options { segment_bytes: 1_000, ..os() };
    let disk = CrashDisk::new(1);
    for _ in 0..3 {
        let (store, log) = open(&disk, &options);
        for key in 0..20 {
            let mut builder = keyway_record::batch::BatchBuilder::new(Timestamp(5));
            for key in [key % 5, 100 + key] {
                let (key, value) = (Some(vec![key; 3].into()), Some(vec![7; 50].into()));
                builder.push(Timestamp(5), keyway_record::Record { key, value, ..Default::default() });
            }
            append(&store, log.as_ref(), &builder.build());
            while store.step() {}
        }
        let compaction = Some(keyway_log::Compaction { dirty_ratio_min: 0.0, ..Default::default() });
        log.configure(keyway_log::LogConfig { compaction, ..Default::default() });
        let cleaned = store.clean(Timestamp(1_000_000)).unwrap();
        assert!(cleaned.compacted_bytes > 0);
        store.checkpoint().unwrap();
        drop((store, log));
    }
    let (_, log) = open(&disk, &options);
    for batch in read_all(log.as_ref(), Offset(0)) {
        assert_eq!(batch.leader_epoch().0 as i64, batch.base_offset().0 / 40);
    }
    assert_eq!((0..3).map(|asked| ended(log.as_ref(), asked).unwrap().1).collect::<Vec<_>>(), [40, 80, 120]);
}

/// With the store's own threads: what readers see is flushed, whatever producers were told.
#[test]
fn readers_see_nothing_that_is_only_written() {
    let disk = CrashDisk::new(1);
    let options = Options { drive: Drive::Threads, ..fsync() };
    let (store, log) = open(&disk, &options);
    let mut seen = 0;
    for _ in 0..40 {
        let ticket = append(&store, log.as_ref(), &batch(1, 100, 5)).ticket;
        keyway_log::contract::block_on(store.wait(ticket, keyway_log::Durability::Written)).unwrap();
        seen = log.bounds().high_watermark.0;
        // Of a power cut at this moment, the image keeps only what was flushed.
        let image = disk.fork();
        image.restart(Ending::PowerCut);
        let (_, after) = open(&image, &fsync());
        assert!(after.bounds().end.0 >= seen, "{seen} were seen");
        assert_eq!(after.leader_epoch(), LeaderEpoch(0));
    }
    let ticket = append(&store, log.as_ref(), &batch(1, 100, 5)).ticket;
    durable(&store, ticket);
    assert!(log.bounds().high_watermark.0 > seen);
}
