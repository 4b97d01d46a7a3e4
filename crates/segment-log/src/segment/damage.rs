//! What of a segment cannot be served, and where it goes on behind that.
//!
//! Damage is looked for in one block of the index at a time; where its batches end and the next block begins is known
//! from the index, so nothing outside it is concerned. Inside, each batch has its checksum, dense offsets and the block's
//! checksum of prefixes. Where a length cannot be believed, the next good batch is the first one from which whole batches
//! lead to the block's end: a batch that somebody stored in a record does not.

use super::{
    Extent, INDEX_SPACING, Offsets, Segment,
    index::{Block, Index, crc_of},
    span::{PREFIX_LEN, Span},
};
use bytes::Bytes;
use keyway_log::ReadError;
use keyway_record::{LeaderEpoch, Offset, RecordBatch, batch::HEADER_LEN};
use keyway_runtime::File;
use std::{io, sync::atomic::Ordering};

/// Bytes looked through at a time for the next good batch.
const SCAN_LEN: usize = 256 * 1024;

/// Stretches noted for one segment; with more, the last one reaches to the segment's end.
const DAMAGES_MAX: usize = 1_000;

/// A stretch of a segment that cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damage {
    /// Bytes, from the first to behind the last.
    pub(crate) position: u64,
    pub(crate) end: u64,
    /// Offsets, from the first to the next good one.
    pub(crate) from: Offset,
    pub(crate) next: Offset,
}

/// What is known of a segment's damage, in the order of its bytes.
#[derive(Default)]
pub(super) struct Damages {
    list: Vec<Damage>,
    /// As an earlier process found it; the file may have been restored since.
    is_hearsay: bool,
}

/// A place in a segment: byte and offset.
type Place = (u64, Offset);

impl Segment {
    /// Notes what an earlier process found.
    pub(crate) fn set_damages(&self, list: Vec<Damage>) {
        self.is_damaged.store(!list.is_empty(), Ordering::Relaxed);
        *self.known() = Damages { is_hearsay: !list.is_empty(), list };
    }

    /// Whether any of it cannot be served, as far as anybody noticed.
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn damages(&self) -> Vec<Damage> {
        if self.is_damaged() { self.known().list.clone() } else { Vec::new() }
    }

