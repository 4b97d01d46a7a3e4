//! Flipped bits in segments and what lies beside them: nothing wrong is served, and everything around the damage is.

mod crash;

use bytes::Bytes;
use crash::{
    disk::CrashDisk,
    history::{self, folder},
};
use keyway_log::{
    Compaction, DamagedRange, LogConfig, LogStore, PartitionLog, ReadError, ReadLimit,
    contract::{append, batch, partition, read_all},
};
use keyway_record::{LeaderEpoch, Offset, Record, RecordBatch, Timestamp, batch::BatchBuilder};
use keyway_segment_log::{OpenError, SegmentStore};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a reader that goes on behind damage gets, and the offsets that it cannot have.
fn read_around(
    store: &SegmentStore,
    log: &dyn PartitionLog,
    bytes_max: usize,
) -> (Vec<RecordBatch>, BTreeSet<i64>) {
    let (mut batches, mut missing) = (Vec::new(), BTreeSet::new());
    let mut next = log.bounds().start;
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 10_000, "a read moves on");
        match log.read(next, ReadLimit::bytes(bytes_max)) {
            Ok(slice) if slice.is_empty() => return (batches, missing),
            Ok(slice) => {
                assert!(slice.next > next);
                batches.extend(slice.batches());
                next = slice.next;
            }
            Err(ReadError::Corrupt { offset, .. }) => {
                assert!(offset >= next);
                let damages = store.damages();
                let holds = |damage: &&DamagedRange| damage.from <= offset && offset < damage.next;
                let damage =
                    damages.iter().find(holds).unwrap_or_else(|| panic!("{next} not in {damages:?}"));
                missing.extend(offset.0..damage.next.0);
                next = damage.next;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn opened(disk: &CrashDisk) -> (SegmentStore, Arc<dyn PartitionLog>) {
    let store = history::open(disk).unwrap_or_else(|error| panic!("{error}"));
    let log = store.open(&partition("a")).unwrap();
    (store, log)
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: Some(700), ..LogConfig::default() }
}

/// A log of `count` batches, all of them in segments and none in memory once it is opened again.
fn written(disk: &CrashDisk, batches: impl IntoIterator<Item = RecordBatch>) -> Vec<RecordBatch> {
    let store = history::open(disk).unwrap();
    let log = store.create(&partition("a")).unwrap();
    log.configure(config());
    for batch in batches {
        append(&store, log.as_ref(), &batch);
        while store.step() {}
    }
    let all = read_all(log.as_ref(), Offset(0));
    store.close().unwrap();
    all
}

fn files(disk: &CrashDisk, extension: &str) -> Vec<(PathBuf, usize)> {
    let segments = folder().join("segments");
    let files = disk.contents().into_iter().filter(|(path, _)| {
        path.starts_with(&segments) && path.extension().is_some_and(|found| found == extension)
    });
    files.map(|(path, bytes)| (path, bytes.len())).collect()
}

fn flip(disk: &CrashDisk, path: &Path, bit: usize) {
    disk.change(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
}

/// Which of the batches, one after the other from `first` on, has a byte.
fn batch_at(all: &[RecordBatch], first: usize, byte: usize) -> usize {
    let mut end = 0;
    for (index, batch) in all.iter().enumerate().skip(first) {
        end += batch.bytes().len();
        if byte < end {
            return index;
        }
    }
    panic!("no batch has byte {byte}");
}

#[test]
fn every_flipped_bit_of_a_segment_takes_one_batch_and_no_other() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..13).map(|time| batch(1 + time % 3, 30, time as i64)));
    let segments = files(&disk, "log");
    assert_eq!(segments.len(), 3);
    let mut first = 0;
    let mut bits = 0;
    for (path, len) in &segments {
        for bit in 0..len * 8 {
            let hit = batch_at(&all, first, bit / 8);
            flip(&disk, path, bit);
            let (store, log) = opened(&disk);
            let (read, missing) = read_around(&store, log.as_ref(), 300 + bit % 900);
            let good = all.iter().enumerate().filter(|(index, _)| *index != hit).map(|(_, batch)| batch);
            assert!(read.iter().eq(good), "{path:?} bit {bit}: batch {hit}");
            let lost = &all[hit];
            assert_eq!(missing, (lost.base_offset().0..lost.next_offset().0).collect(), "bit {bit}");
            assert_eq!(store.figures().damaged_segments, 1);
            // From wherever somebody begins, the batch at hand is the first one that is not lost.
            for from in (0..all.len()).filter(|from| *from != hit) {
                let slice = log.read(all[from].base_offset(), ReadLimit::bytes(1)).unwrap();
                assert_eq!(slice.batches().next().as_ref(), Some(&all[from]), "bit {bit}");
            }
            drop((log, store));
            flip(&disk, path, bit);
            bits += 1;
        }
        first = batch_at(&all, first, len - 1) + 1;
    }
    assert!(bits > 10_000, "{bits}");
}

