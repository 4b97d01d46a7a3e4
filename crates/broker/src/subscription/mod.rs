//! Subscriptions: one owner task each, and the way to it.
//!
//! ```text
//!   danube::consumer ── Subscribe, Open, Ack, Nack ──> [commands] ──> owner ── step ──> dispatcher
//!          ^                                                            │ └─ read ───> partition
//!          └────────────────── messages <── [outlet per stream] <───────┘
//! ```
//!
//! **Invariant:** only its owner touches a subscription's dispatcher. **Invariant:** a subscription's start and its
//! consumers are durable before the first of them is answered, so every id that was given out is good after a restart.

mod alarms;
mod commands;
mod control;
mod describe;
mod ending;
mod fetch;
mod handle;
mod latency;
mod members;
mod membership;
mod outputs;
mod owner;
mod parked;
mod payloads;
mod policy;
mod record;
mod reread;
mod side_message;
mod side_topic;
mod side_writes;
mod start;
mod view;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use alarms::NAMES as ALARMS;
pub(crate) use control::SubscriptionError;
pub(crate) use describe::mode_name;
pub(crate) use handle::{Consumer, Item, StreamEnd, SubscribeError, SubscribeRequest, Subscription};
pub(crate) use keyway_dispatch::KeyOrder;
pub(crate) use membership::OUTLET_ITEMS;
pub(crate) use policy::SubscriptionPolicy;
pub(crate) use start::{StartPosition, StartPositionError};
pub(crate) use view::{ConsumerView, KeyView, LatencyView, PartitionView};

use crate::{
    access::{AuditEvent, Caller, Change},
    danube::ids::consumer_id,
    internal_topic::{InternalTopic, InternalTopicError},
    node::Node,
    partition::Partition,
};
use handle::{COMMANDS_MAX, Command};
use keyway_dispatch::{Config, ConsumerId, Dispatcher, Mode, OwnerEpoch, Snapshot};
use keyway_log::LogStore;
use keyway_record::{KeyHash, PartitionId, TopicId};
use keyway_runtime::World;
use members::Members;
use owner::{Inherited, Owner};
use parked::Parked;
use payloads::NodeBytes;
use record::{Key, StoredConsumer, StoredParked, StoredSubscription};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

/// The internal topic of subscriptions.
const TOPIC: &str = "__subscriptions";

/// Most subscriptions of one partition: each costs a task and up to 64 MiB of records that wait.
const SUBSCRIPTIONS_PER_PARTITION_MAX: usize = 1_000;

/// Which subscription: a name within one partition of one life of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SubscriptionId {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) name: String,
}

/// All subscriptions of this broker.
pub(crate) struct Subscriptions {
    records: InternalTopic,
    map: RwLock<Map>,
    /// One creation at a time; never held by those who only look.
    creating: tokio::sync::Mutex<()>,
    last_stream: AtomicU64,
    /// Bytes of messages that all of them keep for delivery.
    cache_bytes: Arc<NodeBytes>,
}

#[derive(Default)]
struct Map {
    by_partition: BTreeMap<(TopicId, PartitionId), BTreeMap<String, Arc<Subscription>>>,
    by_consumer: BTreeMap<u64, (Arc<Subscription>, Arc<Consumer>)>,
    policies: BTreeMap<(TopicId, String), SubscriptionPolicy>,
}

/// What the store has.
#[derive(Default)]
struct Stored {
    subscriptions: BTreeMap<SubscriptionId, Found>,
    policies: BTreeMap<(TopicId, String), SubscriptionPolicy>,
}

/// What the store has of one subscription.
#[derive(Default)]
struct Found {
    subscription: Option<StoredSubscription>,
    consumers: Vec<(String, StoredConsumer)>,
    parked: Vec<(KeyHash, StoredParked)>,
}

/// What [`Subscriptions::subscribe`] needs to know of the subscription itself.
pub(crate) struct Wanted<'a> {
    pub(crate) partition: &'a Arc<Partition>,
    pub(crate) name: &'a str,
    pub(crate) mode: Mode,
    /// What the topic promises.
    pub(crate) reliable: bool,
    /// Where it begins if it is new.
    pub(crate) start: StartPosition,
    /// Who makes it; `None` for one of several, which are told of together.
    pub(crate) caller: Option<&'a Caller>,
}

