//! Creating, deleting, closing.

use super::{Home, batch, batch_of, durable, fill, partition, read_all};
use crate::{AppendError, Bounds, PartitionLog, ReadError, ReadLimit, StoreError};
use keyway_record::{Offset, PartitionId, Timestamp};
use std::sync::Arc;

const ALL: ReadLimit = ReadLimit::bytes(1 << 20);

/// Create, list, open, delete; and what is refused.
pub fn partitions_come_and_go(home: &Home) {
    let store = home();
    assert_eq!(store.list(), []);
    let unknown = |result: Result<Arc<dyn PartitionLog>, StoreError>| matches!(result, Err(StoreError::Unknown { partition }) if partition == super::partition("a"));
    assert!(unknown(store.open(&partition("a"))));
    assert!(matches!(store.delete(&partition("a")), Err(StoreError::Unknown { .. })));
    let second = super::TopicPartition { partition: PartitionId(1), ..partition("a") };
    for created in [&partition("b"), &second, &partition("a")] {
        store.create(created).unwrap();
    }
    assert!(matches!(store.create(&second), Err(StoreError::Exists { partition }) if partition == second));
    assert_eq!(store.list(), [partition("a"), second.clone(), partition("b")]);
    fill(store.as_ref(), store.open(&second).unwrap().as_ref(), [1, 2]);
    assert_eq!(store.open(&second).unwrap().bounds().end, Offset(2), "the same log for every caller");
    assert_eq!(store.open(&partition("a")).unwrap().bounds(), Bounds::default());
    store.delete(&partition("a")).unwrap();
    assert!(unknown(store.open(&partition("a"))));
    assert_eq!(store.list(), [second, partition("b")]);
}

/// Those who still hold a deleted partition are told so.
pub fn a_deleted_partition_refuses_everything(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    fill(store.as_ref(), log.as_ref(), [1, 2]);
    store.delete(&partition("a")).unwrap();
    assert!(matches!(log.append(&batch(1, 10, 5)), Err(AppendError::Deleted)));
    assert!(matches!(log.trim(Offset(1)), Err(AppendError::Deleted)));
    assert!(matches!(log.read(Offset(0), ALL), Err(ReadError::Deleted)));
    assert!(matches!(log.find(Timestamp(0)), Err(ReadError::Deleted)));
}

/// A partition that is deleted and created again has nothing of its earlier life, not even its producers.
pub fn a_new_life_starts_empty(home: &Home) {
    let store = home();
    let first = store.create(&partition("a")).unwrap();
    first.append(&batch_of(7, 3, 5, 2)).unwrap();
    store.delete(&partition("a")).unwrap();
    let second = store.create(&partition("a")).unwrap();
    assert_eq!(second.bounds(), Bounds::default());
    let appended = second.append(&batch_of(7, 0, 0, 1)).unwrap();
    assert_eq!((appended.base_offset, appended.duplicate), (Offset(0), false));
    durable(store.as_ref(), appended.ticket);
    assert_eq!(read_all(second.as_ref(), Offset(0)).len(), 1);
    assert!(matches!(first.read(Offset(0), ALL), Err(ReadError::Deleted)));
}

/// After closing, everything that was taken in is durable and readable, and nothing more is taken in.
pub fn a_closed_store_takes_nothing_in(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let ticket = log.append(&batch(2, 10, 5)).unwrap().ticket;
    store.close().unwrap();
    durable(store.as_ref(), ticket);
    assert!(matches!(log.append(&batch(1, 10, 5)), Err(AppendError::Closed)));
    assert!(matches!(log.trim(Offset(1)), Err(AppendError::Closed)));
    assert!(matches!(store.create(&partition("b")), Err(StoreError::Closed)));
    assert!(matches!(store.delete(&partition("a")), Err(StoreError::Closed)));
    assert_eq!(store.list(), [partition("a")]);
    assert_eq!(log.bounds().high_watermark, Offset(2));
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 1);
    super::block_on(store.room());
    store.close().unwrap();
}
