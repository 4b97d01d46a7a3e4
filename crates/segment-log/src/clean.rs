//! The passes over all partitions that give up what their configs no longer keep.

use crate::engine::{Engine, Failed};
use keyway_log::{AppendError, Cleaned};
use keyway_record::Timestamp;

impl Engine {
    /// As [`keyway_log::LogStore::clean`].
    pub(crate) fn clean(&self, now: Timestamp, pace: &dyn Fn(usize) -> bool) -> Result<Cleaned, Failed> {
        let trimmed_partitions = self.retain(now)?;
        Ok(Cleaned { trimmed_partitions, ..self.compact(now, pace)? })
    }

    /// Gives up by the wall clock what is too old or too much: the writer's duty now and then.
    pub(crate) fn retain_by_clock(&self) -> Result<(), Failed> {
        let Some(now) = self.believed_now() else { return Ok(()) };
        let trimmed_partitions = self.retain(now)?;
        if trimmed_partitions > 0 {
            tracing::info!(trimmed_partitions, "old records were given up");
        }
        Ok(())
    }

    /// Compacts by the wall clock what is worth it, at the pace that the store's config allows.
    pub(crate) fn compact_by_clock(&self) -> Result<(), Failed> {
        let Some(now) = self.believed_now() else { return Ok(()) };
        let Cleaned { compacted_partitions, compacted_bytes, .. } =
            self.compact(now, &|bytes| self.pause_writer(bytes))?;
        if compacted_partitions > 0 {
            tracing::info!(compacted_partitions, compacted_bytes, "superseded records were given up");
        }
        Ok(())
    }

    fn believed_now(&self) -> Option<Timestamp> {
        let (now, wall_ms) = (self.clock.now(), self.clock.wall_ms());
        self.wall_time.lock().expect("no panic under the lock").believed(now, wall_ms)
    }

    /// Gives up what is too old or too much; of how many partitions.
    fn retain(&self, now: Timestamp) -> Result<u64, Failed> {
        let _alone = self.cleaning.lock().expect("no panic under the lock");
        let mut trimmed = 0;
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
                Ok(moved) => trimmed += u64::from(moved),
                Err(AppendError::Deleted) => {}
                // Only a closed log refuses a trim.
                Err(_) => break,
            }
        }
        Ok(trimmed)
    }
}
