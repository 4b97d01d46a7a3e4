//! The topics there are, as far as a group that assigns partitions has to know them.

use keyway_record::{PartitionId, TopicId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// One partition of one life of a topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIdPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
}

/// Partitions that one member has, is to have, or says that it has.
pub type Assignment = BTreeSet<TopicIdPartition>;

/// A topic of a [`Catalog`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogTopic {
    /// Its id, which a topic that is made again does not share.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

/// All topics at one moment. Groups share it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    by_name: BTreeMap<TopicName, CatalogTopic>,
    names: BTreeMap<TopicId, TopicName>,
}

impl Catalog {
    /// The catalog of these topics; of two with one name the last counts.
    #[must_use]
    pub fn new(topics: impl IntoIterator<Item = (TopicName, CatalogTopic)>) -> Self {
        let by_name: BTreeMap<_, _> = topics.into_iter().collect();
        let names = by_name.iter().map(|(name, topic)| (topic.id, name.clone())).collect();
        Self { by_name, names }
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<CatalogTopic> {
        self.by_name.get(name).copied()
    }

    /// The name of this topic.
    #[must_use]
    pub fn name(&self, topic: TopicId) -> Option<&TopicName> {
        self.names.get(&topic)
    }

    /// Every topic, by name.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicName, CatalogTopic)> {
        self.by_name.iter().map(|(name, topic)| (name, *topic))
    }
}
