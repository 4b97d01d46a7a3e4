//! What one message costs the dispatcher: ingest, dispatch and ack together.
//!
//! ```sh
//! cargo bench -p keyway-dispatch                  # every case
//! cargo bench -p keyway-dispatch -- uniform       # the cases whose names contain this
//! ```
//!
//! Nanoseconds are this thread's processor time inside the dispatcher, the least of several passes that take turns with
//! the other cases. Bytes are the allocator's count per live key beyond a dispatcher whose consumers have joined.
//! Instructions come from valgrind, if it is there, and do not depend on what else the machine does.

mod load;

use keyway_dispatch::{FilterIndex, Mode};
use load::{Keys, Load, Shape, distinct, pattern};
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::process::Command;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages of one pass.
const MESSAGES: u64 = 200_000;
const PASSES: usize = 5;
/// Messages whose instructions are counted; valgrind is some fifty times slower.
const COUNTED: u64 = 20_000;

const fn keyed(name: &'static str, keys: Keys, consumers: u64, credit: u32, live_max: u32) -> Shape {
    Shape { name, mode: Mode::KeyShared, keys, consumers, credit, live_max, patterns: 0 }
}

const MILLION: u64 = 1 << 20;

const CASES: [Shape; 12] = [
    keyed("uniform, 8 k live", Keys::Uniform(MILLION), 16, 256, 8_192),
    keyed("uniform, 128 k live", Keys::Uniform(MILLION), 16, 4_096, 131_072),
    keyed("uniform, 128 k live, 100 consumers", Keys::Uniform(MILLION), 100, 640, 131_072),
    keyed("uniform, 128 k live, 1,000 consumers", Keys::Uniform(MILLION), 1_000, 64, 131_072),
    distinct("distinct, 128 k live", 16, 4_096, 131_072),
    distinct("distinct, 1 M live, 1,000 consumers", 1_000, 512, 1 << 20),
    keyed("zipf 0.99, 8 k live", Keys::Zipf(MILLION), 16, 256, 8_192),
    keyed("zipf 0.99, 128 k live", Keys::Zipf(MILLION), 16, 4_096, 131_072),
    keyed("one key, 8 k live", Keys::Uniform(1), 16, 64, 8_192),
    Shape { patterns: 10_000, ..keyed("10,000 patterns, 8 k live", Keys::Uniform(MILLION), 100, 64, 8_192) },
    Shape { mode: Mode::Shared, ..keyed("shared, 8 k live", Keys::Distinct, 16, 256, 8_192) },
    Shape { mode: Mode::Exclusive, ..keyed("exclusive, 8 k live", Keys::Distinct, 1, 4_096, 8_192) },
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [command, name, messages] = &words[..]
        && command == "count"
    {
        let shape = CASES.iter().find(|shape| shape.name == name).expect("a case of this name");
        return count(&mut settled(*shape), messages.parse().expect("a number of messages"));
    }
    let chosen = |shape: &&Shape| words.iter().all(|word| shape.name.contains(word.as_str()));
    let cases: Vec<Shape> = CASES.iter().filter(chosen).copied().collect();
    let mut best = vec![(u64::MAX, 0); cases.len()];
    let mut rows = vec![String::new(); cases.len()];
    for pass in 0..PASSES {
        for (nth, &shape) in cases.iter().enumerate() {
            let mut load = settled(shape);
            if pass == 0 {
                let stats = load.dispatcher.stats();
                rows[nth] = format!("{:>9} {:>9}", stats.live_messages, stats.live_keys);
                rows[nth] += &format!(" {:>7.0}", bytes_per_key(shape));
            }
            let (ns, allocations) = timed(&mut load, MESSAGES);
            best[nth] = best[nth].min((ns, allocations));
        }
    }
    println!(
        "{:<38} {:>9} {:>9} {:>7} {:>8} {:>8} {:>8}",
        "case", "live", "keys", "B/key", "ns/msg", "alloc/msg", "instr/msg"
    );
    for ((shape, row), (ns, allocations)) in cases.iter().zip(rows).zip(best) {
        let ns = ns as f64 / MESSAGES as f64;
        let allocations = allocations as f64 / MESSAGES as f64;
        let instructions = instructions(shape).map_or("-".into(), |count| format!("{count:.0}"));
        println!("{:<38} {row} {ns:>8.0} {allocations:>9.4} {instructions:>9}", shape.name);
    }
    filters();
}

/// A load whose population no longer grows.
fn settled(shape: Shape) -> Load {
    let mut load = Load::new(shape);
    while load.done < u64::from(shape.live_max) {
        load.turn();
    }
    load
}

/// What valgrind looks at.
fn count(load: &mut Load, messages: u64) {
    let end = load.done + messages;
    while load.done < end {
        load.prepare();
        load.feed_counted();
        load.obey();
    }
}

/// Nanoseconds spent in the dispatcher, and allocations made there.
fn timed(load: &mut Load, messages: u64) -> (u64, usize) {
    let end = load.done + messages;
    let (mut spent, mut allocations) = (0, 0);
    while load.done < end {
        load.prepare();
        let region = Region::new(ALLOCATOR);
        let start = thread_ns();
        load.feed();
        spent += thread_ns() - start;
        let change = region.change();
        allocations += change.allocations + change.reallocations;
        load.obey();
    }
    (spent, allocations)
}

/// Allocated bytes per live key after filling up, nothing answered.
fn bytes_per_key(shape: Shape) -> f64 {
    let (load, bytes) = Load::filled(shape, ALLOCATOR);
    bytes as f64 / load.dispatcher.stats().live_keys.max(1) as f64
}

/// Instructions per message inside the dispatcher, by callgrind in a process of its own.
fn instructions(shape: &Shape) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*feed_counted*"]);
    command.arg(program).args(["count", shape.name, &COUNTED.to_string()]);
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"))?.1;
    let all: f64 = collected.trim().parse().ok()?;
    Some(all / COUNTED as f64)
}

/// What one key costs the filter index.
fn filters() {
    let patterns: Vec<String> = (0..10_000).map(pattern).collect();
    let mut index = FilterIndex::new(patterns.iter().map(|pattern| pattern.as_bytes()).zip(0..));
    let keys: Vec<String> =
        (0..200_000u64).map(|nth| format!("tenant-{}-order-{nth}", nth % 20_000)).collect();
    let mut groups = Vec::new();
    let (mut matched, start) = (0, thread_ns());
    for key in &keys {
        index.matches(key.as_bytes(), &mut groups);
        matched += groups.len();
    }
    let ns = (thread_ns() - start) as f64 / keys.len() as f64;
    println!("filter index, 10,000 patterns: {ns:.0} ns a key ({matched} matches)");
}

/// Processor time of this thread so far.
fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
