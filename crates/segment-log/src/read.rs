//! Reading one partition: from memory where the tail is, from the segments before it.

use crate::{
    partition::{Log, SegmentEntry, State},
    segment::{Extent, Reading},
};
use keyway_log::{Isolation, ReadError, ReadLimit, Slice};
use keyway_record::{Offset, Timestamp};
use keyway_runtime::OpenMode;
use std::sync::Arc;

/// What a read does next, decided under the lock.
enum Step {
    Done,
    Segment { entry: SegmentEntry, extent: Extent, until: Offset },
}

impl Log {
    /// As [`keyway_log::PartitionLog::read`].
    pub(crate) fn read(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError> {
        let mut slice = self.read_batches(from, limit)?;
        if limit.isolation == Isolation::ReadCommitted {
            // What lies before the last stable offset is decided for good, so a second look at the state finds it the same.
            slice.aborted = self.state().transactions.aborted(from, slice.next).collect();
        }
        Ok(slice)
    }

    fn read_batches(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError> {
        let mut slice = Slice { next: from, ..Slice::default() };
        loop {
            let step = self.next_step(from, limit, &mut slice)?;
            let Step::Segment { entry, extent, until } = step else {
                if slice.is_empty() {
                    slice.next = from;
                }
                return Ok(slice);
            };
            match self.read_segment(&entry, extent, until, limit, &mut slice) {
                Ok(Reading::Open) => {}
                Ok(Reading::Full) => return Ok(slice),
                // The next read meets the error again.
                Err(_) if !slice.is_empty() => return Ok(slice),
                // A trim, a deletion or a compaction was faster, which the next look at the state tells.
                Err(_) if !self.holds(&entry) || self.state().start > from => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn next_step(&self, from: Offset, limit: ReadLimit, slice: &mut Slice) -> Result<Step, ReadError> {
        let state = self.state();
        if state.deleted {
            return Err(ReadError::Deleted);
        }
        let (start, high_watermark) = (state.start, state.high_watermark);
        if from < start || from > high_watermark {
            return Err(ReadError::OutOfRange { offset: from, start, high_watermark });
        }
        let readable_end = state.readable_end(limit.isolation);
        if slice.next >= readable_end {
            return Ok(Step::Done);
        }
        if state.tail.front().is_some_and(|front| front.base_offset() <= slice.next) {
            state.read_tail(limit, slice);
            return Ok(Step::Done);
        }
        let index = state.segments.partition_point(|entry| entry.next <= slice.next);
        match state.segments.get(index) {
            Some(entry) if entry.segment.base <= slice.next.max(state.compacted) => {
                // Of what was compacted, nothing may be left before it.
                slice.next = slice.next.max(entry.segment.base);
                let until = entry.next.min(readable_end);
                Ok(Step::Segment { entry: entry.clone(), extent: state.extent_of(entry), until })
            }
            None if slice.next < state.compacted => {
                slice.next = state.compacted;
                drop(state);
                self.next_step(from, limit, slice)
            }
            _ if !slice.is_empty() => Ok(Step::Done),
            _ => Err(ReadError::Corrupt { offset: slice.next, reason: "no segment holds it".into() }),
        }
    }

    fn read_segment(
        &self,
        entry: &SegmentEntry,
        extent: Extent,
        until: Offset,
        limit: ReadLimit,
        slice: &mut Slice,
    ) -> Result<Reading, ReadError> {
        let file = self.engine.files.open(&entry.segment, OpenMode::Existing)?;
        let range = (slice.next, until);
        let read = entry.segment.read(file.as_ref(), extent, range, limit.bytes_max, slice);
        self.note_read(entry);
        read
    }

    /// Whether the segment is a part of the log still.
    pub(crate) fn holds(&self, entry: &SegmentEntry) -> bool {
        let state = self.state();
        !state.deleted && state.segments.iter().any(|held| Arc::ptr_eq(&held.segment, &entry.segment))
    }

    /// As [`keyway_log::PartitionLog::find`].
    pub(crate) fn find(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        let (start, high_watermark, segments, in_tail) = {
            let state = self.state();
            if state.deleted {
                return Err(ReadError::Deleted);
            }
            let mut readable =
                state.tail.iter().take_while(|batch| batch.next_offset() <= state.high_watermark);
            let in_tail =
                readable.find(|batch| batch.max_timestamp() >= time).map(|batch| batch.base_offset());
            let tail_base = state.tail.front().map_or(state.end, |batch| batch.base_offset());
            let earlier =
                |entry: &&SegmentEntry| entry.segment.base < tail_base && entry.max_timestamp >= time;
            let segments: Vec<_> = state.segments.iter().filter(earlier).cloned().collect();
            (state.start, state.high_watermark, segments, in_tail)
        };
        for entry in segments {
            let file = self.engine.files.open(&entry.segment, OpenMode::Existing)?;
            // A segment may hold what is not durable as a whole.
            let found = entry.segment.find(file.as_ref(), entry.extent(), start, time);
            self.note_read(&entry);
            if let Some(found) = found?.filter(|found| *found < high_watermark) {
                return Ok(Some(found.max(start)));
            }
        }
        Ok(in_tail.map(|found| found.max(start)))
    }
}

impl State {
    /// How far a segment is written, with the leader epoch of its batches if the log knows it. In what was compacted,
    /// only the index tells.
    fn extent_of(&self, entry: &SegmentEntry) -> Extent {
        let (first, last) = (entry.segment.base, entry.next.plus(-1));
        let epoch = self.epochs.epoch_of(first).filter(|epoch| self.epochs.epoch_of(last) == Some(*epoch));
        Extent { epoch: epoch.filter(|_| entry.segment.revision == 0), ..entry.extent() }
    }

    /// Adds batches from memory, from `slice.next` on.
    fn read_tail(&self, limit: ReadLimit, slice: &mut Slice) {
        let mut bytes_left = limit.bytes_max.saturating_sub(slice.len());
        let end = self.readable_end(limit.isolation);
        let first = self.tail.partition_point(|batch| batch.next_offset() <= slice.next);
        for batch in self.tail.iter().skip(first) {
            let len = batch.bytes().len();
            let readable = batch.next_offset() <= end;
            if !readable || (len > bytes_left && !slice.is_empty()) {
                break;
            }
            bytes_left = bytes_left.saturating_sub(len);
            slice.pieces.push(batch.bytes().clone());
            slice.next = batch.next_offset();
        }
    }
}
