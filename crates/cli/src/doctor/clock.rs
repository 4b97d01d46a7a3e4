//! The clock: records carry its time, and retention, sessions and certificates go by it.

use super::finding::Finding;
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

const CHECK: &str = "clock";

/// How far in the future a file may seem to be; clocks are set back by this much in good health.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Before this program was written, in seconds since 1970: 2026-01-01.
const EARLIEST_S: u64 = 1_767_225_600;

pub(super) fn look(data: &Path) -> Vec<Finding> {
    vec![judge(SystemTime::now(), newest_file(data))]
}

fn judge(now: SystemTime, newest: Option<SystemTime>) -> Finding {
    if now < SystemTime::UNIX_EPOCH + Duration::from_secs(EARLIEST_S) {
        return Finding::fail(
            CHECK,
            "the clock stands before 2026: records would get wrong times and certificates would not be valid",
            "set the clock, by NTP if you can",
        );
    }
    match newest.and_then(|newest| newest.duration_since(now).ok()) {
        Some(ahead) if ahead > AHEAD_MAX => Finding::warn(
            CHECK,
            format!("the newest file of the data folder is {} s in the future", ahead.as_secs()),
            "the clock was set back; retention by time will keep records that much longer",
        ),
        _ => Finding::ok(CHECK, "later than every file of the data folder"),
    }
}

/// When something in the folder changed last.
fn newest_file(data: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(data).ok()?;
    entries.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn a_clock_that_was_set_back_is_seen() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(EARLIEST_S + 1_000_000);
        assert_eq!(judge(now, None).level, Level::Ok);
        assert_eq!(judge(now, Some(now + Duration::from_secs(10))).level, Level::Ok);
        assert_eq!(judge(now, Some(now + Duration::from_secs(3_600))).level, Level::Warn);
        assert_eq!(judge(SystemTime::UNIX_EPOCH, None).level, Level::Fail);
    }
}
