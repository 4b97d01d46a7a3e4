//! Compaction of one partition: its sealed segments are written anew without the records that a newer one of their key
//! supersedes. What goes is decided in [`keyway_log::compaction`]; here are the files.
//!
//! New segments are whole and next to the old ones before the log's state changes over to them, all at once. The next
//! checkpoint writes the manifest that names them, and only then removes the old files: a crash
//! before that finds the log as it was. A reader that holds an old segment goes on with it, or looks again if its file is
//! gone.

use crate::{
    engine::{Engine, Failed},
    partition::{Log, SegmentEntry, State},
    segment::Span,
};
use bytes::BufMut;
use keyway_log::{
    Cleaned, Compaction, Isolation, ReadError, Slice,
    compaction::{KEYS_MAX, Kept, KeyOffsets, Tombstones},
};
use keyway_record::{Offset, RecordBatch, Timestamp};
use keyway_runtime::{File, OpenMode};
use std::{io, sync::Arc};

/// Bytes read and written at a time.
const CHUNK_LEN: usize = 1 << 20;

/// How long a log is left alone in which compaction met a batch that it could not read, ms: the next one meets it too.
const UNREADABLE_PAUSE_MS: i64 = 60 * 60 * 1000;

/// What one compaction works on.
struct Plan {
    compaction: Compaction,
    /// Sealed segments that may be compacted, oldest first.
    segments: Vec<SegmentEntry>,
    /// How many of them were compacted before.
    clean: usize,
    segment_bytes: u64,
}

/// One segment written anew, and the segments it is in place of.
struct Rewritten {
    sources: Vec<SegmentEntry>,
    entry: SegmentEntry,
}

/// Why a partition was not compacted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompactError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("its batch at offset {offset} cannot be compacted: {source}")]
    Batch { offset: Offset, source: keyway_log::compaction::CompactError },
    #[error("writing a segment failed: {0}")]
    Write(#[from] io::Error),
    #[error("the log is closed")]
    Closed,
}

impl Log {
    /// Share of bytes that were never compacted, if compacting is due.
    fn dirtiness(&self, now: Timestamp) -> Option<f64> {
        let state = self.state();
        let compaction = state.compaction(now)?;
        let (mut clean, mut dirty, mut oldest) = (0, 0, None);
        for entry in state.compactable(compaction, now) {
            if entry.next <= state.compacted {
                clean += entry.len;
            } else {
                dirty += entry.len;
                oldest = oldest.or(Some(entry.first_timestamp));
            }
        }
        let due = compaction.is_due(clean, dirty, oldest?, now);
        due.then(|| dirty as f64 / (clean + dirty).max(1) as f64)
    }

    /// Has what may be compacted in sealed segments: writes what would close the newest one, and closes that if it is too
    /// old. Leaves memory as it is where no more could be compacted then. `unwritten_max`: bytes that no segment has yet.
    fn close_for_compaction(self: &Arc<Self>, unwritten_max: u64, now: Timestamp) -> Result<(), Failed> {
        {
            let state = self.state();
            let can = state.compaction(now).is_some() && state.offline.is_none();
            if !can || !state.closes_with_memory(self.segment_bytes(&state), unwritten_max, now) {
                return Ok(());
            }
        }
        let mut checkpointer = self.engine.checkpointer();
        checkpointer.write_log(self).map_err(Failed::Retry)?;
        if let Some(sealed) = self.roll(now) {
            checkpointer.note_sidecar(&sealed.segment);
        }
        Ok(())
    }

    /// Compacts what is sealed; the bytes that went. `pace` is called after so many bytes were read or written.
    pub(crate) fn compact(
        self: &Arc<Self>,
        now: Timestamp,
        pace: &dyn Fn(usize) -> bool,
    ) -> Result<u64, CompactError> {
        let Some(plan) = self.plan(now) else { return Ok(0) };
        let mut keys = KeyOffsets::new(KEYS_MAX);
        let mut until = None;
        for entry in &plan.segments[plan.clean..] {
            if entry.segment.is_damaged() {
                until = Some(entry.next);
                continue;
            }
            let whole = self.each_batch(entry, pace, |batch| {
                let fits =
                    self.is_aborted(batch) || keys.note(batch).map_err(|source| failed(batch, source))?;
                until = until.max(Some(if fits { batch.next_offset() } else { batch.base_offset() }));
                Ok(fits)
            })?;
            if !whole {
                break;
            }
            // Offsets at the end may have no batch any more.
            until = Some(entry.next);
        }
        let Some(until) = until else { return Ok(0) };
        let tombstones = Tombstones { now, retention_ms: plan.compaction.delete_retention_ms };
        let mut rewritten: Vec<Rewritten> = Vec::new();
        let written = self.rewrite(&plan, &keys, until, tombstones, pace, &mut rewritten);
        if let Err(error) = written {
            let left: Vec<_> = rewritten.into_iter().map(|one| one.entry).collect();
            self.engine.discard_segments(&left);
            return Err(error);
        }
        Ok(self.swap(rewritten, until))
    }

