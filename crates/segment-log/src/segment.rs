//! One segment: a file of whole record batches, one after the other, as Kafka lays them out.
//!
//! `segments/orders-0.17/00000000000000000042.log`: the folder is topic, partition and log id (which tells two lives of
//! a partition apart), the file name the base offset of its first batch. The file is nothing but record batches v2,
//! verbatim; offsets inside are dense. A compacted one, `00000000000000000042.7.log`, has a revision in its name and may
//! miss offsets. What lies behind the length that the manifest states is not part of it: recovery
//! writes it again from the write-ahead log.
//!
//! The sparse index has one entry per [`INDEX_SPACING`] bytes. It grows as the segment is written, and is written beside
//! it once it is sealed ([`sidecar`]). In memory it is kept while the file is open; without a sidecar it is built from the
//! batch headers, as far as a read needs it.
//!
//! A batch's own checksum does not cover its first bytes: base offset, length, leader epoch. The index does.

mod sidecar;

use crate::wal::entry::LogId;
use bytes::{Bytes, BytesMut};
use keyway_log::{ReadError, Slice};
use keyway_record::{Offset, RecordBatch, Timestamp, TopicPartition, batch::HEADER_LEN};
use keyway_runtime::{Disk, File, OpenMode};
use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Name of the folder inside the data folder.
pub(crate) const FOLDER: &str = "segments";

/// Bytes of segment per index entry: 1 GiB takes 1.5 MiB of index, and a seek reads at most this too much.
const INDEX_SPACING: u64 = 16 * 1024;

/// Bytes of a batch that its own checksum does not cover, but for the format's number.
const PREFIX_LEN: usize = 16;

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
}

#[derive(PartialEq, Eq, Debug)]
struct Index {
    entries: Vec<IndexEntry>,
    /// Bytes from the front that the index knows.
    covered: u64,
    /// Offset after them, and their largest timestamp.
    next: Offset,
    max_timestamp: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct IndexEntry {
    position: u64,
    offset: Offset,
    /// Largest timestamp before `position`.
    max_before: Timestamp,
    /// CRC-32C of the prefixes of the batches up to the next entry.
    prefixes_crc: u32,
}

/// What a batch's header says of its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) len: u64,
    pub(crate) max_timestamp: Timestamp,
    prefix: [u8; PREFIX_LEN],
}

