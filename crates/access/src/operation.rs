//! What a client wants to do.

use std::{fmt, str::FromStr};

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

/// A word that is no operation.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{word:?} is no operation; there are {}", Operation::ALL.map(|operation| operation.to_string()).join(", "))]
pub struct UnknownOperation {
    /// The word.
    pub word: String,
}

impl fmt::Display for Operation {
    /// Kafka's word for it: `DESCRIBE_CONFIGS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, letter) in format!("{self:?}").char_indices() {
            let gap = if place > 0 && letter.is_uppercase() { "_" } else { "" };
            write!(f, "{gap}{}", letter.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    /// Takes Kafka's word in any case, with or without its underscores.
    fn from_str(word: &str) -> Result<Self, UnknownOperation> {
        let asked = word.replace('_', "");
        let named = |operation: &Self| format!("{operation:?}").eq_ignore_ascii_case(&asked);
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownOperation { word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kafkas() {
        assert_eq!(Operation::DescribeConfigs.to_string(), "DESCRIBE_CONFIGS");
        for operation in Operation::ALL {
            assert_eq!(operation.to_string().parse(), Ok(operation));
            assert_eq!(format!("{operation:?}").parse(), Ok(operation));
        }
        assert_eq!("idempotent_write".parse(), Ok(Operation::IdempotentWrite));
        assert!("readwrite".parse::<Operation>().unwrap_err().to_string().contains("ALTER_CONFIGS"));
    }
}
