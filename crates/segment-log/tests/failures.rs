//! Disks that fail or fill up: what stops, what goes on, and what is still there afterwards.

mod crash;

use crash::{
    disk::{CrashDisk, Ending},
    history::{self, folder},
};
use keyway_log::{
    AppendError, LogStore,
    contract::{EPOCH, append, batch, partition, read_all},
};
use keyway_record::Offset;

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
        match broken.append(&batch(1, 1_000, 5), EPOCH) {
            Ok(_) => acknowledged += 1,
            Err(AppendError::Offline { reason }) => break reason,
            Err(error) => panic!("{error}"),
        }
        assert!(acknowledged < 20, "the segment is not written");
    };
    assert_eq!(reason, "input/output error");
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
    store.checkpoint().expect_err("nothing can be written");
    assert!(matches!(log.append(&batch(1, 10, 5), EPOCH), Err(AppendError::Offline { .. })));
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
    // A sixteenth is kept: 1 MiB.
    disk.set_free(1 << 20);
    store.step();
    assert!(store.figures().is_space_low);
    assert_eq!(data.append(&batch(1, 1_000, 5), EPOCH), Err(AppendError::NoSpace));
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
    let taken = (0..100).take_while(|_| log.append(&batch(1, 100, 5), EPOCH).is_ok()).count();
    assert_eq!(taken, 9, "each may take a page of the write-ahead log and twice its bytes");
    assert_eq!(log.append(&batch(1, 100, 5), EPOCH), Err(AppendError::NoSpace));
}