/// Batches between two entries of an index.
#[derive(Clone, Copy)]
struct Block {
    entry: IndexEntry,
    end: u64,
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
    pub(crate) fn new(log: LogId, base: Offset, revision: u64, folder: &Path) -> Self {
        let path = folder.join(match revision {
            0 => format!("{:020}.log", base.0),
            _ => format!("{:020}.{revision}.log", base.0),
        });
        let index = Index::new(base);
        Self {
            log,
            base,
            revision,
            path,
            sealed: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            index: Mutex::new(index),
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
        self.sealed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Gives back the index's memory if it can be built again and nobody adds to it.
    pub(crate) fn forget_index(&self) {
        if self.sealed.load(Ordering::Relaxed) {
            let mut index = self.index();
            *index = Index::new(self.base);
        }
    }

    /// Notes batches that were written at `position`, unless the index does not reach up to there.
    pub(crate) fn note_written(&self, position: u64, spans: impl Iterator<Item = Span>) {
        let mut index = self.index();
        if index.covered == position {
            spans.for_each(|span| index.push(span));
        }
    }

    /// Adds the batches from the one that holds `from` up to `until` to `slice`, as [`keyway_log::PartitionLog::read`]
    /// says. `len` is the segment's length; `from` lies in it.
    pub(crate) fn read(
        &self,
        file: &dyn File,
        len: u64,
        (from, until): (Offset, Offset),
        bytes_max: usize,
        slice: &mut Slice,
    ) -> Result<Reading, ReadError> {
        let Some((mut position, mut expected)) = self.locate(file, len, from)? else {
            slice.next = until;
            return Ok(Reading::Open);
        };
        let mut bytes_left = bytes_max.saturating_sub(slice.len());
        let mut chunk_len = (bytes_left + INDEX_SPACING as usize).min(READ_LEN_MAX);
        loop {
            let chunk = read_chunk(file, position, chunk_len.max(HEADER_LEN), len)?;
            let mut at = 0;
            let mut kept: Option<usize> = None;
            let reading = loop {
                let rest = chunk.slice(at..);
                let nothing_yet = slice.is_empty() && kept.is_none();
                let span = match Span::peek(&rest, self.offsets(), expected, len - position - at as u64) {
                    Ok(Some(span)) => span,
                    Ok(None) => break Reading::Open,
                    Err(error) if nothing_yet => return Err(error),
                    // What is good is served; the next read meets the damage.
                    Err(_) => break Reading::Full,
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
                    if let Err(error) = RecordBatch::parse_first(&rest) {
                        if nothing_yet {
                            return Err(corrupt(expected, &error));
                        }
                        break Reading::Full;
                    }
                    kept.get_or_insert(at);
                    bytes_left = bytes_left.saturating_sub(span.len as usize);
                }
                at += span.len as usize;
                expected = span.next;
            };
            if let Some(start) = kept {
                let served = (position + start as u64, position + at as u64);
                if let Some(bad) = self.damaged_block(file, len, (&chunk, position), served)? {
                    let cut = bad.entry.position.saturating_sub(position) as usize;
                    if cut <= start {
                        // What is good is served; the next read meets the damage.
                        let error =
                            corrupt(bad.entry.offset.max(from), &"its batches are not those of its index");
                        return if slice.is_empty() { Err(error) } else { Ok(Reading::Full) };
                    }
                    slice.pieces.push(chunk.slice(start..cut));
                    slice.next = bad.entry.offset;
                    return Ok(Reading::Full);
                }
                slice.pieces.push(chunk.slice(start..at));
                let at_end = position + at as u64 == len;
                slice.next = if at_end { expected.max(until) } else { expected };
                return Ok(reading);
            }
            if reading == Reading::Full {
                return Ok(reading);
            }
            // What is wanted begins behind the chunk or is longer than it.
            position += at as u64;
            if position == len && self.offsets() == Offsets::Ascending {
                slice.next = until;
                return Ok(Reading::Open);
            }
            let header = read_chunk(file, position, HEADER_LEN, len)?;
            let Some(span) = Span::peek(&header, self.offsets(), expected, len - position)? else {
                return Err(corrupt(expected, &"the segment ends early"));
            };
            chunk_len = (span.len as usize).max(chunk_len);
            if (chunk.len() - at) as u64 >= span.len {
                return Err(corrupt(expected, &"the segment changed while it was read"));
            }
        }
    }

    /// The first of the blocks between two positions whose batches do not begin as they did when they were written.
    /// Where offsets are dense, a batch out of its place is left to the one who reads it, so that its neighbours are not
    /// refused with it.
    fn damaged_block(
        &self,
        file: &dyn File,
        len: u64,
        (chunk, position): (&Bytes, u64),
        (from, until): (u64, u64),
    ) -> Result<Option<Block>, ReadError> {
        let chunk_end = position + chunk.len() as u64;
        // A block that grew beyond what this reader knows is left to the next one.
        let blocks = self.index().blocks(from, until).into_iter().filter(|block| block.end <= len);
        for block in blocks {
            let at = block.entry.position;
            let block_len = (block.end - at) as usize;
            let bytes = match at >= position && block.end <= chunk_end {
                true => chunk.slice((at - position) as usize..(block.end - position) as usize),
                false => read_chunk(file, at, block_len, len)?,
            };
            let is_good = match (block.prefixes_crc(&bytes, self.offsets()), self.offsets()) {
                (Some(crc), _) => crc == block.entry.prefixes_crc,
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?.min(sidecar::LEN_MAX)).expect("32 MiB fit")];
        let count = file.read_at(&mut bytes, 0)?;
        match sidecar::decode(&bytes[..count], self.base) {
            Ok(index) => *self.index() = index,
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "an index is damaged; it is made anew from its segment");
            }
        }
        Ok(())
    }

