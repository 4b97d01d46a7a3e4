//! What is special to this engine: shared flushes, files, bounds, and what opening refuses.

use keyway_log::{
    Durability, LogStore, ReadLimit,
    contract::{EPOCH, append, batch, block_on, durable, partition, read_all},
};
use keyway_record::{Offset, PartitionId, TopicPartition};
use keyway_runtime::World;
use keyway_segment_log::{DurableBy, OpenError, Options, SegmentStore};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

struct Home {
    folder: TempDir,
    options: Options,
}

impl Home {
    fn new(options: Options) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), options }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn try_open(&self) -> Result<SegmentStore, OpenError> {
        SegmentStore::open(&World::real(), self.data(), self.options.clone())
    }

    fn open(&self) -> SegmentStore {
        self.try_open().unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(&self) -> OpenError {
        self.try_open().err().expect("the folder cannot be opened")
    }

    /// Waits until the writer has removed a segment or a partition's folder.
    fn wait_until_gone(&self, path: &str) {
        let begun = Instant::now();
        while self.data().join("segments").join(path).exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{path} is still there");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Segment files, relative to the data folder, sorted.
    fn segments(&self) -> Vec<String> {
        let folders = fs::read_dir(self.data().join("segments")).unwrap().map(|entry| entry.unwrap().path());
        let files =
            folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        let inside =
            |path: PathBuf| path.strip_prefix(self.data().join("segments")).unwrap().display().to_string();
        let mut files: Vec<_> = files.map(inside).filter(|name| name.ends_with(".log")).collect();
        files.sort();
        files
    }
}

fn numbered(index: i32) -> TopicPartition {
    TopicPartition { partition: PartitionId(index), ..partition("orders") }
}

fn small_segments() -> Options {
    Options { segment_bytes: 10_000, ..Options::default() }
}

/// 32 threads, each with a partition of its own and waiting for each of its 50 appends, need far fewer flushes than
/// appends: whoever comes while a flush is under way shares the next one.
#[test]
fn waiters_of_many_partitions_share_flushes() {
    const THREADS: i32 = 32;
    const APPENDS: u64 = 50;
    let home = Home::new(Options::default());
    let store = Arc::new(home.open());
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    thread::scope(|scope| {
        for index in 0..THREADS {
            let log = store.create(&numbered(index)).unwrap();
            let (store, barrier) = (store.clone(), barrier.clone());
            scope.spawn(move || {
                for _ in 0..APPENDS {
                    barrier.wait();
                    let ticket = log.append(&batch(1, 100, 5)).unwrap().ticket;
                    block_on(store.wait(ticket, Durability::Durable)).unwrap();
                    assert_eq!(log.bounds().high_watermark, log.bounds().end);
                }
            });
        }
    });
    let stats = store.stats();
    let appends = APPENDS * THREADS as u64;
    assert!(stats.flushes >= APPENDS, "each round needs one");
    assert!(stats.flushes * 4 <= appends, "{} flushes for {appends} appends", stats.flushes);
    assert_eq!(stats.staged_bytes, 0);
}

#[test]
fn segments_are_files_of_batches_verbatim() {
    let home = Home::new(small_segments());
    let store = home.open();
    let log = store.create(&numbered(3)).unwrap();
    for _ in 0..25 {
        append(&store, log.as_ref(), &batch(2, 400, 5));
    }
    assert_eq!(home.segments(), Vec::<String>::new(), "files come with the first write-behind");
    let expected = {
        durable(&store, log.trim(Offset(0)).unwrap());
        read_all(log.as_ref(), Offset(0))
    };
    store.close().unwrap();
    let names = ["00000000000000000000.log", "00000000000000000022.log", "00000000000000000044.log"];
    assert_eq!(home.segments(), names.map(|name| format!("orders-3.0/{name}")));
    let mut bytes = Vec::new();
    for name in home.segments() {
        bytes.extend(fs::read(home.data().join("segments").join(name)).unwrap());
    }
    let batches: Vec<u8> = expected.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    assert!(bytes == batches);
}

/// What says where records lie is as small with much data as with little: segments are closed for that, and what was read of
/// old ones is forgotten.
#[test]
fn indexes_stay_within_their_memory() {
    const LOGS: i32 = 8;
    const BATCHES: i64 = 500;
    let max = 32 << 10;
    let options = Options {
        index_bytes_max: max,
        arena_bytes_max: 4 << 20,
        durable_by: DurableBy::Os,
        ..Options::default()
    };
    let home = Home::new(options);
    let store = home.open();
    let logs: Vec<_> = (0..LOGS).map(|index| store.create(&numbered(index)).unwrap()).collect();
    let mut most = 0;
    // Each batch has an entry of its own.
    for _ in 0..BATCHES {
        for log in &logs {
            append(&store, log.as_ref(), &batch(1, 20_000, 5));
        }
        most = most.max(store.figures().index_bytes);
    }
    assert!(most >= max as u64 / 2, "{most} bytes are no index of so much");
    assert!(home.segments().len() > LOGS as usize, "{:?}", home.segments());
    for log in &logs {
        let mut from = Offset(0);
        for batch in read_all(log.as_ref(), Offset(0)) {
            assert_eq!(batch.base_offset(), from);
            from = batch.next_offset();
        }
        assert_eq!(from, Offset(BATCHES));
        most = most.max(store.figures().index_bytes);
    }
    // Each may be twice its share, as a vector grows, and there is the next segment. Unbounded it would be four times.
    assert!(most <= 3 * max as u64, "{most} bytes");
    store.close().unwrap();
}

#[test]
fn trims_and_deletions_give_space_back() {
    let home = Home::new(small_segments());
    let store = home.open();
    let (kept, gone) = (store.create(&numbered(0)).unwrap(), store.create(&numbered(1)).unwrap());
    for _ in 0..50 {
        append(&store, kept.as_ref(), &batch(1, 900, 5));
        append(&store, gone.as_ref(), &batch(1, 900, 5));
    }
    store.checkpoint().unwrap();
    assert_eq!(home.segments().len(), 10);
    kept.trim(Offset(25)).unwrap();
    store.delete(&numbered(1)).unwrap();
    store.checkpoint().unwrap();
    let names = ["00000000000000000020.log", "00000000000000000030.log", "00000000000000000040.log"];
    home.wait_until_gone("orders-1.1");
    home.wait_until_gone("orders-0.0/00000000000000000010.log");
    assert_eq!(home.segments(), names.map(|name| format!("orders-0.0/{name}")));
    assert_eq!(read_all(kept.as_ref(), Offset(25)).len(), 25);
    kept.trim(Offset(50)).unwrap();
    store.close().unwrap();
    drop((kept, gone, store));
    // What is left to be removed is left to the next process.
    let store = home.open();
    home.wait_until_gone("orders-0.0/00000000000000000040.log");
    assert_eq!(home.segments(), Vec::<String>::new());
    store.close().unwrap();
}

#[test]
fn memory_and_write_ahead_log_stay_bounded() {
    let options = Options {
        arena_bytes_max: 1 << 20,
        staging_bytes_max: 256 << 10,
        commit_bytes_max: 128 << 10,
        wal_file_bytes: 512 << 10,
        checkpoint_bytes: 1 << 20,
        wal_bytes_max: 4 << 20,
        ..Options::default()
    };
    let home = Home::new(options.clone());
    let store = home.open();
    let logs: Vec<_> = (0..4).map(|index| store.create(&numbered(index)).unwrap()).collect();
    let batch = batch(1, 50_000, 5);
    for index in 0..600 {
        append(&store, logs[index % 4].as_ref(), &batch);
        let stats = store.stats();
        let one_more = batch.bytes().len();
        assert!(stats.unwritten_bytes <= options.arena_bytes_max + one_more);
        assert!(stats.staged_bytes <= options.staging_bytes_max + one_more);
        assert!(stats.memory_bytes <= 2 * options.arena_bytes_max + one_more, "{stats:?}");
    }
    durable(&store, logs[0].trim(Offset(0)).unwrap());
    for log in &logs {
        assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 150);
    }
    store.close().unwrap();
    let wal_bytes: u64 = fs::read_dir(home.data().join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(wal_bytes <= options.wal_bytes_max + (2 << 20), "{wal_bytes} bytes of write-ahead log");
}

#[test]
fn a_batch_longer_than_everything_gets_in() {
    let options = Options {
        arena_bytes_max: 50_000,
        staging_bytes_max: 20_000,
        commit_bytes_max: 10_000,
        wal_file_bytes: 64 << 10,
        segment_bytes: 30_000,
        ..Options::default()
    };
    let home = Home::new(options);
    for life in 0..3 {
        let store = home.open();
        let log = store.open(&numbered(0)).or_else(|_| store.create(&numbered(0))).unwrap();
        for _ in 0..3 {
            let ticket = append(&store, log.as_ref(), &batch(1, 300_000, 5)).ticket;
            durable(&store, ticket);
        }
        assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 3 * (life + 1));
    }
}

