//! From the records of an internal topic back to groups.

use crate::{
    config::GroupConfig,
    consumer::stored::StoredConsumer,
    group::Group,
    ids::{GroupId, MemberId, Millis},
    offsets::{Offsets, WaitingOffsets},
    stored::{GroupRecord, StoredConsumers, StoredGroup},
};
use std::collections::BTreeMap;

/// Gathers the records of all groups, in the order of the log or, after compaction, of their keys.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    groups: BTreeMap<GroupId, Image>,
}

/// What the log has of one group. Members without a group are what a crash left of its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) stored: Option<StoredGroup>,
    pub(crate) consumers: Option<StoredConsumers>,
    pub(crate) members: BTreeMap<MemberId, StoredConsumer>,
    pub(crate) offsets: Offsets,
    pub(crate) waiting: WaitingOffsets,
}

impl Recovery {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record.
    pub fn apply(&mut self, record: GroupRecord) {
        let image = self.groups.entry(record.group().clone()).or_default();
        match record {
            GroupRecord::Offset { topic, partition, committed, .. } => {
                image.offsets.set(topic, partition, committed);
            }
            GroupRecord::OffsetTombstone { topic, partition, .. } => image.offsets.remove(&topic, partition),
            GroupRecord::Waiting { producer_id, topic, partition, committed, .. } => {
                image.waiting.set(producer_id, topic, partition, committed);
            }
            GroupRecord::WaitingTombstone { producer_id, topic, partition, .. } => {
                image.waiting.remove(producer_id, &topic, partition);
            }
            GroupRecord::Group { stored, .. } => image.stored = Some(stored),
            GroupRecord::GroupTombstone { .. } => image.stored = None,
            GroupRecord::ConsumerGroup { stored, .. } => image.consumers = Some(stored),
            GroupRecord::ConsumerGroupTombstone { .. } => image.consumers = None,
            GroupRecord::Consumer { member_id, stored, .. } => {
                image.members.insert(member_id, stored);
            }
            GroupRecord::ConsumerTombstone { member_id, .. } => _ = image.members.remove(&member_id),
        }
    }

    /// The groups that are left. Their members are as they were, and have a whole session from `now` on to come back.
    #[must_use]
    pub fn into_groups(self, now: Millis, config: &GroupConfig) -> Vec<Group> {
        let something = |image: &Image| {
            let has_offsets = !image.offsets.is_empty() || !image.waiting.is_empty();
            image.stored.is_some() || image.consumers.is_some() || has_offsets
        };
        let left = self.groups.into_iter().filter(|(_, image)| something(image));
        left.map(|(id, image)| Group::recover(id, config.clone(), now, image)).collect()
    }
}
