//! What readers of committed records see.

use super::{Home, append, batch, builder, durable, partition};
use crate::{Compaction, Isolation, LogConfig, PartitionLog, ReadLimit, transactions::Aborted};
use bytes::Bytes;
use keyway_record::{
    Offset, Outcome, ProducerEpoch, ProducerId, Record, RecordBatch, Timestamp, batch::BatchBuilder,
};

fn records(id: i64, sequence: i32, count: usize) -> RecordBatch {
    builder(count, 10, 1_000).build_transactional(ProducerId(id), ProducerEpoch(0), sequence)
}

fn marker(id: i64, outcome: Outcome) -> RecordBatch {
    RecordBatch::marker(ProducerId(id), ProducerEpoch(0), outcome, 0, Timestamp(1_000))
}

/// Offset after the last batch that a reader of committed records gets from `from` on, and who was aborted in it.
fn committed(log: &dyn PartitionLog, from: i64) -> (i64, Vec<Aborted>) {
    let slice = log.read(Offset(from), ReadLimit::committed_bytes(1 << 20)).unwrap();
    assert_eq!(slice.next, log.last_stable().max(Offset(from)));
    (slice.next.0, slice.aborted)
}

/// Nobody sees past the first open transaction; a marker of either outcome ends it once it is durable itself.
pub fn an_open_transaction_holds_committed_readers_up(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let add = |batch: &RecordBatch| append(store.as_ref(), log.as_ref(), batch);
    add(&batch(2, 10, 5));
    add(&records(7, 0, 2));
    add(&records(8, 0, 1));
    durable(store.as_ref(), add(&batch(1, 10, 5)).ticket);
    assert_eq!((log.last_stable(), log.bounds().high_watermark), (Offset(2), Offset(6)));
    assert_eq!(committed(log.as_ref(), 0), (2, vec![]));
    assert_eq!(committed(log.as_ref(), 4), (4, vec![]), "not outside of the log, and nothing to read");
    assert_eq!(log.open_transaction(ProducerId(7)), Some(Offset(2)));
    let waits = log.wait_past(Offset(2), Isolation::ReadCommitted);
    durable(store.as_ref(), add(&marker(7, Outcome::Commit)).ticket);
    super::block_on(waits);
    assert_eq!(committed(log.as_ref(), 0), (4, vec![]));
    assert_eq!(log.open_transaction(ProducerId(7)), None);
    durable(store.as_ref(), add(&marker(8, Outcome::Abort)).ticket);
    let aborted = Aborted { producer_id: ProducerId(8), first: Offset(4), last: Offset(7) };
    assert_eq!(committed(log.as_ref(), 0), (8, vec![aborted]));
    assert_eq!(committed(log.as_ref(), 5), (8, vec![aborted]), "its marker lies ahead");
    let slice = log.read(Offset(0), ReadLimit::committed_bytes(1 << 20)).unwrap();
    let counted: Vec<_> = slice.committed_batches().map(|batch| batch.base_offset().0).collect();
    assert_eq!(counted, [0, 2, 5]);
    let uncommitted = log.read(Offset(0), ReadLimit::bytes(1 << 20)).unwrap();
    assert!(uncommitted.aborted.is_empty());
    // A marker that comes again, as after a crash, ends nothing.
    durable(store.as_ref(), add(&marker(8, Outcome::Commit)).ticket);
    assert_eq!(committed(log.as_ref(), 0), (9, vec![aborted]));
    let ticket = log.trim(Offset(8)).unwrap();
    durable(store.as_ref(), ticket);
    assert_eq!(committed(log.as_ref(), 8), (9, vec![]), "what was trimmed is forgotten");
}

/// A marker with a newer epoch shuts out what its producer sent before.
pub fn a_marker_fences_the_epoch_before(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    append(store.as_ref(), log.as_ref(), &records(7, 0, 2));
    let newer = RecordBatch::marker(ProducerId(7), ProducerEpoch(1), Outcome::Abort, 0, Timestamp(1_000));
    durable(store.as_ref(), append(store.as_ref(), log.as_ref(), &newer).ticket);
    assert!(matches!(log.append(&records(7, 2, 1)), Err(crate::AppendError::InvalidProducerEpoch { .. })));
    assert_eq!(log.last_stable(), Offset(3));
}

/// What was aborted supersedes nothing and goes; what is not decided stays as it is.
pub fn compaction_leaves_out_what_was_aborted(home: &Home) {
    let store = home();
    let log = store.create(&partition("a")).unwrap();
    let compaction = Compaction { dirty_ratio_min: 0.0, ..Compaction::default() };
    log.configure(LogConfig { compaction: Some(compaction), segment_bytes: Some(1), ..LogConfig::default() });
    let keyed = |value: &str| {
        let mut batch = BatchBuilder::new(Timestamp(10));
        let (key, value) = (Some(Bytes::from_static(b"k")), Some(Bytes::copy_from_slice(value.as_bytes())));
        batch.push(Timestamp(10), Record { key, value, ..Record::default() });
        batch
    };
    let of =
        |id, sequence, value| keyed(value).build_transactional(ProducerId(id), ProducerEpoch(0), sequence);
    for batch in [
        keyed("old").build(),
        keyed("kept").build(),
        of(7, 0, "aborted"),
        marker(7, Outcome::Abort),
        of(8, 0, "open"),
        of(9, 0, "behind an open one"),
        marker(9, Outcome::Commit),
        batch(1, 10, 10),
    ] {
        durable(store.as_ref(), append(store.as_ref(), log.as_ref(), &batch).ticket);
    }
    store.clean(Timestamp(100)).unwrap();
    let slice = log.read(Offset(0), ReadLimit::bytes(1 << 20)).unwrap();
    let left: Vec<_> = slice.batches().map(|batch| (batch.base_offset().0, batch.record_count())).collect();
    // The aborted batch is empty and not gone: it is the last of its producer but for the marker.
    let left_of_aborted: Vec<_> =
        left.iter().filter(|(base, count)| *base != 2 || *count > 0).copied().collect();
    assert_eq!(left_of_aborted, [(1, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)]);
}

/// Open and aborted transactions outlive the process, closed or not.
pub fn transactions_are_remembered(home: &Home) {
    for close in [false, true, false] {
        let store = home();
        let log = store.open(&partition("a")).or_else(|_| store.create(&partition("a"))).unwrap();
        let base = log.bounds().end;
        // Each life writes four records and two markers.
        let sequence = i32::try_from(base.0 / 6 * 4).unwrap();
        append(store.as_ref(), log.as_ref(), &records(7, sequence, 2));
        append(store.as_ref(), log.as_ref(), &marker(7, Outcome::Abort));
        durable(store.as_ref(), append(store.as_ref(), log.as_ref(), &records(7, sequence + 2, 2)).ticket);
        if close {
            store.close().unwrap();
        }
        drop((log, store));
        let store = home();
        let log = store.open(&partition("a")).unwrap();
        let aborted = Aborted { producer_id: ProducerId(7), first: base, last: base.plus(2) };
        assert_eq!(committed(log.as_ref(), base.0), (base.0 + 3, vec![aborted]));
        assert_eq!(log.open_transaction(ProducerId(7)), Some(base.plus(3)));
        durable(store.as_ref(), append(store.as_ref(), log.as_ref(), &marker(7, Outcome::Commit)).ticket);
        assert_eq!(committed(log.as_ref(), base.0), (base.0 + 6, vec![aborted]));
        drop((log, store));
    }
}
