//! What people and admin clients do with subscriptions. A subscription here is a name within a topic: all partitions.

use super::{
    Subscriptions, Wanted,
    handle::{Command, SubscribeError, Subscription},
    policy::{PolicyError, SubscriptionPolicy},
    record::Key,
    start::StartPosition,
    view::{KeyView, PartitionView},
};
use crate::{
    node::Node,
    topics::{DispatchStrategy, Topic},
};
use bytes::Bytes;
use keyway_access::Operation;
use keyway_dispatch::{KeyOrder, Mode};
use keyway_log::ReadError;
use keyway_record::{Offset, PartitionId, TopicId, TopicName};
use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};
use tokio::sync::oneshot;

/// Why a subscription was not created, changed or shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscriptionError {
    #[error("topic {topic} has no subscription '{name}'")]
    Unknown { topic: TopicName, name: String },
    #[error("topic {topic} has a subscription '{name}' already, of type {mode:?}")]
    Exists { topic: TopicName, name: String, mode: Mode },
    #[error(
        "topic {0} is not reliable: its subscriptions last as long as their consumers and keep no position"
    )]
    NotReliable(TopicName),
    #[error("the topic has {max} subscriptions, which is the limit")]
    TooMany { max: usize },
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("{principal} may not {operation:?} the topic {topic}, to which dead letters would go")]
    DeadLetterTopic { principal: String, operation: Operation, topic: TopicName },
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("the subscription cannot be stored: {reason}; try again")]
    Store { reason: String },
    #[error("the subscription ends; try again")]
    Ended,
}

impl Subscriptions {
    /// The names of the topic's subscriptions, sorted.
    pub(crate) fn names(&self, topic: TopicId) -> Vec<String> {
        let names: BTreeSet<String> =
            self.read().of_topic(topic).flat_map(|(_, all)| all.keys().cloned()).collect();
        names.into_iter().collect()
    }

    /// The subscription's type.
    pub(crate) fn mode(&self, topic: TopicId, name: &str) -> Option<Mode> {
        self.read().of_topic(topic).find_map(|(_, all)| all.get(name)).map(|subscription| subscription.mode)
    }

    /// What the subscription does, or would do if it existed.
    pub(crate) fn policy(&self, topic: TopicId, name: &str) -> SubscriptionPolicy {
        self.read().policies.get(&(topic, name.to_owned())).cloned().unwrap_or_default()
    }

    /// Whether anyone ever said what the subscription is to do.
    pub(crate) fn policy_is_set(&self, topic: TopicId, name: &str) -> bool {
        self.read().policies.contains_key(&(topic, name.to_owned()))
    }

    /// Sets what the subscription does, whether it exists yet or not. Durable when this returns, and running owners have
    /// been told.
    pub(crate) async fn set_policy(
        &self,
        topic: &Topic,
        name: &str,
        policy: SubscriptionPolicy,
    ) -> Result<(), SubscriptionError> {
        policy.check(&topic.name)?;
        let _creating = self.creating.lock().await;
        let id = (topic.id, name.to_owned());
        let max = super::SUBSCRIPTIONS_PER_PARTITION_MAX;
        if !self.policy_is_set(topic.id, name) && self.read().policies_of(topic.id) >= max {
            return Err(SubscriptionError::TooMany { max });
        }
        let key = Key::Policy(topic.id, name.to_owned()).encode();
        self.records.put(vec![(key, Some(policy.encode()))]).await.map_err(store_error)?;
        self.write().policies.insert(id, policy.clone());
        for (_, subscription) in self.of_name(topic.id, name) {
            subscription.command(Command::SetPolicy { policy: Box::new(policy.clone()) }).await;
        }
        Ok(())
    }

