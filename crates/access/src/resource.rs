//! What a client wants to do it to.

use std::fmt;

/// A kind of resource, with Kafka's code for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A consumer group, or a subscription.
    Group = 3,
    /// The whole cluster.
    Cluster = 4,
    /// A transactional id.
    TransactionalId = 5,
    /// A delegation token.
    DelegationToken = 6,
    /// A user.
    User = 7,
}

impl ResourceType {
    /// All of them, by code.
    pub const ALL: [Self; 6] =
        [Self::Topic, Self::Group, Self::Cluster, Self::TransactionalId, Self::DelegationToken, Self::User];

    /// Kafka's number for it.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The type of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// One resource by its exact name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource<'a> {
    /// Its kind.
    pub kind: ResourceType,
    /// Its name; that of the cluster is [`Resource::CLUSTER`]'s.
    pub name: &'a str,
}

impl<'a> Resource<'a> {
    /// The cluster, by the name that Kafka gives every cluster.
    pub const CLUSTER: Resource<'static> = Resource { kind: ResourceType::Cluster, name: "kafka-cluster" };

    /// The topic of this name.
    #[must_use]
    pub fn topic(name: &'a str) -> Self {
        Self { kind: ResourceType::Topic, name }
    }

    /// The group of this name.
    #[must_use]
    pub fn group(name: &'a str) -> Self {
        Self { kind: ResourceType::Group, name }
    }

    /// The transactional id of this name.
    #[must_use]
    pub fn transactional_id(name: &'a str) -> Self {
        Self { kind: ResourceType::TransactionalId, name }
    }
}

impl fmt::Display for Resource<'_> {
    /// Kind and name: `Topic orders`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}
