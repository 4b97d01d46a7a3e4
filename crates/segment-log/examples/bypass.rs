//! What it brings that large commits bypass the write-ahead log, and from which size on.
//!
//! `cargo run --release -p keyway-segment-log --example bypass -- [folder] [rounds] [seconds] [KiB]` (3 and 1 if not given, and all sizes): writers,
//! each with a partition of its own and 5 batches that are not yet acknowledged, for each size of batches. Every round
//! takes each case without the bypass, with it, and as measured, in turn, in one folder, whose write-ahead log has its length by then.
//! Printed are medians over the rounds: acknowledged MB/s including the checkpoint at the end, its ratio to that without the bypass
//! in the same round, the 99th percentile of the time that an acknowledgement took, and bytes written and flushes for what was
//! acknowledged. For a slow disk, run it where the system throttles it, such as in a control group with a
//! `blkio.throttle.write_bps_device`. Linux only, as `/proc` is.

mod load;

use keyway_log::{Durability, LogStore, PartitionLog, Ticket, contract::block_on};
use keyway_segment_log::{Bypass, Options, SegmentStore};
use load::{append, batch, open, partition};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const IN_FLIGHT: usize = 5;
const LENS: [usize; 5] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
const WRITERS: [usize; 3] = [1, 4, 16];
const WAYS: [Bypass; 3] = [Bypass::Never, Bypass::Always, Bypass::WhereQuicker];

/// What one run gave.
#[derive(Clone, Copy)]
struct Outcome {
    mb_per_s: f64,
    p99_ms: f64,
    /// Bytes written, and flushes of files a MB, for what was acknowledged.
    written_per_byte: f64,
    flushes_per_mb: f64,
    bypassed_part: f64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mut number =
        |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (rounds, seconds, kib) = (number(3), number(1), number(0));
    let folder = folder.join(format!("keyway-bypass-{}", std::process::id()));
    let run_time = Duration::from_secs(seconds as u64);
    // Makes the write-ahead log as long as it gets.
    run(&folder, 4, 1 << 20, Bypass::Never, 2 * run_time);
    for len in LENS.into_iter().filter(|len| kib == 0 || *len == kib << 10) {
        for writers in WRITERS {
            let mut outcomes = WAYS.map(|_| Vec::new());
            for round in 0..rounds {
                for place in 0..WAYS.len() {
                    let way = (round + place) % WAYS.len();
                    outcomes[way].push(run(&folder, writers, len, WAYS[way], run_time));
                }
            }
            say(len, writers, &outcomes);
        }
    }
    std::fs::remove_dir_all(&folder).expect("the folder of this run");
}

fn run(folder: &Path, writers: usize, len: usize, bypass: Bypass, run_time: Duration) -> Outcome {
    let store = open(folder, Options { bypass, bypass_bytes_min: 64 << 10, ..Options::default() });
    let logs: Vec<_> = (0..writers).map(|index| store.create(&partition(index)).expect("new")).collect();
    store.checkpoint().expect("a sound disk");
    let (before, written) = (store.stats(), written_bytes());
    let begun = Instant::now();
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let write = |log: &'_ dyn PartitionLog| stream(&store, log, len, begun + run_time);
        let writing: Vec<_> = logs.iter().map(|log| scope.spawn(move || write(log.as_ref()))).collect();
        writing.into_iter().flat_map(|writer| writer.join().expect("no panic")).collect()
    });
    store.checkpoint().expect("a sound disk");
    let (seconds, after) = (begun.elapsed().as_secs_f64(), store.stats());
    let acked_bytes = (times.len() * batch(len).bytes().len()) as f64;
    let flushes = after.flushes - before.flushes + after.segment_flushes - before.segment_flushes;
    times.sort();
    let outcome = Outcome {
        mb_per_s: acked_bytes / 1e6 / seconds,
        p99_ms: times[times.len() * 99 / 100].as_secs_f64() * 1e3,
        written_per_byte: (written_bytes() - written) as f64 / acked_bytes,
        flushes_per_mb: flushes as f64 / (acked_bytes / 1e6),
        bypassed_part: (after.bypassed_bytes - before.bypassed_bytes) as f64 / acked_bytes,
    };
    (0..writers).for_each(|index| store.delete(&partition(index)).expect("it is there"));
    drop(logs);
    store.close().expect("a clean close");
    outcome
}

/// Appends until it is time; how long each acknowledgement took.
fn stream(store: &SegmentStore, log: &dyn PartitionLog, len: usize, until: Instant) -> Vec<Duration> {
    let (batch, mut times) = (batch(len), Vec::new());
    let mut in_flight: VecDeque<(Instant, Ticket)> = VecDeque::new();
    loop {
        let is_over = Instant::now() >= until;
        if is_over && in_flight.is_empty() {
            return times;
        }
        if in_flight.len() == IN_FLIGHT || is_over {
            let (begun, ticket) = in_flight.pop_front().expect("some are");
            block_on(store.wait(ticket, Durability::Durable)).expect("a sound disk");
            times.push(begun.elapsed());
        } else {
            in_flight.push_back((Instant::now(), append(store, log, &batch)));
        }
    }
}

fn say(len: usize, writers: usize, outcomes: &[Vec<Outcome>; 3]) {
    let held = &outcomes[0];
    for (way, outcomes) in WAYS.iter().zip(outcomes) {
        let median = |of: &dyn Fn(usize) -> f64| {
            let mut values: Vec<f64> = (0..outcomes.len()).map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{:5} KiB, {writers:2} writers, {:12}: {:5.0} MB/s (x {:4.2}), p99 {:6.1} ms, {:4.2} bytes written a byte, {:5.2} \
             flushes a MB, {:3.0} % bypassed",
            len >> 10,
            format!("{way:?}"),
            median(&|round| outcomes[round].mb_per_s),
            median(&|round| outcomes[round].mb_per_s / held[round].mb_per_s),
            median(&|round| outcomes[round].p99_ms),
            median(&|round| outcomes[round].written_per_byte),
            median(&|round| outcomes[round].flushes_per_mb),
            100.0 * median(&|round| outcomes[round].bypassed_part),
        );
    }
}

/// Bytes that this process gave to the system to write.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
