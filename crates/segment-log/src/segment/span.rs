//! What the header of a batch in a segment says of its place.

use super::Offsets;
use keyway_record::{Offset, RecordBatch, Timestamp, batch::HEADER_LEN};

/// Bytes of a batch that its own checksum does not cover, but for the format's number.
pub(super) const PREFIX_LEN: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) len: u64,
    pub(crate) max_timestamp: Timestamp,
    pub(super) prefix: [u8; PREFIX_LEN],
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

    /// Reads a header that must be that of the batch at `expected`, or of the next one behind a hole, and end within so
    /// many bytes and before an offset; `None` if the header is not wholly there, `Err` says why it is not that.
    pub(super) fn peek(
        bytes: &[u8],
        offsets: Offsets,
        expected: Offset,
        (len_max, next_max): (u64, Offset),
    ) -> Result<Option<Self>, String> {
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let len = RecordBatch::stated_len(bytes).map_err(|error| error.to_string())? as u64;
        if len > len_max {
            return Err(format!("a batch of {len} bytes where {len_max} are left"));
        }
        let base = i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"));
        let delta = i32::from_be_bytes(bytes[23..27].try_into().expect("4 bytes"));
        let max_timestamp = i64::from_be_bytes(bytes[35..43].try_into().expect("8 bytes"));
        // The batch's own checksum does not cover its base offset; that offsets are dense does.
        let in_place = match offsets {
            Offsets::Dense => base == expected.0,
            Offsets::Ascending => base >= expected.0,
        };
        let next = base.checked_add(i64::from(delta) + 1).filter(|_| in_place && delta >= 0);
        let next = next.filter(|next| *next <= next_max.0);
        let Some(next) = next else {
            return Err(format!("a batch of offset {base}, {delta} further, where {expected} comes next"));
        };
        let max_timestamp = Timestamp(max_timestamp);
        Ok(Some(Self {
            base: Offset(base),
            next: Offset(next),
            len,
            max_timestamp,
            prefix: prefix_of(bytes),
        }))
    }
}

fn prefix_of(bytes: &[u8]) -> [u8; PREFIX_LEN] {
    bytes[..PREFIX_LEN].try_into().expect("16 bytes")
}
