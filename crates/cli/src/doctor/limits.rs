//! What the machine allows the process: open files and memory.

use super::finding::Finding;
use crate::{memory_limit::memory_limit, serve::Node};
use rustix::process::{Resource, getrlimit};

/// Files that a broker has open besides connections and segments, generously.
const OWN_FILES: u64 = 1_000;

/// Memory below which requests are refused at loads that are not large, bytes.
const MEMORY_WARN: u64 = 256 << 20;

pub(super) fn look(node: &Node) -> Vec<Finding> {
    vec![files(getrlimit(Resource::Nofile).maximum, node.connections_max()), memory(memory_limit())]
}

fn files(hard: Option<u64>, connections: u64) -> Finding {
    const CHECK: &str = "limits";
    let needed = connections.saturating_add(OWN_FILES);
    match hard {
        Some(hard) if hard < needed => Finding::warn(
            CHECK,
            format!("{hard} open files are allowed, and max.connections {connections} may need {needed}"),
            format!(
                "raise it (LimitNOFILE={needed} in a systemd unit, or ulimit -Hn), or lower max.connections"
            ),
        ),
        Some(hard) => {
            Finding::ok(CHECK, format!("{hard} open files are allowed, for {connections} connections"))
        }
        None => Finding::ok(CHECK, "any number of open files is allowed"),
    }
}

fn memory(limit: Option<u64>) -> Finding {
    const CHECK: &str = "limits";
    match limit {
        Some(limit) if limit < MEMORY_WARN => Finding::warn(
            CHECK,
            format!("{} MiB of memory are allowed", limit >> 20),
            "256 MiB carry 1,000 partitions and 2,000 connections; lower max.connections",
        ),
        Some(limit) => Finding::ok(CHECK, format!("{} MiB of memory are allowed", limit >> 20)),
        None => Finding::ok(CHECK, "memory is not limited"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn fewer_files_than_connections_are_a_warning() {
        assert_eq!(files(Some(1_024), 10_000).level, Level::Warn);
        assert_eq!(files(Some(20_000), 10_000).level, Level::Ok);
        assert_eq!(files(None, 10_000).level, Level::Ok);
    }

    #[test]
    fn little_memory_is_a_warning() {
        assert_eq!(memory(Some(100 << 20)).level, Level::Warn);
        assert_eq!(memory(Some(1 << 30)).level, Level::Ok);
        assert_eq!(memory(None).level, Level::Ok);
    }
}
