//! Crashes at every operation of random workloads, failing operations, damaged files.
//!
//! `KEYWAY_CRASH_SEEDS=1000..9000 cargo test -p keyway-segment-log --release --test recovery` runs millions of crash points; a
//! failure prints the seed, and where there is one the operation, that repeat it.

mod crash;

use crash::{
    disk::{CrashDisk, Ending, Fault},
    history::{self, History, Segments, folder},
};
use keyway_log::{
    AppendError, Durability, Isolation, LogStore, ReadError, ReadLimit, Ticket,
    contract::{append, batch, block_on, partition, random::Random, read_all},
};
use keyway_record::{Offset, RecordBatch};
use keyway_segment_log::{DurableBy, OnDamage, OpenError, Options, SegmentStore};
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    task::{Context, Waker},
};

/// Effects in one life of a workload.
const EFFECTS: usize = 90;

fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("KEYWAY_CRASH_SEEDS") else { return default };
    let (from, to) = text.split_once("..").expect("KEYWAY_CRASH_SEEDS is a range like 0..100");
    from.parse().unwrap()..to.parse().unwrap()
}

/// Runs `case` at every operation of every seed until it says that the fault came too late; returns the number of runs.
fn at_every_operation(default: Range<u64>, case: impl Fn(u64, u64) -> bool) -> u64 {
    let alone: Option<u64> = std::env::var("KEYWAY_CRASH_AT").ok().map(|at| at.parse().unwrap());
    let mut runs = 0;
    for seed in seeds(default) {
        for at in alone.map_or(0..u64::MAX, |at| at..at + 1) {
            runs += 1;
            match catch_unwind(AssertUnwindSafe(|| case(seed, at))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(panic) => {
                    eprintln!("KEYWAY_CRASH_SEEDS={seed}..{} KEYWAY_CRASH_AT={at} repeats it", seed + 1);
                    resume_unwind(panic);
                }
            }
        }
    }
    runs
}

