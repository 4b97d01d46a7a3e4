//! Compaction of one partition: its sealed segments are written anew without the records that a newer one of their key
//! supersedes. What goes is decided in [`keyway_log::compaction`]; here are the files.
//!
//! New segments are whole and next to the old ones before the log's state changes over to them, all at once. The next
//! checkpoint writes the manifest that names them, and only then removes the old files: a crash
//! before that finds the log as it was. A reader that holds an old segment goes on with it, or looks again if its file is
//! gone.

use crate::{
    engine::{Engine, Failed},
    partition::{Log, SegmentEntry},
    segment::{Segment, Span},
};
use bytes::BufMut;
use keyway_log::{
    Compaction, Isolation, ReadError, Slice,
    compaction::{KEYS_MAX, Kept, KeyOffsets, Tombstones},
};
use keyway_record::{Offset, RecordBatch, Timestamp};
use keyway_runtime::{File, OpenMode};
use std::{io, sync::Arc};

/// Bytes read and written at a time.
const CHUNK_LEN: usize = 1 << 20;

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
    pub(crate) fn dirtiness(&self, now: Timestamp) -> Option<f64> {
        let plan = self.plan(now)?;
        let bytes = |segments: &[SegmentEntry]| segments.iter().map(|entry| entry.len).sum::<u64>();
        let (clean, dirty) = plan.segments.split_at(plan.clean);
        let oldest = dirty.first()?.first_timestamp;
        let due = plan.compaction.is_due(bytes(clean), bytes(dirty), oldest, now);
        due.then(|| bytes(dirty) as f64 / bytes(&plan.segments).max(1) as f64)
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
        let compaction = state.config.compaction.filter(|_| !state.deleted)?;
        let stable_end = state.readable_end(Isolation::ReadCommitted);
        let stable = |entry: &&SegmentEntry| entry.next <= stable_end;
        let sealed = state.segments.iter().filter(|entry| entry.segment.is_sealed()).take_while(stable);
        let old = sealed.take_while(|entry| {
            entry.segment.base < state.compacted || compaction.allows(entry.max_timestamp, now)
        });
        let segments: Vec<_> = old.cloned().collect();
        let clean = segments.iter().take_while(|entry| entry.next <= state.compacted).count();
        let segment_bytes = state.config.segment_bytes.unwrap_or(self.engine.options.segment_bytes);
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
        let entry = SegmentEntry::empty(Segment::new(self.id, base, revision, &self.folder()));
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

impl Engine {
    /// Compacts the logs for which it is due, the dirtiest first: how many, and the bytes that went.
    pub(crate) fn compact_logs(
        &self,
        now: Timestamp,
        pace: &dyn Fn(usize) -> bool,
    ) -> Result<(u64, u64), Failed> {
        let mut due: Vec<(f64, Arc<Log>)> = Vec::new();
        for log in self.logs() {
            if log.state().config.compaction.is_some() {
                let mut checkpointer = self.checkpointer();
                checkpointer.write_log(&log).map_err(Failed::Retry)?;
                drop(checkpointer);
                due.extend(log.dirtiness(now).map(|dirtiness| (dirtiness, log)));
            }
        }
        due.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut logs, mut bytes) = (0, 0);
        for (_, log) in due {
            match log.compact(now, pace) {
                Ok(freed) => {
                    logs += 1;
                    bytes += freed;
                }
                Err(CompactError::Closed) => break,
                Err(error) => {
                    tracing::error!(partition = %log.partition, %error, "a partition is not compacted; it stays as it is");
                }
            }
        }
        Ok((logs, bytes))
    }
}