    fn plan(&self, now: Timestamp) -> Option<Plan> {
        let state = self.state();
        let compaction = state.compaction(now)?;
        let segments: Vec<_> = state.compactable(compaction, now).cloned().collect();
        let clean = segments.iter().take_while(|entry| entry.next <= state.compacted).count();
        let segment_bytes = self.segment_bytes(&state);
        (clean < segments.len()).then_some(Plan { compaction, segments, clean, segment_bytes })
    }

    fn is_aborted(&self, batch: &RecordBatch) -> bool {
        batch.is_transactional() && self.state().transactions.is_aborted(batch)
    }

    /// Visits the batches of a segment in order until `visit` says `false`; whether it never did.
    fn each_batch(
        &self,
        entry: &SegmentEntry,
        pace: &dyn Fn(usize) -> bool,
        mut visit: impl FnMut(&RecordBatch) -> Result<bool, CompactError>,
    ) -> Result<bool, CompactError> {
        let mut next = entry.segment.base;
        while next < entry.next {
            let file = self.engine.files.open(&entry.segment, OpenMode::Existing)?;
            let mut slice = Slice { next, ..Slice::default() };
            let read =
                entry.segment.read(file.as_ref(), entry.extent(), (next, entry.next), CHUNK_LEN, &mut slice);
            self.note_read(entry);
            read?;
            for batch in slice.batches() {
                if !visit(&batch)? {
                    return Ok(false);
                }
            }
            if !pace(slice.len()) {
                return Err(CompactError::Closed);
            }
            assert!(slice.next > next, "a read of a segment moves on");
            next = slice.next;
        }
        Ok(true)
    }

    fn rewrite(
        &self,
        plan: &Plan,
        keys: &KeyOffsets,
        until: Offset,
        tombstones: Tombstones,
        pace: &dyn Fn(usize) -> bool,
        rewritten: &mut Vec<Rewritten>,
    ) -> Result<(), CompactError> {
        // What a tombstone is for may lie in a segment that is left as it is, beside what is damaged there.
        let keeps_tombstones = plan.segments.iter().any(|entry| entry.segment.is_damaged());
        let mut follows = false;
        for source in plan.segments.iter().take_while(|entry| entry.segment.base < until) {
            if source.segment.is_damaged() {
                follows = false;
                continue;
            }
            // Small segments become one, as long as that is not larger than a segment may be.
            let fits = |last: &Rewritten| last.entry.len + source.len <= plan.segment_bytes;
            let joins = follows && rewritten.last().is_some_and(fits);
            follows = true;
            if !joins {
                rewritten
                    .push(Rewritten { sources: Vec::new(), entry: self.new_entry(source.segment.base)? });
            }
            let target = rewritten.last_mut().expect("there is one now");
            target.sources.push(source.clone());
            let file = self.engine.files.open(&target.entry.segment, OpenMode::Existing)?;
            let mut output = Output { entry: &mut target.entry, file, bytes: Vec::new(), spans: Vec::new() };
            self.each_batch(source, pace, |batch| {
                if batch.base_offset() >= until {
                    output.put(batch)?;
                    return Ok(true);
                }
                let is_last = || self.state().producers.has_last(batch.last_offset());
                let horizon = batch.delete_horizon().filter(|_| keeps_tombstones);
                let now = horizon.map_or(tombstones.now, |horizon| horizon.min(tombstones.now));
                let tombstones = Tombstones { now, ..tombstones };
                let kept = keys.compact(batch, self.is_aborted(batch), tombstones, is_last);
                match kept.map_err(|source| failed(batch, source))? {
                    Kept::Whole => output.put(batch)?,
                    Kept::Part(part) => output.put(&part)?,
                    Kept::Nothing => {}
                }
                Ok(true)
            })?;
            output.flush()?;
            target.entry.next = source.next;
            if !pace(usize::try_from(target.entry.len).unwrap_or(usize::MAX)) {
                return Err(CompactError::Closed);
            }
        }
        // Before anything refers to them, so that a disk which fails here costs nothing but the work.
        for one in rewritten.iter_mut() {
            self.engine.files.open(&one.entry.segment, OpenMode::Existing)?.sync()?;
            one.entry.set_durable();
            self.engine.seal(&one.entry);
        }
        Ok(self.engine.disk.sync_folder(&self.folder())?)
    }

    fn new_entry(&self, base: Offset) -> io::Result<SegmentEntry> {
        let revision = self.engine.next_revision();
        let entry = SegmentEntry::empty(self.new_segment(base, revision));
        // A crash may have left a file of the same name that no manifest knows.
        self.engine.files.open(&entry.segment, OpenMode::Create)?.truncate(0)?;
        entry.segment.set_cut();
        Ok(entry)
    }

