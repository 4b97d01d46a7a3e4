//! Who gets which partitions of a consumer group.
//!
//! An assignor sees everyone's subscription and the last assignment, and answers with the next one: every partition of
//! a topic that someone is subscribed to has exactly one member, who is subscribed to it.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use crate::{
    catalog::Assignment,
    ids::{InstanceId, MemberId},
};
use keyway_record::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// How partitions are spread over members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Assignor {
    /// As even as the subscriptions allow, moving as little as that takes.
    #[default]
    Uniform,
    /// Topic by topic in ranges, so that members get the same partitions of topics that are alike.
    Range,
}

impl Assignor {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of Kafka's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// The next assignment of everyone in `members`. `partitions` counts those of every topic that exists; other
    /// topics are nobody's.
    pub(crate) fn assign(
        self,
        members: &BTreeMap<MemberId, Subscriber>,
        partitions: &BTreeMap<TopicId, i32>,
    ) -> BTreeMap<MemberId, Assignment> {
        match self {
            Self::Uniform => uniform::assign(members, partitions),
            Self::Range => range::assign(members, partitions),
        }
    }
}

/// A member as its assignor sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subscriber {
    pub(crate) instance_id: Option<InstanceId>,
    /// What it is subscribed to, as far as that exists.
    pub(crate) topics: BTreeSet<TopicId>,
    /// What it was assigned last.
    pub(crate) previous: Assignment,
}
