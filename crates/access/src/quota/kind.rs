//! What a quota bounds.

use super::Entity;

/// A quota, by the name under which Kafka's tools set it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum QuotaKind {
    /// Bytes a second of produce requests.
    ProducerByteRate,
    /// Bytes a second of fetch responses.
    ConsumerByteRate,
    /// Percents of one thread's time.
    RequestPercentage,
    /// Partitions a second that are created or deleted.
    ControllerMutationRate,
    /// Connections a second from one address.
    ConnectionCreationRate,
}

/// Why a quota cannot have a value.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ValueError {
    /// It would let nothing through.
    #[error("{} cannot be {value}: it must be greater than 0", kind.name())]
    NotPositive {
        /// The quota.
        kind: QuotaKind,
        /// What it was to be.
        value: f64,
    },
    /// The quota counts whole things.
    #[error("{} cannot be {value}: it must be a whole number", kind.name())]
    Fraction {
        /// The quota.
        kind: QuotaKind,
        /// What it was to be.
        value: f64,
    },
    /// The quota's type ends before.
    #[error("{} cannot be {value}: the most is {max}", kind.name())]
    TooLarge {
        /// The quota.
        kind: QuotaKind,
        /// What it was to be.
        value: f64,
        /// The greatest value.
        max: f64,
    },
}

/// How far from a whole number a value may be and still pass for one.
const WHOLE_WITHIN: f64 = 1e-6;

impl QuotaKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::ProducerByteRate,
        Self::ConsumerByteRate,
        Self::RequestPercentage,
        Self::ControllerMutationRate,
        Self::ConnectionCreationRate,
    ];

    /// Kafka's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
            Self::ControllerMutationRate => "controller_mutation_rate",
            Self::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    /// The quota of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the quota can be set for this entity: connections are those of an address, everything else is a user's or
    /// a client's.
    #[must_use]
    pub fn applies_to(self, entity: &Entity) -> bool {
        matches!(entity, Entity::Ip(_)) == (self == Self::ConnectionCreationRate)
    }

    /// Whether the quota can have this value.
    pub fn check(self, value: f64) -> Result<(), ValueError> {
        // Not a number is not greater either.
        if value.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
            return Err(ValueError::NotPositive { kind: self, value });
        }
        let max = match self {
            Self::ProducerByteRate | Self::ConsumerByteRate => i64::MAX as f64,
            Self::ConnectionCreationRate => f64::from(i32::MAX),
            Self::RequestPercentage | Self::ControllerMutationRate => return Ok(()),
        };
        if value > max {
            return Err(ValueError::TooLarge { kind: self, value, max });
        }
        if (value - value.round()).abs() > WHOLE_WITHIN {
            return Err(ValueError::Fraction { kind: self, value });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Name;

    #[test]
    fn names_and_entities_are_kafkas() {
        for kind in QuotaKind::ALL {
            assert_eq!(QuotaKind::named(kind.name()), Some(kind));
            assert_eq!(QuotaKind::ALL[kind as usize], kind);
            let of_address = kind == QuotaKind::ConnectionCreationRate;
            assert_eq!(kind.applies_to(&Entity::Ip(Name::Default)), of_address);
            assert_eq!(kind.applies_to(&Entity::User(Name::Default)), !of_address);
        }
        assert_eq!(QuotaKind::named("bytes"), None);
    }

    #[test]
    fn values_are_positive_and_bytes_are_whole() {
        use QuotaKind::*;
        for kind in QuotaKind::ALL {
            for value in [0.0, -1.0, f64::NAN] {
                assert!(kind.check(value).is_err(), "{kind:?} {value}");
            }
            assert_eq!(kind.check(5.0), Ok(()));
        }
        for kind in [ProducerByteRate, ConsumerByteRate, ConnectionCreationRate] {
            assert!(kind.check(1.5).is_err() && kind.check(f64::INFINITY).is_err(), "{kind:?}");
        }
        assert_eq!(RequestPercentage.check(0.5), Ok(()));
        assert!(ConnectionCreationRate.check(3e9).is_err());
        assert_eq!(ProducerByteRate.check(3e9), Ok(()));
    }
}