impl Subscriptions {
    /// The stored ones, which keep so many bytes of messages together.
    pub(crate) fn recover(
        bytes_max: usize,
        world: &World,
        store: &Arc<dyn LogStore>,
    ) -> Result<Self, InternalTopicError> {
        Ok(Self {
            records: InternalTopic::open(TOPIC, world, store)?,
            map: RwLock::default(),
            creating: tokio::sync::Mutex::new(()),
            last_stream: AtomicU64::new(0),
            cache_bytes: Arc::new(NodeBytes::new(bytes_max)),
        })
    }

    /// Starts the owners of all stored subscriptions. Each claims a new epoch, durably, before it delivers anything, so
    /// no token is ever given out twice.
    pub(crate) async fn resume(&self, node: &Arc<Node>) -> Result<(), InternalTopicError> {
        let mut claims = Vec::new();
        let mut owners = Vec::new();
        let Stored { subscriptions, policies } = self.stored()?;
        for ((topic, name), policy) in policies {
            if node.topics.of_id(topic).is_some() {
                self.write().policies.insert((topic, name), policy);
            } else {
                claims.push((Key::Policy(topic, name).encode(), None));
            }
        }
        for (id, found) in subscriptions {
            let topic = node.topics.of_id(id.topic);
            let partition = topic.as_ref().and_then(|topic| topic.partition(id.partition));
            let (Some(partition), Some(stored)) = (partition, found.subscription) else {
                let consumers = found.consumers.into_iter().map(|(name, _)| Key::Consumer(id.clone(), name));
                let parked = found.parked.into_iter().map(|(key, _)| Key::Parked(id.clone(), key));
                claims.extend(consumers.chain(parked).map(|key| (key.encode(), None)));
                claims.push((Key::Subscription(id).encode(), None));
                continue;
            };
            let dispatcher = self.recover_dispatcher(&id, &stored)?;
            let snapshot = dispatcher.snapshot().encode().into();
            let claim = StoredSubscription { mode: stored.mode, snapshot };
            claims.push((Key::Subscription(id.clone()).encode(), Some(claim.encode())));
            let parked = Parked::restore(found.parked);
            owners.push((id, stored.mode, partition.clone(), dispatcher, found.consumers, parked));
        }
        if !claims.is_empty() {
            self.records.put(claims).await?;
        }
        for (id, mode, partition, dispatcher, consumers, parked) in owners {
            let now_ms = node.world.clock.now().0;
            let mut members = Members::default();
            for (name, stored) in consumers {
                let id = consumer_id(&partition.id, &id.name, &name);
                let consumer = Consumer::new(id, name, stored.topic_name, stored.filters, now_ms);
                members.restore(Arc::new(consumer), now_ms);
            }
            let consumers: Vec<_> = members.iter().cloned().collect();
            let inherited = Inherited { dispatcher, members, parked };
            let subscription = start(node, id, mode, true, partition, inherited);
            let mut map = self.write();
            for consumer in consumers {
                map.by_consumer.insert(consumer.id, (subscription.clone(), consumer));
            }
            map.insert(subscription);
        }
        Ok(())
    }

    /// The subscription of this name.
    pub(crate) fn named(
        &self,
        topic: TopicId,
        partition: PartitionId,
        name: &str,
    ) -> Option<Arc<Subscription>> {
        self.read().by_partition.get(&(topic, partition))?.get(name).cloned()
    }

    /// The consumer of this id, connected or not.
    pub(crate) fn consumer(&self, id: u64) -> Option<(Arc<Subscription>, Arc<Consumer>)> {
        self.read().by_consumer.get(&id).cloned()
    }