    /// Creates the subscription on every partition that does not have it yet; durable when this returns.
    pub(crate) async fn create(
        &self,
        node: &Arc<Node>,
        topic: &Topic,
        name: &str,
        mode: Mode,
        start: StartPosition,
    ) -> Result<(), SubscriptionError> {
        if topic.settings.dispatch == Some(DispatchStrategy::NonReliable) {
            return Err(SubscriptionError::NotReliable(topic.name.clone()));
        }
        let exists =
            |mode| SubscriptionError::Exists { topic: topic.name.clone(), name: name.to_owned(), mode };
        let existing = self.of_name(topic.id, name);
        if let Some((_, other)) = existing.iter().find(|(_, other)| other.mode != mode) {
            return Err(exists(other.mode));
        }
        if existing.len() == topic.partitions.len() {
            return Err(exists(mode));
        }
        for partition in &topic.partitions {
            let wanted = Wanted { partition, name, mode, reliable: true, start, caller: None };
            let subscription = self.find_or_create(node, &wanted).await.map_err(|error| match error {
                SubscribeError::TooManySubscriptions { max } => SubscriptionError::TooMany { max },
                SubscribeError::Read(error) => SubscriptionError::Read(error),
                other => SubscriptionError::Store { reason: other.to_string() },
            })?;
            if subscription.mode != mode {
                return Err(exists(subscription.mode));
            }
        }
        Ok(())
    }

    /// Ends the subscription on every partition, with its consumers and its policy; their streams end. Unknown
    /// if there was neither a subscription nor a policy. Durable when this returns.
    pub(crate) async fn delete(&self, topic: &Topic, name: &str) -> Result<(), SubscriptionError> {
        let _creating = self.creating.lock().await;
        let subscriptions = self.of_name(topic.id, name);
        let had_policy = self.policy_is_set(topic.id, name);
        if subscriptions.is_empty() && !had_policy {
            return Err(SubscriptionError::Unknown { topic: topic.name.clone(), name: name.to_owned() });
        }
        let mut deleted = Vec::new();
        for (_, subscription) in &subscriptions {
            let (reply, answer) = oneshot::channel();
            subscription.command(Command::Delete { reply }).await;
            deleted.push(answer);
        }
        for answer in deleted {
            // An owner that ended before it heard this did so with its topic or the broker.
            answer.await.map_err(|_| SubscriptionError::Ended)?.map_err(store_error)?;
        }
        if had_policy {
            let key = Key::Policy(topic.id, name.to_owned()).encode();
            self.records.put(vec![(key, None)]).await.map_err(store_error)?;
            self.write().policies.remove(&(topic.id, name.to_owned()));
        }
        Ok(())
    }

    /// A picture of the subscription, partition by partition.
    pub(crate) async fn describe(
        &self,
        topic: &Topic,
        name: &str,
    ) -> Result<Vec<PartitionView>, SubscriptionError> {
        self.ask_all(topic, name, |reply| Command::Describe { reply }).await
    }

    /// Sends every partition of the subscription to a place: what is in flight is void, and everything from there on is
    /// delivered, again if need be. Returns where that is. Durable when this returns.
    pub(crate) async fn seek(
        &self,
        topic: &Topic,
        name: &str,
        to: StartPosition,
    ) -> Result<Vec<(PartitionId, Offset)>, SubscriptionError> {
        let subscriptions = self.existing(topic, name)?;
        if subscriptions.iter().any(|(_, subscription)| !subscription.reliable) {
            return Err(SubscriptionError::NotReliable(topic.name.clone()));
        }
        // All places are known before the first partition is sent there.
        let mut places = Vec::with_capacity(subscriptions.len());
        for (index, _) in &subscriptions {
            let partition = topic.partition(*index).ok_or(SubscriptionError::Ended)?;
            places.push((*index, to.resolve(partition)?));
        }
        let commands = places.iter().map(|&(_, to)| move |reply| Command::Seek { to, reply });
        for ticket in ask(subscriptions.iter().zip(commands)).await?.into_iter().flatten() {
            self.records.wait(ticket).await.map_err(store_error)?;
        }
        Ok(places)
    }

