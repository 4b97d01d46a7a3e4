//! What a subscription does with failures, and how much its consumers may hold: set per topic and subscription name, for
//! all partitions, also before the subscription exists.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use keyway_dispatch::{Backoff, Disconnects, FailurePolicy, FloodBrake, Poison};
use keyway_record::TopicName;

/// Form of a stored policy.
const VERSION: u8 = 1;

/// Ack timeouts that make sense: shorter ones expire on the way, longer ones are no timeouts.
const ACK_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 10..=24 * 3_600_000;

/// Longest wait before a redelivery.
const REDELIVERY_DELAY_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// Most unanswered messages that a policy can allow; Danube's limit.
const UNACKED_MAX: u32 = 10_000;

/// What one subscription was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubscriptionPolicy {
    pub(crate) failure: FailurePolicy,
    /// Where used-up messages go; `None` is `<topic>.<subscription>.dlq`.
    pub(crate) dead_letter_topic: Option<TopicName>,
    /// Most unanswered messages of the subscription's consumers together, per partition; `None` lets each consumer's
    /// window follow its speed.
    pub(crate) unacked_max: Option<u32>,
}

/// Why a policy is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("an ack timeout of {given} ms; {} to {} are allowed", ACK_TIMEOUT_MS.start(), ACK_TIMEOUT_MS.end())]
    AckTimeout { given: u64 },
    #[error("the base redelivery delay of {base} ms is longer than the longest of {max} ms")]
    Delays { base: u64, max: u64 },
    #[error("a redelivery delay of {given} ms; {REDELIVERY_DELAY_MS_MAX} are allowed")]
    Delay { given: u64 },
    #[error("{given} unanswered messages; 1 to {UNACKED_MAX} are allowed")]
    Unacked { given: u32 },
    #[error("a jitter of {given} %; 0 to 100 are allowed")]
    Jitter { given: u8 },
    #[error("a flood brake that looks at {given} ends; 1 to 64 are allowed")]
    FloodBrake { given: u8 },
    #[error("the dead-letter topic {0} is the subscription's own topic; choose another")]
    IntoItself(TopicName),
    #[error("the dead-letter topic {0} is the broker's own; choose a name that does not begin with '__'")]
    Internal(TopicName),
}

impl Default for SubscriptionPolicy {
    /// Danube's values, but losing a worker counts against none of the messages that it held: most of them it never
    /// looked at, they waited in its queue.
    fn default() -> Self {
        Self {
            failure: FailurePolicy { disconnects: Disconnects::Ignore, ..FailurePolicy::default() },
            dead_letter_topic: None,
            unacked_max: None,
        }
    }
}

impl SubscriptionPolicy {
    /// Whether a subscription of `topic` can follow it.
    pub(crate) fn check(&self, topic: &TopicName) -> Result<(), PolicyError> {
        let failure = &self.failure;
        let (base, max) = (failure.base_redelivery_delay_ms, failure.max_redelivery_delay_ms);
        if !ACK_TIMEOUT_MS.contains(&failure.ack_timeout_ms) {
            return Err(PolicyError::AckTimeout { given: failure.ack_timeout_ms });
        }
        if base > max {
            return Err(PolicyError::Delays { base, max });
        }
        if max > REDELIVERY_DELAY_MS_MAX {
            return Err(PolicyError::Delay { given: max });
        }
        if failure.jitter_percent > 100 {
            return Err(PolicyError::Jitter { given: failure.jitter_percent });
        }
        if let Some(given) = self.unacked_max
            && !(1..=UNACKED_MAX).contains(&given)
        {
            return Err(PolicyError::Unacked { given });
        }
        if let Some(FloodBrake { outcomes: given, .. }) = failure.flood_brake
            && !(1..=64).contains(&given)
        {
            return Err(PolicyError::FloodBrake { given });
        }
        match &self.dead_letter_topic {
            Some(own) if own == topic => Err(PolicyError::IntoItself(own.clone())),
            Some(internal) if internal.is_internal() => Err(PolicyError::Internal(internal.clone())),
            _ => Ok(()),
        }
    }

