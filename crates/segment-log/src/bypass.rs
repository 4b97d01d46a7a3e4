//! Large commits bypass the write-ahead log: their batches go straight to the segment, which is flushed, and the commit
//! holds a reference to them instead of their bytes. A disk that is slow to write then writes them once.
//!
//! The segment comes first. Before the commit takes them, staged batches are written behind what the log's segments have,
//! and all of these are made durable; only then a block refers to them. So a reference is always to what is there, replay
//! need not look, and what is in a segment and in no block is cut off as after any crash. If the segment cannot be
//! written, the batches are still staged, and the commit holds them as it holds any others.
//!
//! A reference states what recovery does not know of the log's segments, up to its last batch. Where that is not simply
//! the next part of them, because they were compacted or trimmed since, the commit holds the batches.

mod way;

pub(crate) use way::{Way, Ways};

use crate::{
    DurableBy, Failure,
    checkpoint::Checkpointer,
    engine::Engine,
    manifest::SegmentState,
    partition::{Freed, Log, SegmentEntry, State},
    staging::{Large, Staged},
    wal::entry::Entry,
    write_behind::Pass,
};
use keyway_record::{Offset, RecordBatch, Timestamp, batch::HEADER_LEN};
use std::sync::{Arc, TryLockError, atomic::Ordering};

/// Partitions that bypass the write-ahead log in one commit: each costs a flush of its own.
const LOGS_MAX: usize = 4;

/// A reference holds a header for each batch. Batches that are shorter than this many headers on average are held whole.
const HEADERS_PER_BATCH: usize = 8;

/// Flushes of segments that say what a second write takes have at least so many bytes: then bandwidth counts in them.
const SECOND_WRITE_MIN: u64 = 4 << 20;

/// Staged batches that are durable in their log's segments.
pub(crate) struct Bypassed {
    pub(crate) log: Arc<Log>,
    until: Offset,
    pub(crate) bytes: usize,
    pub(crate) effort: Effort,
}

/// What it took to have them there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Effort {
    /// They were written to a segment, and it was flushed.
    Usual,
    /// Earlier batches had to be written or flushed with them, or files made.
    More,
}

impl Engine {
    /// Brings batches of which many are staged to their segments, durably.
    pub(crate) fn bypass(&self, large: Vec<Large>) -> Result<Vec<Bypassed>, Failure> {
        let mut bypassed = Vec::new();
        // Whoever has the segments may wait for this very commit.
        let mut checkpointer = match self.try_checkpointer() {
            Ok(checkpointer) => checkpointer,
            Err(TryLockError::WouldBlock) => return Ok(bypassed),
            Err(TryLockError::Poisoned(_)) => panic!("no panic under the lock"),
        };
        for Large { log, until, bytes, batches } in large.into_iter().take(LOGS_MAX) {
            if bytes < HEADERS_PER_BATCH * HEADER_LEN * batches || !log.state().may_bypass() {
                continue;
            }
            if let Some(effort) = checkpointer.write_through(self, &log, until)? {
                self.counters.bypassed_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                bypassed.push(Bypassed { log, until, bytes, effort });
            }
        }
        Ok(bypassed)
    }

    /// Learns that segments with `bytes` that were written behind took that long to flush.
    pub(crate) fn note_second_write(&self, bytes: u64, took_us: u64) {
        if bytes < SECOND_WRITE_MIN {
            return;
        }
        let us_per_mib = (took_us << 20) / bytes;
        let average = self.second_write_us.load(Ordering::Relaxed);
        let average = if average == 0 { us_per_mib } else { (3 * average + us_per_mib) / 4 };
        self.second_write_us.store(average, Ordering::Relaxed);
    }

    pub(crate) fn second_write_us_per_mib(&self) -> Option<u64> {
        Some(self.second_write_us.load(Ordering::Relaxed)).filter(|average| *average > 0)
    }

    /// What of the next commit is large and may bypass the write-ahead log.
    pub(crate) fn large(&self) -> Vec<Large> {
        match self.options.durable_by {
            DurableBy::Fsync => self.staging.large(self.options.commit_bytes_max),
            // A flush is what this mode is chosen to avoid, and a reference to what is not flushed may be to nothing.
            DurableBy::Os => Vec::new(),
        }
    }
}

impl Bypassed {
    /// Whether it is one of them.
    pub(crate) fn holds(&self, staged: &Staged) -> bool {
        Arc::ptr_eq(&self.log, &staged.log)
            && staged.batch().is_some_and(|batch| batch.next_offset() <= self.until)
    }

    /// Whether all of them were committed, or nobody wants them any more.
    pub(crate) fn is_past(&self) -> bool {
        let state = self.log.state();
        state.deleted || self.until <= state.high_watermark
    }

    /// An entry for those of `taken` that are among them, the first of which is the first that no block has. `None` if
    /// recovery would not know what comes before.
    pub(crate) fn refer_to(&self, taken: &[Staged]) -> Option<Entry> {
        let held = taken.iter().filter(|staged| self.holds(staged));
        let batches: Vec<_> = held.filter_map(Staged::batch).cloned().collect();
        let next = batches.last()?.next_offset();
        let segments = self.log.state().refer_up_to(next)?;
        Some(Entry::Reference { log: self.log.id, segments, batches })
    }
}

