//! Reading a partition's batches as they are stored, each of them checked.

use anyhow::{Context, ensure};

use super::{Answer, Connection, error_code, put_count, put_text};

const FETCH: i16 = 1;
const FETCH_VERSION: i16 = 4;
const FETCH_BYTES_MAX: i32 = 4 << 20;
/// Base offset and length.
const FRONT_BYTES: usize = 12;
/// From the length to the first record.
const HEAD_BYTES: usize = 49;
/// Of a batch's attributes.
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// A batch of the log, uncompressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) records: Vec<StoredRecord>,
}

/// A record of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredRecord {
    pub(crate) offset: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Which records a fetch is to bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Isolation {
    Uncommitted,
    /// Only what precedes every open transaction.
    Committed,
}

/// An answer to a fetch of one partition.
pub(super) struct Fetched {
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) aborted: Vec<Aborted>,
    pub(super) batches: Vec<WrittenBatch>,
}

/// A transaction whose records do not count.
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
}

/// A batch, and who wrote it how.
pub(super) struct WrittenBatch {
    pub(super) batch: StoredBatch,
    pub(super) producer_id: i64,
    pub(super) is_transactional: bool,
    pub(super) is_control: bool,
}

impl Connection {
    /// The whole partition up to its high watermark as it is when it is reached.
    pub(crate) async fn read_all(&mut self, topic: &str, partition: i32) -> anyhow::Result<Vec<StoredBatch>> {
        let mut batches: Vec<StoredBatch> = Vec::new();
        let mut offset = 0;
        loop {
            let (read, high_watermark) = self
                .fetch(topic, partition, offset)
                .await
                .with_context(|| format!("reading {topic}-{partition} from offset {offset}"))?;
            // A batch begins before the offset that was asked for if it holds it.
            batches.extend(read.into_iter().filter(|batch| batch.last_offset >= offset));
            let reached = batches.last().map_or(0, |batch| batch.last_offset + 1);
            if reached >= high_watermark {
                ensure!(reached == high_watermark, "{reached} is read of {high_watermark}");
                return Ok(batches);
            }
            ensure!(reached > offset, "no record at {offset}, and the high watermark is {high_watermark}");
            offset = reached;
        }
    }

    /// What lies at an offset and after it, and the high watermark.
    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> anyhow::Result<(Vec<StoredBatch>, i64)> {
        self.fetch_at_most(topic, partition, offset, FETCH_BYTES_MAX).await
    }

    /// The same with a limit of bytes; the first batch comes whole.
    pub(crate) async fn fetch_at_most(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes_max: i32,
    ) -> anyhow::Result<(Vec<StoredBatch>, i64)> {
        let request = body(topic, partition, offset, bytes_max, Isolation::Uncommitted);
        let Fetched { high_watermark, batches, .. } = self.fetch_by(topic, partition, &request).await?;
        Ok((batches.into_iter().map(|written| written.batch).collect(), high_watermark))
    }

    /// What lies at an offset and after it, for readers of this kind.
    pub(super) async fn fetch_as(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        isolation: Isolation,
    ) -> anyhow::Result<Fetched> {
        let request = body(topic, partition, offset, FETCH_BYTES_MAX, isolation);
        self.fetch_by(topic, partition, &request).await
    }

    async fn fetch_by(&mut self, topic: &str, partition: i32, request: &[u8]) -> anyhow::Result<Fetched> {
        let mut answer = self.call(FETCH, FETCH_VERSION, request).await?;
        let _throttle_ms = answer.i32()?;
        ensure!(answer.count()? == 1 && answer.text()? == topic, "another topic is answered");
        ensure!(answer.count()? == 1 && answer.i32()? == partition, "another partition is answered");
        let code = answer.i16()?;
        ensure!(code == error_code::NONE, "error code {code}");
        let high_watermark = answer.i64()?;
        let last_stable = answer.i64()?;
        let mut aborted = Vec::new();
        for _ in 0..answer.count()? {
            aborted.push(Aborted { producer_id: answer.i64()?, first_offset: answer.i64()? });
        }
        let mut bytes = Answer::new(answer.bytes()?.to_vec());
        let mut batches = Vec::new();
        // What is behind the last whole batch was cut by the limit.
        while let Some(batch) = next_batch(&mut bytes)? {
            batches.push(batch);
        }
        Ok(Fetched { high_watermark, last_stable, aborted, batches })
    }
}

