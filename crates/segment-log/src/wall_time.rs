//! The wall clock as far as it can be believed: what is deleted because a clock jumped does not come back.

use keyway_record::{Millis, Timestamp};

/// How far the wall clock may get ahead of the monotonic one between two looks, ms: what time synchronisation corrects
/// without a jump is far less.
const AHEAD_MS_MAX: i64 = 60_000;

/// How long the wall clock must run steadily after a jump before it is believed again, ms. A wrong clock is mostly put
/// right within minutes; a machine that slept a night starts deleting an hour later.
const PROBATION_MS: u64 = 60 * 60 * 1000;

/// Watches the wall clock against the monotonic one.
#[derive(Default)]
pub(crate) struct WallTime {
    last: Option<(Millis, i64)>,
    doubted_until: Millis,
}

impl WallTime {
    /// The wall-clock time, or `None` while it is in doubt. `now` and `wall_ms` are the two clocks' times.
    pub(crate) fn believed(&mut self, now: Millis, wall_ms: i64) -> Option<Timestamp> {
        if let Some((last_now, last_wall_ms)) = self.last.replace((now, wall_ms)) {
            let passed_ms = i64::try_from(now.0.saturating_sub(last_now.0)).unwrap_or(i64::MAX);
            let ahead_ms = wall_ms.saturating_sub(last_wall_ms).saturating_sub(passed_ms);
            if ahead_ms > AHEAD_MS_MAX {
                tracing::warn!(
                    ahead_ms,
                    "the wall clock jumped ahead; nothing is deleted for its age for an hour"
                );
                self.doubted_until = Millis(now.0 + PROBATION_MS);
            }
        }
        (now >= self.doubted_until).then_some(Timestamp(wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    #[test]
    fn a_jump_ahead_is_believed_after_an_hour_only() {
        let mut time = WallTime::default();
        let wall = |minute: u64, jump_ms: i64| 1_000_000 + (minute * MINUTE_MS) as i64 + jump_ms;
        let year_ms = 365 * 24 * 60 * MINUTE_MS as i64;
        for minute in [0, 5, 10] {
            assert_eq!(
                time.believed(Millis(minute * MINUTE_MS), wall(minute, 0)),
                Some(Timestamp(wall(minute, 0)))
            );
        }
        for minute in (15..75).step_by(5) {
            assert_eq!(time.believed(Millis(minute * MINUTE_MS), wall(minute, year_ms)), None, "{minute}");
        }
        assert!(time.believed(Millis(75 * MINUTE_MS), wall(75, year_ms)).is_some());
    }

    #[test]
    fn a_jump_back_deletes_nothing_early_and_the_way_forth_is_a_jump() {
        let mut time = WallTime::default();
        assert_eq!(time.believed(Millis(0), 10_000_000), Some(Timestamp(10_000_000)));
        assert_eq!(time.believed(Millis(10), 10), Some(Timestamp(10)));
        assert_eq!(time.believed(Millis(20), 10_000_000), None);
    }
}
