//! When the writer looks for what is no longer kept, and for what is worth compacting.

use keyway_log::StoreConfig;
use keyway_record::Millis;

/// Shortest time between two looks, ms: one at 1,000 partitions without work takes about a thousandth of it.
const INTERVAL_MS_MIN: u64 = 100;

/// When each look was taken last.
pub(crate) struct Schedule {
    retained_at: Millis,
    compacted_at: Millis,
}

impl Schedule {
    /// The first looks are an interval away from `now`.
    pub(crate) fn new(now: Millis) -> Self {
        Self { retained_at: now, compacted_at: now }
    }

    /// Whether it is time to look for what is no longer kept; it is not then for an interval.
    pub(crate) fn take_retention(&mut self, config: StoreConfig, now: Millis) -> bool {
        let due = now >= self.retention_at(config);
        if due {
            self.retained_at = now;
        }
        due
    }

    /// The same for what is worth compacting.
    pub(crate) fn take_compaction(&mut self, config: StoreConfig, now: Millis) -> bool {
        let due = self.compaction_at(config).is_some_and(|at| now >= at);
        if due {
            self.compacted_at = now;
        }
        due
    }

    /// When it is time for the next look.
    pub(crate) fn next_at(&self, config: StoreConfig) -> Millis {
        let retention_at = self.retention_at(config);
        self.compaction_at(config).map_or(retention_at, |at| at.min(retention_at))
    }

    fn retention_at(&self, config: StoreConfig) -> Millis {
        after(self.retained_at, config.retention_interval_ms)
    }

    fn compaction_at(&self, config: StoreConfig) -> Option<Millis> {
        config.compaction_interval_ms.map(|interval_ms| after(self.compacted_at, interval_ms))
    }
}

fn after(time: Millis, interval_ms: u64) -> Millis {
    Millis(time.0.saturating_add(interval_ms.max(INTERVAL_MS_MIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(retention_ms: u64, compaction_ms: Option<u64>) -> StoreConfig {
        StoreConfig {
            retention_interval_ms: retention_ms,
            compaction_interval_ms: compaction_ms,
            ..StoreConfig::default()
        }
    }

    #[test]
    fn each_look_has_an_interval_of_its_own() {
        let config = every(5_000, Some(1_000));
        let mut schedule = Schedule::new(Millis(0));
        let (mut retained, mut compacted) = (0, 0);
        let mut now = Millis(0);
        while now.0 < 10_000 {
            now = schedule.next_at(config);
            retained += u32::from(schedule.take_retention(config, now));
            compacted += u32::from(schedule.take_compaction(config, now));
        }
        assert_eq!((retained, compacted), (2, 10));
    }

    #[test]
    fn another_interval_counts_from_the_last_look() {
        let mut schedule = Schedule::new(Millis(0));
        assert!(!schedule.take_compaction(every(5_000, Some(15_000)), Millis(2_000)));
        assert!(schedule.take_compaction(every(5_000, Some(1_000)), Millis(2_000)));
        assert_eq!(schedule.next_at(every(5_000, None)), Millis(5_000), "there is no compaction");
        assert!(!schedule.take_compaction(every(5_000, None), Millis(100_000)));
        assert_eq!(schedule.next_at(every(0, Some(0))), Millis(INTERVAL_MS_MIN), "never without a pause");
    }
}
