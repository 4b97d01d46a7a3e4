//! What a subscription does with failures, as JSON. The words are Danube's.
//!
//! | field | value |
//! |---|---|
//! | `max_redelivery_count` | redeliveries after failures; 0: the first failure uses the message up |
//! | `ack_timeout_ms` | how long a delivery may stay unanswered |
//! | `base_redelivery_delay_ms`, `max_redelivery_delay_ms` | first and longest wait before a redelivery |
//! | `backoff_strategy` | `fixed`, `exponential` |
//! | `jitter_percent` | up to this share is added to a wait |
//! | `poison_policy` | of used-up messages: `dead_letter`, `park` (the key), `block` (the key), `drop` |
//! | `dead_letter_topic` | null: `<topic>.<subscription>.dlq` |
//! | `count_disconnects` | whether a lost worker counts as a failure of the message it worked on |
//! | `flood_brake` | whether a worker that fails almost everything is kept from using everything up |
//! | `unacked_max` | most unanswered messages per partition; null: follows the workers' speed |
//! | `is_set` | whether anyone ever set a policy (only in answers) |

use super::{
    Shared,
    error::ApiError,
    extract::{Body, Name, Subscription},
};
use crate::{
    access::{AuditEvent, Caller},
    node::Node,
    subscription::{SubscriptionError, SubscriptionPolicy},
    topics::Topic,
};
use axum::{Extension, Json, extract::State};
use keyway_access::{Operation, Resource};
use keyway_dispatch::{Backoff, Disconnects, FloodBrake, Poison};
use keyway_record::TopicName;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;

/// A policy as it is answered.
#[derive(Debug, Serialize)]
pub(super) struct PolicyView {
    max_redelivery_count: u16,
    ack_timeout_ms: u64,
    base_redelivery_delay_ms: u64,
    max_redelivery_delay_ms: u64,
    backoff_strategy: &'static str,
    jitter_percent: u8,
    poison_policy: &'static str,
    dead_letter_topic: Option<String>,
    count_disconnects: bool,
    flood_brake: bool,
    unacked_max: Option<u32>,
    is_set: bool,
}

/// What is to change; what is left out stays as it is.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Change {
    max_redelivery_count: Option<u16>,
    ack_timeout_ms: Option<u64>,
    base_redelivery_delay_ms: Option<u64>,
    max_redelivery_delay_ms: Option<u64>,
    backoff_strategy: Option<Name<Backoff>>,
    jitter_percent: Option<u8>,
    poison_policy: Option<Name<Poison>>,
    #[serde(deserialize_with = "present")]
    dead_letter_topic: Option<Option<String>>,
    count_disconnects: Option<bool>,
    flood_brake: Option<bool>,
    #[serde(deserialize_with = "present")]
    unacked_max: Option<Option<u32>>,
}

/// Null is a value; only absence is none.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl PolicyView {
    pub(super) fn of(node: &Node, topic: &Topic, name: &str) -> Self {
        let is_set = node.subscriptions.policy_is_set(topic.id, name);
        Self::new(node.subscriptions.policy(topic.id, name), is_set)
    }

    fn new(policy: SubscriptionPolicy, is_set: bool) -> Self {
        let SubscriptionPolicy { failure, dead_letter_topic, unacked_max } = policy;
        Self {
            max_redelivery_count: failure.max_redelivery_count,
            ack_timeout_ms: failure.ack_timeout_ms,
            base_redelivery_delay_ms: failure.base_redelivery_delay_ms,
            max_redelivery_delay_ms: failure.max_redelivery_delay_ms,
            backoff_strategy: match failure.backoff {
                Backoff::Fixed => "fixed",
                Backoff::Exponential => "exponential",
            },
            jitter_percent: failure.jitter_percent,
            poison_policy: match failure.poison {
                Poison::Block => "block",
                Poison::DeadLetter => "dead_letter",
                Poison::Park => "park",
                Poison::Drop => "drop",
            },
            dead_letter_topic: dead_letter_topic.map(|topic| topic.to_string()),
            count_disconnects: failure.disconnects == Disconnects::Count,
            flood_brake: failure.flood_brake.is_some(),
            unacked_max,
            is_set,
        }
    }
}

