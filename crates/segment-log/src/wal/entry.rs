//! One entry of a commit block.
//!
//! | part | type |
//! |---|---|
//! | kind: 1 data, 2 create, 3 delete, 4 trim, 5 reference, 7 data kept | u8 |
//! | log id | u32 |
//! | body length | u32 |
//! | body | bytes |
//!
//! | kind | body |
//! |---|---|
//! | data | the record batch v2 verbatim, which carries its own base offset and leader epoch |
//! | create | partition index i32, topic id 16 bytes, topic name UTF-8 |
//! | delete | – |
//! | trim | new start offset i64 |
//! | reference | number of segments u32, then each as [`crate::manifest`] says; its batches: the header of each, 61 bytes, and of a control batch all |
//! | data kept | as data: a batch that was logged before and is in no segment, because its log cannot write one |
//!
//! A reference stands for batches that were durable in their segments before it was written. Its segments are those that
//! grew or began since the manifest or the log's last reference, as they are with its batches and without any later one.
//! Read back, its batches have no records, but for control batches: what these say counts without being read.
//!
//! All big-endian. An unknown kind is refused, never skipped: it may hold what someone was promised.

use crate::manifest::SegmentState;
use bytes::{Buf, BufMut, Bytes};
use keyway_record::{
    BatchError, Offset, PartitionId, RecordBatch, TopicId, TopicName, TopicPartition, batch::HEADER_LEN,
};
use std::fmt;

/// Number of a partition in this store; never given twice, so two lives of one partition differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LogId(pub(crate) u32);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// Records were appended.
    Data { log: LogId, batch: RecordBatch },
    /// A partition was created.
    Create { log: LogId, partition: TopicPartition },
    /// Records that were logged before the last checkpoint, and that no segment has.
    Kept { log: LogId, batch: RecordBatch },
    /// A partition was deleted.
    Delete { log: LogId },
    /// Records before `start` were given up.
    Trim { log: LogId, start: Offset },
    /// Records were appended that are in their segments: how those are with them, and the headers of the batches.
    Reference { log: LogId, segments: Vec<SegmentState>, batches: Vec<RecordBatch> },
}

/// Why an entry of a block with a right checksum cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("entry kind {0} is unknown")]
    Kind(u8),
    #[error("an entry is cut short or has an impossible length")]
    Length,
    #[error("a topic name is not legal")]
    Topic,
    #[error("a record batch is damaged: {0}")]
    Batch(#[from] BatchError),
}

const DATA: u8 = 1;
const CREATE: u8 = 2;
const DELETE: u8 = 3;
const TRIM: u8 = 4;
const REFERENCE: u8 = 5;
const KEPT: u8 = 7;

/// Bytes of an entry before its body.
pub(crate) const PREFIX_LEN: usize = 9;