/// One crash in the first life at operation `at`, then one somewhere in each of two more lives, recovery included.
fn crash_and_recover(seed: u64, at: u64, options: &Options) -> bool {
    let mut random = Random::new(seed);
    let mut choices = Random::new(seed.wrapping_mul(31).wrapping_add(at));
    let disk = CrashDisk::new(seed ^ at << 32);
    let open = |disk: &CrashDisk| history::open_with(disk, options.clone());
    let mut history = History::of(options);
    let mut hit = false;
    for life in 0..4 {
        let fault = match life {
            0 => Some(Fault::Crash(at)),
            1 | 2 => Some(Fault::Crash(choices.below(120))),
            _ => None,
        };
        disk.plan(fault);
        match open(&disk) {
            Ok(store) => {
                history.check(&store);
                history.run(&store, &mut random, EFFECTS);
                history.check_readers(&store);
                if life % 2 == 1 && choices.below(2) == 0 {
                    history.close(&store);
                }
            }
            Err(error) => {
                assert!(disk.has_crashed(), "{error}");
                history.note_failed_start();
            }
        }
        hit |= life == 0 && disk.has_crashed();
        disk.restart(if choices.below(4) == 0 { Ending::Kill } else { Ending::PowerCut });
    }
    history.check(&open(&disk).unwrap_or_else(|error| panic!("{error}")));
    hit
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_waited_for() {
    let runs = at_every_operation(0..5, |seed, at| crash_and_recover(seed, at, &history::options()));
    println!("{runs} first crashes, two more after each");
}

/// Without flushes, who read something that is gone is told so in every later life, and nobody else is.
#[test]
fn a_crash_at_any_operation_moves_the_epoch_on_where_nothing_is_flushed() {
    let runs = at_every_operation(200..202, |seed, at| crash_and_recover(seed, at, &unflushed()));
    println!("{runs} first crashes, two more after each");
}

fn unflushed() -> Options {
    Options { durable_by: DurableBy::Os, ..history::options() }
}

/// Every operation of one long life as a crash, each recovered from on a disk of its own; one of eight crashes again
/// while it recovers. Returns the number of crashes.
fn crash_everywhere(seed: u64, options: &Options, segments: Segments, mut history: History) -> Crashes {
    let mut random = Random::new(seed);
    let disk = CrashDisk::new(seed);
    let open = |disk: &CrashDisk| history::open_with(disk, options.clone());
    let store = open(&disk).unwrap_or_else(|error| panic!("{error}"));
    let mut choices = Random::new(!seed);
    let mut crashes = Crashes::default();
    history.run_forking(&disk, &store, &mut random, LIFE, segments, |fork, mut history| {
        crashes.count += 1;
        fork.restart(if choices.below(4) == 0 { Ending::Kill } else { Ending::PowerCut });
        if choices.below(8) == 0 {
            crashes.count += 1;
            fork.plan(Some(Fault::Crash(choices.below(20))));
            drop(open(&fork).map(|store| while store.step() {}));
            fork.restart(Ending::PowerCut);
        }
        let store = open(&fork).unwrap_or_else(|error| panic!("{error}"));
        history.check(&store);
        crashes.lost += history.lost();
    });
    crashes
}

/// What [`crash_everywhere`] did.
#[derive(Default)]
struct Crashes {
    count: u64,
    /// Readers that lost something.
    lost: u64,
}

/// Things done in one life of [`crash_everywhere`].
const LIFE: usize = 1_500;

#[test]
fn a_crash_at_every_operation_loses_nothing_that_was_waited_for() {
    let mut crashes = 0;
    for seed in seeds(0..CRASH_SEEDS) {
        // Of every third life some segments fail now and then.
        let segments = if seed % 3 == 2 { Segments::Fail } else { Segments::Work };
        let options = history::options();
        let run = || crash_everywhere(seed, &options, segments, History::of(&options));
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(more) => crashes += more.count,
            Err(panic) => {
                eprintln!("KEYWAY_CRASH_SEEDS={seed}..{} repeats it", seed + 1);
                resume_unwind(panic);
            }
        }
    }
    println!("{crashes} crash points");
    if std::env::var_os("KEYWAY_CRASH_SEEDS").is_none() {
        assert!(crashes >= 50_000, "only {crashes} crash points");
    }
}

/// The same without flushes must lose something, or nothing is proven above.
#[test]
fn the_crash_model_notices_missing_flushes() {
    let lost = (0..5).any(|seed| {
        let promised = History::of(&history::options());
        let run = || crash_everywhere(seed, &unflushed(), Segments::Work, promised);
        let panic = catch_unwind(AssertUnwindSafe(run)).err();
        panic.is_some_and(|panic| {
            panic.downcast_ref::<String>().is_some_and(|it| it.contains("the store has"))
        })
    });
    assert!(lost);
}

/// The same for what is promised without flushes: a prefix, and an epoch that tells who lost something.
#[test]
fn a_crash_at_every_operation_tells_readers_what_they_lost() {
    let mut lost = 0;
    for seed in seeds(300..301) {
        let run = || crash_everywhere(seed, &unflushed(), Segments::Work, History::of(&unflushed()));
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(crashes) => lost += crashes.lost,
            Err(panic) => {
                eprintln!("KEYWAY_CRASH_SEEDS={seed}..{} repeats it", seed + 1);
                resume_unwind(panic);
            }
        }
    }
    println!("{lost} readers lost something");
    assert!(lost > 0, "a disk that may lose what was not flushed does");
}

/// Enough for 50,000 crashes.
const CRASH_SEEDS: u64 = 21;

