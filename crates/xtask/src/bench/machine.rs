//! What the figures were measured on: processor, memory, kernel, the disk's flush time, and who else used the cores.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// `USER_HZ`, the unit of `/proc/stat`; 100 on every Linux this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// One line about the machine and one about its disk, as it is now.
pub(crate) fn describe(folder: &Path) -> anyhow::Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory_kib: u64 = memory.split_whitespace().nth(1).context("no MemTotal")?.parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "machine: {} x {cores}, {} GiB, Linux {}, load {}\nfdatasync before: {}\n",
        model.trim_start_matches(['\t', ':', ' ']),
        memory_kib >> 20,
        kernel.trim(),
        load.split_whitespace().next().unwrap_or("unknown"),
        probe_fdatasync(folder)?
    ))
}

/// Appends 4 KiB and flushes, again and again: what one durable write costs here and now.
pub(crate) fn probe_fdatasync(folder: &Path) -> anyhow::Result<String> {
    let (p50, p99) = fdatasync_times(folder)?;
    Ok(format!("p50 {} us, p99 {} us ({PROBE_WRITES} appends of 4 KiB)", p50.as_micros(), p99.as_micros()))
}

const PROBE_WRITES: usize = 300;

/// The same as median and 99th percentile.
pub(crate) fn fdatasync_times(folder: &Path) -> anyhow::Result<(Duration, Duration)> {
    let path = folder.join("fdatasync-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(PROBE_WRITES);
    for _ in 0..PROBE_WRITES {
        let before = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort();
    Ok((times[PROBE_WRITES / 2], times[PROBE_WRITES * 99 / 100]))
}

/// Waits until others have left nine tenths of the cores alone for two seconds; gives up waiting after a minute, which
/// the share of foreign processor time will then show.
pub(crate) async fn wait_until_idle() -> anyhow::Result<()> {
    const QUIET: Duration = Duration::from_secs(2);
    const LIMIT: Duration = Duration::from_secs(60);
    const BUSY_MAX: f64 = 0.1;
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        let before = Usage::now()?;
        tokio::time::sleep(QUIET).await;
        if Usage::now()?.foreign_share(&before, Duration::ZERO)? < BUSY_MAX {
            return Ok(());
        }
    }
    eprintln!("others are using this machine");
    Ok(())
}

/// The processors' busy time, and ours: this process and the children it has waited for.
pub(crate) struct Usage {
    at: Instant,
    busy: Duration,
    own: Duration,
}

impl Usage {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let fields: Vec<u64> = stat
            .lines()
            .next()
            .context("an empty /proc/stat")?
            .split_whitespace()
            .skip(1)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        // user, nice, system, irq, softirq, steal; not idle and iowait, and guest is part of user.
        let busy = fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7];
        let own_stat = fs::read_to_string("/proc/self/stat")?;
        let own: Vec<&str> =
            own_stat.rsplit_once(')').context("no process name")?.1.split_whitespace().collect();
        let own = own[11..15].iter().map(|field| field.parse::<u64>()).sum::<Result<u64, _>>()?;
        Ok(Self { at: Instant::now(), busy: ticks(busy), own: ticks(own) })
    }

    /// Our own processor time since `before`.
    pub(crate) fn own_since(&self, before: &Usage) -> Duration {
        self.own - before.own
    }

    /// The share of all cores since `before` that neither we nor the broker have used.
    pub(crate) fn foreign_share(&self, before: &Usage, broker: Duration) -> anyhow::Result<f64> {
        let cores = std::thread::available_parallelism()?.get() as f64;
        let known = (self.own - before.own) + broker;
        let foreign = (self.busy - before.busy).saturating_sub(known);
        Ok(foreign.as_secs_f64() / ((self.at - before.at).as_secs_f64() * cores))
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}
