//! Many threads at once.

use super::{Home, append, batch_of, block_on, durable, partition};
use crate::{Isolation, PartitionLog, ReadLimit};
use keyway_record::{Offset, ProducerId};
use std::{collections::BTreeMap, sync::Arc, thread};

const APPENDERS: i64 = 4;
const BATCHES: i32 = 250;

/// Appenders on shared partitions, some of whose batches they wait for, and readers that follow by waiting: every reader
/// sees every producer's batches once, in order, without holes.
pub fn appenders_and_readers_keep_order(home: &Home) {
    let store = home();
    let logs: Vec<_> = ["a", "b"].map(|name| store.create(&partition(name)).unwrap()).into();
    thread::scope(|scope| {
        for id in 0..APPENDERS {
            let (store, logs) = (store.clone(), logs.clone());
            scope.spawn(move || {
                for sequence in 0..BATCHES {
                    for log in &logs {
                        let batch = batch_of(id, 0, sequence, 1);
                        let appended = append(store.as_ref(), log.as_ref(), &batch);
                        if (sequence + id as i32) % 3 == 0 {
                            durable(store.as_ref(), appended.ticket);
                            assert!(log.bounds().high_watermark > appended.last_offset);
                        }
                    }
                }
            });
        }
        for log in &logs {
            scope.spawn(move || follow(log));
        }
    });
}

fn follow(log: &Arc<dyn PartitionLog>) {
    let mut next = Offset(0);
    let mut sequences: BTreeMap<ProducerId, i32> = BTreeMap::new();
    while next < Offset(APPENDERS * i64::from(BATCHES)) {
        block_on(log.wait_past(next, Isolation::ReadUncommitted));
        let slice = log.read(next, ReadLimit::bytes(2_000)).expect("a readable offset");
        assert!(!slice.is_empty(), "what was waited for is readable");
        for batch in slice.batches() {
            assert_eq!(batch.base_offset(), next);
            let expected = sequences.entry(batch.producer_id()).or_default();
            assert_eq!(batch.base_sequence(), *expected);
            *expected += 1;
            next = batch.next_offset();
        }
        assert_eq!(slice.next, next);
    }
    assert!(sequences.values().all(|count| *count == BATCHES));
}