fn keyed(key: usize, value: usize) -> RecordBatch {
    let mut builder = BatchBuilder::new(Timestamp(5));
    let value = Some(Bytes::from(format!("{value}-{}", "v".repeat(10))));
    let key = Some(Bytes::from(format!("k{key}")));
    builder.push(Timestamp(5), Record { key, value, ..Record::default() });
    builder.build()
}

/// Of what was compacted, offsets do not tell where a batch belongs: the index does.
#[test]
fn every_flipped_bit_of_a_compacted_segment_takes_one_batch_and_no_other() {
    let disk = CrashDisk::new(1);
    written(&disk, (0..30).map(|index| keyed(index * 7 % 9 + index / 20 * 20, index)));
    let compaction = Compaction { dirty_ratio_min: 0.0, ..Compaction::default() };
    let (store, log) = opened(&disk);
    log.configure(LogConfig { compaction: Some(compaction), ..config() });
    assert_eq!(store.clean(Timestamp(1_000)).unwrap().compacted_partitions, 1);
    let all = read_all(log.as_ref(), Offset(0));
    store.close().unwrap();
    drop((log, store));
    let (path, len) = files(&disk, "log")
        .into_iter()
        .find(|(path, _)| path.to_str().unwrap().matches('.').count() > 2)
        .unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let base: i64 = name.split('.').next().unwrap().parse().unwrap();
    let first = all.iter().position(|batch| batch.base_offset().0 >= base).unwrap();
    let mut widened = 0;
    for bit in 0..len * 8 {
        let hit = batch_at(&all, first, bit / 8);
        flip(&disk, &path, bit);
        let (store, log) = opened(&disk);
        let (read, missing) = read_around(&store, log.as_ref(), 300 + bit % 900);
        assert!(read.iter().all(|batch| all.contains(batch)), "bit {bit}: wrong bytes");
        assert!(missing.contains(&all[hit].base_offset().0), "bit {bit}: {missing:?}");
        widened += all.len() - 1 - read.len();
        drop((log, store));
        flip(&disk, &path, bit);
    }
    assert_eq!(widened, 0, "batches beside the damage");
}

#[test]
fn every_flipped_bit_of_an_index_is_noticed_and_mended() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..13).map(|time| batch(1 + time % 3, 30, time as i64)));
    let indexes = files(&disk, "idx");
    assert_eq!(indexes.len(), 2);
    for (path, len) in indexes {
        let before = disk.contents();
        for bit in 0..len * 8 {
            flip(&disk, &path, bit);
            let (store, log) = opened(&disk);
            assert!(read_all(log.as_ref(), Offset(0)) == all, "bit {bit}");
            assert_eq!(store.figures().damaged_segments, 0);
            while store.step() {}
            store.close().unwrap();
            let after = disk.contents();
            let index =
                |contents: &[(PathBuf, Vec<u8>)]| contents.iter().find(|(found, _)| *found == path).cloned();
            assert!(index(&before) == index(&after), "bit {bit}: the index is written again");
        }
    }
}

#[test]
fn a_missing_index_is_written_again() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..13).map(|time| batch(1, 100, time)));
    let indexes = files(&disk, "idx");
    assert!(!indexes.is_empty());
    let before = disk.contents();
    for (path, _) in &indexes {
        keyway_runtime::Disk::remove(&disk, path).unwrap();
    }
    let (store, log) = opened(&disk);
    assert!(read_all(log.as_ref(), Offset(0)) == all);
    while store.step() {}
    assert_eq!(files(&disk, "idx"), indexes);
    store.close().unwrap();
    disk.restart(crash::disk::Ending::PowerCut);
    let after = disk.contents();
    for (path, _) in &indexes {
        let content =
            |contents: &[(PathBuf, Vec<u8>)]| contents.iter().find(|(found, _)| found == path).cloned();
        assert!(content(&before) == content(&after), "{path:?}");
    }
}