    /// As stored; all numbers big-endian:
    ///
    /// | part | type |
    /// |---|---|
    /// | version, 1 | u8 |
    /// | redeliveries | u16 |
    /// | ack timeout, base delay, longest delay, ms | 3 × u64 |
    /// | backoff: 0 fixed, 1 exponential | u8 |
    /// | jitter, percent | u8 |
    /// | used up: 0 block, 1 dead letter, 2 drop, 3 park | u8 |
    /// | a lost consumer: 0 does not count, 1 counts | u8 |
    /// | flood brake: ends looked at (0 for no brake), percent used up | 2 × u8 |
    /// | most unanswered messages, 0 for none | u32 |
    /// | the dead-letter topic, empty for none | the rest, UTF-8 |
    pub(super) fn encode(&self) -> Bytes {
        let Self { failure, dead_letter_topic, unacked_max } = self;
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        out.put_u16(failure.max_redelivery_count);
        out.put_u64(failure.ack_timeout_ms);
        out.put_u64(failure.base_redelivery_delay_ms);
        out.put_u64(failure.max_redelivery_delay_ms);
        out.put_u8(match failure.backoff {
            Backoff::Fixed => 0,
            Backoff::Exponential => 1,
        });
        out.put_u8(failure.jitter_percent);
        out.put_u8(match failure.poison {
            Poison::Block => 0,
            Poison::DeadLetter => 1,
            Poison::Drop => 2,
            Poison::Park => 3,
        });
        out.put_u8(match failure.disconnects {
            Disconnects::Ignore => 0,
            Disconnects::Count => 1,
        });
        out.put_u8(failure.flood_brake.map_or(0, |brake| brake.outcomes));
        out.put_u8(failure.flood_brake.map_or(0, |brake| brake.used_up_percent));
        out.put_u32(unacked_max.unwrap_or(0));
        out.put_slice(dead_letter_topic.as_ref().map_or(&[], |topic| topic.as_str().as_bytes()));
        out.freeze()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let cut = |_| "a subscription's policy is cut short".to_owned();
        let unknown = |what: &str, given: u8| Err(format!("a subscription's policy of {what} {given}"));
        match rest.try_get_u8().map_err(cut)? {
            VERSION => {}
            other => return unknown("version", other),
        }
        let max_redelivery_count = rest.try_get_u16().map_err(cut)?;
        let ack_timeout_ms = rest.try_get_u64().map_err(cut)?;
        let base_redelivery_delay_ms = rest.try_get_u64().map_err(cut)?;
        let max_redelivery_delay_ms = rest.try_get_u64().map_err(cut)?;
        let backoff = match rest.try_get_u8().map_err(cut)? {
            0 => Backoff::Fixed,
            1 => Backoff::Exponential,
            other => return unknown("backoff", other),
        };
        let jitter_percent = rest.try_get_u8().map_err(cut)?;
        let poison = match rest.try_get_u8().map_err(cut)? {
            0 => Poison::Block,
            1 => Poison::DeadLetter,
            2 => Poison::Drop,
            3 => Poison::Park,
            other => return unknown("poison policy", other),
        };
        let disconnects = match rest.try_get_u8().map_err(cut)? {
            0 => Disconnects::Ignore,
            1 => Disconnects::Count,
            other => return unknown("disconnect policy", other),
        };
        let (outcomes, used_up_percent) = (rest.try_get_u8().map_err(cut)?, rest.try_get_u8().map_err(cut)?);
        let flood_brake = (outcomes > 0).then_some(FloodBrake { outcomes, used_up_percent });
        let unacked_max = Some(rest.try_get_u32().map_err(cut)?).filter(|&max| max > 0);
        let topic = str::from_utf8(rest).map_err(|error| error.to_string())?;
        let topic = (!topic.is_empty()).then(|| TopicName::new(topic)).transpose();
        Ok(Self {
            failure: FailurePolicy {
                max_redelivery_count,
                ack_timeout_ms,
                base_redelivery_delay_ms,
                max_redelivery_delay_ms,
                backoff,
                jitter_percent,
                poison,
                disconnects,
                flood_brake,
            },
            dead_letter_topic: topic.map_err(|error| error.to_string())?,
            unacked_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::damaged;

    fn policy() -> SubscriptionPolicy {
        let failure = FailurePolicy {
            max_redelivery_count: 3,
            ack_timeout_ms: 5_000,
            base_redelivery_delay_ms: 7,
            max_redelivery_delay_ms: 70,
            backoff: Backoff::Fixed,
            jitter_percent: 10,
            poison: Poison::DeadLetter,
            disconnects: Disconnects::Count,
            flood_brake: Some(FloodBrake { outcomes: 20, used_up_percent: 80 }),
        };
        let dead_letter_topic = Some(TopicName::new("orders.dead").unwrap());
        SubscriptionPolicy { failure, dead_letter_topic, unacked_max: Some(12) }
    }

    #[test]
    fn a_policy_comes_back_and_cuts_are_refused() {
        for policy in [policy(), SubscriptionPolicy::default()] {
            let bytes = policy.encode();
            assert_eq!(SubscriptionPolicy::decode(&bytes), Ok(policy));
            for len in 0..37 {
                assert!(SubscriptionPolicy::decode(&bytes[..len]).is_err(), "{len} bytes");
            }
            damaged(&bytes).for_each(|bytes| drop(SubscriptionPolicy::decode(&bytes)));
        }
        let mut newer = policy().encode().to_vec();
        newer[0] = 2;
        assert!(SubscriptionPolicy::decode(&newer).unwrap_err().contains("version 2"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        let topic = TopicName::new("orders").unwrap();
        let with = |change: fn(&mut SubscriptionPolicy)| {
            let mut policy = policy();
            change(&mut policy);
            policy.check(&topic)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert!(matches!(with(|p| p.failure.ack_timeout_ms = 0), Err(PolicyError::AckTimeout { given: 0 })));
        assert!(matches!(with(|p| p.failure.base_redelivery_delay_ms = 71), Err(PolicyError::Delays { .. })));
        assert!(matches!(with(|p| p.unacked_max = Some(0)), Err(PolicyError::Unacked { given: 0 })));
        assert!(matches!(with(|p| p.failure.jitter_percent = 101), Err(PolicyError::Jitter { .. })));
        let own = SubscriptionPolicy { dead_letter_topic: Some(topic.clone()), ..policy() };
        assert!(matches!(own.check(&topic), Err(PolicyError::IntoItself(_))));
        let internal = SubscriptionPolicy { dead_letter_topic: TopicName::new("__topics").ok(), ..policy() };
        assert!(matches!(internal.check(&topic), Err(PolicyError::Internal(_))));
    }
}