    pub(crate) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Relaxed)
    }

    /// What was found or turned out to be good since this was asked the last time; `None` if nothing.
    pub(crate) fn take_news(&self) -> Option<Vec<Damage>> {
        let known = self.known();
        self.has_news.swap(false, Ordering::Relaxed).then(|| known.list.clone())
    }

    /// Looks again at what an earlier process called damaged.
    pub(super) fn check_hearsay(&self, file: &dyn File) -> io::Result<()> {
        if !self.is_damaged() || !self.known().is_hearsay {
            return Ok(());
        }
        let mut found = Vec::new();
        for damage in self.damages() {
            let (until, mut place) = ((damage.end, damage.next), (damage.position, damage.from));
            while place.0 < damage.end {
                match self.good_batch(file, place, until, None)? {
                    Some(span) => place = (place.0 + span.len, span.next),
                    None => {
                        let after = self.resync(file, place, until, None, true)?;
                        found.push(stretch(place, after));
                        place = after;
                    }
                }
            }
        }
        let mut known = self.known();
        known.is_hearsay = false;
        if known.list != found {
            self.has_news.store(true, Ordering::Relaxed);
        }
        known.list = found;
        self.is_damaged.store(!known.list.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    /// Finds out what is wrong at `place`, where a batch should begin or in whose block a checksum is wrong. `false` if
    /// nothing is found that was not known.
    pub(super) fn examine(
        &self,
        index: &mut Index,
        file: &dyn File,
        extent: Extent,
        place: Place,
    ) -> Result<bool, ReadError> {
        // Where the last block of an index ends that was made of headers, one of them says that may be damaged.
        let is_whole = index.covered == extent.len
            && match self.offsets() {
                Offsets::Dense => index.next == extent.next,
                Offsets::Ascending => index.next <= extent.next,
            };
        let is_certain = |block: &Block| block.end < index.covered || is_whole;
        let (range, found) = match index.block_at(place.0).filter(is_certain) {
            Some(block) => ((block.position, block.end), self.examine_block(file, block, extent.epoch)?),
            // Behind the damage nothing is known but where the segment ends.
            None => {
                let end = (extent.len, extent.next);
                let mut first = self.last_known(index, place.0).unwrap_or(place);
                while first.0 < place.0
                    && let Some(span) = self.good_batch(file, first, end, extent.epoch)?
                {
                    first = (first.0 + span.len, span.next);
                }
                let after = self.resync(file, first, end, extent.epoch, false)?;
                if first.0 < index.covered {
                    index.forget_last();
                }
                ((first.0, after.0), vec![stretch(first, after)])
            }
        };
        let mut known = self.known();
        let inside = |damage: &&Damage| range.0 <= damage.position && damage.position < range.1;
        if known.list.iter().filter(inside).eq(&found) {
            return Ok(false);
        }
        known.list.retain(|damage| !inside(&damage));
        known.list.extend(found);
        known.list.sort_by_key(|damage| damage.position);
        if known.list.len() > DAMAGES_MAX {
            known.list.truncate(DAMAGES_MAX);
            let last = known.list.last_mut().expect("there are many");
            (last.end, last.next) = (extent.len, extent.next);
        }
        self.has_news.store(true, Ordering::Relaxed);
        self.is_damaged.store(!known.list.is_empty(), Ordering::Relaxed);
        Ok(true)
    }

    /// The last place up to `position` of which the index, or what is known of damage, says that a batch begins there.
    fn last_known(&self, index: &Index, position: u64) -> Option<Place> {
        let mut entries = index.entries.iter().rev().map(|entry| (entry.position, entry.offset));
        let mut damages = self.damages().into_iter().rev().map(|damage| (damage.end, damage.next));
        let is_before = |place: &Place| place.0 <= position;
        entries.find(is_before).max(damages.find(is_before))
    }

    fn examine_block(
        &self,
        file: &dyn File,
        block: Block,
        epoch: Option<LeaderEpoch>,
    ) -> Result<Vec<Damage>, ReadError> {
        let whole = vec![stretch((block.position, block.offset), (block.end, block.next))];
        let bytes = super::read_exactly(file, block.position, block.end - block.position)?;
        let until = (block.end, block.next);
        let by_length = prefixes_by_length(&bytes);
        let misplaced = match &by_length {
            Some(prefixes) if crc_of(prefixes) != block.prefixes_crc => {
                match damaged_prefix(prefixes, block.prefixes_crc) {
                    Some(index) => Some(index),
                    None if self.offsets() == Offsets::Ascending => return Ok(whole),
                    None => None,
                }
            }
            _ => None,
        };
        let mut found = Vec::new();
        let mut prefixes = Vec::new();
        let mut place = (block.position, block.offset);
        while place.0 < block.end {
            let is_misplaced = misplaced == Some(prefixes.len());
            match self.good_batch(file, place, until, epoch)? {
                Some(span) if !is_misplaced => {
                    prefixes.push(span.prefix);
                    place = (place.0 + span.len, span.next);
                }
                _ if is_misplaced => {
                    let prefixes_before = prefixes.len();
                    let lens = by_length.as_deref().unwrap_or_default();
                    let after = place.0 + len_of(&lens[prefixes_before]);
                    let next = lens.get(prefixes_before + 1).map_or(block.next, base_of);
                    found.push(stretch(place, (after, next.max(place.1))));
                    prefixes.push(lens[prefixes_before]);
                    place = (after, next.max(place.1));
                }
                _ => {
                    let after = self.resync(file, place, until, epoch, true)?;
                    found.push(stretch(place, after));
                    // As it was, if only its length is wrong.
                    if let Some(prefix) = prefix_at(&bytes, place.0 - block.position) {
                        prefixes.push(with_len(prefix, after.0 - place.0));
                    }
                    place = after;
                }
            }
        }
        let is_proven = crc_of(&prefixes) == block.prefixes_crc || misplaced.is_some();
        match (self.offsets(), found.is_empty()) {
            // Each is where it must be, so at most leader epochs are in doubt.
            (Offsets::Dense, false) => Ok(found),
            (Offsets::Ascending, false) if is_proven => Ok(found),
            (_, true) if is_proven => Ok(found),
            _ => Ok(whole),
        }
    }

    /// The batch at a place, if it is whole, right, and ends before `until`.
    fn good_batch(
        &self,
        file: &dyn File,
        place: Place,
        until: Place,
        epoch: Option<LeaderEpoch>,
    ) -> io::Result<Option<Span>> {
        let len_max = until.0 - place.0;
        let header = super::read_exactly(file, place.0, (HEADER_LEN as u64).min(len_max))?;
        let Ok(Some(span)) = Span::peek(&header, self.offsets(), place.1, (len_max, until.1)) else {
            return Ok(None);
        };
        let bytes = super::read_exactly(file, place.0, span.len)?;
        let batch = RecordBatch::parse_first(&bytes).ok();
        let batch = batch.filter(|batch| epoch.is_none_or(|epoch| batch.leader_epoch() == epoch));
        Ok(batch.map(|_| span))
    }

    /// The first place behind `place` where good batches begin, at the latest `until`.
    fn resync(
        &self,
        file: &dyn File,
        place: Place,
        until: Place,
        epoch: Option<LeaderEpoch>,
        is_anchor: bool,
    ) -> io::Result<Place> {
        let header = super::read_exactly(file, place.0, (HEADER_LEN as u64).min(until.0 - place.0))?;
        if let Some(after) = self.after_stated(file, &header, place, until, epoch)? {
            return Ok(after);
        }
        let mut at = place.0 + 1;
        while at + HEADER_LEN as u64 <= until.0 {
            let chunk = super::read_exactly(file, at, ((SCAN_LEN + HEADER_LEN) as u64).min(until.0 - at))?;
            let count = chunk.len().saturating_sub(HEADER_LEN - 1).min(SCAN_LEN);
            for start in 0..count {
                let candidate = at + start as u64;
                if candidate + HEADER_LEN as u64 > until.0 {
                    break;
                }
                // What is no batch of these offsets is told by a few of its bytes.
                let base = base_at(&chunk[start..]);
                if chunk[start + 16] != 2 || base < place.1 || base >= until.1 {
                    continue;
                }
                if self.leads_on(file, (candidate, base), until, epoch, is_anchor)? {
                    return Ok((candidate, base));
                }
            }
            if count == 0 {
                break;
            }
            at += count as u64;
        }
        Ok(until)
    }

    /// The place behind the batch at `place` as its header states it, if a good batch of the right offset is there.
    fn after_stated(
        &self,
        file: &dyn File,
        header: &[u8],
        place: Place,
        until: Place,
        epoch: Option<LeaderEpoch>,
    ) -> io::Result<Option<Place>> {
        let Ok(len) = RecordBatch::stated_len(header) else { return Ok(None) };
        let delta = i32::from_be_bytes(header[23..27].try_into().expect("4 bytes"));
        let base = match self.offsets() {
            Offsets::Dense => place.1,
            Offsets::Ascending => place.1.max(base_at(header)),
        };
        let (position, next) = (place.0 + len as u64, base.0.saturating_add(i64::from(delta) + 1));
        if delta < 0 || position > until.0 || next > until.1.0 {
            return Ok(None);
        }
        let after = (position, Offset(next));
        let is_end = after == until;
        Ok((is_end || (position < until.0 && self.good_batch(file, after, until, epoch)?.is_some()))
            .then_some(after))
    }

    /// Whether whole batches lead from a place to `until`; where that is no place of the index, far enough towards it.
    fn leads_on(
        &self,
        file: &dyn File,
        from: Place,
        until: Place,
        epoch: Option<LeaderEpoch>,
        is_anchor: bool,
    ) -> io::Result<bool> {
        let mut place = from;
        while place.0 < until.0 {
            if !is_anchor && place.0 - from.0 >= INDEX_SPACING {
                return Ok(true);
            }
            match self.good_batch(file, place, until, epoch)? {
                Some(span) => place = (place.0 + span.len, span.next),
                None => return Ok(false),
            }
        }
        Ok(self.offsets() == Offsets::Ascending || place == until)
    }
}

fn stretch(from: Place, until: Place) -> Damage {
    Damage { position: from.0, end: until.0, from: from.1, next: until.1 }
}

/// The prefixes of batches that lie one after the other by their lengths alone.
fn prefixes_by_length(bytes: &Bytes) -> Option<Vec<[u8; PREFIX_LEN]>> {
    let mut prefixes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = RecordBatch::stated_len(&bytes[at..]).ok()?;
        prefixes.push(prefix_at(bytes, at as u64)?);
        at += len;
    }
    (at == bytes.len()).then_some(prefixes)
}

