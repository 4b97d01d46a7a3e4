//! Produce by hand: names and records are slices of the frame. Its bytes are those of [`messages::ProduceRequest`] and
//! [`messages::ProduceResponse`], which tests prove.
//!
//! [`messages::ProduceRequest`]: crate::messages::ProduceRequest
//! [`messages::ProduceResponse`]: crate::messages::ProduceResponse

use crate::{
    ByteStr,
    decode::{DecodeError, Decoder},
    encode::{EncodeError, Encoder},
};
use bytes::{Bytes, BytesMut};
use keyway_record::TopicId;

pub use crate::messages::produce::{BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse};

const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;

/// Batches to append.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProduceRequest {
    /// The producer's transactional id, null if it has none.
    pub transactional_id: Option<ByteStr>,
    /// -1 answers when the batch is durable, 1 when it is written, 0 never.
    pub acks: i16,
    /// How long the answer may take, ms.
    pub timeout_ms: i32,
    /// What goes to which topic.
    pub topic_data: Vec<TopicProduceData>,
}

/// Batches for one topic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TopicProduceData {
    /// The topic's name, up to version 12.
    pub name: ByteStr,
    /// The topic's id, from version 13.
    pub topic_id: TopicId,
    /// What goes to which partition.
    pub partition_data: Vec<PartitionProduceData>,
}

/// A batch for one partition.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PartitionProduceData {
    /// The partition's index.
    pub index: i32,
    /// The batch, not checked yet; a slice of the frame.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads the message in `version` from the front of `input`.
    pub fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= 9;
        input.begin("ProduceRequest", version, VERSIONS, flexible)?;
        let transactional_id = input.nullable_byte_str()?;
        let acks = input.i16()?;
        let timeout_ms = input.i32()?;
        let topic_data = input.array(3, |input| TopicProduceData::read(input, version))?;
        if flexible {
            input.skip_tags()?;
        }
        Ok(Self { transactional_id, acks, timeout_ms, topic_data })
    }
}

impl TopicProduceData {
    fn read(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let name = if version <= 12 { input.byte_str()? } else { ByteStr::default() };
        let topic_id = if version >= 13 { input.uuid()? } else { TopicId::ZERO };
        let partition_data = input.array(5, |input| PartitionProduceData::read(input, version))?;
        if version >= 9 {
            input.skip_tags()?;
        }
        Ok(Self { name, topic_id, partition_data })
    }
}

impl PartitionProduceData {
    fn read(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let index = input.i32()?;
        let records = input.nullable_bytes()?;
        if version >= 9 {
            input.skip_tags()?;
        }
        Ok(Self { index, records })
    }
}

/// What became of the batches.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProduceResponse {
    /// One answer per topic of the request.
    pub responses: Vec<TopicProduceResponse>,
    /// How long the client should stay silent, ms.
    pub throttle_time_ms: i32,
}

/// What became of one topic's batches.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TopicProduceResponse {
    /// The topic's name, up to version 12.
    pub name: ByteStr,
    /// The topic's id, from version 13.
    pub topic_id: TopicId,
    /// One answer per partition of the request.
    pub partition_responses: Vec<PartitionProduceResponse>,
}

impl ProduceResponse {
    /// Appends the message in `version`.
    pub fn encode(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= 9;
        let mut out = Encoder::begin(out, "ProduceResponse", version, VERSIONS, flexible)?;
        out.array(&self.responses, |out, topic| topic.write(out, version))?;
        out.i32(self.throttle_time_ms);
        if flexible {
            out.no_tags();
        }
        Ok(())
    }
}

impl TopicProduceResponse {
    fn write(&self, out: &mut Encoder<'_>, version: i16) -> Result<(), EncodeError> {
        if version <= 12 {
            out.string(&self.name)?;
        }
        if version >= 13 {
            out.uuid(self.topic_id);
        }
        out.array(&self.partition_responses, |out, partition| partition.write(out, version))?;
        if version >= 9 {
            out.no_tags();
        }
        Ok(())
    }
}
