//! What a client wants to do.

/// An operation, with Kafka's code for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum Operation {
    /// Every operation; in rules only.
    All = 2,
    /// Reads records of a topic, or works as a member of a group.
    Read = 3,
    /// Writes records to a topic, or with a transactional id.
    Write = 4,
    /// Creates a topic.
    Create = 5,
    /// Deletes a topic, its records, or a group.
    Delete = 6,
    /// Changes a topic's partitions, users, or rules.
    Alter = 7,
    /// Sees that a resource exists, and what it is like.
    Describe = 8,
    /// What only brokers do to each other.
    ClusterAction = 9,
    /// Sees settings.
    DescribeConfigs = 10,
    /// Changes settings.
    AlterConfigs = 11,
    /// Writes idempotently; since Kafka 2.8 whoever may write to some topic may.
    IdempotentWrite = 12,
    /// Makes delegation tokens for another user.
    CreateTokens = 13,
    /// Sees another user's delegation tokens.
    DescribeTokens = 14,
    /// Takes part in transactions that an outside coordinator decides.
    TwoPhaseCommit = 15,
}

impl Operation {
    /// All of them, by code.
    pub const ALL: [Self; 14] = [
        Self::All,
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Alter,
        Self::Describe,
        Self::ClusterAction,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::IdempotentWrite,
        Self::CreateTokens,
        Self::DescribeTokens,
        Self::TwoPhaseCommit,
    ];

    /// Kafka's number for it.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The operation of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.code() == code)
    }
}
