//! What a produced batch asks of the allocator and how often its bytes are copied, counted.

use keyway_log::{
    Durability, LogStore,
    contract::{batch, block_on, partition},
};
use keyway_runtime::World;
use keyway_segment_log::{Drive, Options, SegmentStore};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: usize = 10_000;
const GROUP: usize = 100;

/// One test, so that no other allocates meanwhile.
#[test]
fn a_produced_batch_is_copied_once_and_allocates_nothing() {
    for len in [100, 4_000, 60_000] {
        let batches = BATCHES.min((60 << 20) / len);
        let home = tempfile::tempdir().unwrap();
        let options = Options { arena_bytes_max: 8 << 20, drive: Drive::Steps, ..Options::default() };
        let store = SegmentStore::open(&World::real(), home.path().join("data"), options).unwrap();
        let log = store.create(&partition("a")).unwrap();
        let sent = batch(1, len, 5);
        let produce = |count: usize| {
            for _ in 0..count / GROUP {
                let mut ticket = Default::default();
                for _ in 0..GROUP {
                    ticket = log.append(&sent).unwrap().ticket;
                }
                let mut wait = store.wait(ticket, Durability::Durable);
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                while wait.as_mut().poll(&mut context).is_pending() {
                    store.step();
                }
                while store.step() {}
            }
        };
        produce(batches);
        let region = Region::new(ALLOCATOR);
        produce(batches);
        let change = region.change();
        let allocations = (change.allocations + change.reallocations) as f64 / batches as f64;
        let bytes = change.bytes_allocated / batches;
        println!("{len} B: {allocations:.3} allocations a batch, {bytes} bytes allocated a batch");
        // A commit of 100 batches, its waiter and the writing behind take a few; one of 35 that go straight to their segment
        // takes as many.
        let allowed = if len < 10_000 { 0.6 } else { 1.2 };
        assert!(allocations < allowed, "{len} B: {allocations} allocations a batch");
        // A copy that does not go into a slab that was there already would be allocated.
        assert!(bytes < 500 + len / 2, "{len} B: {bytes} bytes allocated a batch");
        let stats = store.stats();
        assert!(stats.memory_bytes <= 8 << 20, "{stats:?}");
        block_on(store.wait(Default::default(), Durability::Durable)).unwrap();
        store.close().unwrap();
    }
}