impl Entry {
    pub(crate) fn log(&self) -> LogId {
        match self {
            Self::Data { log, .. }
            | Self::Kept { log, .. }
            | Self::Create { log, .. }
            | Self::Delete { log }
            | Self::Trim { log, .. }
            | Self::Reference { log, .. } => *log,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        if let Self::Data { batch, .. } | Self::Kept { batch, .. } = self {
            out.put_slice(batch.bytes());
        }
    }

    /// All of it but the bytes of a batch, which come last.
    pub(crate) fn encode_head(&self, out: &mut Vec<u8>) {
        let mut prefix = |kind, body_len: usize| {
            out.put_u8(kind);
            out.put_u32(self.log().0);
            out.put_u32(u32::try_from(body_len).expect("a batch stays below 2 GiB"));
        };
        match self {
            Self::Data { batch, .. } => prefix(DATA, batch.bytes().len()),
            Self::Kept { batch, .. } => prefix(KEPT, batch.bytes().len()),
            Self::Create { partition, .. } => {
                let topic = partition.topic.as_str().as_bytes();
                prefix(CREATE, 20 + topic.len());
                out.put_i32(partition.partition.0);
                out.put_slice(&partition.topic_id.0);
                out.put_slice(topic);
            }
            Self::Delete { .. } => prefix(DELETE, 0),
            Self::Trim { start, .. } => {
                prefix(TRIM, 8);
                out.put_i64(start.0);
            }
            Self::Reference { segments, batches, .. } => {
                let batches_len: usize = batches.iter().map(|batch| referred(batch).len()).sum();
                prefix(REFERENCE, 4 + segments.len() * SegmentState::LEN + batches_len);
                out.put_u32(u32::try_from(segments.len()).expect("few segments"));
                segments.iter().for_each(|segment| segment.put(out));
                batches.iter().for_each(|batch| out.put_slice(referred(batch)));
            }
        }
    }

    /// The entries of a payload, which must hold exactly `count`.
    pub(crate) fn walk(mut payload: Bytes, count: u32) -> impl Iterator<Item = Result<Self, EntryError>> {
        let mut left = count;
        std::iter::from_fn(move || {
            if left == 0 {
                return (!payload.is_empty()).then(|| {
                    payload.clear();
                    Err(EntryError::Length)
                });
            }
            left -= 1;
            let entry = Self::take(&mut payload);
            if entry.is_err() {
                left = 0;
                payload.clear();
            }
            Some(entry)
        })
    }

    fn take(payload: &mut Bytes) -> Result<Self, EntryError> {
        if payload.len() < PREFIX_LEN {
            return Err(EntryError::Length);
        }
        let kind = payload.get_u8();
        let log = LogId(payload.get_u32());
        let body_len = payload.get_u32() as usize;
        if payload.len() < body_len {
            return Err(EntryError::Length);
        }
        let mut body = payload.split_to(body_len);
        match kind {
            DATA => Ok(Self::Data { log, batch: RecordBatch::parse(body)? }),
            KEPT => Ok(Self::Kept { log, batch: RecordBatch::parse(body)? }),
            CREATE if body_len > 20 => {
                let partition = PartitionId(body.get_i32());
                let mut topic_id = TopicId::ZERO;
                body.copy_to_slice(&mut topic_id.0);
                let name = std::str::from_utf8(&body).map_err(|_| EntryError::Topic)?;
                let topic = TopicName::new(name).map_err(|_| EntryError::Topic)?;
                Ok(Self::Create { log, partition: TopicPartition { topic, topic_id, partition } })
            }
            DELETE if body_len == 0 => Ok(Self::Delete { log }),
            TRIM if body_len == 8 => Ok(Self::Trim { log, start: Offset(body.get_i64()) }),
            REFERENCE => {
                let (segments, batches) = take_reference(body)?;
                Ok(Self::Reference { log, segments, batches })
            }
            CREATE | DELETE | TRIM => Err(EntryError::Length),
            unknown => Err(EntryError::Kind(unknown)),
        }
    }
}

fn take_reference(mut body: Bytes) -> Result<(Vec<SegmentState>, Vec<RecordBatch>), EntryError> {
    let count = body.try_get_u32().map_err(|_| EntryError::Length)? as usize;
    if count > body.len() / SegmentState::LEN {
        return Err(EntryError::Length);
    }
    let segments = (0..count).map_while(|_| SegmentState::take(&mut body)).collect();
    let mut batches = Vec::new();
    while !body.is_empty() {
        let header = body.get(..HEADER_LEN).ok_or(EntryError::Length)?;
        let mut batch = RecordBatch::without_records(header)?;
        if batch.is_control() {
            batch = RecordBatch::parse_first(&body)?;
        }
        body.advance(referred(&batch).len());
        batches.push(batch);
    }
    Ok((segments, batches))
}

/// What a reference has of a batch.
fn referred(batch: &RecordBatch) -> &[u8] {
    if batch.is_control() { batch.bytes() } else { &batch.bytes()[..HEADER_LEN] }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::tests::any_segment;
    use keyway_record::{
        LeaderEpoch, Outcome, ProducerEpoch, ProducerId, Record, Timestamp, batch::BatchBuilder,
    };
    use proptest::prelude::*;

    pub(crate) fn any_batch() -> impl Strategy<Value = RecordBatch> {
        (prop::collection::vec(0usize..3000, 1..4), 0..1i64 << 40, any::<i32>()).prop_map(
            |(sizes, base, epoch)| {
                let mut builder = BatchBuilder::new(Timestamp(5));
                for size in sizes {
                    let record =
                        Record { value: Some(Bytes::from(vec![size as u8; size])), ..Record::default() };
                    builder.push(Timestamp(5 + size as i64), record);
                }
                builder.build().placed(Offset(base), LeaderEpoch(epoch))
            },
        )
    }

    /// As a reference gives it back.
    fn any_referred() -> impl Strategy<Value = RecordBatch> {
        let marker =
            |id| RecordBatch::marker(ProducerId(id), ProducerEpoch(1), Outcome::Abort, 0, Timestamp(7));
        prop_oneof![
            any_batch().prop_map(|batch| RecordBatch::without_records(batch.bytes()).unwrap()),
            (0..1i64 << 40).prop_map(marker),
        ]
    }

    pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
        let log = any::<u32>().prop_map(LogId);
        let partition = ("[a-z]{1,20}", any::<[u8; 16]>(), any::<i32>()).prop_map(|(name, id, index)| {
            let topic = TopicName::new(&name).unwrap();
            TopicPartition { topic, topic_id: TopicId(id), partition: PartitionId(index) }
        });
        prop_oneof![
            (log.clone(), any_batch()).prop_map(|(log, batch)| Entry::Data { log, batch }),
            (log.clone(), any_batch()).prop_map(|(log, batch)| Entry::Kept { log, batch }),
            (log.clone(), partition).prop_map(|(log, partition)| Entry::Create { log, partition }),
            log.clone().prop_map(|log| Entry::Delete { log }),
            (log.clone(), any::<i64>()).prop_map(|(log, start)| Entry::Trim { log, start: Offset(start) }),
            (log, prop::collection::vec(any_segment(), 0..4), prop::collection::vec(any_referred(), 0..4))
                .prop_map(|(log, segments, batches)| Entry::Reference { log, segments, batches }),
        ]
    }

    proptest! {
        #[test]
        fn garbage_ends_in_an_error_or_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..20) {
            prop_assert!(Entry::walk(bytes.into(), count).count() <= count as usize + 1);
        }
    }

    #[test]
    fn unknown_kinds_and_trailing_bytes_are_refused() {
        let mut unknown = vec![9, 0, 0, 0, 1, 0, 0, 0, 0];
        let walk = |bytes: &[u8]| Entry::walk(Bytes::copy_from_slice(bytes), 1).last();
        assert_eq!(walk(&unknown), Some(Err(EntryError::Kind(9))));
        unknown[0] = DELETE;
        assert!(matches!(walk(&unknown), Some(Ok(Entry::Delete { .. }))));
        unknown.push(0);
        assert_eq!(walk(&unknown), Some(Err(EntryError::Length)));
    }
}
