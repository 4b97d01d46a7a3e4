//! What a produced batch must fulfil before it gets offsets. Source: Kafka's broker duties on produce.

use crate::topics::{TimeRule, TopicRules};
use keyway_kafka_wire::compression::{DecompressError, compress, decompress};
use keyway_record::{BatchError, Compression, ErrorCode, RecordBatch, RecordError, RecordRef, Timestamp};

/// What the topic and the request allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) topic: &'a TopicRules,
    pub(crate) batch_bytes_max: usize,
    /// The wall clock.
    pub(crate) now: Timestamp,
    /// Whether zstd is allowed: Kafka allows it from Produce v7 on.
    pub(crate) zstd: bool,
}

impl Rules<'_> {
    /// Whether a record may be of this time; one without a time may.
    fn allow(&self, time: Timestamp) -> bool {
        match self.topic.time {
            TimeRule::Append => true,
            TimeRule::Create { before_ms_max, after_ms_max } => {
                let ahead_ms = time.0.saturating_sub(self.now.0);
                let behind_ms = self.now.0.saturating_sub(time.0);
                time == Timestamp::NONE || (ahead_ms <= after_ms_max && behind_ms <= before_ms_max)
            }
        }
    }
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidBatch {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the batch has {given} bytes; max.message.bytes is {max}")]
    TooLarge { given: usize, max: usize },
    #[error("the batch starts at offset {0}; a producer's batch starts at 0")]
    BaseOffset(i64),
    #[error("the batch states {records} records and a last offset delta of {last_offset_delta}")]
    Count { records: usize, last_offset_delta: i32 },
    #[error("clients may not write control batches")]
    Control,
    #[error("the batch has a producer id and no sequence number")]
    Sequence,
    #[error("clients may not set the append time")]
    TimestampType,
    #[error("zstd needs Produce version 7 or later")]
    Zstd,
    #[error("the records cannot be decompressed: {0}")]
    Decompress(String),
    #[error("the batch decompresses to more than {max} bytes, which is max.decompressed.message.bytes")]
    DecompressedTooLarge { max: usize },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("record {index} has offset delta {given}")]
    OffsetDelta { index: usize, given: i32 },
    #[error(transparent)]
    Refused(#[from] RefusedRecords),
}

/// Records that the topic does not take, at least one; they keep the whole batch out.
#[derive(PartialEq, Eq, Debug, Default, thiserror::Error)]
#[error("{count} of the batch's records refused: {}", .first[0])]
pub(crate) struct RefusedRecords {
    /// The first of them, [`RefusedRecords::LISTED_MAX`] at most.
    pub(crate) first: Vec<RefusedRecord>,
    count: usize,
}

/// A record that the topic does not take, by its place in the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RefusedRecord {
    #[error("record {index} has no key; a compacted topic keeps the newest record of each key")]
    NoKey { index: usize },
    #[error(
        "record {index} is of time {time}, which is too far from {now}: see message.timestamp.before.max.ms and message.timestamp.after.max.ms"
    )]
    Time { index: usize, time: i64, now: i64 },
}

impl RefusedRecords {
    /// Most records that are named one by one, so that an answer stays small.
    const LISTED_MAX: usize = 100;

    fn add(&mut self, record: RefusedRecord) {
        self.count += 1;
        if self.first.len() < Self::LISTED_MAX {
            self.first.push(record);
        }
    }
}

impl RefusedRecord {
    /// Its place in the batch.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::NoKey { index } | Self::Time { index, .. } => index,
        }
    }
}

impl InvalidBatch {
    /// Kafka's code for the refusal.
    pub(crate) fn error_code(&self) -> ErrorCode {
        match self {
            Self::Batch(BatchError::Magic { .. }) => ErrorCode::UnsupportedForMessageFormat,
            // Bytes behind the batch are a second one: Produce takes one a partition.
            Self::Batch(BatchError::Count { .. } | BatchError::Trailing { .. }) => ErrorCode::InvalidRecord,
            Self::Batch(_) | Self::Decompress(_) => ErrorCode::CorruptMessage,
            // Kafka's producers send a batch that is too large again in parts; a corrupt one they send again as it is.
            Self::TooLarge { .. } | Self::DecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::TimestampType => ErrorCode::InvalidTimestamp,
            Self::Zstd => ErrorCode::UnsupportedCompressionType,
            Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::Sequence
            | Self::Record(_)
            | Self::OffsetDelta { .. } => ErrorCode::InvalidRecord,
            Self::Refused(records) => {
                let of_time = |record: &RefusedRecord| matches!(record, RefusedRecord::Time { .. });
                match records.first.iter().any(of_time) {
                    true => ErrorCode::InvalidTimestamp,
                    false => ErrorCode::InvalidRecord,
                }
            }
        }
    }

