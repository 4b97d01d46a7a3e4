//! What an append gives, and what it refuses.

use super::{Home, batch, batch_of, block_on, durable, partition, read_all};
use crate::{AppendError, Bounds, Isolation, ReadLimit};
use keyway_record::{Offset, ProducerEpoch, ProducerId};

/// Each batch begins where the one before ended; other partitions do not matter.
pub fn offsets_are_dense(home: &Home) {
    let store = home();
    let logs = [store.create(&partition("a")).unwrap(), store.create(&partition("b")).unwrap()];
    let mut ends = [0, 0];
    for index in 0..40usize {
        let (which, count) = (index % 3 % 2, index % 5 + 1);
        let appended = logs[which].append(&batch(count, 10, 5)).unwrap();
        assert_eq!(appended.base_offset, Offset(ends[which]));
        ends[which] += count as i64;
        assert_eq!(appended.last_offset, Offset(ends[which] - 1));
        assert!(!appended.duplicate);
        assert_eq!(logs[which].bounds().end, Offset(ends[which]));
    }
}

/// Only base offset and leader epoch differ from what the producer sent.
pub fn batches_are_stored_verbatim(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let sent = [batch(3, 100, 7), batch(1, 0, 8), batch(2, 5_000, 9)];
    let mut expected = Vec::new();
    for batch in &sent {
        let appended = log.append(batch).unwrap();
        expected.push(batch.placed(appended.base_offset, log.leader_epoch()));
        durable(store.as_ref(), appended.ticket);
    }
    assert_eq!(read_all(log.as_ref(), Offset(0)), expected);
}

/// A batch that comes again is answered with its first offsets and not stored again.
pub fn retries_get_their_first_offsets(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let batches = [batch_of(7, 0, 0, 2), batch_of(7, 0, 2, 3), batch_of(7, 0, 5, 1)];
    let first: Vec<_> = batches.iter().map(|batch| log.append(batch).unwrap()).collect();
    let other = log.append(&batch_of(8, 0, 0, 1)).unwrap();
    for (batch, first) in batches.iter().zip(&first) {
        let again = log.append(batch).unwrap();
        assert!(again.duplicate);
        assert_eq!((again.base_offset, again.last_offset), (first.base_offset, first.last_offset));
        assert!(again.ticket >= first.ticket, "the retry's ticket covers the first try");
        durable(store.as_ref(), again.ticket);
    }
    durable(store.as_ref(), other.ticket);
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 4);
    let next = log.append(&batch_of(7, 0, 6, 1)).unwrap();
    assert_eq!((next.base_offset, next.duplicate), (Offset(7), false));
}

/// What does not continue a producer's sequence changes nothing.
pub fn gaps_and_old_epochs_are_refused(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    log.append(&batch_of(7, 1, 0, 2)).unwrap();
    let refused = |batch| log.append(&batch).unwrap_err();
    let producer_id = ProducerId(7);
    let gap = AppendError::OutOfOrderSequence { producer_id, expected: 2, given: 3 };
    assert_eq!(refused(batch_of(7, 1, 3, 1)), gap);
    let (current, given) = (ProducerEpoch(1), ProducerEpoch(0));
    let fenced = AppendError::InvalidProducerEpoch { producer_id, current, given };
    assert_eq!(refused(batch_of(7, 0, 2, 1)), fenced);
    let late_start = AppendError::OutOfOrderSequence { producer_id, expected: 0, given: 2 };
    assert_eq!(refused(batch_of(7, 2, 2, 1)), late_start);
    assert!(matches!(refused(batch_of(7, -1, 2, 1)), AppendError::InvalidProducer { .. }));
    assert_eq!(log.bounds().end, Offset(2));
    assert_eq!(log.append(&batch_of(7, 1, 2, 1)).unwrap().base_offset, Offset(2));
    assert_eq!(log.append(&batch_of(7, 2, 0, 1)).unwrap().base_offset, Offset(3));
}

/// Where an engine's memory is bounded, a refused batch left no trace, and waiting for room helps.
pub fn full_takes_nothing_and_room_follows(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let mut end = 0;
    let mut refusals = 0;
    for sequence in 0..2_000 {
        // Idempotent, so that a trace in the producer's state would be seen.
        let batch = super::builder(1, 4_000, 5).build_for(ProducerId(7), ProducerEpoch(0), sequence);
        loop {
            match log.append(&batch) {
                Ok(appended) => {
                    assert!(!appended.duplicate);
                    assert_eq!(appended.base_offset, Offset(end));
                    end += 1;
                    break;
                }
                Err(AppendError::Full) => {
                    refusals += 1;
                    assert_eq!(log.bounds().end, Offset(end));
                    block_on(store.room());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(refusals < 1_000_000, "room means room");
    block_on(log.wait_past(Offset(end - 1), Isolation::ReadUncommitted));
    let (start, high_watermark, end) = (Offset(0), Offset(end), Offset(end));
    assert_eq!(log.bounds(), Bounds { start, high_watermark, end });
    assert_eq!(log.read(Offset(0), ReadLimit::bytes(0)).unwrap().next, Offset(1));
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 2_000);
}
