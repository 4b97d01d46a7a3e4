//! How much memory this process may have, by its control groups and by ulimit, and what the broker's parts take of it.

use rustix::process::{Resource, getrlimit};
use std::{env, fs, io, os::unix::process::CommandExt, path::Path, process::Command};

const ROOT: &str = "/sys/fs/cgroup";

/// The least of all bounds, bytes; `None` without one.
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = files(&groups).into_iter().filter_map(|path| bound(&fs::read_to_string(path).ok()?));
    of_groups.chain([Resource::As, Resource::Data].iter().filter_map(|&of| getrlimit(of).current)).min()
}

/// Below this, memory that the allocator keeps for later is missed.
const LITTLE_BYTES: u64 = 1 << 30;

/// What has glibc's allocator give blocks from half a MiB on back at once, and keep no heap for each thread. It reads them
/// when a process starts.
const GIVING_BACK: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "524288"), ("MALLOC_TRIM_THRESHOLD_", "1048576"), ("MALLOC_ARENA_MAX", "2")];

/// Where there is little memory, starts this program again in the same process with an allocator that gives it back, unless
/// the environment says how it is to be. An error if that does not work, and nothing has changed then.
pub(crate) fn give_memory_back() -> io::Result<()> {
    let is_little = memory_limit().is_some_and(|limit| limit < LITTLE_BYTES);
    let is_told = GIVING_BACK.iter().any(|(name, _)| env::var_os(name).is_some());
    if !is_little || is_told || !cfg!(target_env = "gnu") {
        return Ok(());
    }
    Err(Command::new(env::current_exe()?).args(env::args_os().skip(1)).envs(GIVING_BACK).exec())
}

/// What of the memory is for what, bytes. With 256 MiB the rest holds 1,000 partitions, 2,000 connections and what allocators
/// keep (`cargo xtask hostile --memory`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    /// Requests that arrive: a sixteenth, 128 MiB at most. Of a Danube message there are three copies for a moment.
    pub(crate) requests: usize,
    /// Records of the log: an eighth, 64 MiB at most. It keeps as much again for what comes next.
    pub(crate) log: usize,
    /// Indexes of the log's segments: a 32nd, 1 GiB at most.
    pub(crate) indexes: usize,
    /// Messages that subscriptions keep: an eighth, 512 MiB at most.
    pub(crate) subscriptions: usize,
}

impl Shares {
    /// Of what this process may have.
    pub(crate) fn of_process() -> Self {
        Self::of(memory_limit())
    }

    fn of(limit: Option<u64>) -> Self {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self {
            requests: (limit / 16).min(128 << 20),
            log: (limit / 8).min(64 << 20),
            indexes: (limit / 32).min(1 << 30),
            subscriptions: (limit / 8).min(512 << 20),
        }
    }
}

/// Where the kernel says it for these groups and for all that they lie in. In a container the root is the group itself.
fn files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (ROOT.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (format!("{ROOT}/memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let above = Path::new(group).ancestors().filter_map(Path::to_str);
        files.extend(above.map(|group| format!("{root}{}/{file}", group.trim_end_matches('/'))));
    }
    files
}

/// `None` for no bound. The first version of control groups writes a number near the largest for that.
fn bound(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_all_above_it_are_asked() {
        assert_eq!(
            files("4:cpu,memory:/a/b\n3:pids:/c\n0::/d\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/d/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }

    #[test]
    fn little_memory_is_shared_out_and_much_is_not_all_taken() {
        let mib = |limit| {
            let Shares { requests, log, indexes, subscriptions } = Shares::of(limit);
            [requests, log, indexes, subscriptions].map(|bytes| bytes >> 20)
        };
        assert_eq!(mib(Some(256 << 20)), [16, 32, 8, 32]);
        assert_eq!(mib(Some(64 << 30)), [128, 64, 1024, 512]);
        assert_eq!(mib(None), [128, 64, 1024, 512]);
    }

    #[test]
    fn words_and_numbers_near_the_largest_are_no_bounds() {
        assert_eq!(bound("268435456\n"), Some(256 << 20));
        assert_eq!((bound("max\n"), bound("9223372036854771712\n")), (None, None));
    }
}