impl Change {
    fn apply(self, policy: &mut SubscriptionPolicy) -> Result<(), ApiError> {
        let failure = &mut policy.failure;
        set(&mut failure.max_redelivery_count, self.max_redelivery_count);
        set(&mut failure.ack_timeout_ms, self.ack_timeout_ms);
        set(&mut failure.base_redelivery_delay_ms, self.base_redelivery_delay_ms);
        set(&mut failure.max_redelivery_delay_ms, self.max_redelivery_delay_ms);
        set(&mut failure.jitter_percent, self.jitter_percent);
        set(&mut failure.backoff, self.backoff_strategy.map(|name| name.or("", backoff)).transpose()?);
        set(&mut failure.poison, self.poison_policy.map(|name| name.or("", poison)).transpose()?);
        set(
            &mut failure.disconnects,
            self.count_disconnects.map(|count| if count { Disconnects::Count } else { Disconnects::Ignore }),
        );
        match self.flood_brake {
            Some(true) if failure.flood_brake.is_none() => failure.flood_brake = Some(FloodBrake::default()),
            Some(false) => failure.flood_brake = None,
            Some(true) | None => {}
        }
        let topic = self.dead_letter_topic.map(|topic| topic.map(topic_named).transpose()).transpose()?;
        set(&mut policy.dead_letter_topic, topic);
        set(&mut policy.unacked_max, self.unacked_max);
        Ok(())
    }
}

pub(super) async fn get(
    State(node): State<Shared>,
    Subscription { topic, name }: Subscription,
) -> Json<PolicyView> {
    Json(PolicyView::of(&node, &topic, &name))
}

/// Sets a policy, also of a subscription that does not exist yet.
pub(super) async fn change(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    Subscription { topic, name }: Subscription,
    Body(change): Body<Change>,
) -> Result<Json<PolicyView>, ApiError> {
    let mut policy = node.subscriptions.policy(topic.id, &name);
    change.apply(&mut policy)?;
    set_audited(&node, &caller, &topic, &name, policy).await?;
    Ok(Json(PolicyView::of(&node, &topic, &name)))
}

/// Sets a subscription's policy, which the audit log tells.
pub(crate) async fn set_audited(
    node: &Node,
    caller: &Caller,
    topic: &Topic,
    subscription: &str,
    policy: SubscriptionPolicy,
) -> Result<(), SubscriptionError> {
    let has = node.subscriptions.policy(topic.id, subscription).dead_letter_topic;
    if let Some(dead_letters) = policy.dead_letter_topic.as_ref().filter(|to| has.as_ref() != Some(to)) {
        check_dead_letters(node, caller, dead_letters)?;
    }
    let told = serde_json::to_value(PolicyView::new(policy.clone(), true)).expect("plain fields");
    let event = AuditEvent::PolicyChanged { topic: topic.name.as_str(), subscription, policy: &told };
    node.audit.tell(caller, event, node.subscriptions.set_policy(topic, subscription, policy)).await
}

/// The broker writes dead letters in the name of whoever said where they go.
fn check_dead_letters(node: &Node, caller: &Caller, topic: &TopicName) -> Result<(), SubscriptionError> {
    let resource = Resource::topic(topic.as_str());
    let denied = |operation| {
        let principal = caller.principal.to_string();
        Err(SubscriptionError::DeadLetterTopic { principal, operation, topic: topic.clone() })
    };
    if !node.access.allows(caller, Operation::Write, resource) {
        return denied(Operation::Write);
    }
    let may_create = || {
        node.access.shows(caller, Operation::Create, Resource::CLUSTER)
            || node.access.allows(caller, Operation::Create, resource)
    };
    if node.topics.named(topic.as_str()).is_none() && !may_create() {
        return denied(Operation::Create);
    }
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn backoff(name: &str) -> Result<Backoff, ApiError> {
    match name {
        "fixed" => Ok(Backoff::Fixed),
        "exponential" => Ok(Backoff::Exponential),
        _ => Err(ApiError::NotA {
            what: "backoff strategy",
            given: name.to_owned(),
            allowed: "fixed, exponential",
        }),
    }
}

fn poison(name: &str) -> Result<Poison, ApiError> {
    match name {
        "block" => Ok(Poison::Block),
        "dead_letter" => Ok(Poison::DeadLetter),
        "park" => Ok(Poison::Park),
        "drop" => Ok(Poison::Drop),
        _ => Err(ApiError::NotA {
            what: "poison policy",
            given: name.to_owned(),
            allowed: "dead_letter, park, block, drop",
        }),
    }
}

fn topic_named(name: String) -> Result<TopicName, ApiError> {
    TopicName::new(&name).map_err(|_| ApiError::NotA {
        what: "topic's name",
        given: name,
        allowed: "1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'",
    })
}
