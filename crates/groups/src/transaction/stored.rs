//! A transaction as an internal topic keeps it.
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind, 4 | u8 | | version, 1 | u8 |
//! | transactional id | text | | producer id, epoch | i64, i16 |
//! | | | | previous producer id, epoch | optional i64, i16 |
//! | | | | next producer id | optional i64 |
//! | | | | timeout, ms | i32 |
//! | | | | state: 0 empty, 1 ongoing, 2 and 3 prepared, 4 and 5 completed; even for commit | u8 |
//! | | | | started, ms | optional i64 |
//! | | | | last step, ms | i64 |
//! | | | | number of partitions, then for each: topic name, topic id, index | u32; text, 16 bytes, i32 |
//! | | | | number of groups, then for each: its id | u32; text |
//!
//! As in the records of groups, numbers are big-endian, *text* is an u32 length and that many bytes, and *optional* an u8 of
//! 0 or 1 before it.

use super::{Producer, State, Transaction, TransactionalId};
use crate::{
    ids::GroupId,
    stored::{
        GroupRecordError,
        codec::{
            at_end, put_bytes, put_count, take, take_i32, take_i64, take_optional, take_text, take_u8,
            take_u32, version,
        },
    },
};
use bytes::{BufMut, Bytes};
use keyway_record::{PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicName, TopicPartition};

const KIND: u8 = 4;
const VERSION: u8 = 1;

impl TransactionalId {
    /// The key of the id's record.
    #[must_use]
    pub fn record_key(&self) -> Bytes {
        let mut key = vec![KIND];
        put_bytes(&mut key, self.as_str().as_bytes());
        key.into()
    }

    /// The id of a record's key.
    pub fn of_record_key(mut key: &[u8]) -> Result<Self, GroupRecordError> {
        let key = &mut key;
        match take_u8(key)? {
            KIND => {}
            kind => return Err(GroupRecordError::Kind { kind }),
        }
        let id = Self(take_text(key)?);
        at_end(key)?;
        Ok(id)
    }
}

impl Transaction {
    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_producer(&mut out, self.producer);
        out.put_u8(u8::from(self.previous.is_some()));
        self.previous.into_iter().for_each(|previous| put_producer(&mut out, previous));
        put_optional(&mut out, self.next_id.map(|id| id.0));
        out.put_i32(self.timeout_ms);
        let state = State::ALL.iter().position(|state| *state == self.state).expect("every state is listed");
        out.put_u8(state as u8);
        put_optional(&mut out, self.started.map(|started| started.0));
        out.put_i64(self.updated.0);
        put_count(&mut out, self.partitions.len());
        for TopicPartition { topic, topic_id, partition } in &self.partitions {
            put_bytes(&mut out, topic.as_str().as_bytes());
            out.put_slice(&topic_id.0);
            out.put_i32(partition.0);
        }
        put_count(&mut out, self.groups.len());
        self.groups.iter().for_each(|group| put_bytes(&mut out, group.as_str().as_bytes()));
        out.into()
    }

    /// The transaction of a record's value.
    pub fn decode(mut value: &[u8]) -> Result<Self, GroupRecordError> {
        let value = &mut value;
        version(value)?;
        let transaction = Self {
            producer: take_producer(value)?,
            previous: take_optional(value, take_producer)?,
            next_id: take_optional(value, take_i64)?.map(ProducerId),
            timeout_ms: take_i32(value)?,
            state: *State::ALL.get(usize::from(take_u8(value)?)).ok_or(GroupRecordError::Field)?,
            started: take_optional(value, take_i64)?.map(Timestamp),
            updated: Timestamp(take_i64(value)?),
            partitions: (0..take_u32(value)?).map(|_| take_partition(value)).collect::<Result<_, _>>()?,
            groups: (0..take_u32(value)?).map(|_| take_text(value).map(GroupId)).collect::<Result<_, _>>()?,
        };
        at_end(value)?;
        Ok(transaction)
    }
}

fn put_producer(out: &mut Vec<u8>, producer: Producer) {
    out.put_i64(producer.id.0);
    out.put_i16(producer.epoch.0);
}

fn put_optional(out: &mut Vec<u8>, number: Option<i64>) {
    out.put_u8(u8::from(number.is_some()));
    number.into_iter().for_each(|number| out.put_i64(number));
}

fn take_producer(rest: &mut &[u8]) -> Result<Producer, GroupRecordError> {
    let id = ProducerId(take_i64(rest)?);
    Ok(Producer { id, epoch: ProducerEpoch(i16::from_be_bytes(take(rest)?)) })
}

fn take_partition(rest: &mut &[u8]) -> Result<TopicPartition, GroupRecordError> {
    let topic = TopicName::new(&take_text(rest)?).map_err(|_| GroupRecordError::Field)?;
    let topic_id = TopicId(take(rest)?);
    Ok(TopicPartition { topic, topic_id, partition: PartitionId(take_i32(rest)?) })
}