/// The body of a fetch of one partition that does not wait.
fn body(topic: &str, partition: i32, offset: i64, bytes_max: i32, isolation: Isolation) -> Vec<u8> {
    let mut body = (-1_i32).to_be_bytes().to_vec();
    // Longest wait, fewest bytes, most bytes.
    body.extend_from_slice(&100_i32.to_be_bytes());
    body.extend_from_slice(&0_i32.to_be_bytes());
    body.extend_from_slice(&bytes_max.to_be_bytes());
    body.push(u8::from(isolation == Isolation::Committed));
    put_count(&mut body, 1);
    put_text(&mut body, topic);
    put_count(&mut body, 1);
    body.extend_from_slice(&partition.to_be_bytes());
    body.extend_from_slice(&offset.to_be_bytes());
    body.extend_from_slice(&bytes_max.to_be_bytes());
    body
}

fn next_batch(bytes: &mut Answer) -> anyhow::Result<Option<WrittenBatch>> {
    if bytes.left() < FRONT_BYTES {
        return Ok(None);
    }
    let base_offset = bytes.i64()?;
    let length = usize::try_from(bytes.i32()?).context("a negative batch length")?;
    if bytes.left() < length {
        return Ok(None);
    }
    ensure!(length >= HEAD_BYTES, "a batch of {length} bytes at {base_offset}");
    let mut batch = Answer::new(bytes.take(length)?.to_vec());
    let _leader_epoch = batch.i32()?;
    let magic = batch.i8()?;
    ensure!(magic == 2, "magic {magic} at {base_offset}");
    let stated = batch.u32()?;
    ensure!(stated == crc32c::crc32c(batch.rest()), "the checksum of the batch at {base_offset} is wrong");
    let attributes = batch.i16()?;
    ensure!(attributes & 0x7 == 0, "the batch at {base_offset} is compressed");
    let last_offset = base_offset + i64::from(batch.i32()?);
    let _timestamps = batch.take(8 + 8)?;
    let producer_id = batch.i64()?;
    let _epoch_and_sequence = batch.take(2 + 4)?;
    let count = batch.count()?;
    let mut records = Vec::with_capacity(count.min(length));
    for _ in 0..count {
        records.push(record(&mut batch, base_offset)?);
    }
    ensure!(batch.left() == 0, "{} bytes behind the records of the batch at {base_offset}", batch.left());
    Ok(Some(WrittenBatch {
        batch: StoredBatch { base_offset, last_offset, records },
        producer_id,
        is_transactional: attributes & TRANSACTIONAL != 0,
        is_control: attributes & CONTROL != 0,
    }))
}

fn record(batch: &mut Answer, base_offset: i64) -> anyhow::Result<StoredRecord> {
    let _length = batch.varint()?;
    let _attributes = batch.i8()?;
    let _timestamp_delta = batch.varint()?;
    let offset = base_offset + batch.varint()?;
    let key = batch.varint_bytes()?.unwrap_or_default().to_vec();
    let value = batch.varint_bytes()?.unwrap_or_default().to_vec();
    for _ in 0..batch.varint()? {
        batch.varint_bytes()?;
        batch.varint_bytes()?;
    }
    Ok(StoredRecord { offset, key, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::produce_bytes::{batch, keyed_record};

    fn stored(bytes: &[u8]) -> anyhow::Result<Option<StoredBatch>> {
        Ok(next_batch(&mut Answer::new(bytes.to_vec()))?.map(|written| written.batch))
    }

    fn two_records() -> Vec<u8> {
        let section = [keyed_record(0, b"a", b"one"), keyed_record(1, b"b", b"two")].concat();
        batch(0, 2, &section)
    }

    #[test]
    fn what_was_encoded_is_read() {
        let read = stored(&two_records()).expect("it is well").expect("it is whole");
        assert_eq!((read.base_offset, read.last_offset), (0, 1));
        assert_eq!(read.records[1], StoredRecord { offset: 1, key: b"b".to_vec(), value: b"two".to_vec() });
    }

    #[test]
    fn a_cut_batch_is_none_and_a_flipped_bit_an_error() {
        let bytes = two_records();
        assert_eq!(stored(&bytes[..bytes.len() - 1]).expect("cut"), None);
        for place in 16..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 4;
            assert!(stored(&bytes).is_err(), "byte {place}");
        }
    }
}