    /// Whether it is no batch at all, or none that a request may bring; Kafka asks no log about these.
    pub(crate) fn is_of_form(&self) -> bool {
        match self {
            Self::Batch(BatchError::Codec { .. } | BatchError::Count { .. }) => false,
            Self::Batch(_) | Self::TooLarge { .. } | Self::Zstd => true,
            _ => false,
        }
    }
}

/// Checks one produced batch with every record in it; the result is what may be appended.
pub(crate) fn produced_batch(bytes: bytes::Bytes, rules: Rules<'_>) -> Result<RecordBatch, InvalidBatch> {
    check_len(bytes.len(), rules)?;
    checked_batch(RecordBatch::parse(bytes)?, rules)
}

/// The same for a batch whose bytes were never a client's.
pub(crate) fn checked_batch(batch: RecordBatch, rules: Rules<'_>) -> Result<RecordBatch, InvalidBatch> {
    check_len(batch.bytes().len(), rules)?;
    check_header(&batch, rules)?;
    let max = rules.topic.decompressed_bytes_max;
    let section =
        decompress(batch.compression(), batch.record_section(), max).map_err(|error| match error {
            DecompressError::TooLarge { max } => InvalidBatch::DecompressedTooLarge { max },
            malformed => InvalidBatch::Decompress(malformed.to_string()),
        })?;
    let max_timestamp = check_records(&batch, &section, rules)?;
    let batch = match rules.topic.compression {
        Some(codec) if codec != batch.compression() => {
            let batch = batch.with_record_section(codec, &compress(codec, &section));
            check_len(batch.bytes().len(), rules)?;
            batch
        }
        _ => batch,
    };
    Ok(match rules.topic.time {
        TimeRule::Append => batch.with_append_time(rules.now),
        TimeRule::Create { .. } if max_timestamp != batch.max_timestamp() => {
            batch.with_max_timestamp(max_timestamp)
        }
        TimeRule::Create { .. } => batch,
    })
}

fn check_len(given: usize, rules: Rules<'_>) -> Result<(), InvalidBatch> {
    let max = rules.batch_bytes_max;
    if given > max { Err(InvalidBatch::TooLarge { given, max }) } else { Ok(()) }
}

fn check_header(batch: &RecordBatch, rules: Rules<'_>) -> Result<(), InvalidBatch> {
    let (records, last_offset_delta) = (batch.record_count(), batch.last_offset_delta());
    if batch.base_offset().0 != 0 {
        return Err(InvalidBatch::BaseOffset(batch.base_offset().0));
    }
    if records == 0 || records as i64 != i64::from(last_offset_delta) + 1 {
        return Err(InvalidBatch::Count { records, last_offset_delta });
    }
    if batch.is_control() {
        return Err(InvalidBatch::Control);
    }
    if batch.producer_id().0 >= 0 && batch.base_sequence() < 0 {
        return Err(InvalidBatch::Sequence);
    }
    if batch.is_log_append_time() {
        return Err(InvalidBatch::TimestampType);
    }
    if batch.compression() == Compression::Zstd && !rules.zstd {
        return Err(InvalidBatch::Zstd);
    }
    Ok(())
}

/// Walks every record; returns the largest timestamp among them.
fn check_records(batch: &RecordBatch, section: &[u8], rules: Rules<'_>) -> Result<Timestamp, InvalidBatch> {
    let mut rest = section;
    let mut max_delta = i64::MIN;
    let mut refused = RefusedRecords::default();
    for index in 0..batch.record_count() {
        let record = RecordRef::take(&mut rest, index)?;
        if record.offset_delta != index as i32 {
            return Err(InvalidBatch::OffsetDelta { index, given: record.offset_delta });
        }
        if rules.topic.keys_required && record.key.is_none() {
            refused.add(RefusedRecord::NoKey { index });
            continue;
        }
        let time = Timestamp(batch.base_timestamp().0.saturating_add(record.timestamp_delta));
        if !rules.allow(time) {
            refused.add(RefusedRecord::Time { index, time: time.0, now: rules.now.0 });
        }
        max_delta = max_delta.max(record.timestamp_delta);
    }
    if !rest.is_empty() {
        return Err(RecordError::Trailing { bytes: rest.len() }.into());
    }
    if refused.count > 0 {
        return Err(refused.into());
    }
    Ok(Timestamp(batch.base_timestamp().0.saturating_add(max_delta)))
}