/// One operation fails. If it was a write or flush of the write-ahead log, the store stops and says so.
fn fail_and_recover(seed: u64, at: u64) -> bool {
    let mut random = Random::new(seed);
    let disk = CrashDisk::new(seed ^ at << 32);
    let mut history = History::default();
    disk.plan(None);
    let store = history::open(&disk).unwrap();
    disk.plan(Some(Fault::Error(at)));
    history.run(&store, &mut random, EFFECTS);
    let hit = disk.hit();
    if let Some(hit) = &hit {
        let in_wal = hit.path.starts_with("/data/wal") && hit.path.extension().is_some_and(|it| it == "wal");
        let failed = store.failed().as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if in_wal && matches!(hit.operation, "write" | "sync") {
            // A mark may be missing, so it is no reason to stop on a full disk.
            assert!(failed || hit.is_full, "{hit:?} went unnoticed");
        }
        if failed {
            for target in store.list() {
                let log = store.open(&target).unwrap();
                assert!(matches!(log.append(&batch(1, 10, 5)), Err(AppendError::Closed)));
                block_on(log.wait_past(Offset(i64::MAX), Isolation::ReadUncommitted));
            }
            block_on(store.room());
            assert!(store.close().is_err());
        }
    }
    drop(store);
    disk.restart(Ending::PowerCut);
    history.check(&history::open(&disk).unwrap_or_else(|error| panic!("{error}")));
    hit.is_some()
}

#[test]
fn an_error_at_any_operation_loses_nothing_that_was_waited_for() {
    let runs = at_every_operation(100..115, fail_and_recover);
    println!("{runs} failing operations");
}

/// A store with some commits in its write-ahead log and no checkpoint behind them. Block 0 creates, each later one appends.
fn store_with_commits(disk: &CrashDisk, commits: usize) -> PathBuf {
    let store = history::open(disk).unwrap();
    let log = store.create(&partition("a")).unwrap();
    let ticket = log.trim(Offset(0)).unwrap();
    commit(&store, ticket);
    for _ in 0..commits {
        let ticket = append(&store, log.as_ref(), &batch(1, 100, 5)).ticket;
        commit(&store, ticket);
    }
    folder().join("wal/000.wal")
}

/// Commits, and does nothing else: no mark, no checkpoint.
fn commit(store: &SegmentStore, ticket: Ticket) {
    let mut wait = store.wait(ticket, Durability::Durable);
    while wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        assert!(store.step());
    }
}

fn batches_in(disk: &CrashDisk) -> usize {
    let store = history::open(disk).unwrap_or_else(|error| panic!("{error}"));
    let log = store.open(&partition("a")).unwrap();
    read_all(log.as_ref(), Offset(0)).len()
}

const BLOCK: usize = 4096;

#[test]
fn a_torn_end_is_the_end() {
    for sector in 0..8 {
        let disk = CrashDisk::new(1);
        let wal = store_with_commits(&disk, 2);
        // The last block's header and entries are in its first sector.
        disk.change(&wal, |bytes| bytes[2 * BLOCK + sector * 512..3 * BLOCK].fill(0));
        let store = history::open(&disk).unwrap();
        let log = store.open(&partition("a")).unwrap();
        assert_eq!(read_all(log.as_ref(), Offset(0)).len(), if sector == 0 { 1 } else { 2 });
        let appended = append(&store, log.as_ref(), &batch(1, 100, 5));
        while store.step() {}
        drop((log, store));
        let store = history::open(&disk).unwrap();
        let end = store.open(&partition("a")).unwrap().bounds().end;
        assert_eq!(end, appended.last_offset.next(), "what was written over the torn end counts");
    }
}

#[test]
fn a_block_torn_anywhere_before_the_last_flushed_one_is_refused() {
    let disk = CrashDisk::new(1);
    let wal = store_with_commits(&disk, 3);
    for block in 0..3 {
        disk.change(&wal, |bytes| bytes[block * BLOCK..][..512].fill(0));
        let error = history::open(&disk).err().expect("damaged");
        assert!(matches!(error, OpenError::Corrupt { position, .. } if position == (block * BLOCK) as u64));
        return_to(&disk, &wal, 3);
    }
}

