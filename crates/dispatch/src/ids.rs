//! Times, consumers, owner epochs, delivery tokens.

pub use keyway_record::Millis;
use std::fmt;

/// A consumer of the subscription; the owner chooses the number. The same worker should keep it over reconnects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConsumerId(pub u64);

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Generation of the ownership of one (subscription, partition), 24 bits. Every new owner, and every restart, must use a
/// higher one than any that ever delivered: it is what makes tokens unique over restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnerEpoch(u32);

impl OwnerEpoch {
    /// The epoch of a subscription's first owner.
    pub const FIRST: Self = Self(1);
    /// The highest epoch.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// The epoch of this number, if it fits in 24 bits and is not 0.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        (1..=Self::MAX.0).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.0 + 1).expect("an owner changes fewer than 2^24 times")
    }
}

/// Names one delivery: owner epoch (24 bits), then sequence (40 bits). Strictly increasing per (subscription, partition),
/// over restarts too, and never 0. An ack counts only with the token of the delivery it answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(u64);

impl Token {
    const SEQUENCE_BITS: u32 = 40;

    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn new(epoch: OwnerEpoch, sequence: u64) -> Self {
        assert!(sequence < 1 << Self::SEQUENCE_BITS, "an owner delivers fewer than 2^40 times");
        Self(u64::from(epoch.0) << Self::SEQUENCE_BITS | sequence)
    }

    /// A token as a client sent it back.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The 64 bits that clients carry.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }
}
