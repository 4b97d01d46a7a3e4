//! Moving one partition's durable batches from memory to its segments.

use crate::{
    partition::{Freed, Log, SegmentEntry},
    segment::{Segment, Span},
};
use keyway_record::{Offset, RecordBatch, Timestamp};
use keyway_runtime::OpenMode;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

/// Bytes written to a segment at a time.
const CHUNK_LEN: usize = 1 << 20;

/// What was written and created since the last checkpoint, and is not durable yet.
#[derive(Default)]
pub(crate) struct Unsynced {
    pub(crate) segments: BTreeMap<PathBuf, Arc<Segment>>,
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Of segments that were sealed; one may have failed to be written.
    pub(crate) sidecars: BTreeSet<PathBuf>,
}

/// Batches for one segment, in order, and the segment as it is without them.
struct Chunk {
    entry: SegmentEntry,
    is_new: bool,
    batches: Vec<RecordBatch>,
}

impl Log {
    /// Writes what is durable before `until` and is not yet in a segment. One call at a time.
    ///
    /// A log that cannot be written is offline until it can: it takes nothing more in, and what it has stays in memory
    /// and in the write-ahead log. A full file system is no reason: that concerns all logs.
    pub(crate) fn write_behind(&self, until: Offset, unsynced: &mut Unsynced) -> io::Result<()> {
        let written = self.write_chunks(until, unsynced);
        let reason = match &written {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return written,
            Err(error) => Some(error.to_string()),
        };
        let was_offline = std::mem::replace(&mut self.state().offline, reason).is_some();
        let offline = &self.engine.counters.offline;
        match (was_offline, &written) {
            (false, Err(error)) => {
                offline.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    partition = %self.partition, reason = %error,
                    "offline: its segment cannot be written; what was acknowledged is in the write-ahead log, and it is tried again"
                );
            }
            (true, Ok(())) => {
                offline.fetch_sub(1, Ordering::Relaxed);
                tracing::info!(partition = %self.partition, "online: its segment can be written again");
            }
            (false, Ok(())) | (true, Err(_)) => {}
        }
        written
    }

    fn write_chunks(&self, until: Offset, unsynced: &mut Unsynced) -> io::Result<()> {
        while let Some(chunk) = self.next_chunk(until) {
            self.write_chunk(&chunk, unsynced)?;
            self.note_written(chunk, unsynced);
        }
        Ok(())
    }

    fn next_chunk(&self, until: Offset) -> Option<Chunk> {
        let state = self.state();
        let until = until.min(state.high_watermark);
        let segment_bytes = state.config.segment_bytes.unwrap_or(self.engine.options.segment_bytes);
        let first = state.tail.partition_point(|batch| batch.base_offset() < state.written);
        let mut batches =
            state.tail.iter().skip(first).take_while(|batch| batch.next_offset() <= until).peekable();
        let next = batches.peek()?;
        let (base, len) = (next.base_offset(), next.bytes().len() as u64);
        let time = next.max_timestamp();
        // A trim may have taken what would come first; a segment has no holes.
        let active = state.segments.last().filter(|last| {
            let is_closed = last.segment.is_sealed() || state.config.closes(last.first_timestamp, time);
            last.next == base && last.len + len <= segment_bytes && !is_closed
        });
        let is_new = active.is_none();
        let entry = active.cloned().unwrap_or_else(|| SegmentEntry {
            segment: Arc::new(Segment::new(self.id, base, 0, &self.folder())),
            next: base,
            len: 0,
            first_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp(i64::MIN),
        });
        let mut chunk_len = 0;
        let fits = |batch: &&RecordBatch| {
            let first = chunk_len == 0;
            chunk_len += batch.bytes().len();
            first || (chunk_len <= CHUNK_LEN && entry.len + chunk_len as u64 <= segment_bytes)
        };
        let batches = batches.take_while(fits).cloned().collect();
        Some(Chunk { entry, is_new, batches })
    }

    fn write_chunk(&self, chunk: &Chunk, unsynced: &mut Unsynced) -> io::Result<()> {
        let segment = &chunk.entry.segment;
        if chunk.is_new {
            let folder = self.folder();
            self.engine.disk.create_folder(&folder)?;
            unsynced.folders.insert(self.engine.segments_folder());
            unsynced.folders.insert(folder);
        }
        let mode = if chunk.is_new { OpenMode::Create } else { OpenMode::Existing };
        let file = self.engine.files.open(segment, mode)?;
        if !segment.is_cut() {
            // What a crash left behind the part that the manifest states is written again.
            file.truncate(chunk.entry.len)?;
            segment.set_cut();
        }
        let pieces: Vec<_> = chunk.batches.iter().map(|batch| IoSlice::new(batch.bytes())).collect();
        file.write_pieces_at(&pieces, chunk.entry.len)?;
        unsynced.segments.insert(segment.path.clone(), segment.clone());
        Ok(())
    }

    fn note_written(&self, chunk: Chunk, unsynced: &mut Unsynced) {
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
        if let Some(sealed) = sealed.filter(|entry| !entry.segment.is_sealed()) {
            self.engine.seal(&sealed);
            unsynced.sidecars.insert(sealed.segment.sidecar_path());
        }
        self.engine.free(Freed { memory: 0, unwritten });
    }
}
