//! What a group keeps in an internal topic, as keys and values. Only the last value of a key counts, and no value
//! removes the key, so the topic may be compacted.
//!
//! All numbers are big-endian; *text* and *bytes* are an u32 length and that many bytes, *optional* an u8 of 0
//! or 1 before it.
//!
//! | key | type |
//! |---|---|
//! | kind: 1 offset, 2 group, 3 consumer group, 4 consumer member, 5 offset that waits for a transaction | u8 |
//! | group id | text |
//! | of an offset that waits: producer id | i64 |
//! | of an offset, waiting or not: topic name | text |
//! | – partition | i32 |
//! | of a consumer member: member id | text |
//!
//! | value of an offset | type |
//! |---|---|
//! | version, 1 | u8 |
//! | offset, leader epoch | i64, i32 |
//! | time of the commit, ms | i64 |
//! | metadata | text |
//!
//! | value of a group | type |
//! |---|---|
//! | version, 1 | u8 |
//! | generation | i32 |
//! | protocol type, protocol | text, text |
//! | leader's member id | optional text |
//! | wall-clock time since when it is known to be empty, ms | optional i64 |
//! | number of members | u32 |
//! | per member, by ascending id: member id | text |
//! | – instance id | optional text |
//! | – client id, client host | text, text |
//! | – session timeout, rebalance timeout, ms | i32, i32 |
//! | – number of protocols | u32 |
//! | – per protocol: name, metadata | text, bytes |
//! | – assignment | bytes |
//!
//! | value of a consumer group | type |
//! |---|---|
//! | version, 1 | u8 |
//! | epoch | i32 |
//! | wall-clock time since when it is known to be empty, ms | optional i64 |
//!
//! The value of a consumer member is in `consumer/stored.rs`.

pub(crate) mod codec;

use crate::{
    consumer::stored::StoredConsumer,
    ids::{Generation, GroupId, InstanceId, MemberEpoch, MemberId},
    message::Protocol,
    offsets::Committed,
};
use bytes::{BufMut, Bytes};
use codec::*;
use keyway_record::{LeaderEpoch, Offset, PartitionId, ProducerId, Timestamp, TopicName};
use std::{collections::BTreeSet, sync::Arc};

const KIND_OFFSET: u8 = 1;
const KIND_GROUP: u8 = 2;
const KIND_CONSUMER_GROUP: u8 = 3;
const KIND_CONSUMER: u8 = 4;
const KIND_WAITING: u8 = 5;

/// One change of a group's durable state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupRecord {
    /// An offset was committed.
    Offset {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// What was committed.
        committed: Committed,
    },
    /// A committed offset is gone.
    OffsetTombstone {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
    },
    /// An offset will be committed if the producer's transaction is.
    Waiting {
        /// The group.
        group: GroupId,
        /// Whose transaction.
        producer_id: ProducerId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// What is to be committed.
        committed: Committed,
    },
    /// The transaction has ended.
    WaitingTombstone {
        /// The group.
        group: GroupId,
        /// Whose transaction.
        producer_id: ProducerId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
    },
    /// The group has these members.
    Group {
        /// The group.
        group: GroupId,
        /// Its members and their generation.
        stored: StoredGroup,
    },
    /// The group is gone; its offsets have tombstones of their own.
    GroupTombstone {
        /// The group.
        group: GroupId,
    },
    /// The group uses the consumer protocol; its members have records of their own.
    ConsumerGroup {
        /// The group.
        group: GroupId,
        /// How far it has come.
        stored: StoredConsumers,
    },
    /// The group does not use the consumer protocol any more.
    ConsumerGroupTombstone {
        /// The group.
        group: GroupId,
    },
    /// A member of a group that uses the consumer protocol.
    Consumer {
        /// The group.
        group: GroupId,
        /// The member.
        member_id: MemberId,
        /// What it said and what it holds.
        stored: StoredConsumer,
    },
    /// The member is gone.
    ConsumerTombstone {
        /// The group.
        group: GroupId,
        /// The member.
        member_id: MemberId,
    },
}

/// A group that uses the consumer protocol, without its members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoredConsumers {
    /// The group's epoch.
    pub epoch: MemberEpoch,
    /// Since when the group is known to be without members, by the wall clock.
    pub empty_since: Option<Timestamp>,
}

