//! The offsets that a group has committed and that are durable.

use keyway_record::{LeaderEpoch, Offset, PartitionId, ProducerId, Timestamp, TopicName};
use std::{collections::BTreeMap, sync::Arc};

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// Leader epoch of the last record read, -1 if the client did not say.
    pub leader_epoch: LeaderEpoch,
    /// The client's note.
    pub metadata: Arc<str>,
    /// When it was committed, by the broker's wall clock.
    pub committed_at: Timestamp,
}

/// Committed offsets by topic and partition.
///
/// A commit appears here when its record is durable and not before, so a reader never sees an offset that a
/// crash could take back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offsets {
    topics: BTreeMap<TopicName, BTreeMap<PartitionId, Committed>>,
}

/// Offsets of transactions that have not ended, by producer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WaitingOffsets(BTreeMap<ProducerId, BTreeMap<(TopicName, PartitionId), Committed>>);

impl WaitingOffsets {
    /// Whether a transaction is about to change the offset.
    #[must_use]
    pub fn contains(&self, topic: &TopicName, partition: PartitionId) -> bool {
        let key = (topic.clone(), partition);
        self.0.values().any(|offsets| offsets.contains_key(&key))
    }

    /// Whether no transaction is about to change anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set(
        &mut self,
        producer_id: ProducerId,
        topic: TopicName,
        partition: PartitionId,
        committed: Committed,
    ) {
        self.0.entry(producer_id).or_default().insert((topic, partition), committed);
    }

    pub(crate) fn remove(&mut self, producer_id: ProducerId, topic: &TopicName, partition: PartitionId) {
        let Some(offsets) = self.0.get_mut(&producer_id) else { return };
        offsets.remove(&(topic.clone(), partition));
        if offsets.is_empty() {
            self.0.remove(&producer_id);
        }
    }

    /// Takes out what waits for the producer's transaction.
    pub(crate) fn take(&mut self, producer_id: ProducerId) -> Vec<(TopicName, PartitionId, Committed)> {
        let offsets = self.0.remove(&producer_id).unwrap_or_default();
        offsets.into_iter().map(|((topic, partition), committed)| (topic, partition, committed)).collect()
    }

    /// Where something waits, and for whom.
    pub(crate) fn places(&self) -> impl Iterator<Item = (ProducerId, &TopicName, PartitionId)> {
        self.0
            .iter()
            .flat_map(|(id, offsets)| offsets.keys().map(|(topic, partition)| (*id, topic, *partition)))
    }
}

impl Offsets {
    /// The offset committed for one partition.
    #[must_use]
    pub fn get(&self, topic: &TopicName, partition: PartitionId) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Everything, by topic and partition.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, &BTreeMap<PartitionId, Committed>)> {
        self.topics.iter()
    }

    /// Everything, one by one.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, PartitionId, &Committed)> {
        let of_topic = |(topic, partitions)| {
            let of_partition =
                move |(partition, committed): (&PartitionId, _)| (topic, *partition, committed);
            BTreeMap::iter(partitions).map(of_partition)
        };
        self.topics.iter().flat_map(of_topic)
    }

    /// Whether nothing is committed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn set(&mut self, topic: TopicName, partition: PartitionId, committed: Committed) {
        self.topics.entry(topic).or_default().insert(partition, committed);
    }

    pub(crate) fn remove(&mut self, topic: &TopicName, partition: PartitionId) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }
}
