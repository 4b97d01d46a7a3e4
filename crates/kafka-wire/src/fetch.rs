//! The Fetch response by hand: record bytes go from the log to the socket as they are, between the pieces of the
//! response, for vectored writes. Its bytes are those of [`messages::FetchResponse`], which tests prove.
//!
//! [`messages::FetchResponse`]: crate::messages::FetchResponse

use crate::{
    ApiKey, ByteStr,
    encode::{EncodeError, Encoder},
    header::{response_head, seal},
};
use bytes::{Bytes, BytesMut};
use keyway_record::TopicId;

pub use crate::messages::fetch::{AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch};

/// Records of many partitions.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FetchResponse {
    /// How long the client should stay silent, ms.
    pub throttle_time_ms: i32,
    /// What is wrong with the request as a whole, from version 7.
    pub error_code: i16,
    /// The fetch session, 0 for none, from version 7.
    pub session_id: i32,
    /// What each topic has.
    pub responses: Vec<FetchableTopicResponse>,
}

/// Records of one topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FetchableTopicResponse {
    /// The topic's name, up to version 12.
    pub topic: ByteStr,
    /// The topic's id, from version 13.
    pub topic_id: TopicId,
    /// What each partition has.
    pub partitions: Vec<PartitionData>,
}

/// Records of one partition.
#[derive(Clone, PartialEq, Debug)]
pub struct PartitionData {
    /// The partition's index.
    pub partition_index: i32,
    /// What is wrong with this partition.
    pub error_code: i16,
    /// The offset after the last record that consumers may see.
    pub high_watermark: i64,
    /// The offset after the last record of no open transaction.
    pub last_stable_offset: i64,
    /// The partition's first offset, from version 5.
    pub log_start_offset: i64,
    /// Where the reader's log and this one part, from version 12; left out while it has its default.
    pub diverging_epoch: EpochEndOffset,
    /// Who leads the partition, from version 12; left out while it has its default.
    pub current_leader: LeaderIdAndEpoch,
    /// Transactions among the records that were aborted; null unless the reader asked for committed records only.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, -1 for this one, from version 11.
    pub preferred_read_replica: i32,
    /// Whole record batches, in order, however they are cut.
    pub records: Vec<Bytes>,
}

impl Default for PartitionData {
    fn default() -> Self {
        Self {
            partition_index: 0,
            error_code: 0,
            high_watermark: 0,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: EpochEndOffset::default(),
            current_leader: LeaderIdAndEpoch::default(),
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }
}

impl FetchResponse {
    /// The whole frame, its length included, as pieces to be written one after the other. Record bytes are not copied.
    pub fn frame(&self, version: i16, correlation_id: i32) -> Result<Vec<Bytes>, EncodeError> {
        let mut head = response_head(ApiKey::Fetch, version, correlation_id);
        let mut slices = Slices { between: Vec::new(), len: 0 };
        let mut out = Encoder::begin(&mut head, "FetchResponse", version, 4..=18, version >= 12)?;
        self.write(&mut out, &mut slices, version)?;
        seal(&mut head, slices.len)?;
        Ok(slices.interleaved(head))
    }

    fn write(&self, out: &mut Encoder<'_>, slices: &mut Slices, version: i16) -> Result<(), EncodeError> {
        out.i32(self.throttle_time_ms);
        if version >= 7 {
            out.i16(self.error_code);
            out.i32(self.session_id);
        }
        out.array(&self.responses, |out, topic| topic.write(out, slices, version))?;
        if version >= 12 {
            out.no_tags();
        }
        Ok(())
    }
}

impl FetchableTopicResponse {
    fn write(&self, out: &mut Encoder<'_>, slices: &mut Slices, version: i16) -> Result<(), EncodeError> {
        if version <= 12 {
            out.string(&self.topic)?;
        } else {
            out.uuid(self.topic_id);
        }
        out.array(&self.partitions, |out, partition| partition.write(out, slices, version))?;
        if version >= 12 {
            out.no_tags();
        }
        Ok(())
    }
}

impl PartitionData {
    fn write(&self, out: &mut Encoder<'_>, slices: &mut Slices, version: i16) -> Result<(), EncodeError> {
        out.i32(self.partition_index);
        out.i16(self.error_code);
        out.i64(self.high_watermark);
        out.i64(self.last_stable_offset);
        if version >= 5 {
            out.i64(self.log_start_offset);
        }
        out.nullable_array(self.aborted_transactions.as_deref(), |out, one| one.write(out, version))?;
        if version >= 11 {
            out.i32(self.preferred_read_replica);
        }
        // Empty rather than null: the Java client's network thread dies of null.
        out.len(Some(self.records.iter().map(Bytes::len).sum()))?;
        for records in &self.records {
            slices.put(out, records);
        }
        if version >= 12 {
            let mut tags = out.tags();
            if self.diverging_epoch != EpochEndOffset::default() {
                out.tag(&mut tags, 0, |out| self.diverging_epoch.write(out, version))?;
            }
            if self.current_leader != LeaderIdAndEpoch::default() {
                out.tag(&mut tags, 1, |out| self.current_leader.write(out, version))?;
            }
            out.put_tags(tags);
        }
        Ok(())
    }
}

/// Shared bytes, and where between the written ones each belongs.
struct Slices {
    between: Vec<(usize, Bytes)>,
    len: usize,
}

impl Slices {
    fn put(&mut self, out: &Encoder<'_>, bytes: &Bytes) {
        self.len += bytes.len();
        self.between.push((out.position(), bytes.clone()));
    }

    fn interleaved(self, mut written: BytesMut) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2 * self.between.len() + 1);
        let mut at = 0;
        for (position, bytes) in self.between {
            pieces.push(written.split_to(position - at).freeze());
            pieces.push(bytes);
            at = position;
        }
        pieces.push(written.freeze());
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}