/// A group's membership as a restart finds it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredGroup {
    /// The generation that the members are in.
    pub generation: Generation,
    /// The protocol type, empty if there never was one.
    pub protocol_type: Arc<str>,
    /// The protocol, empty without members.
    pub protocol: Arc<str>,
    /// The leader, one of the members if there are any.
    pub leader: Option<MemberId>,
    /// Since when the group is known to be without members, by the wall clock.
    pub empty_since: Option<Timestamp>,
    /// The members by ascending id.
    pub members: Vec<StoredMember>,
}

/// One member of a [`StoredGroup`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredMember {
    /// The member.
    pub member_id: MemberId,
    /// Static membership.
    pub instance_id: Option<InstanceId>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// The client's address.
    pub client_host: Arc<str>,
    /// Silence after which the member is expelled, ms.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member, ms.
    pub rebalance_timeout_ms: i32,
    /// What the member supports.
    pub protocols: Vec<Protocol>,
    /// What the leader decided for it.
    pub assignment: Bytes,
}

/// Why a key and a value are not a [`GroupRecord`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupRecordError {
    /// The bytes end too early.
    #[error("the record is cut short")]
    Truncated,
    /// Bytes follow the last field.
    #[error("{bytes} bytes follow the record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The key is of something else.
    #[error("the key is of the unknown kind {kind}")]
    Kind {
        /// The stated kind.
        kind: u8,
    },
    /// A version that this code does not know.
    #[error("version {version} of the record is not supported")]
    Version {
        /// The stated version.
        version: u8,
    },
    /// A text is not UTF-8, a topic name not legal, or a flag neither 0 nor 1.
    #[error("a field of the record is not valid")]
    Field,
    /// The members do not fit each other, the leader or the protocol.
    #[error("the stored group contradicts itself")]
    Contradiction,
}

impl GroupRecord {
    /// The group that the record is about.
    #[must_use]
    pub fn group(&self) -> &GroupId {
        match self {
            Self::Offset { group, .. }
            | Self::OffsetTombstone { group, .. }
            | Self::Waiting { group, .. }
            | Self::WaitingTombstone { group, .. }
            | Self::Group { group, .. }
            | Self::GroupTombstone { group }
            | Self::ConsumerGroup { group, .. }
            | Self::ConsumerGroupTombstone { group }
            | Self::Consumer { group, .. }
            | Self::ConsumerTombstone { group, .. } => group,
        }
    }

    /// Key and value as the tables above say; no value for a tombstone.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Offset { group, topic, partition, committed } => {
                (offset_key(group, topic, *partition), Some(encode_committed(committed)))
            }
            Self::OffsetTombstone { group, topic, partition } => (offset_key(group, topic, *partition), None),
            Self::Waiting { group, producer_id, topic, partition, committed } => {
                let key = waiting_key(group, *producer_id, topic, *partition);
                (key, Some(encode_committed(committed)))
            }
            Self::WaitingTombstone { group, producer_id, topic, partition } => {
                (waiting_key(group, *producer_id, topic, *partition), None)
            }
            Self::Group { group, stored } => (group_key(KIND_GROUP, group), Some(stored.encode())),
            Self::GroupTombstone { group } => (group_key(KIND_GROUP, group), None),
            Self::ConsumerGroup { group, stored } => {
                (group_key(KIND_CONSUMER_GROUP, group), Some(stored.encode()))
            }
            Self::ConsumerGroupTombstone { group } => (group_key(KIND_CONSUMER_GROUP, group), None),
            Self::Consumer { group, member_id, stored } => {
                (consumer_key(group, member_id), Some(stored.encode()))
            }
            Self::ConsumerTombstone { group, member_id } => (consumer_key(group, member_id), None),
        }
    }

    /// The record of a key and a value.
    pub fn decode(mut key: &[u8], value: Option<&[u8]>) -> Result<Self, GroupRecordError> {
        let key = &mut key;
        let kind = take_u8(key)?;
        if !(KIND_OFFSET..=KIND_WAITING).contains(&kind) {
            return Err(GroupRecordError::Kind { kind });
        }
        let group = GroupId(take_text(key)?);
        match kind {
            KIND_GROUP => {
                at_end(key)?;
                Ok(match value {
                    Some(value) => Self::Group { group, stored: StoredGroup::decode(value)? },
                    None => Self::GroupTombstone { group },
                })
            }
            KIND_CONSUMER_GROUP => {
                at_end(key)?;
                Ok(match value {
                    Some(value) => Self::ConsumerGroup { group, stored: StoredConsumers::decode(value)? },
                    None => Self::ConsumerGroupTombstone { group },
                })
            }
            KIND_CONSUMER => {
                let member_id = MemberId(take_text(key)?);
                at_end(key)?;
                Ok(match value {
                    Some(value) => {
                        Self::Consumer { group, member_id, stored: StoredConsumer::decode(value)? }
                    }
                    None => Self::ConsumerTombstone { group, member_id },
                })
            }
            KIND_WAITING => {
                let producer_id = ProducerId(take_i64(key)?);
                let (topic, partition) = take_place(key)?;
                Ok(match value {
                    Some(value) => {
                        let committed = decode_committed(value)?;
                        Self::Waiting { group, producer_id, topic, partition, committed }
                    }
                    None => Self::WaitingTombstone { group, producer_id, topic, partition },
                })
            }
            _ => {
                let (topic, partition) = take_place(key)?;
                Ok(match value {
                    Some(value) => {
                        Self::Offset { group, topic, partition, committed: decode_committed(value)? }
                    }
                    None => Self::OffsetTombstone { group, topic, partition },
                })
            }
        }
    }
}

