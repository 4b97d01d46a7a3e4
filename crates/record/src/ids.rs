//! Numbers that must not be swapped.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Position of a record in its partition: 0 for the first, +1 for each record.
    Offset(i64)
}

number! {
    /// Index of a partition in its topic, from 0.
    PartitionId(i32)
}

number! {
    /// Identity of an idempotent or transactional producer; [`ProducerId::NONE`] for a plain one.
    ProducerId(i64)
}

number! {
    /// Generation of a producer id; a lower one is fenced.
    ProducerEpoch(i16)
}

number! {
    /// Generation of a partition's leadership; it moves on when an unclean start may have cut the tail.
    LeaderEpoch(i32)
}

number! {
    /// Milliseconds since the Unix epoch; [`Timestamp::NONE`] where a record has none.
    Timestamp(i64)
}

number! {
    /// A moment in milliseconds, on whichever clock its giver names; a length of time is a plain `u64` of ms.
    Millis(u64)
}

impl Millis {
    /// The moment `ms` milliseconds later; the end of time if there is none.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Offset {
    /// The first offset of a partition.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The offset `count` places further.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0.checked_add(count).expect("offsets stay below 2^63"))
    }
}

impl ProducerId {
    /// A batch of a producer that is not idempotent.
    pub const NONE: Self = Self(-1);
}

impl Timestamp {
    /// No timestamp.
    pub const NONE: Self = Self(-1);
}