    /// Changes over to the new segments; the bytes that went.
    fn swap(&self, rewritten: Vec<Rewritten>, until: Offset) -> u64 {
        let mut checkpointer = self.engine.checkpointer();
        let mut state = self.state();
        let (mut freed, mut gone) = (0, Vec::new());
        for Rewritten { sources, entry } in rewritten {
            let is_source = |held: &SegmentEntry| {
                sources.iter().any(|source| Arc::ptr_eq(&source.segment, &held.segment))
            };
            let first = state.segments.iter().position(is_source);
            let held = state.segments.iter().filter(|held| is_source(held)).count();
            // A trim or a deletion took sources while they were written: the new segment begins too early.
            let Some(first) = first.filter(|_| held == sources.len() && !state.deleted) else {
                gone.push(entry);
                continue;
            };
            freed += sources.iter().map(|source| source.len).sum::<u64>() - entry.len;
            let with = if entry.len == 0 { None } else { Some(entry.clone()) };
            gone.extend(state.segments.splice(first..first + held, with));
            if entry.len == 0 {
                gone.push(entry);
            } else {
                checkpointer.note_sidecar(&entry.segment);
            }
        }
        state.compacted = state.compacted.max(until);
        // What is in memory still is as it was appended.
        let memory = state.evict(until);
        drop(state);
        drop(checkpointer);
        self.engine.free(memory);
        self.engine.discard_segments(&gone);
        freed
    }
}

/// Where the batches of a new segment go.
struct Output<'a> {
    entry: &'a mut SegmentEntry,
    file: Arc<dyn File>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Output<'_> {
    fn put(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.bytes.put_slice(batch.bytes());
        self.spans.push(Span::of(batch));
        if self.bytes.len() >= CHUNK_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let position = self.entry.len;
        self.file.write_at(&self.bytes, position)?;
        self.spans.iter().for_each(|span| self.entry.grow(*span));
        self.entry.segment.note_written(position, self.spans.drain(..));
        self.bytes.clear();
        Ok(())
    }
}

fn failed(batch: &RecordBatch, source: keyway_log::compaction::CompactError) -> CompactError {
    CompactError::Batch { offset: batch.base_offset(), source }
}

impl State {
    /// How the log is compacted, if it is and may be at the moment.
    fn compaction(&self, now: Timestamp) -> Option<Compaction> {
        self.config.compaction.filter(|_| !self.deleted && now >= self.uncompacted_until)
    }

    /// Segments that may be compacted, oldest first; none if all of them were.
    fn compactable(&self, compaction: Compaction, now: Timestamp) -> impl Iterator<Item = &SegmentEntry> {
        let stable_end = self.readable_end(Isolation::ReadCommitted);
        let clean = self.segments.partition_point(|entry| entry.next <= self.compacted);
        let is_dirty = self.segments[clean..].iter().any(|entry| entry.segment.is_sealed());
        let segments = if is_dirty { &self.segments[..] } else { &[] };
        let sealed = segments.iter().filter(|entry| entry.segment.is_sealed());
        sealed.take_while(move |entry| {
            let is_old = entry.segment.base < self.compacted || compaction.allows(entry.max_timestamp, now);
            entry.next <= stable_end && is_old
        })
    }

    /// Whether the newest segment may hold more than `segment_bytes` or is too old, once it has what is in memory: at most
    /// `unwritten_max` bytes.
    fn closes_with_memory(&self, segment_bytes: u64, unwritten_max: u64, now: Timestamp) -> bool {
        let open = self.segments.last().filter(|last| !last.segment.is_sealed());
        let mut unwritten = self.unwritten();
        let first = open.map(|open| open.first_timestamp);
        let first = first.or_else(|| unwritten.clone().next().map(RecordBatch::max_timestamp));
        if first.is_some_and(|first| self.config.closes(first, now)) {
            return true;
        }
        let mut len = open.map_or(0, |open| open.len);
        len + unwritten_max > segment_bytes
            && unwritten.any(|batch| {
                len += batch.bytes().len() as u64;
                len > segment_bytes
            })
    }
}

impl Engine {
    /// Compacts the logs for which it is due, the dirtiest first.
    pub(crate) fn compact(&self, now: Timestamp, pace: &dyn Fn(usize) -> bool) -> Result<Cleaned, Failed> {
        let _alone = self.cleaning.lock().expect("no panic under the lock");
        let mut due: Vec<(f64, Arc<Log>)> = Vec::new();
        let unwritten_max = self.staging.levels().unwritten as u64;
        for log in self.logs() {
            log.close_for_compaction(unwritten_max, now)?;
            due.extend(log.dirtiness(now).map(|dirtiness| (dirtiness, log)));
        }
        due.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut cleaned = Cleaned::default();
        for (_, log) in due {
            match log.compact(now, pace) {
                Ok(freed) => {
                    cleaned.compacted_partitions += 1;
                    cleaned.compacted_bytes += freed;
                }
                Err(CompactError::Closed) => break,
                Err(error) => {
                    if matches!(error, CompactError::Batch { .. }) {
                        log.state().uncompacted_until = Timestamp(now.0.saturating_add(UNREADABLE_PAUSE_MS));
                    }
                    tracing::error!(partition = %log.partition, %error, "a partition is not compacted; it stays as it is");
                }
            }
        }
        Ok(cleaned)
    }
}