#[test]
fn a_restart_reads_what_is_in_segments_only() {
    let home = Home::new(small_segments());
    let store = home.open();
    let log = store.create(&numbered(0)).unwrap();
    for time in 0..60 {
        append(&store, log.as_ref(), &batch(1, 500, time));
    }
    store.close().unwrap();
    drop((log, store));
    let store = home.open();
    assert_eq!((store.stats().memory_bytes, store.stats().wal_bytes), (0, 0), "nothing was replayed");
    let log = store.open(&numbered(0)).unwrap();
    for from in [59, 0, 31] {
        assert_eq!(read_all(log.as_ref(), Offset(from)).len(), 60 - from as usize);
        assert_eq!(log.find(keyway_record::Timestamp(from)).unwrap(), Some(Offset(from)));
    }
    let slice = log.read(Offset(0), ReadLimit::bytes(1 << 20)).unwrap();
    assert_eq!((slice.next, slice.batches().count()), (Offset(60), 60), "one read goes over segments");
}

#[test]
fn an_empty_folder_is_ready_at_once() {
    let best = (0..5).map(|_| {
        let home = Home::new(Options::default());
        let start = Instant::now();
        let store = home.open();
        let ready = start.elapsed();
        drop(store);
        ready
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn a_folder_in_use_names_its_holder() {
    let home = Home::new(Options::default());
    let store = home.open();
    let refusal = home.refusal();
    assert!(matches!(refusal, OpenError::Locked { holder: Some(pid), .. } if pid == std::process::id()));
    let line = refusal.to_string();
    assert!(line.contains(&format!("process {}", std::process::id())) && line.contains("stop"), "{line}");
    store.close().unwrap();
    home.open();
}

#[test]
fn what_cannot_be_opened_is_said_in_one_line() {
    let home = Home::new(Options::default());
    fs::write(home.data(), "a file").unwrap();
    let refusal = home.refusal();
    assert!(matches!(refusal, OpenError::Io { action: "create", .. }), "{refusal}");
    fs::remove_file(home.data()).unwrap();

    let fill = |home: &Home| {
        let store = home.open();
        let log = store.create(&numbered(0)).unwrap();
        durable(&store, append(&store, log.as_ref(), &batch(1, 100, 5)).ticket);
    };
    fill(&home);
    let other = Home::new(Options::default());
    fill(&other);
    let wal = |home: &Home| home.data().join("wal/000.wal");
    let own_wal = fs::read(wal(&home)).unwrap();
    fs::copy(wal(&other), wal(&home)).unwrap();
    assert!(matches!(home.refusal(), OpenError::Foreign { path } if path == wal(&home)));

    fs::write(wal(&home), own_wal).unwrap();
    remove(&home.data().join("manifest.0"));
    remove(&home.data().join("manifest.1"));
    assert!(matches!(home.refusal(), OpenError::NoManifest { .. }));
    for refusal in [home.refusal(), OpenError::Foreign { path: wal(&home) }] {
        assert!(!refusal.to_string().contains('\n'));
    }
}

fn remove(path: &Path) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

/// More dirty files than are flushed one by one.
#[test]
fn a_checkpoint_of_many_partitions_keeps_them_all() {
    const PARTITIONS: i32 = 100;
    let home = Home::new(Options::default());
    let store = home.open();
    for index in 0..PARTITIONS {
        let log = store.create(&numbered(index)).unwrap();
        append(&store, log.as_ref(), &batch(1, 100, i64::from(index)));
    }
    // The first may begin before the last appends are committed; the second covers them.
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    assert_eq!(store.stats().wal_bytes, 0, "nothing is left to read back");
    drop(store);
    let store = home.open();
    for index in 0..PARTITIONS {
        let log = store.open(&numbered(index)).unwrap();
        assert_eq!(
            read_all(log.as_ref(), Offset(0)),
            [batch(1, 100, i64::from(index)).placed(Offset(0), EPOCH)]
        );
    }
}