    /// The first `limit` keys in this order, over all partitions. Only Key-Shared knows keys.
    pub(crate) async fn keys(
        &self,
        topic: &Topic,
        name: &str,
        order: KeyOrder,
        limit: usize,
    ) -> Result<Vec<KeyView>, SubscriptionError> {
        let asked = self.ask_all(topic, name, |reply| Command::Keys { order, limit, reply }).await?;
        let mut keys: Vec<KeyView> = asked.into_iter().flatten().collect();
        match order {
            KeyOrder::Rate => keys.sort_by(|a, b| b.rate_per_s.total_cmp(&a.rate_per_s)),
            KeyOrder::Backlog => keys.sort_by_key(|key| Reverse(key.waiting + key.in_flight)),
            KeyOrder::Age => keys.sort_by_key(|key| Reverse(key.age_ms)),
        }
        keys.truncate(limit);
        Ok(keys)
    }

    /// What is known of one key: who holds it and what it waits for. Nothing if none of its messages is in memory; if
    /// several partitions have the key, that with the most messages.
    pub(crate) async fn key(
        &self,
        topic: &Topic,
        name: &str,
        key: &[u8],
    ) -> Result<Option<KeyView>, SubscriptionError> {
        let key = Bytes::copy_from_slice(key);
        let asked = self.ask_all(topic, name, |reply| Command::Key { key: key.clone(), reply }).await?;
        Ok(asked.into_iter().flatten().max_by_key(|key| key.waiting + key.in_flight))
    }

    /// Lets a blocked or parked key, or all of them, go on from a first attempt. Returns how many there were.
    pub(crate) async fn release(
        &self,
        topic: &Topic,
        name: &str,
        key: Option<&[u8]>,
    ) -> Result<u64, SubscriptionError> {
        let key = key.map(Bytes::copy_from_slice);
        let asked = self.ask_all(topic, name, |reply| Command::Release { key: key.clone(), reply }).await?;
        Ok(asked.into_iter().sum())
    }

    /// Asks the owners of all partitions the same.
    async fn ask_all<T>(
        &self,
        topic: &Topic,
        name: &str,
        command: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Result<Vec<T>, SubscriptionError> {
        let subscriptions = self.existing(topic, name)?;
        ask(subscriptions.iter().map(|subscription| (subscription, &command))).await
    }

    fn existing(
        &self,
        topic: &Topic,
        name: &str,
    ) -> Result<Vec<(PartitionId, Arc<Subscription>)>, SubscriptionError> {
        let subscriptions = self.of_name(topic.id, name);
        if subscriptions.is_empty() {
            return Err(SubscriptionError::Unknown { topic: topic.name.clone(), name: name.to_owned() });
        }
        Ok(subscriptions)
    }

    /// The subscription's partitions, ascending.
    fn of_name(&self, topic: TopicId, name: &str) -> Vec<(PartitionId, Arc<Subscription>)> {
        let map = self.read();
        let of_topic = map.of_topic(topic);
        of_topic.filter_map(|(partition, all)| Some((partition, all.get(name)?.clone()))).collect()
    }
}

/// Asks all owners at once, so that the slowest is waited for and not their sum. The answers come in the same order.
async fn ask<'a, T, C: FnOnce(oneshot::Sender<T>) -> Command>(
    asked: impl Iterator<Item = (&'a (PartitionId, Arc<Subscription>), C)>,
) -> Result<Vec<T>, SubscriptionError> {
    let mut waiting = Vec::new();
    for ((_, subscription), command) in asked {
        let (reply, answer) = oneshot::channel();
        subscription.command(command(reply)).await;
        waiting.push(answer);
    }
    let mut answers = Vec::with_capacity(waiting.len());
    for answer in waiting {
        answers.push(answer.await.map_err(|_| SubscriptionError::Ended)?);
    }
    Ok(answers)
}

fn store_error(error: impl ToString) -> SubscriptionError {
    SubscriptionError::Store { reason: error.to_string() }
}
