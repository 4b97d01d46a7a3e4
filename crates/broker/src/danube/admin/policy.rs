//! Failure policies in Danube's words.

use crate::{danube::target, subscription::SubscriptionPolicy};
use keyway_danube_wire::{
    TopicRef,
    admin::{SubscriptionBackoffStrategy, SubscriptionFailurePolicy, SubscriptionPoisonPolicy},
    proto::SubscriptionType,
};
use keyway_dispatch::{Backoff, FailurePolicy, Mode, Poison};
use tonic::Status;

/// What Danube cannot say of a subscription that does not exist yet.
const NO_TYPE: i32 = -1;

/// `has` with everything that Danube's policy says; what it has no words for stays as it is.
pub(super) fn changed(
    has: SubscriptionPolicy,
    given: &SubscriptionFailurePolicy,
) -> Result<SubscriptionPolicy, Status> {
    let max_redelivery_count = u16::try_from(given.max_redelivery_count).map_err(|_| {
        let (given, max) = (given.max_redelivery_count, u16::MAX);
        Status::invalid_argument(format!("{given} redeliveries; {max} are allowed"))
    })?;
    let dead_letter_topic = given.dead_letter_topic.as_deref().filter(|name| !name.trim().is_empty());
    let dead_letter_topic = dead_letter_topic.map(target::topic_ref).transpose()?;
    if let Some(name) = dead_letter_topic.as_ref().filter(|name| name.partition().is_some()) {
        let text = format!("the dead-letter topic {name} is one partition; name the whole topic");
        return Err(Status::invalid_argument(text));
    }
    let failure = FailurePolicy {
        max_redelivery_count,
        ack_timeout_ms: given.ack_timeout_ms,
        base_redelivery_delay_ms: given.base_redelivery_delay_ms,
        max_redelivery_delay_ms: given.max_redelivery_delay_ms,
        backoff: match SubscriptionBackoffStrategy::try_from(given.backoff_strategy) {
            Ok(SubscriptionBackoffStrategy::Fixed) => Backoff::Fixed,
            Ok(SubscriptionBackoffStrategy::Exponential) => Backoff::Exponential,
            Err(_) => return Err(unknown("backoff strategy", given.backoff_strategy)),
        },
        poison: match SubscriptionPoisonPolicy::try_from(given.poison_policy) {
            Ok(SubscriptionPoisonPolicy::DeadLetter) => Poison::DeadLetter,
            Ok(SubscriptionPoisonPolicy::Block) => Poison::Block,
            Ok(SubscriptionPoisonPolicy::Drop) => Poison::Drop,
            Err(_) => return Err(unknown("poison policy", given.poison_policy)),
        },
        ..has.failure
    };
    Ok(SubscriptionPolicy {
        failure,
        dead_letter_topic: dead_letter_topic.map(|name| name.topic().clone()),
        ..has
    })
}

/// The policy as Danube says it. A parked key is blocked, as far as Danube knows.
pub(super) fn danube(policy: &SubscriptionPolicy) -> SubscriptionFailurePolicy {
    let failure = &policy.failure;
    let dead_letter_topic = policy.dead_letter_topic.as_ref();
    SubscriptionFailurePolicy {
        max_redelivery_count: failure.max_redelivery_count.into(),
        ack_timeout_ms: failure.ack_timeout_ms,
        base_redelivery_delay_ms: failure.base_redelivery_delay_ms,
        max_redelivery_delay_ms: failure.max_redelivery_delay_ms,
        backoff_strategy: match failure.backoff {
            Backoff::Fixed => SubscriptionBackoffStrategy::Fixed.into(),
            Backoff::Exponential => SubscriptionBackoffStrategy::Exponential.into(),
        },
        dead_letter_topic: dead_letter_topic.map(|topic| {
            let name = TopicRef::of_kafka(topic, None);
            name.map_or_else(|_| topic.to_string(), |name| name.to_string())
        }),
        poison_policy: match failure.poison {
            Poison::DeadLetter => SubscriptionPoisonPolicy::DeadLetter.into(),
            Poison::Block | Poison::Park => SubscriptionPoisonPolicy::Block.into(),
            Poison::Drop => SubscriptionPoisonPolicy::Drop.into(),
        },
    }
}

/// A subscription's type by Danube's number.
pub(super) fn subscription_type(mode: Option<Mode>) -> i32 {
    match mode {
        Some(Mode::Exclusive) => SubscriptionType::ExclusiveConsumer.into(),
        Some(Mode::Shared) => SubscriptionType::SharedConsumers.into(),
        Some(Mode::Failover) => SubscriptionType::FailoverConsumers.into(),
        Some(Mode::KeyShared) => SubscriptionType::KeySharedConsumers.into(),
        None => NO_TYPE,
    }
}

fn unknown(what: &str, number: i32) -> Status {
    Status::invalid_argument(format!("{what} {number} is unknown"))
}
