//! Topic names, topic ids and partitions, by Kafka's rules.

use crate::PartitionId;
use std::{fmt, sync::Arc};

/// A legal Kafka topic name: 1 to 249 bytes of `[a-zA-Z0-9._-]`, neither `.` nor `..`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a topic name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// The name has no bytes.
    #[error("the topic name is empty")]
    Empty,
    /// The name is longer than 249 bytes.
    #[error("the topic name has {len} bytes; 249 are allowed")]
    TooLong {
        /// Bytes of the refused name.
        len: usize,
    },
    /// The name is `.` or `..`.
    #[error("the topic name cannot be '.' or '..'")]
    Dots,
    /// A character outside `[a-zA-Z0-9._-]`.
    #[error("the topic name has the character {character:?}; allowed are a-z, A-Z, 0-9, '.', '_' and '-'")]
    Character {
        /// The first refused character.
        character: char,
    },
}

impl TopicName {
    /// Longest name, bytes.
    pub const LEN_MAX: usize = 249;

    /// Checks `name` against Kafka's rules.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name.len() > Self::LEN_MAX {
            return Err(TopicNameError::TooLong { len: name.len() });
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name.chars().find(|c| !legal(c)) {
            Some(character) => Err(TopicNameError::Character { character }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a topic of the broker's own, which clients may read but not write.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identity of one life of a topic: a topic that is deleted and created again gets another. 16 bytes, a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// No id: what a request carries that names its topic instead.
    pub const ZERO: Self = Self([0; 16]);

    /// A version 4 UUID made of 16 random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One partition of one life of a topic: what a log store keeps records under.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic's name, for people and folder names.
    pub topic: TopicName,
    /// The topic's identity; two topics of one name in time differ here.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        assert!(TopicName::new("orders.v1_eu-west").is_ok());
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::new("a/b"), Err(TopicNameError::Character { character: '/' }));
        assert_eq!(TopicName::new(&"x".repeat(250)), Err(TopicNameError::TooLong { len: 250 }));
        assert!(TopicName::new("__offsets").unwrap().is_internal());
    }
}
