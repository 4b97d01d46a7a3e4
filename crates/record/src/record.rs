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

/// One record as a view of the batch's bytes: for walks that keep nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef<'a> {
    /// Milliseconds to add to the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Places to add to the batch's base offset.
    pub offset_delta: i32,
    /// The key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, `None` for null.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    headers_count: usize,
}

impl<'a> RecordRef<'a> {
    /// Takes the record at the front of `rest`; `index` is its place in the batch, for the error.
    pub fn take(rest: &mut &'a [u8], index: usize) -> Result<Self, RecordError> {
        let len = take_signed(rest).ok_or(RecordError::Truncated { index })?;
        let len = usize::try_from(len).map_err(|_| RecordError::Length { index })?;
        if len > rest.len() {
            return Err(RecordError::Truncated { index });
        }
        let (body, after) = rest.split_at(len);
        *rest = after;
        Self::parse(body).ok_or(RecordError::Length { index })
    }

    /// The headers in order, as key and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers;
        (0..self.headers_count).map(move |_| take_header(&mut rest).expect("checked by take"))
    }

    fn parse(mut body: &'a [u8]) -> Option<Self> {
        body = body.get(1..)?; // attributes
        let timestamp_delta = take_signed(&mut body)?;
        let offset_delta = i32::try_from(take_signed(&mut body)?).ok()?;
        let key = take_bytes(&mut body)?;
        let value = take_bytes(&mut body)?;
        let headers_count = usize::try_from(take_signed(&mut body)?).ok()?;
        // A header takes at least two bytes, so the count is bounded by the bytes that remain.
        if headers_count > body.len() / 2 {
            return None;
        }
        let headers = body;
        for _ in 0..headers_count {
            take_header(&mut body)?;
        }
        body.is_empty().then_some(Self { timestamp_delta, offset_delta, key, value, headers, headers_count })
    }
}

/// Walks `count` records in `bytes`, the uncompressed record section of a batch.
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Bytes,
    at: usize,
    index: usize,
    count: usize,
    failed: bool,
}

impl Records {
    /// A walk over `count` records stored in `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes, count: usize) -> Self {
        Self { bytes, at: 0, index: 0, count, failed: false }
    }

    fn read(&mut self) -> Result<Record, RecordError> {
        let mut rest = &self.bytes[self.at..];
        let view = RecordRef::take(&mut rest, self.index)?;
        let own = |part: &[u8]| self.bytes.slice_ref(part);
        let record = Record {
            timestamp_delta: view.timestamp_delta,
            offset_delta: view.offset_delta,
            key: view.key.map(own),
            value: view.value.map(own),
            headers: view
                .headers()
                .map(|(key, value)| Header { key: own(key), value: value.map(own) })
                .collect(),
        };
        self.at = self.bytes.len() - rest.len();
        self.index += 1;
        Ok(record)
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
        } else if self.at == self.bytes.len() {
            return None;
        } else {
            Err(RecordError::Trailing { bytes: self.bytes.len() - self.at })
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
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_signed(rest)? {
        -1 => Some(None),
        len => {
            let (bytes, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            *rest = after;
            Some(Some(bytes))
        }
    }
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let key = take_bytes(rest)??;
    Some((key, take_bytes(rest)?))
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
