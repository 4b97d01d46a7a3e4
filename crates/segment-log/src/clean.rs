//! The pass over all partitions that rolls and gives up what their configs no longer keep.

use crate::engine::{Engine, Failed};
use keyway_log::{AppendError, Cleaned};
use keyway_record::Timestamp;

impl Engine {
    /// As [`keyway_log::LogStore::clean`].
    pub(crate) fn clean(&self, now: Timestamp, pace: &dyn Fn(usize) -> bool) -> Result<Cleaned, Failed> {
        let _alone = self.cleaning.lock().expect("no panic under the lock");
        let mut cleaned = Cleaned::default();
        for log in self.logs() {
            if self.has_ended() {
                break;
            }
            {
                let mut checkpointer = self.checkpointer();
                if let Some(sealed) = log.roll(now) {
                    checkpointer.note_sidecar(&sealed.segment);
                }
                if log.has_unwritten_surplus() {
                    checkpointer.write_log(&log).map_err(Failed::Retry)?;
                }
            }
            match log.retain(now) {
                Ok(trimmed) => cleaned.trimmed_partitions += u64::from(trimmed),
                Err(AppendError::Deleted) => {}
                // Only a closed log refuses a trim.
                Err(_) => break,
            }
        }
        (cleaned.compacted_partitions, cleaned.compacted_bytes) = self.compact_logs(now, pace)?;
        Ok(cleaned)
    }

    /// The same by the wall clock, as far as that can be believed: the writer's duty now and then.
    pub(crate) fn clean_by_clock(&self) -> Result<(), Failed> {
        let (now, wall_ms) = (self.clock.now(), self.clock.wall_ms());
        let believed = self.wall_time.lock().expect("no panic under the lock").believed(now, wall_ms);
        let Some(now) = believed else { return Ok(()) };
        let cleaned = self.clean(now, &|bytes| self.pause_writer(bytes))?;
        if cleaned != Cleaned::default() {
            let Cleaned { trimmed_partitions, compacted_partitions, compacted_bytes } = cleaned;
            tracing::info!(
                trimmed_partitions,
                compacted_partitions,
                compacted_bytes,
                "old records were given up"
            );
        }
        Ok(())
    }
}
