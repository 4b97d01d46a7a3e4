//! What classic consumers put into the opaque bytes of JoinGroup and SyncGroup: Kafka's `ConsumerProtocol`.
//!
//! The broker looks into them only where it has to: for the topics that a group is subscribed to, and when a group
//! changes between the classic and the consumer protocol.
//!
//! All numbers are big-endian; *text* is an i16 length and that many bytes, *list* an i32 count before its elements.
//!
//! | subscription | type |
//! |---|---|
//! | version | i16 |
//! | topics | list of text |
//! | the assignor's own data | i32 length, -1 for none, and bytes |
//! | owned partitions, from version 1 on | list of (topic text, list of i32) |
//!
//! | assignment | type |
//! |---|---|
//! | version | i16 |
//! | partitions | list of (topic text, list of i32) |
//! | the assignor's own data | i32 length, -1 for none, and bytes |
//!
//! A higher version only adds fields at the end, so what is known of it can be read.

use bytes::{BufMut, Bytes};
use keyway_record::PartitionId;
use std::{collections::BTreeMap, sync::Arc};

/// Partitions by the name of their topic.
pub(crate) type NamedPartitions = BTreeMap<Arc<str>, Vec<PartitionId>>;

/// The protocol type of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// A member's subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConsumerSubscription {
    pub(crate) version: i16,
    pub(crate) topics: Vec<Arc<str>>,
    /// What the member has, as it says.
    pub(crate) owned: NamedPartitions,
}

/// A member's part of what the leader decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConsumerAssignment {
    pub(crate) partitions: NamedPartitions,
    /// Whether an assignor left data of its own, which nobody but it understands.
    pub(crate) has_user_data: bool,
}

/// The bytes are not of the consumer protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the member's bytes are not of the consumer protocol")]
pub(crate) struct Malformed;

impl ConsumerSubscription {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = &mut &*bytes;
        let version = i16::from_be_bytes(take(rest)?);
        let topics = list(rest, text)?;
        user_data(rest)?;
        let owned = if version >= 1 && !rest.is_empty() { partitions(rest)? } else { NamedPartitions::new() };
        if version < 0 { Err(Malformed) } else { Ok(Self { version, topics, owned }) }
    }
}

impl ConsumerAssignment {
    /// No bytes are no partitions: a member that never got an assignment.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self { partitions: NamedPartitions::new(), has_user_data: false });
        }
        let rest = &mut &*bytes;
        let version = i16::from_be_bytes(take(rest)?);
        let partitions = partitions(rest)?;
        let has_user_data = user_data(rest)? > 0;
        if version < 0 { Err(Malformed) } else { Ok(Self { partitions, has_user_data }) }
    }

    /// The bytes for a member that subscribed in `version`.
    pub(crate) fn encode(version: i16, partitions: &NamedPartitions) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(version);
        put_count(&mut out, partitions.len());
        for (topic, partitions) in partitions {
            out.put_i16(
                i16::try_from(topic.len()).expect("a topic that exists has a name of 249 bytes at most"),
            );
            out.put_slice(topic.as_bytes());
            put_count(&mut out, partitions.len());
            partitions.iter().for_each(|partition| out.put_i32(partition.0));
        }
        out.put_i32(-1);
        out.into()
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_i32(i32::try_from(count).expect("a topic has far fewer than 2 Gi partitions"));
}

fn partitions(rest: &mut &[u8]) -> Result<NamedPartitions, Malformed> {
    let one = |rest: &mut &[u8]| {
        let topic = text(rest)?;
        let partitions = list(rest, |rest| take(rest).map(i32::from_be_bytes).map(PartitionId))?;
        Ok((topic, partitions))
    };
    Ok(list(rest, one)?.into_iter().collect())
}

/// How many bytes of the assignor's own there are; they are skipped.
fn user_data(rest: &mut &[u8]) -> Result<usize, Malformed> {
    let len = usize::try_from(i32::from_be_bytes(take(rest)?)).unwrap_or(0);
    *rest = rest.get(len..).ok_or(Malformed)?;
    Ok(len)
}

fn text(rest: &mut &[u8]) -> Result<Arc<str>, Malformed> {
    let len = usize::try_from(i16::from_be_bytes(take(rest)?)).map_err(|_| Malformed)?;
    let (head, tail) = rest.split_at_checked(len).ok_or(Malformed)?;
    *rest = tail;
    str::from_utf8(head).map(Into::into).map_err(|_| Malformed)
}

/// Collecting grows with what is really there, so a stated count allocates nothing.
fn list<T>(
    rest: &mut &[u8],
    mut element: impl FnMut(&mut &[u8]) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = i32::from_be_bytes(take(rest)?).max(0);
    let mut elements = Vec::new();
    for _ in 0..count {
        elements.push(element(rest)?);
    }
    Ok(elements)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, tail) = rest.split_first_chunk().ok_or(Malformed)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn subscriptions_of_the_java_client_are_read() {
        // Version 3: topics [a], no data, owned {a: [0, 1]}, generation 7, no rack.
        let bytes = b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x07\xff\xff";
        let subscription = ConsumerSubscription::decode(bytes).unwrap();
        let owned = NamedPartitions::from([("a".into(), vec![PartitionId(0), PartitionId(1)])]);
        assert_eq!(subscription, ConsumerSubscription { version: 3, topics: vec!["a".into()], owned });
        // Version 0 ends with the data.
        let oldest = ConsumerSubscription::decode(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x02xy").unwrap();
        assert_eq!((oldest.topics.len(), oldest.owned.len()), (1, 0));
    }

    #[test]
    fn assignments_come_back() {
        let partitions = NamedPartitions::from([("a".into(), vec![PartitionId(3)]), ("b".into(), vec![])]);
        let bytes = ConsumerAssignment::encode(1, &partitions);
        assert_eq!(
            ConsumerAssignment::decode(&bytes),
            Ok(ConsumerAssignment { partitions, has_user_data: false })
        );
        let with_data = b"\0\0\0\0\0\0\0\0\0\x01x";
        assert!(ConsumerAssignment::decode(with_data).unwrap().has_user_data);
        assert!(ConsumerAssignment::decode(b"").unwrap().partitions.is_empty());
    }

    #[test]
    fn garbage_is_refused() {
        let mut dice = Dice(1);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..dice.below(40)).map(|_| [0, 0, 0, 1, 2, 255][dice.below(6)]).collect();
            let _ = ConsumerSubscription::decode(&bytes);
            let _ = ConsumerAssignment::decode(&bytes);
        }
        assert_eq!(ConsumerSubscription::decode(b"\0\0\x7f\xff\xff\xff"), Err(Malformed));
        assert_eq!(ConsumerSubscription::decode(b""), Err(Malformed));
    }
}
