//! Moving one partition's durable batches from memory to its segments.

use crate::{
    checkpoint::SYNCS_MAX,
    partition::{Freed, Log, SegmentEntry},
    segment::{Segment, Span},
};
use keyway_record::{Offset, RecordBatch};
use keyway_runtime::{File, OpenMode};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
};

/// Bytes written to a segment at a time.
const CHUNK_LEN: usize = 1 << 20;

/// What was written and created since the last checkpoint, and is not durable yet.
#[derive(Default)]
pub(crate) struct Unsynced {
    pub(crate) segments: BTreeMap<PathBuf, Pending>,
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Of segments that were sealed; one may have failed to be written.
    pub(crate) sidecars: BTreeSet<PathBuf>,
}

/// A segment that was written.
pub(crate) struct Pending {
    pub(crate) log: Arc<Log>,
    pub(crate) segment: Arc<Segment>,
    /// Held open, as far as there are few: the operating system may tell a failed write only to who had the file open.
    pub(crate) file: Option<Arc<dyn File>>,
}

impl Unsynced {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.segments.append(&mut other.segments);
        self.folders.append(&mut other.folders);
        self.sidecars.append(&mut other.sidecars);
    }

    fn note(&mut self, log: &Arc<Log>, segment: &Arc<Segment>, file: Arc<dyn File>) {
        let is_one_of_few = self.segments.len() < SYNCS_MAX;
        self.segments.entry(segment.path.clone()).or_insert_with(|| Pending {
            log: log.clone(),
            segment: segment.clone(),
            file: is_one_of_few.then_some(file),
        });
    }

    /// Takes out what concerns a log.
    pub(crate) fn split_off(&mut self, log: &Log) -> Self {
        let folder = log.folder();
        let of_log = self.segments.range(folder.clone()..).map(|(path, _)| path);
        let paths: Vec<_> = of_log.take_while(|path| path.starts_with(&folder)).cloned().collect();
        let segments = paths.iter().filter_map(|path| self.segments.remove_entry(path)).collect();
        let sidecars = self.sidecars.extract_if(.., |path| path.starts_with(&folder)).collect();
        let folders = [log.engine.segments_folder(), folder];
        let folders = folders.into_iter().filter(|folder| self.folders.remove(folder)).collect();
        Self { segments, folders, sidecars }
    }

    /// Bytes of segments that are not flushed.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |pending: &Pending| {
            let state = pending.log.state();
            let entry =
                state.segments.iter().rev().find(|entry| Arc::ptr_eq(&entry.segment, &pending.segment));
            entry.map_or(0, |entry| entry.len - entry.durable_len)
        };
        self.segments.values().map(bytes).sum()
    }

    /// Notes that the device has what was written.
    pub(crate) fn set_durable(&self, is_durable: impl Fn(&Log) -> bool) {
        for pending in self.segments.values().filter(|pending| is_durable(&pending.log)) {
            let mut state = pending.log.state();
            let is_it = |entry: &&mut SegmentEntry| Arc::ptr_eq(&entry.segment, &pending.segment);
            if let Some(entry) = state.segments.iter_mut().rev().find(is_it) {
                entry.set_durable();
            }
        }
    }
}

/// Which batches a pass over a log writes, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pass {
    /// What is durable before an offset.
    Behind(Offset),
    /// Everything before an offset, durable or not: no commit holds some of it yet.
    Ahead(Offset),
    /// What recovery has found so far. What lies behind it in the files stays: a later reference may be to that.
    Replay,
}

/// Batches for one segment, in order, and the segment as it is without them.
struct Chunk {
    entry: SegmentEntry,
    is_new: bool,
    batches: Vec<RecordBatch>,
}

