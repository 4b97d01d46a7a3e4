//! The disk under the data folder: room, kind, and how long a flush takes.

use super::finding::Finding;
use rustix::fs::{statfs, statvfs};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const CHECK: &str = "disk";

/// `f_type` of a file system in memory.
const TMPFS: i64 = 0x0102_1994;

/// Room below which the broker soon refuses records, and below which somebody should know, bytes.
const ROOM_FAIL: u64 = 128 << 20;
const ROOM_WARN: u64 = 2 << 30;

/// Flushes that are timed, and the median above which every acknowledgement is slow.
const FLUSHES: usize = 33;
const FLUSH_WARN: Duration = Duration::from_millis(20);

pub(super) fn look(data: &Path) -> Vec<Finding> {
    let folder = existing(data);
    vec![kind(&folder), room(&folder), flushes(&folder)]
}

/// The folder, or the nearest one above it that is there already.
fn existing(data: &Path) -> PathBuf {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn kind(folder: &Path) -> Finding {
    match statfs(folder) {
        #[expect(clippy::unnecessary_cast, reason = "the type of the field differs by platform")]
        Ok(found) if found.f_type as i64 == TMPFS => Finding::fail(
            CHECK,
            format!("{} is in memory: a restart of the machine loses everything", folder.display()),
            "choose a folder on a disk with --data",
        ),
        Ok(_) => Finding::ok(CHECK, format!("{} is on a disk", folder.display())),
        Err(error) => {
            Finding::fail(CHECK, format!("{}: {error}", folder.display()), "choose another with --data")
        }
    }
}

fn room(folder: &Path) -> Finding {
    let found = match statvfs(folder) {
        Ok(found) => found,
        Err(error) => {
            return Finding::fail(
                CHECK,
                format!("{}: {error}", folder.display()),
                "choose another with --data",
            );
        }
    };
    let bytes = found.f_bavail * found.f_frsize;
    let text = format!("{} MiB free", bytes >> 20);
    if bytes < ROOM_FAIL {
        Finding::fail(CHECK, text, "make room: a full disk takes no records")
    } else if bytes < ROOM_WARN {
        Finding::warn(CHECK, text, "set retention.bytes or retention.ms, or make room")
    } else {
        Finding::ok(CHECK, text)
    }
}

fn flushes(folder: &Path) -> Finding {
    match times(folder) {
        Err(error) => Finding::fail(
            CHECK,
            format!("nothing can be written to {}: {error}", folder.display()),
            "give this user the folder, or choose another with --data",
        ),
        Ok(times) => {
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            let text = format!("a flush takes {:.1} ms, at most {:.1} ms", ms(median), ms(longest));
            match median > FLUSH_WARN {
                true => {
                    Finding::warn(CHECK, text, "every acknowledgement waits that long; use a faster disk")
                }
                false => Finding::ok(CHECK, text),
            }
        }
    }
}

/// How long each flush of a page took, ascending. The file has no name and is gone afterwards.
fn times(folder: &Path) -> io::Result<Vec<Duration>> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        file.write_all(&[0; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("a/b");
        assert_eq!(existing(&missing), folder.path());
        assert!(!missing.exists());
        assert_eq!(look(&missing).len(), 3);
        assert_eq!(times(folder.path()).unwrap().len(), FLUSHES);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_failure() {
        assert_eq!(flushes(Path::new("/proc")).level, Level::Fail);
    }
}