/// Whole batches inside a record's value are not what follows it.
#[test]
fn a_batch_in_a_record_is_not_taken_for_one() {
    let inner: Vec<u8> = (1..4)
        .flat_map(|base| batch(1, 10, 5).placed(Offset(base), LeaderEpoch(0)).bytes().to_vec())
        .collect();
    let mut outer = BatchBuilder::new(Timestamp(5));
    outer.push(Timestamp(5), Record { value: Some(Bytes::from(inner)), ..Record::default() });
    let disk = CrashDisk::new(1);
    let all = written(&disk, [outer.build()].into_iter().chain((0..4).map(|time| batch(1, 10, time))));
    let (path, _) = files(&disk, "log").remove(0);
    // Each bit of its length.
    for bit in 8 * 8..12 * 8 {
        flip(&disk, &path, bit);
        let (store, log) = opened(&disk);
        let (read, missing) = read_around(&store, log.as_ref(), 1_000);
        assert!(read == all[1..] && missing == BTreeSet::from([0]), "bit {bit}: {missing:?}");
        drop((log, store));
        flip(&disk, &path, bit);
    }
}

/// Zeroed pages, a file cut short, several places at once: what is whole is served.
#[test]
fn larger_damage_takes_what_it_covers() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..20).map(|time| batch(1, 30, time)));
    let len = all[0].bytes().len();
    let (path, _) = files(&disk, "log").remove(0);
    let before = disk.contents().into_iter().find(|(found, _)| *found == path).unwrap().1;
    let in_first = before.len() / len;
    type Damage = (&'static str, Box<dyn Fn(&mut Vec<u8>)>, Vec<usize>);
    let damages: [Damage; 4] = [
        ("zeros over two", Box::new(move |bytes| bytes[len + 20..2 * len + 20].fill(0)), vec![1, 2]),
        (
            "two apart",
            Box::new(move |bytes| {
                bytes[len + 70] ^= 1;
                bytes[3 * len + 70] ^= 1;
            }),
            vec![1, 3],
        ),
        ("cut short", Box::new(move |bytes| bytes.truncate(4 * len + 5)), (4..in_first).collect()),
        ("gone", Box::new(|bytes| bytes.clear()), (0..in_first).collect()),
    ];
    for (name, damage, lost) in damages {
        disk.change(&path, |bytes| damage(bytes));
        let (store, log) = opened(&disk);
        let (read, missing) = read_around(&store, log.as_ref(), 1_000);
        assert_eq!(missing, lost.iter().map(|index| *index as i64).collect(), "{name}");
        assert_eq!(read.len(), all.len() - lost.len(), "{name}");
        drop((log, store));
        disk.change(&path, |bytes| *bytes = before.clone());
    }
}

/// What was found is known to the next process, which gives the records up but not the file.
#[test]
fn a_damaged_segment_is_kept_when_its_records_are_given_up() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..20).map(|time| batch(1, 30, time)));
    let (path, _) = files(&disk, "log").remove(0);
    flip(&disk, &path, 70 * 8);
    let damaged = disk.contents().into_iter().find(|(found, _)| *found == path).unwrap().1;
    let (store, log) = opened(&disk);
    assert_eq!(store.damages(), [], "nobody has read it");
    read_around(&store, log.as_ref(), 1_000);
    let range = DamagedRange {
        partition: partition("a"),
        file: path.clone(),
        position: 0,
        from: Offset(0),
        next: Offset(1),
    };
    assert_eq!(store.damages(), std::slice::from_ref(&range));
    while store.step() {}
    drop((log, store));

    let (store, log) = opened(&disk);
    assert_eq!(store.damages(), [range], "the manifest has it");
    log.configure(LogConfig { retention_bytes: Some(0), ..config() });
    assert_eq!(store.clean(Timestamp(1_000)).unwrap().trimmed_partitions, 1);
    while store.step() {}
    store.checkpoint().unwrap();
    assert!(log.bounds().start > Offset(0));
    assert_eq!((store.damages(), store.figures().damaged_segments), (Vec::new(), 0));
    let kept = PathBuf::from(format!("{}.corrupt", path.display()));
    let contents = disk.contents();
    assert!(contents.iter().all(|(found, _)| *found != path), "the name is free");
    assert_eq!(contents.iter().find(|(found, _)| *found == kept).map(|(_, bytes)| bytes), Some(&damaged));
    let logs = files(&disk, "log").len();
    assert!(logs < 3, "{logs}: other segments went");
    assert_eq!(read_all(log.as_ref(), log.bounds().start).last(), all.last());
    store.close().unwrap();
    drop((log, store));
    disk.restart(crash::disk::Ending::PowerCut);
    drop(opened(&disk));
    assert!(disk.paths().contains(&kept));
}

