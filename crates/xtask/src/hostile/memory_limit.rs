//! A control group with a bound on memory, for one process that is started in it: it may ask how much it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, bail};

/// A group of our own below the one that we are in; gone when dropped, its process before it.
pub(super) struct MemoryLimit {
    folder: PathBuf,
    version: Version,
}

/// While it lives, what this process starts is in the group, as the process is itself.
pub(super) struct Inside<'a>(&'a MemoryLimit);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

const ROOT: &str = "/sys/fs/cgroup";

impl MemoryLimit {
    /// A group of so many bytes; all memory counts that the kernel counts, the files' cache too.
    pub(super) fn new(bytes: u64) -> anyhow::Result<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").context("no control groups")?;
        let (version, parent) = parent(&groups)?;
        let folder = parent.join(format!("keyway-{}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("no group {}: run as root", folder.display()))?;
        // From here on it is taken away again.
        let limit = Self { folder, version };
        let (bound, swap) = match version {
            Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
            Version::Two => ("memory.max", "memory.swap.max"),
        };
        limit.write(bound, bytes)?;
        // Without swap there is no file for it.
        let _ = limit.write(swap, if version == Version::One { bytes } else { 0 });
        Ok(limit)
    }

    /// Goes into the group until the answer is dropped.
    pub(super) fn enter(&self) -> anyhow::Result<Inside<'_>> {
        self.write("cgroup.procs", process::id())?;
        Ok(Inside(self))
    }

    /// How often the kernel had to kill somebody.
    pub(super) fn kills(&self) -> anyhow::Result<u64> {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.folder.join(file))?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(line.context("no count of kills")?.parse()?)
    }

    /// Which kind of group it is.
    pub(super) fn kind(&self) -> &'static str {
        match self.version {
            Version::One => "cgroup v1",
            Version::Two => "cgroup v2",
        }
    }

    fn write(&self, file: &str, value: impl ToString) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, value.to_string()).with_context(|| path.display().to_string())
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let above = self.0.folder.parent().expect("it lies below the group that we were in");
        fs::write(above.join("cgroup.procs"), process::id().to_string()).expect("back to where we were");
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Its process was killed and may take a moment to end. An empty one that stays behind harms nobody.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The group that we are in, whose memory can be bounded.
fn parent(groups: &str) -> anyhow::Result<(Version, PathBuf)> {
    let of = |wanted: &str| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let found = controllers.split(',').any(|controller| controller == wanted);
            found.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    if let Some(path) = of("memory") {
        return Ok((Version::One, Path::new(ROOT).join("memory").join(path)));
    }
    // Version 2 bounds what lies below a group that holds no process itself; the root may hold some.
    let controllers = fs::read_to_string(Path::new(ROOT).join("cgroup.subtree_control")).unwrap_or_default();
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        return Ok((Version::Two, PathBuf::from(ROOT)));
    }
    bail!("no control group of this machine bounds memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_older_kind_is_found_by_its_controller() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n";
        let (version, folder) = parent(groups).unwrap();
        assert_eq!((version, folder), (Version::One, PathBuf::from("/sys/fs/cgroup/memory/a/b")));
    }
}