impl Checkpointer {
    /// Writes what is before `until` to the log's segments, and makes all of these durable. `None` if that was not to be
    /// had: then nothing is lost.
    fn write_through(
        &mut self,
        engine: &Engine,
        log: &Arc<Log>,
        until: Offset,
    ) -> Result<Option<Effort>, Failure> {
        let mut unsynced = self.unsynced.split_off(log);
        let lags = !unsynced.segments.is_empty() || log.state().has_unwritten();
        if log.write_behind(Pass::Ahead(until), &mut unsynced).is_err() {
            self.unsynced.append(unsynced);
            return Ok(None);
        }
        let effort = if lags || !unsynced.folders.is_empty() { Effort::More } else { Effort::Usual };
        engine.counters.segment_flushes.fetch_add(unsynced.segments.len() as u64, Ordering::Relaxed);
        let (bytes, begun) = (unsynced.bytes(), engine.clock.now_us());
        let failed = self.sync_each(engine, &unsynced)?;
        if lags {
            engine.note_second_write(bytes, engine.clock.now_us().saturating_sub(begun));
        }
        failed.iter().try_for_each(|(log, error)| self.take_back(log, error))?;
        let state = log.state();
        Ok((state.offline.is_none() && state.written >= until).then_some(effort))
    }
}

impl State {
    /// Whether batches are durable that no segment has.
    fn has_unwritten(&self) -> bool {
        self.tail
            .iter()
            .any(|batch| self.written <= batch.base_offset() && batch.base_offset() < self.high_watermark)
    }

    /// Whether a reference to what is appended now would do.
    fn may_bypass(&self) -> bool {
        !self.deleted && self.offline.is_none() && self.beyond_logged().is_some()
    }

    /// The segments that recovery does not know, or not whole; `None` if they are not just the next part of the log.
    fn beyond_logged(&self) -> Option<&[SegmentEntry]> {
        let first = self.segments.partition_point(|entry| entry.next <= self.logged);
        let beyond = &self.segments[first..];
        let mut known_until = self.logged;
        for (index, entry) in beyond.iter().enumerate() {
            let follows = if index == 0 {
                entry.segment.base <= known_until
            } else {
                entry.segment.base == known_until
            };
            if !follows || entry.segment.revision != 0 {
                return None;
            }
            known_until = entry.next;
        }
        Some(beyond)
    }

    /// What recovery does not know of the segments, as they are without the batches from `next` on. It will know it from
    /// the block under way.
    fn refer_up_to(&mut self, next: Offset) -> Option<Vec<SegmentState>> {
        let beyond = self.beyond_logged().filter(|_| !self.deleted)?;
        let beyond = beyond.iter().take_while(|entry| entry.segment.base < next);
        if beyond.clone().any(|entry| entry.durable_next < entry.next.min(next)) {
            return None;
        }
        let mut segments: Vec<_> = beyond.map(SegmentState::of).collect();
        let last = segments.last_mut().filter(|last| last.next >= next)?;
        let later =
            self.tail.iter().filter(|batch| batch.base_offset() >= next && batch.next_offset() <= last.next);
        last.len -= later.map(|batch| batch.bytes().len() as u64).sum::<u64>();
        last.next = next;
        self.logged = next;
        Some(segments)
    }

    /// Takes in what a reference tells, as recovery meets it: the memory that came free, and the segments that this replay
    /// began and that are in nobody's way any more.
    pub(crate) fn follow_reference(
        &mut self,
        log: &Log,
        segments: &[SegmentState],
        batches: &[RecordBatch],
        now: Timestamp,
    ) -> Result<(Freed, Vec<SegmentEntry>), String> {
        let (Some(first), Some(last), Some(newest)) = (segments.first(), segments.last(), batches.last())
        else {
            return Err(format!("a reference of log {} is to nothing", log.id));
        };
        let next = newest.next_offset();
        if next <= self.end {
            return Ok((Freed::default(), Vec::new()));
        }
        if first.base > self.logged || last.next != next {
            let (base, logged) = (first.base, self.logged);
            return Err(format!(
                "log {} has a segment from {base} on where {logged} is known, up to {next}",
                log.id
            ));
        }
        let before = Freed {
            memory: self.tail.iter().map(|batch| batch.bytes().len()).sum(),
            unwritten: self.unwritten_bytes(self.end),
        };
        for batch in batches {
            if batch.next_offset() <= self.end {
                continue;
            }
            if batch.base_offset() != self.end {
                let (base, end) = (batch.base_offset(), self.end);
                return Err(format!("log {} goes on at {base} and ends at {end}", log.id));
            }
            self.follow(batch, now).map_err(|error| format!("log {}: {error}", log.id))?;
        }
        self.tail.clear();
        let known = self.segments.partition_point(|entry| entry.segment.base < first.base);
        if self.segments[..known].last().is_some_and(|last| last.next > first.base) {
            return Err(format!("log {} has a segment from {} on inside another one", log.id, first.base));
        }
        let mut replaced = self.segments.split_off(known);
        let start = self.start;
        for stated in segments.iter().filter(|stated| stated.next > start) {
            let held = replaced.iter().position(|entry| entry.segment.base == stated.base);
            let segment = match held {
                Some(held) => replaced.swap_remove(held).segment,
                None => Arc::new(log.new_segment(stated.base, stated.revision)),
            };
            self.segments.push(SegmentEntry::restored(segment, stated));
        }
        (self.written, self.logged) = (next, next);
        Ok((before, replaced))
    }
}