/// The newest segment is a file that is kept as well: what comes goes to another one.
#[test]
fn nothing_is_added_to_a_damaged_segment() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..2).map(|time| batch(1, 30, time)));
    let (path, len) = files(&disk, "log").remove(0);
    flip(&disk, &path, 70 * 8);
    let (store, log) = opened(&disk);
    read_around(&store, log.as_ref(), 1_000);
    append(&store, log.as_ref(), &batch(1, 30, 9));
    while store.step() {}
    store.close().unwrap();
    assert_eq!(files(&disk, "log").into_iter().map(|(_, len)| len).collect::<Vec<_>>(), [len, len / 2]);
    drop((log, store));
    let (store, log) = opened(&disk);
    let (read, missing) = read_around(&store, log.as_ref(), 1_000);
    assert_eq!((read.len(), missing), (2, BTreeSet::from([0])));
    assert_eq!(read[0], all[1]);
}

/// Somebody put back the file from a backup.
#[test]
fn a_restored_segment_is_served_again() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..20).map(|time| batch(1, 30, time)));
    let (path, _) = files(&disk, "log").remove(0);
    flip(&disk, &path, 70 * 8);
    let (store, log) = opened(&disk);
    read_around(&store, log.as_ref(), 1_000);
    store.close().unwrap();
    drop((log, store));
    flip(&disk, &path, 70 * 8);
    let (store, log) = opened(&disk);
    assert_eq!(store.figures().damaged_segments, 1);
    assert!(read_all(log.as_ref(), Offset(0)) == all);
    assert_eq!(store.figures().damaged_segments, 0);
}

/// Damage in one segment keeps no other from being compacted, and of the damaged one nothing goes.
#[test]
fn other_segments_are_compacted() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..40).map(|index| keyed(index % 4, index)));
    let (path, _) = files(&disk, "log").remove(1);
    flip(&disk, &path, 70 * 8);
    let damaged = disk.contents().into_iter().find(|(found, _)| *found == path).unwrap().1;
    let compaction = Compaction { dirty_ratio_min: 0.0, ..Compaction::default() };
    let (store, log) = opened(&disk);
    log.configure(LogConfig { compaction: Some(compaction), ..config() });
    let cleaned = [store.clean(Timestamp(1_000)).unwrap(), store.clean(Timestamp(1_000)).unwrap()];
    assert_eq!(cleaned.map(|pass| pass.compacted_partitions), [0, 1], "the first pass finds it");
    store.checkpoint().unwrap();
    let (read, missing) = read_around(&store, log.as_ref(), 1_000);
    assert_eq!(missing.len(), 1);
    assert!(read.len() < all.len() / 2, "{}", read.len());
    assert!(read.iter().all(|batch| all.contains(batch)));
    for last in &all[36..] {
        assert!(read.contains(last), "the newest of each key is there");
    }
    assert_eq!(disk.contents().into_iter().find(|(found, _)| *found == path).unwrap().1, damaged);
}

/// With either manifest damaged the store has all records, or refuses to open and leaves everything as it is.
#[test]
fn every_flipped_bit_of_a_manifest_is_noticed() {
    let disk = CrashDisk::new(1);
    let all = written(&disk, (0..6).map(|time| batch(1, 30, time)));
    let (mut opened_count, mut refused) = (0, 0);
    for name in ["manifest.0", "manifest.1"] {
        let path = folder().join(name);
        let len = disk.contents().into_iter().find(|(found, _)| *found == path).unwrap().1.len();
        for bit in 0..len * 8 {
            let disk = disk.fork();
            flip(&disk, &path, bit);
            let before = disk.contents();
            match history::open(&disk) {
                Ok(store) => {
                    let log = store.open(&partition("a")).unwrap();
                    assert!(read_all(log.as_ref(), Offset(0)) == all, "{name} bit {bit}");
                    opened_count += 1;
                }
                Err(OpenError::NoManifest { .. } | OpenError::Corrupt { .. }) => {
                    assert!(disk.contents() == before, "{name} bit {bit}: nothing was changed");
                    refused += 1;
                }
                Err(error) => panic!("{name} bit {bit}: {error}"),
            }
        }
    }
    assert!(opened_count > 1_000, "{opened_count} opened, {refused} refused");
}