impl Log {
    /// Writes what is not yet in a segment. One call at a time.
    ///
    /// A log that cannot be written is offline from then on, and not written here ([`crate::offline`]). A full file system
    /// is no reason: that concerns all logs.
    pub(crate) fn write_behind(self: &Arc<Self>, pass: Pass, unsynced: &mut Unsynced) -> io::Result<()> {
        if self.is_offline() {
            return Ok(());
        }
        match self.write_chunks(pass, unsynced) {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                self.set_offline("writing a segment", &error);
                self.engine.count_held();
                Ok(())
            }
            written => written,
        }
    }

    pub(crate) fn write_chunks(self: &Arc<Self>, pass: Pass, unsynced: &mut Unsynced) -> io::Result<()> {
        while let Some(chunk) = self.next_chunk(pass) {
            self.write_chunk(&chunk, pass, unsynced)?;
            self.note_written(chunk, pass, unsynced);
        }
        Ok(())
    }

    fn next_chunk(&self, pass: Pass) -> Option<Chunk> {
        let state = self.state();
        let until = match pass {
            Pass::Behind(until) => until.min(state.high_watermark),
            Pass::Ahead(until) => until,
            Pass::Replay => state.end,
        };
        let segment_bytes = self.segment_bytes(&state);
        let mut batches = state.unwritten().take_while(|batch| batch.next_offset() <= until).peekable();
        let next = batches.peek()?;
        // Recovery may not have come to what lies before.
        if next.base_offset() != state.written {
            return None;
        }
        let (base, len) = (next.base_offset(), next.bytes().len() as u64);
        let time = next.max_timestamp();
        // A trim may have taken what would come first; a segment has no holes.
        let active = state.segments.last().filter(|last| {
            let is_closed = last.segment.is_sealed()
                || last.segment.is_damaged()
                || pass != Pass::Replay && last.segment.has_too_large_an_index()
                || state.config.closes(last.first_timestamp, time);
            // What is known of a segment is left as it is until all references to it are.
            let is_known = pass == Pass::Replay && last.next == state.logged;
            last.next == base && last.len + len <= segment_bytes && !is_closed && !is_known
        });
        let is_new = active.is_none();
        let entry = active.cloned();
        let entry = entry.unwrap_or_else(|| SegmentEntry::empty(self.new_segment(base, 0)));
        let mut chunk_len = 0;
        let fits = |batch: &&RecordBatch| {
            let first = chunk_len == 0;
            chunk_len += batch.bytes().len();
            first || (chunk_len <= CHUNK_LEN && entry.len + chunk_len as u64 <= segment_bytes)
        };
        let batches = batches.take_while(fits).cloned().collect();
        Some(Chunk { entry, is_new, batches })
    }

    fn write_chunk(self: &Arc<Self>, chunk: &Chunk, pass: Pass, unsynced: &mut Unsynced) -> io::Result<()> {
        let segment = &chunk.entry.segment;
        if chunk.is_new {
            let folder = self.folder();
            self.engine.disk.create_folder(&folder)?;
            unsynced.folders.insert(self.engine.segments_folder());
            unsynced.folders.insert(folder);
        }
        let mode = if chunk.is_new { OpenMode::Create } else { OpenMode::Existing };
        let file = self.engine.files.open(segment, mode)?;
        if !segment.is_cut() && pass != Pass::Replay {
            // What a crash left behind the part that the manifest states is written again.
            file.truncate(chunk.entry.len)?;
            segment.set_cut();
        }
        let pieces: Vec<_> = chunk.batches.iter().map(|batch| IoSlice::new(batch.bytes())).collect();
        file.write_pieces_at(&pieces, chunk.entry.len)?;
        unsynced.note(self, segment, file);
        Ok(())
    }

    fn note_written(&self, chunk: Chunk, pass: Pass, unsynced: &mut Unsynced) {
        let Chunk { mut entry, is_new, batches } = chunk;
        let position = entry.len;
        batches.iter().for_each(|batch| entry.grow(Span::of(batch)));
        let (segment, next) = (entry.segment.clone(), entry.next);
        let mut state = self.state();
        if state.deleted {
            return;
        }
        let start = state.start;
        let mut sealed = None;
        match state.segments.last_mut() {
            Some(last) if Arc::ptr_eq(&last.segment, &segment) => *last = entry,
            last if is_new && start < next => {
                sealed = last.map(|last| last.clone());
                state.segments.push(entry);
            }
            // A trim gave the segment up while it was written; what it left goes to another one.
            _ => {
                drop(state);
                return self.engine.discard_segments(&[entry]);
            }
        }
        let unwritten = state.unwritten_bytes(next);
        state.written = state.written.max(next);
        drop(state);
        segment.note_written(position, batches.iter().map(Span::of));
        let sealed = sealed.filter(|entry| pass != Pass::Replay && !entry.segment.is_sealed());
        if let Some(sealed) = sealed {
            self.engine.seal(&sealed);
            unsynced.sidecars.insert(sealed.segment.sidecar_path());
        }
        self.engine.free(Freed { memory: 0, unwritten });
    }
}
