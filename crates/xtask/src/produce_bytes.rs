//! Batches made byte by byte, so that they can be wrong on purpose.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::timeout;

use crate::kafka_client::{Acks, Connection};

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The attribute bits of gzip.
pub(crate) const GZIP: i16 = 1;

/// Who sends a batch, and which of its batches it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    /// Of the batch's first record.
    pub(crate) sequence: i32,
}

impl Identity {
    /// A producer that is not idempotent.
    pub(crate) const NONE: Self = Self { id: -1, epoch: -1, sequence: -1 };
}

/// A version 2 batch of no idempotent producer around a record section, created now; the checksum is right.
pub(crate) fn batch(attributes: i16, records: i32, section: &[u8]) -> Vec<u8> {
    batch_of(Identity::NONE, attributes, records, section)
}

/// A version 2 batch around a record section, created now; the checksum is right.
///
/// | bytes | field |
/// |---|---|
/// | 0..8 | base offset |
/// | 8..12 | length of what follows |
/// | 12..16 | leader epoch |
/// | 16 | magic 2 |
/// | 17..21 | CRC-32C of everything after it |
/// | 21..23 | attributes: codec |
/// | 23..61 | last offset delta, timestamps, producer id, epoch, sequence, record count |
pub(crate) fn batch_of(identity: Identity, attributes: i16, records: i32, section: &[u8]) -> Vec<u8> {
    // An old record is one that retention deletes.
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let mut checked = Vec::new();
    checked.extend_from_slice(&attributes.to_be_bytes());
    checked.extend_from_slice(&(records - 1).to_be_bytes());
    checked.extend_from_slice(&now_ms.to_be_bytes());
    checked.extend_from_slice(&now_ms.to_be_bytes());
    checked.extend_from_slice(&identity.id.to_be_bytes());
    checked.extend_from_slice(&identity.epoch.to_be_bytes());
    checked.extend_from_slice(&identity.sequence.to_be_bytes());
    checked.extend_from_slice(&records.to_be_bytes());
    checked.extend_from_slice(section);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

/// One record with the key `key` and this value, at offset delta 0.
pub(crate) fn record(value: &[u8]) -> Vec<u8> {
    keyed_record(0, b"key", value)
}

/// One record without headers.
pub(crate) fn keyed_record(offset_delta: i64, key: &[u8], value: &[u8]) -> Vec<u8> {
    // Attributes, timestamp delta.
    let mut body = vec![0, 0];
    varint(&mut body, offset_delta);
    varint(&mut body, key.len() as i64);
    body.extend_from_slice(key);
    varint(&mut body, value.len() as i64);
    body.extend_from_slice(value);
    varint(&mut body, 0);
    let mut record = Vec::new();
    varint(&mut record, body.len() as i64);
    record.extend_from_slice(&body);
    record
}

/// Zigzag, seven bits at a time.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// Zeros that compress to a thousandth.
pub(crate) fn bomb(bytes: usize) -> anyhow::Result<Vec<u8>> {
    const CHUNK: usize = 1 << 20;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..bytes / CHUNK {
        encoder.write_all(&[0; CHUNK])?;
    }
    Ok(encoder.finish()?)
}

/// Sends messages to partition 0 in batches: the fastest way to make a backlog.
pub(crate) async fn fill(
    address: SocketAddr,
    topic: &str,
    messages: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<()> {
    /// Below the broker's limit of 1 MiB a batch.
    const BATCH_BYTES: usize = 500_000;
    let (mut section, mut records) = (Vec::new(), 0);
    let mut messages = messages.peekable();
    while let Some((key, value)) = messages.next() {
        section.extend(keyed_record(i64::from(records), key.as_bytes(), value.as_bytes()));
        records += 1;
        if section.len() >= BATCH_BYTES || messages.peek().is_none() {
            let error_code = produce(address, topic, &batch(0, records, &section)).await?;
            ensure!(error_code == 0, "a batch of {records} records is refused with error {error_code}");
            (section, records) = (Vec::new(), 0);
        }
    }
    Ok(())
}

/// Sends a batch to partition 0 with acks=all and returns the partition's error code.
pub(crate) async fn produce(address: SocketAddr, topic: &str, batch: &[u8]) -> anyhow::Result<i16> {
    let produce = async { Connection::open(address).await?.produce(topic, 0, Acks::All, batch).await };
    timeout(ANSWER_LIMIT, produce).await.context("a produce request got no answer")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_is_zigzag() {
        let encoded = |value| {
            let mut out = Vec::new();
            varint(&mut out, value);
            out
        };
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(-1), [1]);
        assert_eq!(encoded(63), [126]);
        assert_eq!(encoded(64), [0x80, 1]);
    }

    #[test]
    fn a_batch_says_its_length() {
        let batch = batch(0, 1, &record(b"value"));
        let length = i32::from_be_bytes(batch[8..12].try_into().expect("four bytes"));
        assert_eq!(length as usize, batch.len() - 12);
    }
}