    /// A number for a new stream.
    pub(crate) fn next_stream(&self) -> ConsumerId {
        ConsumerId(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Registers a consumer, creating its subscription if it is the first; all of it is durable when this returns.
    pub(crate) async fn subscribe(
        &self,
        node: &Arc<Node>,
        wanted: Wanted<'_>,
        request: SubscribeRequest,
    ) -> Result<Arc<Consumer>, SubscribeError> {
        let subscription = self.find_or_create(node, &wanted).await?;
        if subscription.mode != wanted.mode {
            return Err(SubscribeError::OtherType { exists: subscription.mode });
        }
        self.check_id(&subscription, &request)?;
        let (reply, answer) = oneshot::channel();
        subscription.command(Command::Subscribe { request, reply }).await;
        let subscribed = answer.await.map_err(|_| SubscribeError::Ended)??;
        if let Some(ticket) = subscribed.ticket {
            self.records.wait(ticket).await.map_err(store_error)?;
        }
        let consumer = subscribed.consumer;
        let mut map = self.write();
        // Deleted meanwhile: an id that leads nowhere would make clients open streams that end at once.
        if !map.has(&subscription) {
            return Err(SubscribeError::Ended);
        }
        map.by_consumer.insert(consumer.id, (subscription, consumer.clone()));
        Ok(consumer)
    }

    async fn find_or_create(
        &self,
        node: &Arc<Node>,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<Subscription>, SubscribeError> {
        let partition = &wanted.partition.id;
        let find = || self.named(partition.topic_id, partition.partition, wanted.name);
        if let Some(subscription) = find() {
            return Ok(subscription);
        }
        let _creating = self.creating.lock().await;
        if let Some(subscription) = find() {
            return Ok(subscription);
        }
        let place = (partition.topic_id, partition.partition);
        if self
            .read()
            .by_partition
            .get(&place)
            .is_some_and(|all| all.len() >= SUBSCRIPTIONS_PER_PARTITION_MAX)
        {
            return Err(SubscribeError::TooManySubscriptions { max: SUBSCRIPTIONS_PER_PARTITION_MAX });
        }
        let event = AuditEvent::SubscriptionCreated {
            topic: partition.topic.as_str(),
            partition: Some(partition.partition.0),
            subscription: wanted.name,
            mode: mode_name(wanted.mode),
        };
        let (topic, partition) = place;
        let start_offset = wanted.start.resolve(wanted.partition)?;
        let policy = self.policy(topic, wanted.name);
        let config = Config { start: start_offset, ..config(wanted.mode, &policy) };
        let dispatcher = Dispatcher::new(config, OwnerEpoch::FIRST);
        let id = SubscriptionId { topic, partition, name: wanted.name.to_owned() };
        if wanted.reliable {
            let stored =
                StoredSubscription { mode: wanted.mode, snapshot: dispatcher.snapshot().encode().into() };
            let entry = (Key::Subscription(id.clone()).encode(), Some(stored.encode()));
            let change = wanted.caller.map_or_else(Change::untold, |caller| node.audit.begin(caller, event));
            let put = self.records.put(vec![entry]).await;
            change.settle(&put);
            put.map_err(store_error)?;
        }
        let inherited = Inherited { dispatcher, members: Members::default(), parked: Parked::default() };
        let partition = wanted.partition.clone();
        let subscription = start(node, id, wanted.mode, wanted.reliable, partition, inherited);
        self.write().insert(subscription.clone());
        Ok(subscription)
    }

    /// Two names with one id would steal each other's messages; with 63 bits this does not happen by chance.
    fn check_id(
        &self,
        subscription: &Subscription,
        request: &SubscribeRequest,
    ) -> Result<(), SubscribeError> {
        match self.read().by_consumer.get(&request.consumer_id) {
            Some((other, consumer))
                if other.id != subscription.id && other.id.topic == subscription.id.topic =>
            {
                Err(SubscribeError::IdTaken { id: consumer.id })
            }
            Some((_, consumer)) if consumer.name != request.consumer_name => {
                Err(SubscribeError::IdTaken { id: consumer.id })
            }
            _ => Ok(()),
        }
    }

    /// The owner of this subscription ends: it and its consumers are no more.
    fn remove(&self, subscription: &SubscriptionId) {
        let mut map = self.write();
        if let Some(all) = map.by_partition.get_mut(&(subscription.topic, subscription.partition)) {
            all.remove(&subscription.name);
        }
        map.by_partition.retain(|_, all| !all.is_empty());
        map.by_consumer.retain(|_, (of, _)| of.id != *subscription);
    }

    /// A consumer had to make room.
    fn forget(&self, consumer: u64) {
        self.write().by_consumer.remove(&consumer);
    }

    fn stored(&self) -> Result<Stored, InternalTopicError> {
        let mut stored = Stored::default();
        let all = &mut stored.subscriptions;
        for (key, value) in self.records.entries() {
            match Key::decode(&key).map_err(|reason| self.records.malformed(reason))? {
                Key::Subscription(id) => {
                    let stored = StoredSubscription::decode(&value)
                        .map_err(|reason| self.records.malformed(reason))?;
                    all.entry(id).or_default().subscription = Some(stored);
                }
                Key::Consumer(id, name) => {
                    let stored =
                        StoredConsumer::decode(&value).map_err(|reason| self.records.malformed(reason))?;
                    all.entry(id).or_default().consumers.push((name, stored));
                }
                Key::Parked(id, key) => {
                    let stored =
                        StoredParked::decode(&value).map_err(|reason| self.records.malformed(reason))?;
                    all.entry(id).or_default().parked.push((key, stored));
                }
                Key::Policy(topic, name) => {
                    let policy = SubscriptionPolicy::decode(&value)
                        .map_err(|reason| self.records.malformed(reason))?;
                    stored.policies.insert((topic, name), policy);
                }
            }
        }
        Ok(stored)
    }

    fn recover_dispatcher(
        &self,
        id: &SubscriptionId,
        stored: &StoredSubscription,
    ) -> Result<Dispatcher, InternalTopicError> {
        let snapshot = Snapshot::decode(&stored.snapshot).map_err(|error| self.records.malformed(error))?;
        let epoch = snapshot.epoch.next();
        let policy = self.policy(id.topic, &id.name);
        Ok(Dispatcher::recover(config(stored.mode, &policy), &snapshot, epoch))
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().expect("no panic while the subscriptions are locked")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().expect("no panic while the subscriptions are locked")
    }
}

impl Map {
    /// The topic's partitions that have subscriptions, ascending.
    fn of_topic(
        &self,
        topic: TopicId,
    ) -> impl Iterator<Item = (PartitionId, &BTreeMap<String, Arc<Subscription>>)> {
        let all = (topic, PartitionId(0))..=(topic, PartitionId(i32::MAX));
        self.by_partition.range(all).map(|(&(_, partition), all)| (partition, all))
    }

    /// Whether it is still there, and not another of its name.
    fn has(&self, subscription: &Arc<Subscription>) -> bool {
        let SubscriptionId { topic, partition, name } = &subscription.id;
        let current = self.by_partition.get(&(*topic, *partition)).and_then(|all| all.get(name));
        current.is_some_and(|current| Arc::ptr_eq(current, subscription))
    }

    fn policies_of(&self, topic: TopicId) -> usize {
        self.policies.range((topic, String::new())..).take_while(|((of, _), _)| *of == topic).count()
    }

    fn insert(&mut self, subscription: Arc<Subscription>) {
        let SubscriptionId { topic, partition, name } = subscription.id.clone();
        let all = self.by_partition.entry((topic, partition)).or_default();
        assert!(all.insert(name, subscription).is_none(), "a subscription has one owner");
    }
}

fn start(
    node: &Arc<Node>,
    id: SubscriptionId,
    mode: Mode,
    reliable: bool,
    partition: Arc<Partition>,
    inherited: Inherited,
) -> Arc<Subscription> {
    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    let subscription = Arc::new(Subscription { id, mode, reliable, commands });
    let policy = node.subscriptions.policy(subscription.id.topic, &subscription.id.name);
    let owner = Owner::new(node.clone(), &subscription, partition, inherited, policy, received);
    node.tasks.spawn(owner.run());
    subscription
}

fn config(mode: Mode, policy: &SubscriptionPolicy) -> Config {
    Config { failure: policy.failure.clone(), ..Config::new(mode) }
}

fn store_error(error: InternalTopicError) -> SubscribeError {
    SubscribeError::Store { reason: error.to_string() }
}
