//! One record inside a batch, and the walk over a batch's uncompressed records.
//!
//! | part | bytes |
//! |---|---|
//! | length of what follows | zigzag varint |
//! | attributes, always 0 | i8 |
//! | timestamp delta to the batch's base timestamp, ms | zigzag varint |
//! | offset delta to the batch's base offset | zigzag varint |
//! | key length (-1 for null), key | zigzag varint, bytes |
//! | value length (-1 for null), value | zigzag varint, bytes |
//! | header count, then per header: key length, key, value length (-1 for null), value | zigzag varints, bytes |
//!
//! Source: Kafka's record format v2. Headers keep their order and may repeat.

use crate::varint::{put_signed, signed_len, take_signed};
use bytes::{BufMut, Bytes};

/// One record, its parts sharing the batch's buffer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Milliseconds to add to the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Places to add to the batch's base offset.
    pub offset_delta: i32,
    /// The key, `None` for null.
    pub key: Option<Bytes>,
    /// The value, `None` for null (a tombstone).
    pub value: Option<Bytes>,
    /// Headers in order; keys may repeat.
    pub headers: Vec<Header>,
}

/// One record header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The header's name: UTF-8 by convention, bytes on the wire.
    pub key: Bytes,
    /// The header's value, `None` for null.
    pub value: Option<Bytes>,
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside a record.
    #[error("record {index} is cut short")]
    Truncated {
        /// Place of the record in its batch, from 0.
        index: usize,
    },
    /// A length inside the record contradicts the record's own length, or is negative where it must not be.
    #[error("record {index} has an impossible length")]
    Length {
        /// Place of the record in its batch, from 0.
        index: usize,
    },
    /// Bytes remain after the number of records that the batch header states.
    #[error("{bytes} bytes follow the last record")]
    Trailing {
        /// How many bytes remain.
        bytes: usize,
    },
}

/// Walks `count` records in `bytes`, the uncompressed record section of a batch.
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Bytes,
    index: usize,
    count: usize,
    failed: bool,
}

impl Records {
    /// A walk over `count` records stored in `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes, count: usize) -> Self {
        Self { bytes, index: 0, count, failed: false }
    }

    fn read(&mut self) -> Result<Record, RecordError> {
        let index = self.index;
        let truncated = RecordError::Truncated { index };
        let impossible = RecordError::Length { index };
        let mut rest: &[u8] = &self.bytes;
        let len = take_signed(&mut rest).ok_or(truncated)?;
        let len = usize::try_from(len).map_err(|_| impossible)?;
        if len > rest.len() {
            return Err(truncated);
        }
        let start = self.bytes.len() - rest.len();
        let body = self.bytes.slice(start..start + len);
        let mut rest: &[u8] = &body;
        let varint = |rest: &mut &[u8]| take_signed(rest).ok_or(impossible);
        rest = rest.get(1..).ok_or(impossible)?; // attributes
        let timestamp_delta = varint(&mut rest)?;
        let offset_delta = i32::try_from(varint(&mut rest)?).map_err(|_| impossible)?;
        let key = take_bytes(&body, &mut rest).ok_or(impossible)?;
        let value = take_bytes(&body, &mut rest).ok_or(impossible)?;
        let headers_count = usize::try_from(varint(&mut rest)?).map_err(|_| impossible)?;
        // A header takes at least two bytes, which bounds the allocation by the bytes that remain.
        if headers_count > rest.len() / 2 {
            return Err(impossible);
        }
        let mut headers = Vec::with_capacity(headers_count);
        for _ in 0..headers_count {
            let key = take_bytes(&body, &mut rest).flatten().ok_or(impossible)?;
            let value = take_bytes(&body, &mut rest).ok_or(impossible)?;
            headers.push(Header { key, value });
        }
        if !rest.is_empty() {
            return Err(impossible);
        }
        self.bytes = self.bytes.slice(start + len..);
        self.index += 1;
        Ok(Record { timestamp_delta, offset_delta, key, value, headers })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = if self.index < self.count {
            self.read()
        } else if self.bytes.is_empty() {
            return None;
        } else {
            Err(RecordError::Trailing { bytes: self.bytes.len() })
        };
        self.failed = item.is_err();
        Some(item)
    }
}

impl Record {
    /// Appends the record as the table above says.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_signed(out, self.body_len() as i64);
        out.put_i8(0);
        put_signed(out, self.timestamp_delta);
        put_signed(out, i64::from(self.offset_delta));
        put_bytes(out, self.key.as_ref());
        put_bytes(out, self.value.as_ref());
        put_signed(out, self.headers.len() as i64);
        for header in &self.headers {
            put_bytes(out, Some(&header.key));
            put_bytes(out, header.value.as_ref());
        }
    }

    /// Bytes of key, value and headers together: what quotas and caches count.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|h| h.key.len() + len(&h.value)).sum::<usize>();
        len(&self.key) + len(&self.value) + headers
    }

    fn body_len(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|h| bytes_len(Some(&h.key)) + bytes_len(h.value.as_ref())).sum();
        1 + signed_len(self.timestamp_delta)
            + signed_len(i64::from(self.offset_delta))
            + bytes_len(self.key.as_ref())
            + bytes_len(self.value.as_ref())
            + signed_len(self.headers.len() as i64)
            + headers
    }
}

/// `Some(None)` is null, `None` is malformed.
fn take_bytes(body: &Bytes, rest: &mut &[u8]) -> Option<Option<Bytes>> {
    match take_signed(rest)? {
        -1 => Some(None),
        len => {
            let len = usize::try_from(len).ok()?;
            let start = body.len() - rest.len();
            *rest = rest.get(len..)?;
            Some(Some(body.slice(start..start + len)))
        }
    }
}

fn put_bytes(out: &mut impl BufMut, bytes: Option<&Bytes>) {
    match bytes {
        None => put_signed(out, -1),
        Some(bytes) => {
            put_signed(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
    }
}

fn bytes_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |bytes| signed_len(bytes.len() as i64) + bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blob() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let header = (blob(), prop::option::of(blob())).prop_map(|(key, value)| Header { key, value });
        let headers = prop::collection::vec(header, 0..4);
        (any::<i64>(), any::<i32>(), prop::option::of(blob()), prop::option::of(blob()), headers).prop_map(
            |(timestamp_delta, offset_delta, key, value, headers)| Record {
                timestamp_delta,
                offset_delta,
                key,
                value,
                headers,
            },
        )
    }

    proptest! {
        #[test]
        fn records_come_back(records in prop::collection::vec(any_record(), 0..8)) {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| record.encode(&mut bytes));
            let back: Result<Vec<_>, _> = Records::new(bytes.into(), records.len()).collect();
            prop_assert_eq!(back, Ok(records));
        }

        #[test]
        fn garbage_ends_in_an_error_or_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..50) {
            let seen = Records::new(bytes.into(), count).count();
            prop_assert!(seen <= count + 1);
        }
    }
}
