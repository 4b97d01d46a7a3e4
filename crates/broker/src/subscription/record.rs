//! What is stored of subscriptions in the internal topic `__subscriptions`, all numbers big-endian.
//!
//! Key:
//!
//! | part | type |
//! |---|---|
//! | kind: 1 subscription, 2 consumer, 3 policy, 4 parked key | u8 |
//! | topic id | 16 bytes |
//! | partition; of a policy, which is for all of them, -1 | i32 |
//! | length of the subscription's name, the name | u16, UTF-8 |
//! | of a consumer: its name; of a parked key: its hash, the high half first | the rest: UTF-8; 16 bytes |
//!
//! Value of a subscription:
//!
//! | part | type |
//! |---|---|
//! | version, 1 | u8 |
//! | type: 0 exclusive, 1 shared, 2 failover, 3 key-shared | u8 |
//! | the dispatcher's snapshot | the rest |
//!
//! Value of a consumer:
//!
//! | part | type |
//! |---|---|
//! | version, 1 | u8 |
//! | length of the topic's name as the consumer wrote it, the name | u16, UTF-8 |
//! | number of key filters, then per filter: length, pattern | u32, u16, bytes |
//!
//! Value of a parked key:
//!
//! | part | type |
//! |---|---|
//! | version, 1 | u8 |
//! | where the search for its messages begins in the topic of parked messages | i64 |
//! | the last message of it that was done since it was parked, by its original offset; -1 for none | i64 |
//!
//! The value of a policy is described where it is encoded.

use super::SubscriptionId;
use crate::stored::{put_piece, take_piece, text};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_dispatch::Mode;
use keyway_record::{KeyHash, Offset, PartitionId, TopicId};

const VERSION: u8 = 1;
const KIND_SUBSCRIPTION: u8 = 1;
const KIND_CONSUMER: u8 = 2;
const KIND_POLICY: u8 = 3;
const KIND_PARKED: u8 = 4;

/// In place of a partition: all of them.
const ALL_PARTITIONS: PartitionId = PartitionId(-1);

/// Whose record it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Subscription(SubscriptionId),
    Consumer(SubscriptionId, String),
    /// Of the subscriptions of this name, on all partitions.
    Policy(TopicId, String),
    Parked(SubscriptionId, KeyHash),
}

/// A subscription at rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StoredSubscription {
    pub(super) mode: Mode,
    /// The dispatcher's own bytes.
    pub(super) snapshot: Bytes,
}

/// A parked key at rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StoredParked {
    /// Where the search for its messages begins, in the topic of parked messages.
    pub(super) first: Offset,
    /// Its last message that was done since it was parked, by its original offset; -1 for none.
    pub(super) done: Offset,
}

/// A consumer at rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StoredConsumer {
    pub(super) topic_name: String,
    pub(super) filters: Vec<Bytes>,
}

impl Key {
    pub(super) fn encode(&self) -> Bytes {
        let hash;
        let (kind, topic, partition, name, rest): (_, _, _, _, &[u8]) = match self {
            Self::Subscription(id) => (KIND_SUBSCRIPTION, id.topic, id.partition, &id.name, &[]),
            Self::Consumer(id, consumer) => {
                (KIND_CONSUMER, id.topic, id.partition, &id.name, consumer.as_bytes())
            }
            Self::Policy(topic, name) => (KIND_POLICY, *topic, ALL_PARTITIONS, name, &[]),
            Self::Parked(id, key) => {
                hash = key.0.to_be_bytes();
                (KIND_PARKED, id.topic, id.partition, &id.name, &hash)
            }
        };
        let mut out = BytesMut::with_capacity(23 + name.len() + rest.len());
        out.put_u8(kind);
        out.put_slice(&topic.0);
        out.put_i32(partition.0);
        put_piece(&mut out, name);
        out.put_slice(rest);
        out.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let kind = rest.try_get_u8().map_err(cut)?;
        let mut topic = [0; 16];
        rest.try_copy_to_slice(&mut topic).map_err(cut)?;
        let partition = PartitionId(rest.try_get_i32().map_err(cut)?);
        let name = text(take_piece(&mut rest).map_err(cut)?)?;
        let id = SubscriptionId { topic: TopicId(topic), partition, name };
        match kind {
            KIND_SUBSCRIPTION if rest.is_empty() => Ok(Self::Subscription(id)),
            KIND_CONSUMER => Ok(Self::Consumer(id, text(rest)?)),
            KIND_POLICY if rest.is_empty() && partition == ALL_PARTITIONS => {
                Ok(Self::Policy(id.topic, id.name))
            }
            KIND_PARKED => {
                let hash = rest.try_into().map_err(|_| "a parked key's hash is not 16 bytes".to_owned())?;
                Ok(Self::Parked(id, KeyHash(u128::from_be_bytes(hash))))
            }
            _ => Err(format!("a subscription's key of kind {kind}")),
        }
    }
}

