//! The records field: batches that scripts send, and batches that are read back, as trees.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::codec::to_hex;
use crate::kafka_client::Answer;
use crate::produce_bytes::{Identity, batch_of, keyed_record};

/// The attribute bit of a transaction's batches.
pub(crate) const TRANSACTIONAL: i16 = 0x10;
/// The attribute bit of markers.
const CONTROL: i16 = 0x20;
/// Base offset and length.
const FRONT_BYTES: usize = 12;

/// A batch of `count` records of no idempotent producer, as a script's field.
pub(crate) fn plain(count: i32) -> Value {
    bytes(&batch_of(Identity::NONE, 0, count, &section(count)))
}

/// A batch of an idempotent or, with its attribute, transactional producer.
pub(crate) fn of_producer(identity: Identity, attributes: i16, count: i32) -> Value {
    bytes(&batch_of(identity, attributes, count, &section(count)))
}

/// A batch of `count` records that were all created at a time that the script chooses.
pub(crate) fn at(count: i32, time_ms: i64) -> Value {
    const CHECKSUM: std::ops::Range<usize> = 17..21;
    const TIMESTAMPS: std::ops::Range<usize> = 27..43;
    let mut batch = batch_of(Identity::NONE, 0, count, &section(count));
    batch[TIMESTAMPS].copy_from_slice(&[time_ms.to_be_bytes(), time_ms.to_be_bytes()].concat());
    let checksum = crc32c::crc32c(&batch[CHECKSUM.end..]).to_be_bytes();
    batch[CHECKSUM].copy_from_slice(&checksum);
    bytes(&batch)
}

/// Bytes as a script's field.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    to_hex(bytes).into()
}

/// The record section of `count` records with keys and values.
pub(crate) fn section(count: i32) -> Vec<u8> {
    (0..count)
        .flat_map(|number| {
            keyed_record(
                number.into(),
                format!("key-{number}").as_bytes(),
                format!("value-{number}").as_bytes(),
            )
        })
        .collect()
}

/// The batches of a response's records; what is behind the last whole one was cut by a limit, and only counted.
pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Value> {
    let mut answer = Answer::new(bytes.to_vec());
    let mut batches = Vec::new();
    while answer.left() >= FRONT_BYTES {
        let (base_offset, length) = (answer.i64()?, usize::try_from(answer.i32()?)?);
        if answer.left() < length {
            break;
        }
        let batch = Answer::new(answer.take(length)?.to_vec());
        batches.push(one(base_offset, batch).with_context(|| format!("the batch at {base_offset}"))?);
    }
    Ok(Value::Array(batches))
}

fn one(base_offset: i64, mut batch: Answer) -> anyhow::Result<Value> {
    let leader_epoch = batch.i32()?;
    let magic = batch.i8()?;
    ensure!(magic == 2, "magic {magic}");
    let stated = batch.u32()?;
    ensure!(stated == crc32c::crc32c(batch.rest()), "a wrong checksum");
    let attributes = batch.i16()?;
    let last_offset_delta = batch.i32()?;
    let (first_timestamp, last_timestamp) = (batch.i64()?, batch.i64()?);
    let (producer_id, producer_epoch, sequence) = (batch.i64()?, batch.i16()?, batch.i32()?);
    let count = batch.i32()?;
    // What a marker's value holds besides is the coordinator's own count of its terms.
    let records = match attributes & 0x7 {
        0 if attributes & CONTROL != 0 => to_hex(marker_key(&mut batch)?.as_slice()),
        0 => to_hex(batch.rest()),
        _ => "compressed".to_owned(),
    };
    Ok(json!({
        "BaseOffset": base_offset,
        "LeaderEpoch": leader_epoch,
        "Attributes": attributes,
        "LastOffsetDelta": last_offset_delta,
        "FirstTimestamp": first_timestamp,
        "LastTimestamp": last_timestamp,
        "ProducerId": producer_id,
        "ProducerEpoch": producer_epoch,
        "BaseSequence": sequence,
        "RecordCount": count,
        "RecordBytes": records,
    }))
}

fn marker_key(batch: &mut Answer) -> anyhow::Result<Vec<u8>> {
    let (_length, _attributes) = (batch.varint()?, batch.i8()?);
    let (_timestamp_delta, _offset_delta) = (batch.varint()?, batch.varint()?);
    Ok(batch.varint_bytes()?.context("a marker without a key")?.to_vec())
}
