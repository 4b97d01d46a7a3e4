//! Names and numbers of the group protocol that must not be swapped.

pub use keyway_record::Millis;
use std::{fmt, sync::Arc};

/// The time `ms` milliseconds after `now`, but at least 1: a deadline lies ahead, so no timer spins.
pub(crate) fn after(now: Millis, ms: i32) -> Millis {
    now.plus(u64::try_from(ms.max(1)).expect("positive"))
}

/// Who waits for a reply: the owner's own number, which comes back with the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallerId(pub u64);

/// One request to make records durable; ascending within a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PersistId(pub u64);

/// How often a group has agreed on its members: 0 for never, then +1 for each rebalance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub i32);

impl Generation {
    /// What a client states that is in no generation.
    pub const NONE: Self = Self(-1);

    /// The generation after this one, never [`Generation::NONE`].
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

/// How far a member of a consumer group has come (KIP-848), and in the group itself how often its members, their
/// subscriptions or their topics have changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MemberEpoch(pub i32);

impl MemberEpoch {
    /// Stated by a member that joins, or joins again without partitions.
    pub const JOIN: Self = Self(0);

    /// Stated by a member that leaves.
    pub const LEAVE: Self = Self(-1);

    /// Stated by a static member that leaves and means to come back; meanwhile it is the member's epoch.
    pub const LEAVE_FOR_A_WHILE: Self = Self(-2);

    /// The epoch after this one, always above [`MemberEpoch::JOIN`].
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A consumer group's `group.id`. Cheap to clone.
    GroupId
}

name! {
    /// The id that the group gave to a member: its client id (or instance id), `-`, a UUID. Cheap to clone.
    MemberId
}

name! {
    /// A static member's `group.instance.id` (KIP-345), which outlives its member ids. Cheap to clone.
    InstanceId
}

name! {
    /// A producer's `transactional.id`, which outlives its producer ids. Cheap to clone.
    TransactionalId
}

impl MemberId {
    /// A new id for a member called `name`, from 16 random bytes (as a version 4 UUID).
    pub(crate) fn fresh(name: &str, mut random: [u8; 16]) -> Self {
        random[6] = random[6] & 0x0f | 0x40;
        random[8] = random[8] & 0x3f | 0x80;
        let mut id = String::with_capacity(name.len() + 37);
        id.push_str(name);
        for (index, byte) in random.iter().enumerate() {
            if matches!(index, 0 | 4 | 6 | 8 | 10) {
                id.push('-');
            }
            for nibble in [byte >> 4, byte & 0x0f] {
                id.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a hex digit"));
            }
        }
        Self(id.into())
    }

    /// A new id for a client that left it to the broker.
    #[must_use]
    pub fn generated(random: [u8; 16]) -> Self {
        let id = Self::fresh("", random);
        Self(id.0.trim_start_matches('-').into())
    }

    /// Whether a client stated no id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_are_the_name_and_a_uuid() {
        let id = MemberId::fresh("rdkafka", [0xff; 16]);
        assert_eq!(id.as_str(), "rdkafka-ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
