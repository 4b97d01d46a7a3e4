//! Compaction: which records of a log may go because a newer one of their key exists. Pure; engines bring the bytes.
//!
//! Rules (Kafka 4.3, KIP-58, KIP-534):
//! 1. [`KeyOffsets::note`] every batch of the dirty range, in order; the range ends where the keys do not fit any more.
//! 2. [`KeyOffsets::compact`] every batch before that end. A record goes if a newer one of its key was noted.
//! 3. A tombstone stays when it is compacted first, and its batch is marked with the time from which it may go.
//! 4. Offsets, order and the batches' producer fields never change. A batch with nothing left goes, unless it is the last
//!    of its producer: then it stays, empty.
//!
//! Records without a key and control batches stay: nothing says that they are superseded. Only what is decided is
//! compacted, up to the last stable offset; records of aborted transactions supersede nothing and go.

use crate::Compaction;
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::{
    compression::{DecompressError, compress},
    records,
};
use keyway_record::{KeyHash, Offset, Record, RecordBatch, RecordError, Timestamp, limits};
use std::collections::HashMap;

/// Keys that one pass notes at most: with 24 bytes each, in a table at most 7/8 full, about 26 MiB.
pub const KEYS_MAX: usize = 900_000;

/// The newest offset of each key in a range of a log. Keys are known by their 128-bit hash.
#[derive(Debug)]
pub struct KeyOffsets {
    newest: HashMap<KeyHash, Offset>,
    keys_max: usize,
}

/// What is left of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// All of it, as it is.
    Whole,
    /// This.
    Part(RecordBatch),
    /// Nothing.
    Nothing,
}

/// When tombstones go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tombstones {
    /// The wall clock.
    pub now: Timestamp,
    /// `delete.retention.ms`.
    pub retention_ms: i64,
}

/// Why a stored batch could not be compacted: its checksum is right, its records are not.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The record section is not what its codec writes, or too large.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record is malformed.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Compaction {
    /// Whether a log with `clean` and `dirty` bytes, the oldest dirty ones of time `oldest`, is worth compacting.
    #[must_use]
    pub fn is_due(&self, clean: u64, dirty: u64, oldest: Timestamp, now: Timestamp) -> bool {
        let ratio = dirty as f64 / (clean + dirty).max(1) as f64;
        let overdue = oldest > Timestamp::NONE && now.0.saturating_sub(oldest.0) > self.lag_max_ms;
        dirty > 0 && (ratio >= self.dirty_ratio_min || overdue)
    }

    /// Whether something whose newest record is of time `newest` may be compacted already.
    #[must_use]
    pub fn allows(&self, newest: Timestamp, now: Timestamp) -> bool {
        now.0.saturating_sub(newest.0) >= self.lag_min_ms
    }
}

impl KeyOffsets {
    /// No keys; `keys_max` fit.
    #[must_use]
    pub fn new(keys_max: usize) -> Self {
        Self { newest: HashMap::new(), keys_max }
    }

    /// Notes the keys of the next batch; `false`, and none is noted, if they might not fit. The first batch always fits.
    /// Batches of aborted transactions are left out by the caller.
    pub fn note(&mut self, batch: &RecordBatch) -> Result<bool, CompactError> {
        if batch.is_control() {
            return Ok(true);
        }
        if !self.newest.is_empty() && self.newest.len() + batch.record_count() > self.keys_max {
            return Ok(false);
        }
        for record in records(batch, limits::DECOMPRESSED_BYTES_MAX)? {
            let record = record?;
            if let Some(key) = &record.key {
                let offset = batch.base_offset().plus(record.offset_delta.into());
                self.newest.insert(KeyHash::of(key), offset);
            }
        }
        Ok(true)
    }

    /// What is left of a batch that lies before the end of the noted range. `is_aborted`: its transaction does not count
    /// ([`crate::transactions::Transactions::is_aborted`]). `is_last` tells whether it is its producer's
    /// last one; it is asked if nothing else keeps the batch.
    pub fn compact(
        &self,
        batch: &RecordBatch,
        is_aborted: bool,
        tombstones: Tombstones,
        is_last: impl FnOnce() -> bool,
    ) -> Result<Kept, CompactError> {
        if batch.is_control() {
            return Ok(Kept::Whole);
        }
        let horizon = batch.delete_horizon();
        let expired = horizon.is_some_and(|horizon| horizon < tombstones.now);
        let mut kept: Vec<Record> = Vec::with_capacity(batch.record_count());
        let mut seen = 0;
        let mut has_tombstone = false;
        for record in records(batch, limits::DECOMPRESSED_BYTES_MAX)? {
            let record = record?;
            seen += 1;
            let offset = batch.base_offset().plus(record.offset_delta.into());
            let newest = record.key.as_ref().and_then(|key| self.newest.get(&KeyHash::of(key)));
            let is_tombstone = record.key.is_some() && record.value.is_none();
            if is_aborted || newest.is_some_and(|newest| *newest > offset) || (is_tombstone && expired) {
                continue;
            }
            has_tombstone |= is_tombstone;
            kept.push(record);
        }
        let mark = has_tombstone && horizon.is_none();
        if kept.len() == seen && !mark && seen > 0 {
            return Ok(Kept::Whole);
        }
        if kept.is_empty() {
            return Ok(if is_last() { Kept::Part(emptied(batch)) } else { Kept::Nothing });
        }
        let marked = mark.then(|| Timestamp(tombstones.now.0.saturating_add(tombstones.retention_ms)));
        Ok(Kept::Part(rewritten(batch, kept, marked)))
    }
}

/// The batch without any record: it keeps the offsets and the producer's numbers.
fn emptied(batch: &RecordBatch) -> RecordBatch {
    batch.with_records(&Bytes::new(), 0, batch.base_timestamp(), batch.max_timestamp(), false)
}

fn rewritten(batch: &RecordBatch, kept: Vec<Record>, horizon: Option<Timestamp>) -> RecordBatch {
    let base = horizon.unwrap_or(batch.base_timestamp());
    let shift_ms = batch.base_timestamp().0.saturating_sub(base.0);
    let count = kept.len();
    let mut section = BytesMut::new();
    let mut max_delta = i64::MIN;
    for mut record in kept {
        record.timestamp_delta = record.timestamp_delta.saturating_add(shift_ms);
        max_delta = max_delta.max(record.timestamp_delta);
        record.encode(&mut section);
    }
    let max = match batch.is_log_append_time() {
        true => batch.max_timestamp(),
        false => Timestamp(base.0.saturating_add(max_delta)),
    };
    let section = compress(batch.compression(), &section.freeze());
    batch.with_records(&section, count, base, max, horizon.is_some() || batch.delete_horizon().is_some())
}
