//! Which letters are dealt with although older ones are not, in the internal topic `__dead_letters`; numbers big-endian.
//!
//! | key | type |
//! |---|---|
//! | topic id | 16 bytes |
//! | partition | i32 |
//!
//! | value | type |
//! |---|---|
//! | version, 1 | u8 |
//! | number of ranges, then per range: first offset, offset after the last | u32, i64, i64 |

use super::{DeadLetterError, Ranges};
use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    node::Node,
    partition::Partition,
    topics::Topics,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_log::{AppendError, Durability, Ticket};
use keyway_record::{Offset, PartitionId, TopicId, TopicPartition};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

const VERSION: u8 = 1;

/// Most ranges of one partition: a mark is written whole, and this many are 160 KB.
pub(super) const RANGES_MAX: usize = 10_000;

type Key = (TopicId, PartitionId);

/// The marks of all partitions.
pub(super) struct Settled {
    records: InternalTopic,
    by_partition: Mutex<BTreeMap<Key, Ranges>>,
}

impl Settled {
    pub(super) fn recover(records: InternalTopic, topics: &Topics) -> Result<Self, InternalTopicError> {
        let mut by_partition = BTreeMap::new();
        for (key, value) in records.entries() {
            let (key, ranges) = decode(&key, &value).map_err(|reason| records.malformed(reason))?;
            if topics.of_id(key.0).is_some() {
                by_partition.insert(key, ranges);
            }
        }
        Ok(Self { records, by_partition: Mutex::new(by_partition) })
    }

    /// What is settled of a partition beyond its start.
    pub(super) fn of(&self, partition: &TopicPartition) -> Ranges {
        self.map().get(&key(partition)).cloned().unwrap_or_default()
    }

    /// Gives up settled letters at the partition's start and marks the others; durable when this returns.
    pub(super) async fn settle(
        &self,
        node: &Node,
        partition: &Partition,
        mut settled: Ranges,
    ) -> Result<(), DeadLetterError> {
        let start = partition.log.bounds().start;
        let first = Offset(settled.take_prefix(start.0));
        let mut ticket = Ticket::default();
        if settled != self.of(&partition.id) {
            let value = (!settled.is_empty()).then(|| encode(&settled));
            ticket = self.records.put_staged(vec![(encode_key(&partition.id), value)]).await?;
            if settled.is_empty() {
                self.map().remove(&key(&partition.id));
            } else {
                self.map().insert(key(&partition.id), settled);
            }
        }
        if first > start {
            ticket = ticket.max(trim(node, partition, first).await?);
        }
        Ok(node.store.wait(ticket, Durability::Durable).await?)
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<Key, Ranges>> {
        self.by_partition.lock().expect("no panic while the marks are locked")
    }
}

async fn trim(node: &Node, partition: &Partition, before: Offset) -> Result<Ticket, AppendError> {
    loop {
        match partition.log.trim(before) {
            Err(AppendError::Full) => node.store.room().await,
            done => return done,
        }
    }
}

fn key(partition: &TopicPartition) -> Key {
    (partition.topic_id, partition.partition)
}

fn encode_key(partition: &TopicPartition) -> Bytes {
    let mut out = BytesMut::with_capacity(20);
    out.put_slice(&partition.topic_id.0);
    out.put_i32(partition.partition.0);
    out.freeze()
}

fn encode(ranges: &Ranges) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + 16 * ranges.len());
    out.put_u8(VERSION);
    out.put_u32(u32::try_from(ranges.len()).expect("the number of ranges is bounded"));
    for range in ranges.iter() {
        out.put_i64(range.start);
        out.put_i64(range.end);
    }
    out.freeze()
}

fn decode(mut key: &[u8], mut value: &[u8]) -> Result<(Key, Ranges), String> {
    let cut = |_| "a mark of dead letters is cut short".to_owned();
    let mut topic = [0; 16];
    key.try_copy_to_slice(&mut topic).map_err(cut)?;
    let partition = PartitionId(key.try_get_i32().map_err(cut)?);
    let version = value.try_get_u8().map_err(cut)?;
    if version != VERSION {
        return Err(format!("a mark of dead letters of version {version}"));
    }
    let count = value.try_get_u32().map_err(cut)?;
    let mut ranges = Vec::new();
    for _ in 0..count {
        ranges.push(value.try_get_i64().map_err(cut)?..value.try_get_i64().map_err(cut)?);
    }
    let ranges = Ranges::from_sorted(ranges).ok_or("a mark of dead letters whose ranges do not ascend")?;
    Ok(((TopicId(topic), partition), ranges))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_record::TopicName;

    #[test]
    fn marks_come_back_and_cuts_are_refused() {
        let topic = TopicName::new("orders.billing.dlq").unwrap();
        let id = TopicPartition { topic, topic_id: TopicId([7; 16]), partition: PartitionId(3) };
        let ranges = Ranges::from_sorted(vec![3..4, 8..20, 1 << 40..(1 << 40) + 1]).unwrap();
        let (name, value) = (encode_key(&id), encode(&ranges));
        assert_eq!(decode(&name, &value), Ok((key(&id), ranges)));
        for len in 0..value.len() {
            assert!(decode(&name, &value[..len]).is_err(), "{len} bytes");
        }
        assert!(decode(&name[..19], &value).is_err());
        let newer = [&[2], &value[1..]].concat();
        assert!(decode(&name, &newer).unwrap_err().contains("version 2"));
    }
}