impl StoredConsumers {
    fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        out.put_i32(self.epoch.0);
        put_optional_time(&mut out, self.empty_since);
        out.into()
    }

    fn decode(mut value: &[u8]) -> Result<Self, GroupRecordError> {
        let value = &mut value;
        version(value)?;
        let epoch = MemberEpoch(take_i32(value)?);
        let empty_since = take_optional(value, take_i64)?.map(Timestamp);
        at_end(value)?;
        Ok(Self { epoch, empty_since })
    }
}

impl StoredGroup {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.put_u8(VERSION);
        out.put_i32(self.generation.0);
        put_bytes(&mut out, self.protocol_type.as_bytes());
        put_bytes(&mut out, self.protocol.as_bytes());
        put_optional_text(&mut out, self.leader.as_ref().map(MemberId::as_str));
        put_optional_time(&mut out, self.empty_since);
        put_count(&mut out, self.members.len());
        for member in &self.members {
            put_bytes(&mut out, member.member_id.as_str().as_bytes());
            put_optional_text(&mut out, member.instance_id.as_ref().map(InstanceId::as_str));
            put_bytes(&mut out, member.client_id.as_bytes());
            put_bytes(&mut out, member.client_host.as_bytes());
            out.put_i32(member.session_timeout_ms);
            out.put_i32(member.rebalance_timeout_ms);
            put_protocols(&mut out, &member.protocols);
            put_bytes(&mut out, &member.assignment);
        }
        out.into()
    }

    /// Bytes of the value that this group is stored as.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let text = |text: &str| 4 + text.len();
        let optional = |text: Option<&str>| 1 + text.map_or(0, |text| 4 + text.len());
        let member = |m: &StoredMember| {
            let protocols = m.protocols.iter().map(|p| text(&p.name) + 4 + p.metadata.len()).sum::<usize>();
            let names = text(m.member_id.as_str()) + text(&m.client_id) + text(&m.client_host);
            names
                + optional(m.instance_id.as_ref().map(InstanceId::as_str))
                + 16
                + protocols
                + m.assignment.len()
        };
        let header = 1 + 4 + text(&self.protocol_type) + text(&self.protocol);
        let leader = optional(self.leader.as_ref().map(MemberId::as_str));
        let since = 1 + self.empty_since.map_or(0, |_| 8);
        header + leader + since + 4 + self.members.iter().map(member).sum::<usize>()
    }

    fn decode(mut value: &[u8]) -> Result<Self, GroupRecordError> {
        let value = &mut value;
        version(value)?;
        let mut group = Self {
            generation: Generation(take_i32(value)?),
            protocol_type: take_text(value)?,
            protocol: take_text(value)?,
            leader: take_optional(value, take_text)?.map(MemberId),
            empty_since: take_optional(value, take_i64)?.map(Timestamp),
            members: Vec::new(),
        };
        // Collecting grows with what is really there, so a stated count allocates nothing.
        group.members =
            (0..take_u32(value)?).map(|_| StoredMember::decode(value)).collect::<Result<_, _>>()?;
        at_end(value)?;
        if group.is_consistent() { Ok(group) } else { Err(GroupRecordError::Contradiction) }
    }

    fn is_consistent(&self) -> bool {
        let instances: Vec<_> =
            self.members.iter().filter_map(|member| member.instance_id.as_ref()).collect();
        let taken_once = instances.iter().collect::<BTreeSet<_>>().len() == instances.len();
        let member = |member: &StoredMember| {
            !member.member_id.is_empty()
                && member.session_timeout_ms >= 0
                && member.protocols.iter().any(|protocol| protocol.name == self.protocol)
        };
        let ascending = self.members.is_sorted_by(|a, b| a.member_id < b.member_id);
        let leads = match &self.leader {
            None => self.members.is_empty(),
            Some(leader) => self.members.iter().any(|member| member.member_id == *leader),
        };
        self.generation >= Generation(0)
            && taken_once
            && ascending
            && leads
            && self.members.iter().all(member)
    }
}

