//! What the dispatcher asks of the allocator, counted: nothing while its population is steady, a bounded number of bytes
//! per key, and back after a burst.

#[path = "../benches/load/mod.rs"]
#[allow(dead_code)]
mod load;

use load::{Load, Shape, distinct};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most bytes for a key with one message, its entry, its key's bytes (16), its share of tables and window.
const KEY_BYTES_MAX: usize = 165;

fn shape(consumers: u64, credit: u32, live_max: u32) -> Shape {
    distinct("distinct keys", consumers, credit, live_max)
}

/// One test, so that no other allocates meanwhile.
#[test]
fn memory_is_bounded_steady_and_given_back() {
    let (_, bytes) = Load::filled(shape(16, 4_096, 131_072), ALLOCATOR);
    println!("{} bytes for each of 131,072 keys", bytes / 131_072);
    assert!(bytes / 131_072 <= KEY_BYTES_MAX);

    let mut load = Load::new(shape(16, 4_096, 131_072));
    while load.done < 300_000 {
        load.turn();
    }
    let (done, mut allocations) = (load.done, 0);
    while load.done < done + 200_000 {
        load.prepare();
        let region = Region::new(ALLOCATOR);
        load.feed();
        let change = region.change();
        allocations += change.allocations + change.reallocations;
        load.obey();
    }
    println!("{allocations} allocations for 200,000 messages");
    assert!(allocations < 200, "nothing per message; a page of the window now and then");

    let (load, bytes) = Load::filled(shape(1_000, 512, 1 << 20), ALLOCATOR);
    let stats = load.dispatcher.stats();
    println!("{} bytes for each of {} keys, 1,000 consumers", bytes >> 20, stats.live_keys);
    assert_eq!((stats.live_keys, stats.consumers.len()), (1 << 20, 1_000));
    assert!(bytes >> 20 <= KEY_BYTES_MAX);
    let busy = stats.consumers.iter().filter(|consumer| consumer.in_flight == consumer.credit).count();
    assert!(busy > 900, "nearly every consumer has what it may have, not {busy}");
    drop(load);

    let region = Region::new(ALLOCATOR);
    let mut load = Load::new(shape(16, 4_096, 131_072));
    let empty = region.change();
    while load.prepare_records() {
        load.feed();
        load.obey();
    }
    while load.prepare_answers() {
        load.feed();
        load.obey();
    }
    load.obey_and_forget();
    assert_eq!((load.dispatcher.stats().live_keys, load.done), (0, 131_072));
    let change = region.change();
    let left = (change.bytes_allocated - change.bytes_deallocated)
        .saturating_sub(empty.bytes_allocated - empty.bytes_deallocated);
    println!("{left} bytes are left of a burst of 131,072 keys");
    assert!(left < 512 * 1_024, "a burst gives its memory back");
}
