//! One segment: a file of whole record batches, one after the other, as Kafka lays them out.
//!
//! `segments/orders-0.17/00000000000000000042.log`: the folder is topic, partition and log id (which tells two lives of
//! a partition apart), the file name the base offset of its first batch. The file is nothing but record batches v2,
//! verbatim; offsets inside are dense. A compacted one, `00000000000000000042.7.log`, has a revision in its name and may
//! miss offsets. What lies behind the length that the manifest states is not part of it: recovery
//! writes it again from the write-ahead log.
//!
//! The sparse index has one entry per [`INDEX_SPACING`] bytes. It grows as the segment is written, and is written beside
//! it once it is sealed ([`sidecar`]). In memory it is kept while the file is open and there is room ([`index_memory`]); without a sidecar it is built from the
//! batch headers, as far as a read needs it.
//!
//! A batch's own checksum does not cover its first bytes: base offset, length, leader epoch. The index does.

mod damage;
mod index;
mod index_memory;
mod sidecar;
mod span;

pub(crate) use damage::Damage;
pub(crate) use index_memory::IndexMemory;
pub(crate) use span::Span;

use crate::wal::entry::LogId;
use bytes::{Bytes, BytesMut};
use damage::Damages;
use index::{Block, INDEX_SPACING, Index};
use keyway_log::{ReadError, Slice};
use keyway_record::{LeaderEpoch, Offset, RecordBatch, Timestamp, TopicPartition, batch::HEADER_LEN};
use keyway_runtime::{Disk, File, OpenMode};
use std::{
    io,
    ops::{ControlFlow, Deref, DerefMut},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Name of the folder inside the data folder.
pub(crate) const FOLDER: &str = "segments";

/// Bytes read at a time to look at headers.
const WALK_LEN: usize = 64 * 1024;

/// Most bytes in one read of batches.
const READ_LEN_MAX: usize = 1 << 20;

/// Longest part of a topic name in a folder name: file systems allow 255 bytes, and the log id makes it unique.
const TOPIC_LEN_MAX: usize = 230;

pub(crate) struct Segment {
    pub(crate) log: LogId,
    pub(crate) base: Offset,
    /// 0 for a segment as it was appended; each compaction gives a new one.
    pub(crate) revision: u64,
    pub(crate) path: PathBuf,
    sealed: AtomicBool,
    /// The file holds nothing behind what this process wrote or the manifest states.
    cut: AtomicBool,
    index: Mutex<Index>,
    memory: Arc<IndexMemory>,
    /// What the index takes of it.
    index_bytes: AtomicUsize,
    is_damaged: AtomicBool,
    /// Nobody was told of what is known of its damage.
    has_news: AtomicBool,
    /// It is sealed, and has no index beside it that can be read.
    lacks_sidecar: AtomicBool,
    damages: Mutex<Damages>,
}

/// How far a segment is written: bytes, and the offset after them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) len: u64,
    pub(crate) next: Offset,
    /// The leader epoch of all its batches, if they have one in common that is known: no checksum of theirs covers it.
    pub(crate) epoch: Option<LeaderEpoch>,
}

/// Why batches could not be looked at.
enum Trouble {
    /// What lies at a place, where this offset comes next, is not as it was written; or the batch before, whose length
    /// led there, is not.
    Bad {
        position: u64,
        expected: Offset,
        before: u64,
        reason: String,
    },
    /// It is known that it cannot be served.
    Known(ReadError),
    Io(io::Error),
}

/// What the offsets in a segment are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Offsets {
    Dense,
    /// Compaction left holes.
    Ascending,
}

/// Whether a read may go on with what follows the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    Full,
    Open,
}

/// Name of a partition's folder inside [`FOLDER`].
pub(crate) fn folder_name(partition: &TopicPartition, log: LogId) -> String {
    let topic = partition.topic.as_str();
    let topic = &topic[..topic.len().min(TOPIC_LEN_MAX)];
    format!("{topic}-{}.{log}", partition.partition)
}