impl StoredSubscription {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(2 + self.snapshot.len());
        out.put_u8(VERSION);
        out.put_u8(match self.mode {
            Mode::Exclusive => 0,
            Mode::Shared => 1,
            Mode::Failover => 2,
            Mode::KeyShared => 3,
        });
        out.put_slice(&self.snapshot);
        out.freeze()
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, String> {
        let mut rest = bytes.clone();
        check_version(rest.try_get_u8().map_err(cut)?)?;
        let mode = match rest.try_get_u8().map_err(cut)? {
            0 => Mode::Exclusive,
            1 => Mode::Shared,
            2 => Mode::Failover,
            3 => Mode::KeyShared,
            other => return Err(format!("a subscription of type {other}")),
        };
        Ok(Self { mode, snapshot: rest })
    }
}

impl StoredParked {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(17);
        out.put_u8(VERSION);
        out.put_i64(self.first.0);
        out.put_i64(self.done.0);
        out.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        check_version(rest.try_get_u8().map_err(cut)?)?;
        let (first, done) = (rest.try_get_i64().map_err(cut)?, rest.try_get_i64().map_err(cut)?);
        Ok(Self { first: Offset(first), done: Offset(done) })
    }
}

impl StoredConsumer {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        put_piece(&mut out, &self.topic_name);
        out.put_u32(u32::try_from(self.filters.len()).expect("the number of filters is bounded"));
        self.filters.iter().for_each(|filter| put_piece(&mut out, filter));
        out.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        check_version(rest.try_get_u8().map_err(cut)?)?;
        let topic_name = text(take_piece(&mut rest).map_err(cut)?)?;
        let filters_count = rest.try_get_u32().map_err(cut)?;
        let filters = (0..filters_count).map(|_| take_piece(&mut rest).map(Bytes::from));
        let filters = filters.collect::<Result<_, _>>().map_err(cut)?;
        Ok(Self { topic_name, filters })
    }
}

fn check_version(version: u8) -> Result<(), String> {
    if version == VERSION { Ok(()) } else { Err(format!("a subscription's record of version {version}")) }
}

fn cut(_: bytes::TryGetError) -> String {
    "a subscription's record is cut short".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    fn id() -> SubscriptionId {
        SubscriptionId { topic: TopicId([9; 16]), partition: PartitionId(3), name: "billing".into() }
    }

    #[test]
    fn keys_come_back_and_cuts_are_refused() {
        let policy = Key::Policy(id().topic, "billing".into());
        for key in [Key::Subscription(id()), Key::Consumer(id(), "worker 1".into()), policy] {
            let bytes = key.encode();
            assert_eq!(Key::decode(&bytes), Ok(key));
            for len in 0..23 {
                assert!(Key::decode(&bytes[..len]).is_err(), "{len} bytes");
            }
            damaged(&bytes).for_each(|bytes| drop(Key::decode(&bytes)));
        }
    }

    #[test]
    fn values_come_back_and_cuts_are_refused() {
        let parked = StoredParked { first: Offset(7), done: Offset(-1) };
        assert_eq!(StoredParked::decode(&parked.encode()), Ok(parked));
        assert!(StoredParked::decode(&parked.encode()[..16]).is_err());
        let consumer =
            StoredConsumer { topic_name: "/default/o".into(), filters: vec!["a*".into(), Bytes::new()] };
        let bytes = consumer.encode();
        assert_eq!(StoredConsumer::decode(&bytes), Ok(consumer));
        for len in 0..bytes.len() {
            assert!(StoredConsumer::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        damaged(&bytes).for_each(|bytes| drop(StoredConsumer::decode(&bytes)));
        for mode in [Mode::Exclusive, Mode::Shared, Mode::Failover, Mode::KeyShared] {
            let stored = StoredSubscription { mode, snapshot: "snapshot".into() };
            assert_eq!(StoredSubscription::decode(&stored.encode()), Ok(stored));
        }
        assert!(StoredSubscription::decode(&Bytes::from_static(b"\x02\x00")).is_err());
        assert!(StoredSubscription::decode(&Bytes::from_static(b"\x01\x04")).is_err());
    }
}
