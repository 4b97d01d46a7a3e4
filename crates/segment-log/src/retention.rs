//! What a partition's config no longer keeps: sealed segments by age and size, the rest of a log once all of it is old.

use crate::partition::{Log, SegmentEntry, State};
use keyway_log::AppendError;
use keyway_record::{Offset, Timestamp};
use std::sync::Arc;

impl Log {
    /// Closes the newest segment if its first record is older than `segment.ms`. Nobody may be writing to it.
    /// Returns it then, for its index to be synced.
    pub(crate) fn roll(&self, now: Timestamp) -> Option<SegmentEntry> {
        let last = {
            let state = self.state();
            let closes = |last: &&SegmentEntry| {
                !last.segment.is_sealed() && state.config.closes(last.first_timestamp, now)
            };
            state.segments.last().filter(closes).cloned()?
        };
        self.engine.seal(&last);
        Some(last)
    }

    /// Whether batches in memory would have to be in segments before their bytes can be given up.
    pub(crate) fn has_unwritten_surplus(&self) -> bool {
        let state = self.state();
        let Some(kept) = state.config.retention_bytes else { return false };
        let unwritten = state.unwritten_bytes(state.high_watermark) as u64;
        unwritten > 0 && state.segment_bytes() + unwritten > kept
    }

    /// Gives up what is too old or too much; whether that was anything.
    pub(crate) fn retain(self: &Arc<Self>, now: Timestamp) -> Result<bool, AppendError> {
        let (start, kept_from) = {
            let state = self.state();
            (state.start, state.expired_until(now).max(state.surplus_until()))
        };
        if kept_from <= start {
            return Ok(false);
        }
        self.trim(kept_from).map(|_| true)
    }
}

impl State {
    /// Offset after the segments, and the batches behind them, that hold nothing young.
    fn expired_until(&self, now: Timestamp) -> Offset {
        let mut until = self.start;
        for entry in &self.segments {
            if !self.config.expires(entry.max_timestamp, now) {
                return until;
            }
            until = entry.next;
        }
        let behind = self.tail.iter().filter(|batch| batch.base_offset() >= self.written);
        for batch in behind.take_while(|batch| batch.next_offset() <= self.high_watermark) {
            if !self.config.expires(batch.max_timestamp(), now) {
                return until;
            }
            until = batch.next_offset();
        }
        until
    }

    /// Offset after the oldest segments without which enough bytes remain; never after the newest one.
    fn surplus_until(&self) -> Offset {
        let Some(kept) = self.config.retention_bytes else { return self.start };
        let mut bytes = self.segment_bytes() + self.unwritten_bytes(self.high_watermark) as u64;
        let mut until = self.start;
        let sealed = self.segments.len().saturating_sub(1);
        for entry in self.segments.iter().take(sealed) {
            bytes -= entry.len;
            if bytes < kept {
                break;
            }
            until = entry.next;
        }
        until
    }

    fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|entry| entry.len).sum()
    }
}