impl Segment {
    /// A segment that may be written to, whose index counts in `memory`.
    pub(crate) fn new(
        log: LogId,
        base: Offset,
        revision: u64,
        folder: &Path,
        memory: &Arc<IndexMemory>,
    ) -> Self {
        let path = folder.join(match revision {
            0 => format!("{:020}.log", base.0),
            _ => format!("{:020}.{revision}.log", base.0),
        });
        memory.begin();
        Self {
            log,
            base,
            revision,
            path,
            sealed: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            index: Mutex::new(Index::new(base)),
            memory: memory.clone(),
            index_bytes: AtomicUsize::new(0),
            is_damaged: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            lacks_sidecar: AtomicBool::new(false),
            damages: Mutex::default(),
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(crate) fn set_cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    fn offsets(&self) -> Offsets {
        if self.revision == 0 { Offsets::Dense } else { Offsets::Ascending }
    }

    /// No more is written to the segment; its index may be forgotten.
    pub(crate) fn seal(&self) {
        if !self.sealed.swap(true, Ordering::Relaxed) {
            self.memory.end();
        }
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Gives back the index's memory if it can be built again and nobody adds to it.
    pub(crate) fn forget_index(&self) {
        if self.is_sealed() {
            *self.index() = Index::new(self.base);
        }
    }

    /// Bytes that its index takes in memory.
    pub(crate) fn index_bytes(&self) -> usize {
        self.index_bytes.load(Ordering::Relaxed)
    }

    /// Whether it is to be closed, so that its index can be forgotten.
    pub(crate) fn has_too_large_an_index(&self) -> bool {
        self.memory.is_too_large(self.index_bytes())
    }

    /// As far as it was flushed, and closed.
    pub(crate) fn closed_part(&self) -> Self {
        let folder = self.path.parent().expect("segments lie in a folder");
        let part = Self::new(self.log, self.base, self.revision, folder, &self.memory);
        part.seal();
        part
    }

    /// Notes batches that were written at `position`, unless the index does not reach up to there.
    pub(crate) fn note_written(&self, position: u64, spans: impl Iterator<Item = Span>) {
        let mut index = self.index();
        if index.covered == position {
            spans.for_each(|span| index.push(span));
        }
    }

    /// Adds the batches from the one that holds `from` up to `until` to `slice`, as [`keyway_log::PartitionLog::read`] says; `from`
    /// lies in the segment. What cannot be served ends the slice, or is an error if it comes first.
    pub(crate) fn read(
        &self,
        file: &dyn File,
        extent: Extent,
        (from, until): (Offset, Offset),
        bytes_max: usize,
        slice: &mut Slice,
    ) -> Result<Reading, ReadError> {
        self.check_hearsay(file)?;
        // Up to where it is read, so that what is damaged before that is known.
        self.cover(&mut self.index(), file, extent, |index| index.next > from)?;
        loop {
            let damages = self.damages();
            if let Some(damage) = damages.iter().find(|damage| damage.from <= from && from < damage.next) {
                return Err(unserved(damage, from));
            }
            match self.read_good(file, extent, &damages, (from, until), bytes_max, slice) {
                Ok(reading) => return Ok(reading),
                // What is good is served; the next read meets the damage.
                Err(Trouble::Bad { .. } | Trouble::Known(_)) if !slice.is_empty() => {
                    return Ok(Reading::Full);
                }
                Err(trouble) => self.examine_trouble(&mut self.index(), file, extent, trouble)?,
            }
        }
    }

    fn read_good(
        &self,
        file: &dyn File,
        extent: Extent,
        damages: &[Damage],
        (from, until): (Offset, Offset),
        bytes_max: usize,
        slice: &mut Slice,
    ) -> Result<Reading, Trouble> {
        let len = extent.len;
        let Some((mut position, mut expected)) = self.locate(damages, from)? else {
            slice.next = until;
            return Ok(Reading::Open);
        };
        let mut bytes_left = bytes_max.saturating_sub(slice.len());
        let mut chunk_len = (bytes_left + INDEX_SPACING as usize).min(READ_LEN_MAX);
        loop {
            // Where the good bytes from here on end.
            let damage = damages.iter().find(|damage| damage.end > position);
            if let Some(damage) = damage.filter(|damage| damage.position <= position) {
                if from < damage.next {
                    return Err(Trouble::Known(unserved(damage, from)));
                }
                (position, expected) = (damage.end, damage.next);
                continue;
            }
            let good_len = damage.map_or(len, |damage| damage.position);
            if position >= good_len {
                slice.next = until;
                return Ok(Reading::Open);
            }
            let asked_len = (chunk_len.max(HEADER_LEN) as u64).min(good_len - position);
            let chunk = read_exactly(file, position, asked_len).map_err(Trouble::Io)?;
            let mut at = 0;
            let mut before = position;
            let mut kept: Option<usize> = None;
            let mut bad = None;
            let reading = loop {
                let rest = chunk.slice(at..);
                let here = position + at as u64;
                let nothing_yet = slice.is_empty() && kept.is_none();
                let until_end = (good_len - here, extent.next);
                let span = match Span::peek(&rest, self.offsets(), expected, until_end) {
                    Ok(Some(span)) => span,
                    Ok(None) => break Reading::Open,
                    Err(reason) => {
                        bad = Some(Trouble::Bad { position: here, expected, before, reason });
                        break Reading::Full;
                    }
                };
                if span.base >= until {
                    break Reading::Full;
                }
                let wanted = span.next > from;
                if wanted && span.len as usize > bytes_left && !nothing_yet {
                    break Reading::Full;
                }
                if span.len > rest.len() as u64 {
                    break Reading::Open;
                }
                if wanted {
                    let reason = match RecordBatch::parse_first(&rest) {
                        Ok(batch) => extent
                            .epoch
                            .filter(|epoch| batch.leader_epoch() != *epoch)
                            .map(|epoch| format!("leader epoch {} where {epoch} was", batch.leader_epoch())),
                        Err(error) => Some(error.to_string()),
                    };
                    if let Some(reason) = reason {
                        bad = Some(Trouble::Bad { position: here, expected, before: here, reason });
                        break Reading::Full;
                    }
                    kept.get_or_insert(at);
                    bytes_left = bytes_left.saturating_sub(span.len as usize);
                }
                before = here;
                at += span.len as usize;
                expected = span.next;
            };
            if let Some(start) = kept {
                let served = (position + start as u64, position + at as u64);
                if let Some(block) =
                    self.damaged_block(file, len, damages, (&chunk, position), served).map_err(Trouble::Io)?
                {
                    // What comes before it is served.
                    let cut = usize::try_from(block.position.saturating_sub(position)).unwrap_or(usize::MAX);
                    if cut <= start {
                        let reason = "its batches are not those of its index".into();
                        let (position, expected) = (block.position, block.offset);
                        return Err(Trouble::Bad { position, expected, before: position, reason });
                    }
                    slice.pieces.push(chunk.slice(start..cut));
                    slice.next = block.offset;
                    return Ok(Reading::Full);
                }
                slice.pieces.push(chunk.slice(start..at));
                let at_end = position + at as u64 == len;
                slice.next = if at_end { expected.max(until) } else { expected };
                let at_damage = !at_end && position + at as u64 == good_len;
                return Ok(if at_damage { Reading::Full } else { reading });
            }
            if let Some(bad) = bad {
                return Err(bad);
            }
            if reading == Reading::Full {
                return Ok(reading);
            }
            // What is wanted begins behind the chunk or is longer than it.
            position += at as u64;
            if position >= good_len {
                continue;
            }
            let header = read_exactly(file, position, (HEADER_LEN as u64).min(good_len - position))
                .map_err(Trouble::Io)?;
            let bad = |reason: String| Trouble::Bad { position, expected, before, reason };
            let span = Span::peek(&header, self.offsets(), expected, (good_len - position, extent.next))
                .map_err(bad)?;
            let Some(span) = span else { return Err(bad("the segment ends early".into())) };
            if (chunk.len() - at) as u64 >= span.len {
                return Err(bad("the segment changed while it was read".into()));
            }
            if at == 0 && (chunk.len() as u64) < asked_len {
                return Err(bad("the file ends early".into()));
            }
            chunk_len = (span.len as usize).max(chunk_len);
        }
    }

    /// The first of the blocks between two positions whose batches do not begin as they did when they were written.
    /// Where offsets are dense, a batch out of its place is left to the one who reads it, so that its neighbours are not
    /// refused with it; and what was examined once is known.
    fn damaged_block(
        &self,
        file: &dyn File,
        len: u64,
        damages: &[Damage],
        (chunk, position): (&Bytes, u64),
        (from, until): (u64, u64),
    ) -> io::Result<Option<Block>> {
        let chunk_end = position + chunk.len() as u64;
        // A block that grew beyond what this reader knows is left to the next one.
        let blocks = self.index().blocks(from, until).into_iter().filter(|block| block.end <= len);
        let is_known = |block: &Block| {
            damages.iter().any(|damage| damage.position < block.end && block.position < damage.end)
        };
        for block in blocks.filter(|block| !is_known(block)) {
            let at = block.position;
            let bytes = match at >= position && block.end <= chunk_end {
                true => chunk.slice((at - position) as usize..(block.end - position) as usize),
                false => read_exactly(file, at, block.end - at)?,
            };
            let is_good = match (block.crc_in(&bytes, self.offsets()), self.offsets()) {
                (Some(crc), _) => crc == block.prefixes_crc,
                (None, Offsets::Dense) => true,
                (None, Offsets::Ascending) => false,
            };
            if !is_good {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Where the sidecar lies.
    pub(crate) fn sidecar_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    /// Takes the index from the sidecar, if the segment has one and nothing is known of it.
    pub(crate) fn load_sidecar(&self, disk: &dyn Disk) -> io::Result<()> {
        if !self.is_sealed() || self.index().covered > 0 {
            return Ok(());
        }
        let path = self.sidecar_path();
        let file = match disk.open(&path, OpenMode::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.lacks_sidecar.store(true, Ordering::Relaxed);
                return Ok(());
            }
            opened => opened?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?.min(sidecar::LEN_MAX)).expect("32 MiB fit")];
        let count = file.read_at(&mut bytes, 0)?;
        match sidecar::decode(&bytes[..count], self.base) {
            Ok(index) => *self.index() = index,
            Err(reason) => {
                self.lacks_sidecar.store(true, Ordering::Relaxed);
                tracing::warn!(path = %path.display(), reason, "an index is damaged; it is made anew from its segment");
            }
        }
        Ok(())
    }

    /// Whether it lacks an index beside it. Says so once.
    pub(crate) fn take_lack_of_sidecar(&self) -> bool {
        self.lacks_sidecar.load(Ordering::Relaxed) && self.lacks_sidecar.swap(false, Ordering::Relaxed)
    }

    /// Has the index of the whole segment in memory.
    pub(crate) fn index_whole(&self, file: &dyn File, extent: Extent) -> Result<(), ReadError> {
        self.cover(&mut self.index(), file, extent, |_| false)
    }

    /// Writes the sidecar of a sealed segment. Not durable: a torn one is noticed and made again. A damaged segment gets
    /// none: were its file restored, the index would call that damage.
    pub(crate) fn write_sidecar(
        &self,
        disk: &dyn Disk,
        file: &dyn File,
        extent: Extent,
    ) -> Result<(), ReadError> {
        let mut index = self.index();
        self.cover(&mut index, file, extent, |_| false)?;
        if self.is_damaged() {
            return Err(corrupt(self.base, &"the segment is damaged"));
        }
        let bytes = sidecar::encode(self.base, &index);
        drop(index);
        let sidecar = disk.open(&self.sidecar_path(), OpenMode::Create)?;
        sidecar.truncate(0)?;
        Ok(sidecar.write_at(&bytes, 0)?)
    }

    /// Base offset of the first good batch that ends behind `start` and has a timestamp of `time` or later.
    pub(crate) fn find(
        &self,
        file: &dyn File,
        extent: Extent,
        start: Offset,
        time: Timestamp,
    ) -> Result<Option<Offset>, ReadError> {
        self.check_hearsay(file)?;
        let mut index = self.index();
        self.cover(&mut index, file, extent, |index| index.max_timestamp >= time && index.next > start)?;
        let by_time = index.entries.partition_point(|entry| entry.max_before < time);
        let by_start = index.entries.partition_point(|entry| entry.offset <= start);
        // The entries before both points are certain to come too early.
        let entry = by_time.max(by_start).saturating_sub(1);
        let Some(entry) = index.entries.get(entry).copied() else { return Ok(None) };
        loop {
            let mut found = None;
            let from = (entry.position, entry.offset);
            let walked = walk(file, extent, self.offsets(), from, &self.damages(), |_, span| {
                if span.max_timestamp >= time && span.next > start {
                    found = Some(span.base);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            let Err(trouble) = walked else { return Ok(found) };
            self.examine_trouble(&mut index, file, extent, trouble)?;
        }
    }

    /// A place at or before the batch that holds `offset`, or the next one behind a hole, and the offset there; `None` if
    /// nothing comes behind the hole. The index covers the offset.
    fn locate(&self, damages: &[Damage], offset: Offset) -> Result<Option<(u64, Offset)>, Trouble> {
        let index = self.index();
        let after = index.entries.partition_point(|entry| entry.offset <= offset);
        // Behind damage it goes on.
        let good = damages.iter().rev().find(|damage| damage.next <= offset);
        let good = good.map(|damage| (damage.end, damage.next));
        match index.entries.get(after.saturating_sub(1)) {
            Some(_) if index.next <= offset && self.offsets() == Offsets::Ascending => Ok(None),
            Some(entry) => Ok(Some((entry.position, entry.offset).max(good.unwrap_or_default()))),
            None => {
                let reason = "the segment is empty".into();
                Err(Trouble::Bad { position: 0, expected: offset, before: 0, reason })
            }
        }
    }

    /// Extends the index until it is `enough` or knows the whole segment.
    fn cover(
        &self,
        index: &mut Index,
        file: &dyn File,
        extent: Extent,
        enough: impl Fn(&Index) -> bool,
    ) -> Result<(), ReadError> {
        while !enough(index) {
            let known = (index.covered, index.next);
            let walked = walk(file, extent, self.offsets(), known, &self.damages(), |position, span| {
                if position > index.covered {
                    index.skip(position, span.base);
                }
                index.push(span);
                if enough(index) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let Err(trouble) = walked else { return Ok(()) };
            self.examine_trouble(index, file, extent, trouble)?;
        }
        Ok(())
    }

    /// Finds out what is wrong; `Err` if that leads no further.
    fn examine_trouble(
        &self,
        index: &mut Index,
        file: &dyn File,
        extent: Extent,
        trouble: Trouble,
    ) -> Result<(), ReadError> {
        match trouble {
            Trouble::Io(error) => Err(ReadError::Io(error)),
            Trouble::Known(error) => Err(error),
            Trouble::Bad { position, expected, before, reason } => {
                let found = self.examine(index, file, extent, (position, expected))?
                    || (before < position && self.examine(index, file, extent, (before, expected))?);
                if found { Ok(()) } else { Err(corrupt(expected, &reason)) }
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Damages> {
        self.damages.lock().expect("no panic under the lock")
    }

    fn index(&self) -> HeldIndex<'_> {
        HeldIndex { segment: self, index: self.index.lock().expect("no panic under the lock") }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.seal();
        self.memory.count(&self.index_bytes, 0);
    }
}

/// A segment's index; what it takes is counted when this is dropped.
struct HeldIndex<'a> {
    segment: &'a Segment,
    index: MutexGuard<'a, Index>,
}

impl Deref for HeldIndex<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl DerefMut for HeldIndex<'_> {
    fn deref_mut(&mut self) -> &mut Index {
        &mut self.index
    }
}

impl Drop for HeldIndex<'_> {
    fn drop(&mut self) {
        self.segment.memory.count(&self.segment.index_bytes, self.index.bytes());
    }
}

/// Visits the headers from `position` on, where offset `expected` lies, but for what is known to be damaged.
fn walk(
    file: &dyn File,
    extent: Extent,
    offsets: Offsets,
    (mut position, mut expected): (u64, Offset),
    damages: &[Damage],
    mut visit: impl FnMut(u64, Span) -> ControlFlow<()>,
) -> Result<(), Trouble> {
    let mut before = position;
    while position < extent.len {
        let damage = damages.iter().find(|damage| damage.end > position);
        if let Some(damage) = damage.filter(|damage| damage.position <= position) {
            (position, expected) = (damage.end, damage.next);
            continue;
        }
        let good_len = damage.map_or(extent.len, |damage| damage.position);
        let chunk =
            read_exactly(file, position, (WALK_LEN as u64).min(good_len - position)).map_err(Trouble::Io)?;
        let mut at = 0;
        while at < chunk.len() as u64 {
            let rest = &chunk[at as usize..];
            let here = position + at;
            let span = Span::peek(rest, offsets, expected, (good_len - here, extent.next))
                .map_err(|reason| Trouble::Bad { position: here, expected, before, reason })?;
            let Some(span) = span else { break };
            if visit(here, span).is_break() {
                return Ok(());
            }
            before = here;
            at += span.len;
            expected = span.next;
        }
        if at == 0 {
            return Err(Trouble::Bad { position, expected, before, reason: "the segment ends early".into() });
        }
        position += at;
    }
    Ok(())
}

/// Up to `len` bytes, fewer only at the end of the file.
fn read_exactly(file: &dyn File, position: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(usize::try_from(len).expect("a piece of a file fits into memory"));
    let count = file.read_at(&mut bytes, position)?;
    bytes.truncate(count);
    Ok(bytes.freeze())
}

fn unserved(damage: &Damage, from: Offset) -> ReadError {
    let Damage { position, end, from: first, next } = damage;
    let reason = format!(
        "bytes {position} to {end} of the segment are not as they were written; the next good offset is {next}"
    );
    ReadError::Corrupt { offset: from.max(*first), reason }
}

fn corrupt(offset: Offset, reason: &dyn std::fmt::Display) -> ReadError {
    ReadError::Corrupt { offset, reason: reason.to_string() }
}