/// Puts back the log as `store_with_commits` makes it.
fn return_to(disk: &CrashDisk, wal: &Path, commits: usize) {
    let other = CrashDisk::new(1);
    store_with_commits(&other, commits);
    let contents = other.contents().into_iter().find(|(path, _)| path == wal).expect("the log").1;
    disk.change(wal, |bytes| *bytes = contents);
}

#[test]
fn every_flipped_bit_of_a_flushed_block_is_refused_and_left_alone() {
    let disk = CrashDisk::new(1);
    let wal = store_with_commits(&disk, 3);
    // An idle log says that its last block was flushed, so the last one is no exception.
    let store = history::open(&disk).unwrap();
    while store.step() {}
    drop(store);
    let mut refused = 0;
    for block in 0..4 {
        let contents = disk.contents();
        let bytes = &contents.iter().find(|(path, _)| *path == wal).unwrap().1;
        let payload_len = u32::from_be_bytes(bytes[block * BLOCK + 56..][..4].try_into().unwrap());
        for bit in 0..(64 + payload_len as usize) * 8 {
            let flip = |bytes: &mut Vec<u8>| bytes[block * BLOCK + bit / 8] ^= 1 << (bit % 8);
            disk.change(&wal, flip);
            let before = disk.contents();
            match history::open(&disk).map(|_| ()) {
                Err(OpenError::Corrupt { path, position, .. }) => {
                    assert_eq!((path, position), (wal.clone(), (block * BLOCK) as u64), "bit {bit}");
                }
                other => panic!("block {block}, bit {bit}: {other:?}"),
            }
            assert!(disk.contents() == before, "nothing was changed");
            disk.change(&wal, flip);
            refused += 1;
        }
    }
    assert!(refused > 4 * 64 * 8, "{refused}");
    assert_eq!(batches_in(&disk), 3);
}