impl StoredMember {
    fn decode(value: &mut &[u8]) -> Result<Self, GroupRecordError> {
        Ok(Self {
            member_id: MemberId(take_text(value)?),
            instance_id: take_optional(value, take_text)?.map(InstanceId),
            client_id: take_text(value)?,
            client_host: take_text(value)?,
            session_timeout_ms: take_i32(value)?,
            rebalance_timeout_ms: take_i32(value)?,
            protocols: take_protocols(value)?,
            assignment: Bytes::copy_from_slice(take_bytes(value)?),
        })
    }
}

fn group_key(kind: u8, group: &GroupId) -> Bytes {
    let mut key = vec![kind];
    put_bytes(&mut key, group.as_str().as_bytes());
    key.into()
}

fn consumer_key(group: &GroupId, member_id: &MemberId) -> Bytes {
    let mut key = vec![KIND_CONSUMER];
    put_bytes(&mut key, group.as_str().as_bytes());
    put_bytes(&mut key, member_id.as_str().as_bytes());
    key.into()
}

fn offset_key(group: &GroupId, topic: &TopicName, partition: PartitionId) -> Bytes {
    let mut key = vec![KIND_OFFSET];
    put_bytes(&mut key, group.as_str().as_bytes());
    put_place(&mut key, topic, partition);
    key.into()
}

fn waiting_key(group: &GroupId, producer_id: ProducerId, topic: &TopicName, partition: PartitionId) -> Bytes {
    let mut key = vec![KIND_WAITING];
    put_bytes(&mut key, group.as_str().as_bytes());
    key.put_i64(producer_id.0);
    put_place(&mut key, topic, partition);
    key.into()
}

fn put_place(key: &mut Vec<u8>, topic: &TopicName, partition: PartitionId) {
    put_bytes(key, topic.as_str().as_bytes());
    key.put_i32(partition.0);
}

/// The last fields of an offset's key.
fn take_place(key: &mut &[u8]) -> Result<(TopicName, PartitionId), GroupRecordError> {
    let topic = TopicName::new(&take_text(key)?).map_err(|_| GroupRecordError::Field)?;
    let partition = PartitionId(take_i32(key)?);
    at_end(key)?;
    Ok((topic, partition))
}

fn encode_committed(committed: &Committed) -> Bytes {
    let mut value = vec![VERSION];
    value.put_i64(committed.offset.0);
    value.put_i32(committed.leader_epoch.0);
    value.put_i64(committed.committed_at.0);
    put_bytes(&mut value, committed.metadata.as_bytes());
    value.into()
}

fn decode_committed(mut value: &[u8]) -> Result<Committed, GroupRecordError> {
    let value = &mut value;
    version(value)?;
    let offset = Offset(take_i64(value)?);
    let leader_epoch = LeaderEpoch(take_i32(value)?);
    let committed_at = Timestamp(take_i64(value)?);
    let metadata = take_text(value)?;
    at_end(value)?;
    Ok(Committed { offset, leader_epoch, metadata, committed_at })
}

#[cfg(test)]
mod tests;
