//! What a read returns, finding by time, trimming.

use super::{Home, batch, durable, fill, partition, read_all};
use crate::{Bounds, ReadError, ReadLimit};
use keyway_record::{Offset, Timestamp};

const ALL: ReadLimit = ReadLimit::bytes(1 << 20);

/// An offset inside a batch reads that batch and what follows.
pub fn a_read_begins_with_the_batch_that_holds_the_offset(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let mut last = Default::default();
    for _ in 0..4 {
        last = log.append(&batch(3, 10, 5)).unwrap().ticket;
    }
    durable(store.as_ref(), last);
    for from in 0..12 {
        let slice = log.read(Offset(from), ALL).unwrap();
        let bases: Vec<i64> = slice.batches().map(|batch| batch.base_offset().0).collect();
        let expected: Vec<i64> = (from / 3..4).map(|index| index * 3).collect();
        assert_eq!((bases, slice.next), (expected, Offset(12)), "from {from}");
    }
}

/// The limit counts whole batches; the first one is exempt.
pub fn a_read_returns_one_batch_at_least_and_no_more_than_fit(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    fill(store.as_ref(), log.as_ref(), [1, 2, 3, 4, 5]);
    let len = read_all(log.as_ref(), Offset(0))[0].bytes().len();
    let count = |bytes_max| log.read(Offset(1), ReadLimit::bytes(bytes_max)).unwrap().batches().count();
    assert_eq!([0, 1, len, 2 * len - 1, 2 * len, 3 * len, 100 * len].map(count), [1, 1, 1, 1, 2, 3, 4]);
}

/// The high watermark is inside and empty; beyond it and before the start is outside.
pub fn offsets_outside_are_refused(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let refused = |offset: i64| match log.read(Offset(offset), ALL) {
        Err(ReadError::OutOfRange { offset, start, high_watermark }) => (offset.0, start.0, high_watermark.0),
        other => panic!("{other:?}"),
    };
    assert!(log.read(Offset(0), ALL).unwrap().is_empty());
    assert_eq!(refused(1), (1, 0, 0));
    fill(store.as_ref(), log.as_ref(), [1, 2, 3]);
    let at_end = log.read(Offset(3), ALL).unwrap();
    assert_eq!((at_end.is_empty(), at_end.next), (true, Offset(3)));
    assert_eq!(refused(4), (4, 0, 3));
    assert_eq!(refused(-1), (-1, 0, 3));
    durable(store.as_ref(), log.trim(Offset(2)).unwrap());
    assert_eq!(refused(1), (1, 2, 3));
}

/// The first batch with a time or a later one, whatever the order of times.
pub fn times_are_found(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    assert_eq!(log.find(Timestamp(0)).unwrap(), None);
    fill(store.as_ref(), log.as_ref(), [100, 50, 200, 150, 300]);
    let find = |time| log.find(Timestamp(time)).unwrap().map(|offset| offset.0);
    assert_eq!([0, 100, 101, 200, 201, 300].map(find), [0, 0, 2, 2, 4, 4].map(Some));
    assert_eq!(find(301), None);
    durable(store.as_ref(), log.trim(Offset(3)).unwrap());
    assert_eq!([0, 150, 151, 300].map(find), [3, 3, 4, 4].map(Some));
}

/// A trim moves the start, inside a batch too, never back and never past the high watermark.
pub fn trimmed_records_are_gone(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let mut last = Default::default();
    for time in [10, 20, 30] {
        last = log.append(&batch(4, 10, time)).unwrap().ticket;
    }
    durable(store.as_ref(), last);
    let ticket = log.trim(Offset(6)).unwrap();
    assert!(ticket > last);
    durable(store.as_ref(), ticket);
    let bounds =
        |start: i64, end: i64| Bounds { start: Offset(start), high_watermark: Offset(end), end: Offset(end) };
    assert_eq!(log.bounds(), bounds(6, 12));
    let slice = log.read(Offset(6), ALL).unwrap();
    assert_eq!(slice.batches().map(|batch| batch.base_offset().0).collect::<Vec<_>>(), [4, 8]);
    assert_eq!(log.find(Timestamp(0)).unwrap(), Some(Offset(6)), "an offset that can be read");
    durable(store.as_ref(), log.trim(Offset(2)).unwrap());
    assert_eq!(log.bounds(), bounds(6, 12));
    durable(store.as_ref(), log.trim(Offset(99)).unwrap());
    assert_eq!(log.bounds(), bounds(12, 12));
    assert!(log.read(Offset(12), ALL).unwrap().is_empty());
    assert_eq!(log.find(Timestamp(0)).unwrap(), None);
    let appended = log.append(&batch(1, 10, 40)).unwrap();
    durable(store.as_ref(), appended.ticket);
    assert_eq!(appended.base_offset, Offset(12));
    assert_eq!(read_all(log.as_ref(), Offset(12)).len(), 1);
}