    /// Writes the sidecar of a sealed segment. Not durable: a torn one is noticed and made again.
    pub(crate) fn write_sidecar(&self, disk: &dyn Disk, file: &dyn File, len: u64) -> Result<(), ReadError> {
        let mut index = self.index();
        self.cover(&mut index, file, len, |_| false)?;
        let bytes = sidecar::encode(self.base, &index);
        drop(index);
        let sidecar = disk.open(&self.sidecar_path(), OpenMode::Create)?;
        sidecar.truncate(0)?;
        Ok(sidecar.write_at(&bytes, 0)?)
    }

    /// Base offset of the first batch that ends behind `start` and has a timestamp of `time` or later.
    pub(crate) fn find(
        &self,
        file: &dyn File,
        len: u64,
        start: Offset,
        time: Timestamp,
    ) -> Result<Option<Offset>, ReadError> {
        let mut index = self.index();
        self.cover(&mut index, file, len, |index| index.max_timestamp >= time && index.next > start)?;
        let by_time = index.entries.partition_point(|entry| entry.max_before < time);
        let by_start = index.entries.partition_point(|entry| entry.offset <= start);
        // The entries before both points are certain to come too early.
        let entry = by_time.max(by_start).saturating_sub(1);
        let Some(entry) = index.entries.get(entry).copied() else { return Ok(None) };
        drop(index);
        let mut found = None;
        walk(file, len, self.offsets(), (entry.position, entry.offset), |span| {
            if span.max_timestamp >= time && span.next > start {
                found = Some(span.base);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// A place at or before the batch that holds `offset`, or the next one behind a hole, and the offset there; `None` if
    /// nothing comes behind the hole.
    fn locate(&self, file: &dyn File, len: u64, offset: Offset) -> Result<Option<(u64, Offset)>, ReadError> {
        let mut index = self.index();
        self.cover(&mut index, file, len, |index| index.next > offset)?;
        let after = index.entries.partition_point(|entry| entry.offset <= offset);
        match index.entries.get(after.saturating_sub(1)) {
            Some(_) if index.next <= offset && self.offsets() == Offsets::Ascending => Ok(None),
            Some(entry) => Ok(Some((entry.position, entry.offset))),
            None => Err(corrupt(offset, &"the segment is empty")),
        }
    }

    /// Extends the index until it is `enough` or knows the whole segment.
    fn cover(
        &self,
        index: &mut Index,
        file: &dyn File,
        len: u64,
        enough: impl Fn(&Index) -> bool,
    ) -> Result<(), ReadError> {
        if enough(index) {
            return Ok(());
        }
        let known = (index.covered, index.next);
        walk(file, len, self.offsets(), known, |span| {
            index.push(span);
            if enough(index) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("no panic under the lock")
    }
}

impl Index {
    fn new(base: Offset) -> Self {
        Self { entries: Vec::new(), covered: 0, next: base, max_timestamp: Timestamp(i64::MIN) }
    }

    /// The blocks that reach into what lies between two positions.
    fn blocks(&self, from: u64, until: u64) -> Vec<Block> {
        let first = self.entries.partition_point(|entry| entry.position <= from).saturating_sub(1);
        let ends = self.entries.iter().skip(first + 1).map(|entry| entry.position).chain([self.covered]);
        let blocks = self.entries[first.min(self.entries.len())..].iter().zip(ends);
        let blocks = blocks.map(|(entry, end)| Block { entry: *entry, end });
        blocks.take_while(|block| block.entry.position < until).collect()
    }

    fn push(&mut self, span: Span) {
        assert!(span.base >= self.next, "offsets in a segment ascend");
        if self.entries.last().is_none_or(|last| self.covered - last.position >= INDEX_SPACING) {
            let max_before = self.max_timestamp;
            let (position, offset) = (self.covered, span.base);
            self.entries.push(IndexEntry { position, offset, max_before, prefixes_crc: 0 });
        }
        let last = self.entries.last_mut().expect("there is one now");
        last.prefixes_crc = crc32c::crc32c_append(last.prefixes_crc, &span.prefix);
        self.covered += span.len;
        self.next = span.next;
        self.max_timestamp = self.max_timestamp.max(span.max_timestamp);
    }
}

impl Block {
    /// CRC of the prefixes in the block's bytes; `None` if they are not one batch after the other.
    fn prefixes_crc(&self, bytes: &[u8], offsets: Offsets) -> Option<u32> {
        let (mut rest, mut expected, mut crc) = (bytes, self.entry.offset, 0);
        while !rest.is_empty() {
            let span = Span::peek(rest, offsets, expected, rest.len() as u64).ok()??;
            crc = crc32c::crc32c_append(crc, &span.prefix);
            expected = span.next;
            rest = &rest[span.len as usize..];
        }
        Some(crc)
    }
}

impl Span {
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        Self {
            base: batch.base_offset(),
            next: batch.next_offset(),
            len: batch.bytes().len() as u64,
            max_timestamp: batch.max_timestamp(),
            prefix: prefix_of(batch.bytes()),
        }
    }

    /// Reads a header that must be that of the batch at `expected`, or the next one behind a hole, with at most `len_max` bytes; `None` if the header
    /// is not wholly there.
    fn peek(
        bytes: &[u8],
        offsets: Offsets,
        expected: Offset,
        len_max: u64,
    ) -> Result<Option<Self>, ReadError> {
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let len = RecordBatch::stated_len(bytes).map_err(|error| corrupt(expected, &error))? as u64;
        if len > len_max {
            return Err(corrupt(expected, &format_args!("a batch of {len} bytes where {len_max} are left")));
        }
        let base = i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"));
        let delta = i32::from_be_bytes(bytes[23..27].try_into().expect("4 bytes"));
        let max_timestamp = i64::from_be_bytes(bytes[35..43].try_into().expect("8 bytes"));
        // The batch's own checksum does not cover its base offset; that offsets are dense does.
        let in_place = match offsets {
            Offsets::Dense => base == expected.0,
            Offsets::Ascending => base >= expected.0,
        };
        if !in_place || delta < 0 {
            return Err(corrupt(expected, &format_args!("a batch of offset {base}, {delta} further")));
        }
        let base = Offset(base);
        let next = base.plus(i64::from(delta) + 1);
        let max_timestamp = Timestamp(max_timestamp);
        Ok(Some(Self { base, next, len, max_timestamp, prefix: prefix_of(bytes) }))
    }
}

/// Visits the headers from `position` on, where offset `expected` lies.
fn walk(
    file: &dyn File,
    len: u64,
    offsets: Offsets,
    (mut position, mut expected): (u64, Offset),
    mut visit: impl FnMut(Span) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    while position < len {
        let chunk = read_chunk(file, position, WALK_LEN, len)?;
        let mut at = 0;
        while at < chunk.len() as u64 {
            let rest = &chunk[at as usize..];
            let Some(span) = Span::peek(rest, offsets, expected, len - position - at)? else { break };
            if visit(span).is_break() {
                return Ok(());
            }
            at += span.len;
            expected = span.next;
        }
        if at == 0 {
            return Err(corrupt(expected, &"the segment ends early"));
        }
        position += at;
    }
    Ok(())
}

fn read_chunk(file: &dyn File, position: u64, chunk_len: usize, len: u64) -> Result<Bytes, ReadError> {
    let chunk_len = chunk_len.min(usize::try_from(len - position).unwrap_or(usize::MAX));
    let mut chunk = BytesMut::zeroed(chunk_len);
    let count = file.read_at(&mut chunk, position)?;
    chunk.truncate(count);
    Ok(chunk.freeze())
}

fn prefix_of(bytes: &[u8]) -> [u8; PREFIX_LEN] {
    bytes[..PREFIX_LEN].try_into().expect("16 bytes")
}

fn corrupt(offset: Offset, reason: &dyn std::fmt::Display) -> ReadError {
    ReadError::Corrupt { offset, reason: reason.to_string() }
}