/// Which of the prefixes is another than `crc` was made of, if one leader epoch or one bit tells.
fn damaged_prefix(prefixes: &[[u8; PREFIX_LEN]], crc: u32) -> Option<usize> {
    let epochs: std::collections::BTreeSet<[u8; 4]> = prefixes.iter().map(epoch_of).collect();
    let mut before = 0;
    for (index, prefix) in prefixes.iter().enumerate() {
        let is_it = |changed: &[u8; PREFIX_LEN]| {
            let first = crc32c::crc32c_append(before, changed);
            prefixes[index + 1..].iter().fold(first, |crc, prefix| crc32c::crc32c_append(crc, prefix)) == crc
        };
        let bits = (0..8 * 8).chain(12 * 8..16 * 8).map(|bit| {
            let mut changed = *prefix;
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        });
        let of_others = epochs.iter().filter(|epoch| **epoch != epoch_of(prefix)).map(|epoch| {
            let mut changed = *prefix;
            changed[12..].copy_from_slice(epoch);
            changed
        });
        if bits.chain(of_others).any(|changed| is_it(&changed)) {
            return Some(index);
        }
        before = crc32c::crc32c_append(before, prefix);
    }
    None
}

fn prefix_at(bytes: &[u8], at: u64) -> Option<[u8; PREFIX_LEN]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..at + PREFIX_LEN)?.try_into().ok()
}

fn epoch_of(prefix: &[u8; PREFIX_LEN]) -> [u8; 4] {
    prefix[12..].try_into().expect("4 bytes")
}

fn base_of(prefix: &[u8; PREFIX_LEN]) -> Offset {
    base_at(prefix)
}

fn base_at(bytes: &[u8]) -> Offset {
    Offset(i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes")))
}

/// Bytes of the batch with this prefix.
fn len_of(prefix: &[u8; PREFIX_LEN]) -> u64 {
    u64::from(u32::from_be_bytes(prefix[8..12].try_into().expect("4 bytes"))) + 12
}

fn with_len(mut prefix: [u8; PREFIX_LEN], len: u64) -> [u8; PREFIX_LEN] {
    let len = u32::try_from(len.saturating_sub(12)).unwrap_or(u32::MAX);
    prefix[8..12].copy_from_slice(&len.to_be_bytes());
    prefix
}
