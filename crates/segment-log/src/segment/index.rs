//! The sparse index of a segment: where batches begin, one entry per [`INDEX_SPACING`] bytes.

use super::{
    Offsets,
    span::{PREFIX_LEN, Span},
};
use keyway_record::{Offset, Timestamp};

/// Bytes of segment per index entry: 1 GiB takes 2 MiB of index in memory, and a seek reads at most this too much.
pub(super) const INDEX_SPACING: u64 = 16 * 1024;

#[derive(PartialEq, Eq, Debug)]
pub(super) struct Index {
    pub(super) entries: Vec<IndexEntry>,
    /// Bytes from the front that the index knows.
    pub(super) covered: u64,
    /// Offset after them, and their largest timestamp.
    pub(super) next: Offset,
    pub(super) max_timestamp: Timestamp,
    /// What comes next begins behind damage, so it has an entry of its own.
    pub(super) after_damage: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexEntry {
    pub(super) position: u64,
    pub(super) offset: Offset,
    /// Largest timestamp before `position`.
    pub(super) max_before: Timestamp,
    /// CRC-32C of the prefixes of the batches up to the next entry.
    pub(super) prefixes_crc: u32,
}

/// Batches between two entries of an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) position: u64,
    pub(super) offset: Offset,
    pub(super) end: u64,
    pub(super) next: Offset,
    pub(super) prefixes_crc: u32,
}

impl Index {
    pub(super) fn new(base: Offset) -> Self {
        Self {
            entries: Vec::new(),
            covered: 0,
            next: base,
            max_timestamp: Timestamp(i64::MIN),
            after_damage: false,
        }
    }

    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<IndexEntry>()
    }

    /// The blocks that reach into what lies between two positions.
    pub(super) fn blocks(&self, from: u64, until: u64) -> Vec<Block> {
        let first = self.entries.partition_point(|entry| entry.position <= from).saturating_sub(1);
        let last = (self.covered, self.next);
        let ends =
            self.entries.iter().skip(first + 1).map(|entry| (entry.position, entry.offset)).chain([last]);
        let blocks = self.entries[first.min(self.entries.len())..].iter().zip(ends);
        let blocks = blocks.map(|(entry, (end, next))| Block {
            position: entry.position,
            offset: entry.offset,
            end,
            next,
            prefixes_crc: entry.prefixes_crc,
        });
        blocks.take_while(|block| block.position < until).collect()
    }

    /// The block that holds a position, if the index knows it.
    pub(super) fn block_at(&self, position: u64) -> Option<Block> {
        self.blocks(position, position + 1).into_iter().next().filter(|block| position < block.end)
    }

    pub(super) fn push(&mut self, span: Span) {
        assert!(span.base >= self.next, "offsets in a segment ascend");
        let is_far = |last: &IndexEntry| self.covered - last.position >= INDEX_SPACING;
        if self.after_damage || self.entries.last().is_none_or(is_far) {
            let max_before = self.max_timestamp;
            let (position, offset) = (self.covered, span.base);
            self.entries.push(IndexEntry { position, offset, max_before, prefixes_crc: 0 });
            self.after_damage = false;
        }
        let last = self.entries.last_mut().expect("there is one now");
        last.prefixes_crc = crc32c::crc32c_append(last.prefixes_crc, &span.prefix);
        self.covered += span.len;
        self.next = span.next;
        self.max_timestamp = self.max_timestamp.max(span.max_timestamp);
    }

    /// Forgets what it knows from the last entry on.
    pub(super) fn forget_last(&mut self) {
        if let Some(last) = self.entries.pop() {
            (self.covered, self.next, self.max_timestamp) = (last.position, last.offset, last.max_before);
            self.after_damage = true;
        }
    }

    /// Goes on behind what is damaged.
    pub(super) fn skip(&mut self, position: u64, offset: Offset) {
        assert!(position > self.covered && offset >= self.next, "damage has a length");
        self.covered = position;
        self.next = offset;
        self.after_damage = true;
    }
}

impl Block {
    /// CRC of the prefixes in the block's bytes; `None` if they are not one batch after the other.
    pub(super) fn crc_in(&self, bytes: &[u8], offsets: Offsets) -> Option<u32> {
        let (mut rest, mut expected, mut crc) = (bytes, self.offset, 0);
        while !rest.is_empty() {
            let span = Span::peek(rest, offsets, expected, (rest.len() as u64, self.next)).ok()??;
            crc = crc32c::crc32c_append(crc, &span.prefix);
            expected = span.next;
            rest = &rest[usize::try_from(span.len).expect("it lies in memory")..];
        }
        Some(crc)
    }
}

/// CRC of prefixes as an index entry has it.
pub(super) fn crc_of<'a>(prefixes: impl IntoIterator<Item = &'a [u8; PREFIX_LEN]>) -> u32 {
    prefixes.into_iter().fold(0, |crc, prefix| crc32c::crc32c_append(crc, prefix))
}
