//! What many partitions cost: creating them, appending to all in rotation, starting again cleanly and after a crash.
//!
//! `cargo run --release -p keyway-segment-log --example partitions -- [folder] [partitions] [MiB]`; 10,000 and 256 if not
//! given. A crash is a store that is dropped: nothing is flushed or written any more, as after `kill -9`.

mod load;

use keyway_log::{Durability, LogStore, PartitionLog, ReadLimit, contract::block_on};
use keyway_record::{Offset, RecordBatch};
use keyway_segment_log::{Options, SegmentStore};
use load::{append, batch, open, partition};
use std::{path::PathBuf, sync::Arc, time::Instant};

/// Appends that one wait covers.
const GROUP: usize = 64;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mut number =
        |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (count, mib) = (number(10_000), number(256));
    let folder = folder.join(format!("keyway-partitions-{}", std::process::id()));

    let mut begun = Instant::now();
    let mut say = |what: String| {
        println!("{what}: {:.3} s, {}", begun.elapsed().as_secs_f64(), usage());
        begun = Instant::now();
    };
    let store = open(&folder, Options::default());
    say("empty start".into());
    let logs: Vec<_> = (0..count).map(|index| store.create(&partition(index)).expect("new")).collect();
    let last = append(&store, logs[count - 1].as_ref(), &batch(100));
    block_on(store.wait(last, Durability::Durable)).expect("a sound disk");
    say(format!("{count} partitions created"));
    rotate(&store, &logs, &batch(100), count);
    say("one append to each, in rotation".into());
    let large = batch(16 << 10);
    rotate(&store, &logs, &large, (mib << 20) / large.bytes().len());
    say(format!("{mib} MiB more in batches of 16 KiB"));
    drop(logs);
    store.close().expect("a clean close");
    drop(store);
    say("clean close".into());

    let store = open(&folder, Options::default());
    first_read(&store);
    say("clean start and first read".into());
    let logs: Vec<_> = (0..count).map(|index| store.open(&partition(index)).expect("kept")).collect();
    rotate(&store, &logs, &large, (mib << 20) / large.bytes().len());
    rotate(&store, &logs, &batch(100), count);
    let wal_bytes = store.stats().wal_bytes;
    say(format!("as much again; {} MiB of write-ahead log to read back", wal_bytes >> 20));
    drop((logs, store));
    say("crash".into());
    let store = open(&folder, Options::default());
    first_read(&store);
    say("start after a crash and first read".into());
    drop(store);
    std::fs::remove_dir_all(&folder).expect("the folder of this run");
}

fn rotate(store: &SegmentStore, logs: &[Arc<dyn PartitionLog>], batch: &RecordBatch, count: usize) {
    for (index, log) in logs.iter().cycle().take(count).enumerate() {
        let ticket = append(store, log.as_ref(), batch);
        if index % GROUP == GROUP - 1 || index + 1 == count {
            block_on(store.wait(ticket, Durability::Durable)).expect("a sound disk");
        }
    }
}

fn first_read(store: &SegmentStore) {
    let log = store.open(&partition(0)).expect("kept");
    let slice = log.read(Offset(0), ReadLimit::bytes(1 << 20)).expect("readable");
    assert!(!slice.is_empty());
}

/// Memory, open files and threads of this process.
fn usage() -> String {
    let rss_mib = keyway_runtime::resident_bytes().unwrap_or(0) >> 20;
    let count = |folder| std::fs::read_dir(folder).map_or(0, Iterator::count);
    format!(
        "{rss_mib} MiB of memory, {} open files, {} threads",
        count("/proc/self/fd"),
        count("/proc/self/task")
    )
}