#[test]
fn damage_across_files_is_refused() {
    let disk = CrashDisk::new(1);
    // Four blocks fill a file of 16 KiB. All that tells of the fourth is in the second file, whose first block is bad too.
    let wal = store_with_commits(&disk, 7);
    let next = folder().join("wal/001.wal");
    disk.change(&wal, |bytes| bytes[3 * BLOCK + 100] ^= 1);
    disk.change(&next, |bytes| bytes[100] ^= 1);
    match history::open(&disk).map(|_| ()) {
        Err(OpenError::Corrupt { path, position, .. }) => {
            assert_eq!((path, position), (wal, 3 * BLOCK as u64))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_log_can_be_cut_and_keeps_what_follows_beside() {
    let disk = CrashDisk::new(1);
    let wal = store_with_commits(&disk, 7);
    disk.change(&wal, |bytes| bytes[2 * BLOCK + 100] ^= 1);
    let damaged = disk.contents();
    let cut = Options { on_damage: OnDamage::Cut, ..history::options() };
    drop(history::open_with(&disk, cut).unwrap());
    let after = disk.contents();
    let content = |contents: &[(PathBuf, Vec<u8>)], name: &str| {
        contents.iter().find(|(path, _)| path.ends_with(name)).map(|(_, bytes)| bytes.clone())
    };
    for name in ["000.wal", "001.wal"] {
        assert_eq!(content(&after, &format!("{name}.1.corrupt")), content(&damaged, name), "{name}");
    }
    assert_eq!(batches_in(&disk), 1, "from then on it is a log like any other");
    let store = history::open(&disk).unwrap();
    append(&store, store.open(&partition("a")).unwrap().as_ref(), &batch(1, 100, 5));
    while store.step() {}
    drop(store);
    assert_eq!(batches_in(&disk), 2);
}

/// Without flushes a power cut takes the newest records, a kill nothing, and what is left has no holes.
#[test]
fn durable_by_os_loses_the_end_in_a_power_cut_and_nothing_else() {
    const APPENDS: usize = 40;
    let options = Options { durable_by: DurableBy::Os, ..history::options() };
    let mut losses = 0;
    for seed in 0..60 {
        for ending in [Ending::Kill, Ending::PowerCut] {
            let disk = CrashDisk::new(seed);
            let store = history::open_with(&disk, options.clone()).unwrap();
            let log = store.create(&partition("a")).unwrap();
            for _ in 0..APPENDS {
                let ticket = append(&store, log.as_ref(), &batch(1, 300, 5)).ticket;
                commit(&store, ticket);
                assert_eq!(log.bounds().high_watermark, log.bounds().end);
                while store.step() {}
            }
            drop((log, store));
            disk.restart(ending);
            let store = history::open_with(&disk, options.clone()).unwrap_or_else(|error| panic!("{error}"));
            let found = match store.open(&partition("a")) {
                Ok(log) => {
                    let found = read_all(log.as_ref(), Offset(0));
                    let dense =
                        |(index, batch): (usize, &RecordBatch)| batch.base_offset() == Offset(index as i64);
                    assert!(found.iter().enumerate().all(dense));
                    assert_eq!(found.len() as i64, log.bounds().end.0);
                    found.len()
                }
                Err(_) => 0,
            };
            match ending {
                Ending::Kill => assert_eq!(found, APPENDS),
                Ending::PowerCut => losses += APPENDS - found,
            }
        }
    }
    assert!(losses > 60, "{losses}: the disk here must be able to lose what was not flushed");
}

#[test]
fn a_damaged_manifest_is_replaced_by_the_other_one_or_refused() {
    let disk = CrashDisk::new(1);
    store_with_commits(&disk, 2);
    let store = history::open(&disk).unwrap();
    store.close().unwrap();
    drop(store);
    let newest = folder().join("manifest.0");
    disk.change(&newest, |bytes| bytes[45] ^= 1);
    let store = history::open(&disk).unwrap();
    let log = store.open(&partition("a")).unwrap();
    assert_eq!(
        read_all(log.as_ref(), Offset(0)).len(),
        2,
        "the older manifest and the write-ahead log know it all"
    );
    drop((log, store));
    disk.change(&folder().join("manifest.1"), |bytes| bytes[45] ^= 1);
    assert!(matches!(history::open(&disk).map(|_| ()), Err(OpenError::NoManifest { .. })));
}

#[test]
fn damaged_segments_are_not_served_and_left_alone() {
    let disk = CrashDisk::new(1);
    let store = history::open(&disk).unwrap();
    let log = store.create(&partition("a")).unwrap();
    let mut ticket = Default::default();
    for _ in 0..20 {
        // Two segments' worth; more would need room.
        ticket = append(&store, log.as_ref(), &batch(1, 200, 5)).ticket;
        while store.step() {}
    }
    block_on(store.wait(ticket, Durability::Durable)).unwrap();
    store.close().unwrap();
    drop((log, store));
    let segment =
        disk.paths().into_iter().find(|path| path.ends_with("a-0.0/00000000000000000000.log")).unwrap();
    let batch_len = batch(1, 200, 5).bytes().len();
    for bit in 0..batch_len * 8 {
        // The leader epoch has no checksum in this format.
        if (12 * 8..16 * 8).contains(&bit) {
            continue;
        }
        let flip = |bytes: &mut Vec<u8>| bytes[3 * batch_len + bit / 8] ^= 1 << (bit % 8);
        disk.change(&segment, flip);
        let store = history::open(&disk).unwrap();
        let log = store.open(&partition("a")).unwrap();
        let before = log.read(Offset(0), ReadLimit::bytes(100_000));
        if let Ok(before) = before {
            assert_eq!((before.next, before.batches().count()), (Offset(3), 3), "bit {bit}");
        }
        match log.read(Offset(3), ReadLimit::bytes(100_000)) {
            Err(ReadError::Corrupt { offset, .. }) => assert_eq!(offset, Offset(3), "bit {bit}"),
            other => panic!("bit {bit}: {other:?}"),
        }
        disk.change(&segment, flip);
    }
}
