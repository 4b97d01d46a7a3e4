//! What outlives the process.

use super::{EPOCH, Home, append, batch, batch_of, durable, fill, partition, read_all};
use crate::{Bounds, StoreError};
use keyway_record::Offset;

/// Records that were waited for are there after the store was dropped without closing, again and again.
pub fn what_was_waited_for_is_kept(home: &Home) {
    let mut expected = Vec::new();
    home().create(&partition("early")).unwrap();
    for life in 0..5 {
        let store = home();
        let log = store.open(&partition("a")).or_else(|_| store.create(&partition("a"))).unwrap();
        assert_eq!(read_all(log.as_ref(), Offset(0)), expected, "life {life}");
        let end = Offset(expected.len() as i64 * 2);
        assert_eq!(log.bounds(), Bounds { start: Offset(0), high_watermark: end, end });
        for time in 0..50 {
            let batch = batch(2, 300, time);
            let appended = append(store.as_ref(), log.as_ref(), &batch);
            expected.push(batch.placed(appended.base_offset, EPOCH));
            if time % 7 == 0 || time == 49 {
                durable(store.as_ref(), appended.ticket);
            }
        }
    }
}

/// A clean close keeps what nobody waited for.
pub fn a_close_keeps_everything(home: &Home) {
    for life in 0..4 {
        let store = home();
        let log = store.open(&partition("a")).or_else(|_| store.create(&partition("a"))).unwrap();
        assert_eq!(log.bounds().high_watermark, Offset(life * 30));
        for _ in 0..30 {
            append(store.as_ref(), log.as_ref(), &batch(1, 500, 5));
        }
        store.close().unwrap();
    }
    let log = home().open(&partition("a")).unwrap();
    assert_eq!(read_all(log.as_ref(), Offset(0)).len(), 120);
}

/// A retry after a restart is answered with its first offsets; a gap is still a gap.
pub fn producers_are_remembered(home: &Home) {
    for close in [false, true, false] {
        let store = home();
        let log = store.open(&partition("a")).or_else(|_| store.create(&partition("a"))).unwrap();
        let base = log.bounds().end;
        let sequence = i32::try_from(base.0).unwrap();
        let batches = [batch_of(7, 0, sequence, 2), batch_of(7, 0, sequence + 2, 2)];
        for batch in &batches {
            durable(store.as_ref(), log.append(batch).unwrap().ticket);
        }
        if close {
            store.close().unwrap();
        }
        drop((log, store));
        let store = home();
        let log = store.open(&partition("a")).unwrap();
        for (index, batch) in batches.iter().enumerate() {
            let again = log.append(batch).unwrap();
            assert_eq!((again.base_offset, again.duplicate), (base.plus(index as i64 * 2), true));
            durable(store.as_ref(), again.ticket);
        }
        assert!(log.append(&batch_of(7, 0, sequence + 9, 1)).is_err());
        assert_eq!(log.bounds().end, base.plus(4));
    }
}

/// Partitions that were created and deleted stay so once a later ticket is durable.
pub fn creations_and_deletions_are_kept(home: &Home) {
    for life in 0..3 {
        let store = home();
        for name in ["gone", "kept"] {
            let log = store.create(&partition(&format!("{name}-{life}"))).unwrap();
            fill(store.as_ref(), log.as_ref(), 0..20);
        }
        let again = store.create(&partition(&format!("again-{life}"))).unwrap();
        fill(store.as_ref(), again.as_ref(), 0..20);
        store.delete(&partition(&format!("again-{life}"))).unwrap();
        store.create(&partition(&format!("again-{life}"))).unwrap();
        store.delete(&partition(&format!("gone-{life}"))).unwrap();
        let later = store.open(&partition(&format!("kept-{life}"))).unwrap();
        fill(store.as_ref(), later.as_ref(), [5]);
        if life == 1 {
            store.close().unwrap();
        }
        drop((again, later, store));
        let store = home();
        assert_eq!(store.list().len(), 2 * (life + 1));
        let gone = store.open(&partition(&format!("gone-{life}")));
        assert!(matches!(gone, Err(StoreError::Unknown { .. })));
        let again = store.open(&partition(&format!("again-{life}"))).unwrap();
        assert_eq!(again.bounds(), Bounds::default());
        let kept = store.open(&partition(&format!("kept-{life}"))).unwrap();
        assert_eq!(read_all(kept.as_ref(), Offset(0)).len(), 21);
    }
}

/// A start that was moved stays where it was moved to, and what was trimmed does not come back.
pub fn trims_are_kept(home: &Home) {
    for (life, close) in [true, false, false, true].into_iter().enumerate() {
        let store = home();
        let log = store.open(&partition("a")).or_else(|_| store.create(&partition("a"))).unwrap();
        fill(store.as_ref(), log.as_ref(), 0..20);
        let start = Offset(life as i64 * 20 + 13);
        durable(store.as_ref(), log.trim(start).unwrap());
        if close {
            store.close().unwrap();
        }
        drop((log, store));
        let log = home().open(&partition("a")).unwrap();
        let end = Offset(life as i64 * 20 + 20);
        assert_eq!(log.bounds(), Bounds { start, high_watermark: end, end });
        assert_eq!(read_all(log.as_ref(), start).len(), 7);
        assert!(log.read(start.plus(-1), crate::ReadLimit::bytes(1)).is_err());
    }
}
