//! What a durable append costs on this disk.
//!
//! `cargo run --release -p keyway-segment-log --example commit [folder]` prints appends per second of threads that each
//! wait for every append, the latency they see, how many appends share a flush, and the bandwidth of a stream of batches
//! of which up to 8 MiB are not yet durable. Each line is one run of about two seconds in a fresh store; the first lines
//! come in pairs, committed by the store's thread and by those who wait.

mod load;

use keyway_log::{Durability, LogStore, PartitionLog, Ticket, contract::block_on};
use keyway_runtime::World;
use keyway_segment_log::{CommitBy, Options, SegmentStore};
use load::{append, batch, open, partition};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const RUN: Duration = Duration::from_secs(2);
const IN_FLIGHT_BYTES: usize = 8 << 20;

fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("keyway-commit-{}", std::process::id()));
    let probe = flush_probe(&folder);
    println!("4 KiB write and flush, one thread: {:.0} us", probe.as_secs_f64() * 1e6);
    for waiting in [Durability::Durable, Durability::Written] {
        for threads in [1, 8, 64] {
            for commit_by in [CommitBy::Thread, CommitBy::Waiters] {
                wait_each(&folder, threads, waiting, commit_by);
            }
        }
    }
    for len in [16 << 10, 64 << 10, 1 << 20] {
        stream(&folder, len);
    }
    std::fs::remove_dir_all(&folder).expect("the folder of this run");
}

fn finish(folder: &Path, store: SegmentStore) {
    store.close().expect("a clean close");
    drop(store);
    std::fs::remove_dir_all(folder.join("data")).expect("the folder of this run");
}

/// Threads that append 100 bytes, each to a partition of its own, and wait each time.
fn wait_each(folder: &Path, threads: usize, durability: Durability, commit_by: CommitBy) {
    let store = Arc::new(open(folder, Options { commit_by, ..Options::default() }));
    let logs: Vec<_> = (0..threads).map(|index| store.create(&partition(index)).expect("new")).collect();
    let before = store.stats();
    let (switches, cpu_us) = (AtomicU64::new(0), cpu_us());
    let idle_switches = switches_of("keyway-");
    let start = Instant::now();
    let mut latencies: Vec<Duration> = thread::scope(|scope| {
        let run = |log: Arc<dyn PartitionLog>| {
            let (store, switches) = (&store, &switches);
            move || {
                let batch = batch(100);
                let mut latencies = Vec::new();
                while start.elapsed() < RUN {
                    let begun = Instant::now();
                    let ticket = append(store, log.as_ref(), &batch);
                    block_on(store.wait(ticket, durability)).expect("a sound disk");
                    latencies.push(begun.elapsed());
                }
                switches.fetch_add(switches_in("/proc/thread-self/status"), Ordering::Relaxed);
                latencies
            }
        };
        let handles: Vec<_> = logs.iter().map(|log| scope.spawn(run(log.clone()))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("no panic")).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    latencies.sort();
    let micros = |part: f64| latencies[(latencies.len() as f64 * part) as usize].as_secs_f64() * 1e6;
    let flushes = (store.stats().flushes - before.flushes).max(1);
    let count = latencies.len() as f64;
    let switches = switches.into_inner() + switches_of("keyway-") - idle_switches;
    println!(
        "{threads:3} threads, {durability:?}, by {commit_by:?}: {:8.0} appends/s, p50 {:5.0} us, p99 {:5.0} us, {:6.1} \
         appends per flush, {:5.2} switches and {:5.1} us of CPU per append",
        latencies.len() as f64 / seconds,
        micros(0.5),
        micros(0.99),
        count / flushes as f64,
        switches as f64 / count,
        (self::cpu_us() - cpu_us) as f64 / count,
    );
    drop(logs);
    finish(folder, Arc::into_inner(store).expect("the threads have ended"));
}

/// Times that the threads whose names begin so gave up their processor.
fn switches_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = tasks.filter(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
    });
    named.map(|task| switches_in(&task.path().join("status").to_string_lossy())).sum()
}

fn switches_in(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Processor time of this process, in ticks of 10 ms.
fn cpu_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000
}

/// One thread that appends to 4 partitions in turn, always `IN_FLIGHT_BYTES` ahead of what is durable.
fn stream(folder: &Path, len: usize) {
    let store = open(folder, Options::default());
    let logs: Vec<_> = (0..4).map(|index| store.create(&partition(index)).expect("new")).collect();
    let batch = batch(len);
    let mut in_flight: VecDeque<Ticket> = VecDeque::new();
    let mut count = 0;
    let start = Instant::now();
    while start.elapsed() < RUN {
        in_flight.push_back(append(&store, logs[count % 4].as_ref(), &batch));
        count += 1;
        if in_flight.len() * len > IN_FLIGHT_BYTES {
            let oldest = in_flight.pop_front().expect("there is one");
            block_on(store.wait(oldest, Durability::Durable)).expect("a sound disk");
        }
    }
    let last = in_flight.pop_back().expect("there is one");
    block_on(store.wait(last, Durability::Durable)).expect("a sound disk");
    let seconds = start.elapsed().as_secs_f64();
    println!("{:4} KiB batches, streaming: {:6.0} MB/s", len >> 10, (count * len) as f64 / 1e6 / seconds);
    drop(logs);
    finish(folder, store);
}

/// The disk's own part: the median of overwriting 4 KiB and flushing it.
fn flush_probe(folder: &Path) -> Duration {
    std::fs::create_dir_all(folder).expect("a folder that can be written");
    let world = World::real();
    let file = world.disk.open(&folder.join("probe"), keyway_runtime::OpenMode::Create).expect("a file");
    let block = vec![1; 4096];
    let mut times: Vec<_> = (0..400u64)
        .map(|index| {
            let start = Instant::now();
            file.write_at(&block, index % 64 * 4096).expect("written");
            file.sync().expect("flushed");
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
