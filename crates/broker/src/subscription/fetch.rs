//! Reading a subscription's records from its partition.

use super::payloads::Stored;
use bytes::Bytes;
use keyway_danube_wire::message;
use keyway_dispatch::Arrival;
use keyway_kafka_wire::records;
use keyway_log::{PartitionLog, ReadError, ReadLimit};
use keyway_record::{KeyHash, Offset, Record, RecordBatch, Timestamp, limits};
use std::ops::Range;

/// What lies in `[base, end)` of the log.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) arrivals: Vec<Arrival>,
    /// As many as arrivals, in the same order.
    pub(super) payloads: Vec<Stored>,
}

/// Reads from `from` on, at most about `bytes_max` bytes and `records_max` records.
pub(super) fn read(
    log: &dyn PartitionLog,
    from: Offset,
    records_max: usize,
    bytes_max: usize,
) -> Result<Fetched, ReadError> {
    read_only(log, None, from, records_max, bytes_max)
}

/// Reads a front part of `range`, at most [`REREAD_BYTES_MAX`] of the log, and takes the records of one key, at most
/// `records_max`.
pub(super) fn read_key(
    log: &dyn PartitionLog,
    key: KeyHash,
    range: Range<Offset>,
    records_max: usize,
) -> Result<Fetched, ReadError> {
    let mut fetched = read_only(log, Some(key), range.start, records_max, REREAD_BYTES_MAX)?;
    fetched.end = fetched.end.min(range.end);
    let inside = fetched.arrivals.partition_point(|arrival| arrival.offset < fetched.end);
    fetched.arrivals.truncate(inside);
    fetched.payloads.truncate(inside);
    Ok(fetched)
}

/// What is read of the log at once for one key: the owner has other work between two such reads.
const REREAD_BYTES_MAX: usize = 1024 * 1024;

fn read_only(
    log: &dyn PartitionLog,
    only: Option<KeyHash>,
    from: Offset,
    records_max: usize,
    bytes_max: usize,
) -> Result<Fetched, ReadError> {
    let slice = log.read(from, ReadLimit::committed_bytes(bytes_max))?;
    let mut fetched = Fetched { base: from, end: from, arrivals: Vec::new(), payloads: Vec::new() };
    for batch in slice.committed_batches() {
        if !fetched.take_batch(&batch, only, records_max) {
            return Ok(fetched);
        }
        fetched.end = batch.next_offset().max(from);
    }
    fetched.end = slice.next.max(from);
    Ok(fetched)
}

/// The first record at `offset` or in its batch after it.
pub(super) fn read_first(log: &dyn PartitionLog, offset: Offset) -> Result<Option<Stored>, ReadError> {
    Ok(read(log, offset, 1, 1)?.payloads.into_iter().next())
}

/// The one record at `offset`, if the log still has it.
pub(super) fn read_one(log: &dyn PartitionLog, offset: Offset) -> Result<Option<Stored>, ReadError> {
    let fetched = read(log, offset, 1, 1)?;
    let found = fetched.arrivals.first().is_some_and(|arrival| arrival.offset == offset);
    Ok(fetched.payloads.into_iter().next().filter(|_| found))
}

impl Fetched {
    /// Takes the batch's records; false if they were too many and the range ends inside it.
    fn take_batch(&mut self, batch: &RecordBatch, only: Option<KeyHash>, records_max: usize) -> bool {
        // Every record was checked when it was produced, so this is damage that the checksum does not show.
        let walk = match records(batch, limits::DECOMPRESSED_BYTES_MAX) {
            Ok(walk) => walk,
            Err(error) => {
                tracing::error!(offset = %batch.base_offset(), %error, "a stored batch cannot be read; it is passed over");
                return true;
            }
        };
        for record in walk {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(offset = %batch.base_offset(), %error, "a stored record cannot be read; the rest of its batch is passed over");
                    return true;
                }
            };
            let offset = batch.base_offset().plus(i64::from(record.offset_delta));
            if offset < self.base {
                continue;
            }
            if only.is_some_and(|only| only != key_of(&record, offset)) {
                continue;
            }
            if self.arrivals.len() >= records_max {
                self.end = offset;
                return false;
            }
            self.take_record(offset, time(batch, &record), &record);
        }
        true
    }

    fn take_record(&mut self, offset: Offset, timestamp: Timestamp, record: &Record) {
        let size = record.payload_len();
        // Hex digits may double what is no text, so a large record is measured as it would be delivered.
        let bytes_max = limits::DANUBE_SENT_BYTES_MAX;
        if size > bytes_max / 4 && message::delivered_len(record, timestamp) > bytes_max {
            tracing::warn!(%offset, bytes = size, "a record is too large for Danube clients; it is passed over");
            return;
        }
        let stored = Stored::copy(timestamp, record);
        let key_text = message::ordering_key(&stored.record).cloned();
        self.arrivals.push(Arrival {
            offset,
            key: key_hash(key_text.as_ref(), offset),
            key_text,
            size: u32::try_from(size).unwrap_or(u32::MAX),
        });
        self.payloads.push(stored);
    }
}

/// The key by which the record at `offset` is ordered.
pub(super) fn key_of(record: &Record, offset: Offset) -> KeyHash {
    key_hash(message::ordering_key(record), offset)
}

/// A record with neither key nor producer is ordered with nothing else.
fn key_hash(key: Option<&Bytes>, offset: Offset) -> KeyHash {
    match key {
        Some(key) => KeyHash::of(key),
        None => KeyHash::of(&offset.0.to_be_bytes()),
    }
}

fn time(batch: &RecordBatch, record: &Record) -> Timestamp {
    if batch.is_log_append_time() {
        return batch.max_timestamp();
    }
    Timestamp(batch.base_timestamp().0.saturating_add(record.timestamp_delta))
}
