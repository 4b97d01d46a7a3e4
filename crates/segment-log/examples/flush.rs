//! What making a block durable costs on this disk, by the ways of doing it.
//!
//! `cargo run --release -p keyway-segment-log --example flush [folder]` overwrites blocks of a file that is filled with
//! zeros, in rounds that take each way in turn, so that all of them see the same neighbours. Printed are the fastest
//! tenth and the median of all rounds, us, and the processor time of one block. Linux only, as the flags are.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("O_DSYNC and O_DIRECT are Linux's");
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::OFlags;
    use std::{
        fs::{File, OpenOptions},
        os::unix::fs::{FileExt, OpenOptionsExt},
        path::{Path, PathBuf},
        thread,
        time::{Duration, Instant},
    };

    const FILE_LEN: usize = 16 << 20;
    const ROUNDS: usize = 60;
    const BLOCKS: usize = 10;
    const ALIGNMENT: usize = 4096;

    #[derive(Clone, Copy)]
    struct Way {
        name: &'static str,
        flags: OFlags,
        /// Flushes by a call of its own.
        fdatasync: bool,
        block_len: usize,
        /// Threads that write and flush side by side.
        in_flight: usize,
    }

    pub(super) fn main() {
        let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
        let path = folder.join(format!("keyway-flush-{}", std::process::id()));
        let file = File::create(&path).expect("a file");
        file.write_all_at(&vec![0; FILE_LEN], 0).expect("zeros");
        file.sync_all().expect("flushed");
        let ways = ways();
        let mut times = vec![Vec::new(); ways.len()];
        let mut cpu = vec![Duration::ZERO; ways.len()];
        for _ in 0..ROUNDS {
            for (index, way) in ways.iter().enumerate() {
                let before = cpu_now();
                times[index].extend(round(&path, way));
                cpu[index] += cpu_now().saturating_sub(before);
            }
        }
        for ((way, mut times), cpu) in ways.iter().zip(times).zip(cpu) {
            times.sort();
            let at = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e6;
            let cpu_us = cpu.as_secs_f64() * 1e6 / times.len() as f64;
            println!("{:42} p10 {:6.0} us, p50 {:6.0} us, CPU {cpu_us:5.1} us", way.name, at(0.1), at(0.5));
        }
        std::fs::remove_file(path).expect("the file of this run");
    }

    fn ways() -> Vec<Way> {
        let way = |name, flags, fdatasync, block_len, in_flight| Way {
            name,
            flags,
            fdatasync,
            block_len,
            in_flight,
        };
        let (none, dsync, direct) = (OFlags::empty(), OFlags::DSYNC, OFlags::DIRECT);
        vec![
            way("4 KiB, write + fdatasync", none, true, 4096, 1),
            way("4 KiB, O_DSYNC", dsync, false, 4096, 1),
            way("4 KiB, O_DIRECT + fdatasync", direct, true, 4096, 1),
            way("4 KiB, O_DIRECT | O_DSYNC", direct | dsync, false, 4096, 1),
            way("512 B, write + fdatasync", none, true, 512, 1),
            way("512 B, O_DIRECT | O_DSYNC", direct | dsync, false, 512, 1),
            way("64 KiB, write + fdatasync", none, true, 64 << 10, 1),
            way("64 KiB, O_DIRECT | O_DSYNC", direct | dsync, false, 64 << 10, 1),
            way("1 MiB, write + fdatasync", none, true, 1 << 20, 1),
            way("1 MiB, O_DIRECT | O_DSYNC", direct | dsync, false, 1 << 20, 1),
            way("4 KiB, write + fdatasync, 2 in flight", none, true, 4096, 2),
            way("64 KiB, write + fdatasync, 2 in flight", none, true, 64 << 10, 2),
        ]
    }

    fn round(path: &Path, way: &Way) -> Vec<Duration> {
        let open = || {
            OpenOptions::new().write(true).custom_flags(way.flags.bits() as i32).open(path).expect("the file")
        };
        let part = FILE_LEN / way.in_flight;
        let run = |thread: usize| {
            let file = open();
            let buffer = vec![7; way.block_len + ALIGNMENT];
            let start = buffer.as_ptr().align_offset(ALIGNMENT);
            let block = &buffer[start..start + way.block_len];
            let write = |index: usize| {
                let begun = Instant::now();
                let at = thread * part + index * way.block_len.max(ALIGNMENT) % part;
                file.write_all_at(block, at as u64).expect("written");
                if way.fdatasync {
                    file.sync_data().expect("flushed");
                }
                begun.elapsed()
            };
            (0..BLOCKS).map(write).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..way.in_flight).map(|thread| scope.spawn(move || run(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    /// Processor time of all threads so far; of those that ended as well.
    fn cpu_now() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
