//! What a group keeps in an internal topic, as keys and values. Only the last value of a key counts, and no value
//! removes the key, so the topic may be compacted.
//!
//! All numbers are big-endian; *text* and *bytes* are an u32 length and that many bytes, *optional* an u8 of 0
//! or 1 before it.
//!
//! | key | type |
//! |---|---|
//! | kind: 1 offset, 2 group | u8 |
//! | group id | text |
//! | of an offset: topic name | text |
//! | – partition | i32 |
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

use crate::{
    ids::{Generation, GroupId, InstanceId, MemberId},
    message::Protocol,
    offsets::Committed,
};
use bytes::{BufMut, Bytes};
use keyway_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};
use std::{collections::BTreeSet, sync::Arc};

const VERSION: u8 = 1;
const KIND_OFFSET: u8 = 1;
const KIND_GROUP: u8 = 2;

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
            | Self::Group { group, .. }
            | Self::GroupTombstone { group } => group,
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
            Self::Group { group, stored } => (group_key(group), Some(stored.encode())),
            Self::GroupTombstone { group } => (group_key(group), None),
        }
    }

    /// The record of a key and a value.
    pub fn decode(mut key: &[u8], value: Option<&[u8]>) -> Result<Self, GroupRecordError> {
        let key = &mut key;
        let kind = take_u8(key)?;
        let group = match kind {
            KIND_OFFSET | KIND_GROUP => GroupId(take_text(key)?),
            kind => return Err(GroupRecordError::Kind { kind }),
        };
        if kind == KIND_GROUP {
            at_end(key)?;
            return Ok(match value {
                Some(value) => Self::Group { group, stored: StoredGroup::decode(value)? },
                None => Self::GroupTombstone { group },
            });
        }
        let topic = TopicName::new(&take_text(key)?).map_err(|_| GroupRecordError::Field)?;
        let partition = PartitionId(take_i32(key)?);
        at_end(key)?;
        Ok(match value {
            Some(value) => Self::Offset { group, topic, partition, committed: decode_committed(value)? },
            None => Self::OffsetTombstone { group, topic, partition },
        })
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
        out.put_u8(u8::from(self.empty_since.is_some()));
        if let Some(since) = self.empty_since {
            out.put_i64(since.0);
        }
        put_count(&mut out, self.members.len());
        for member in &self.members {
            put_bytes(&mut out, member.member_id.as_str().as_bytes());
            put_optional_text(&mut out, member.instance_id.as_ref().map(InstanceId::as_str));
            put_bytes(&mut out, member.client_id.as_bytes());
            put_bytes(&mut out, member.client_host.as_bytes());
            out.put_i32(member.session_timeout_ms);
            out.put_i32(member.rebalance_timeout_ms);
            put_count(&mut out, member.protocols.len());
            for protocol in &member.protocols {
                put_bytes(&mut out, protocol.name.as_bytes());
                put_bytes(&mut out, &protocol.metadata);
            }
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
            protocols: (0..take_u32(value)?)
                .map(|_| {
                    let name = take_text(value)?;
                    Ok(Protocol { name, metadata: Bytes::copy_from_slice(take_bytes(value)?) })
                })
                .collect::<Result<_, _>>()?,
            assignment: Bytes::copy_from_slice(take_bytes(value)?),
        })
    }
}

fn group_key(group: &GroupId) -> Bytes {
    let mut key = vec![KIND_GROUP];
    put_bytes(&mut key, group.as_str().as_bytes());
    key.into()
}

fn offset_key(group: &GroupId, topic: &TopicName, partition: PartitionId) -> Bytes {
    let mut key = vec![KIND_OFFSET];
    put_bytes(&mut key, group.as_str().as_bytes());
    put_bytes(&mut key, topic.as_str().as_bytes());
    key.put_i32(partition.0);
    key.into()
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

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).expect("bounded far below 4 Gi by the request that brought it"));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(out, text.as_bytes());
    }
}

pub(crate) fn version(value: &mut &[u8]) -> Result<(), GroupRecordError> {
    match take_u8(value)? {
        VERSION => Ok(()),
        version => Err(GroupRecordError::Version { version }),
    }
}

pub(crate) fn at_end(rest: &[u8]) -> Result<(), GroupRecordError> {
    match rest.len() {
        0 => Ok(()),
        bytes => Err(GroupRecordError::Trailing { bytes }),
    }
}

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], GroupRecordError> {
    let (head, tail) = rest.split_first_chunk().ok_or(GroupRecordError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

pub(crate) fn take_u8(rest: &mut &[u8]) -> Result<u8, GroupRecordError> {
    take(rest).map(u8::from_be_bytes)
}

pub(crate) fn take_u32(rest: &mut &[u8]) -> Result<u32, GroupRecordError> {
    take(rest).map(u32::from_be_bytes)
}

pub(crate) fn take_i32(rest: &mut &[u8]) -> Result<i32, GroupRecordError> {
    take(rest).map(i32::from_be_bytes)
}

pub(crate) fn take_i64(rest: &mut &[u8]) -> Result<i64, GroupRecordError> {
    take(rest).map(i64::from_be_bytes)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], GroupRecordError> {
    let len = take_u32(rest)? as usize;
    let (head, tail) = rest.split_at_checked(len).ok_or(GroupRecordError::Truncated)?;
    *rest = tail;
    Ok(head)
}

pub(crate) fn take_text(rest: &mut &[u8]) -> Result<Arc<str>, GroupRecordError> {
    let text = str::from_utf8(take_bytes(rest)?).map_err(|_| GroupRecordError::Field)?;
    Ok(text.into())
}

pub(crate) fn take_optional<T>(
    rest: &mut &[u8],
    take: impl FnOnce(&mut &[u8]) -> Result<T, GroupRecordError>,
) -> Result<Option<T>, GroupRecordError> {
    match take_u8(rest)? {
        0 => Ok(None),
        1 => take(rest).map(Some),
        _ => Err(GroupRecordError::Field),
    }
}

#[cfg(test)]
mod tests;
