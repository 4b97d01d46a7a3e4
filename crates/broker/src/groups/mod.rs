//! Consumer groups: one owner task per group that is in use, around the pure state machine of `keyway-groups`. What a
//! group must not forget is in the internal topic `__groups`.
//!
//! **Invariant:** a group is either parked here or moved into its one owner task; nobody else ever touches it.

mod owner;

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    node::Node,
    settings::Settings,
};
use keyway_groups::{CallerId, Group, GroupId, GroupRecord, Input, Recovery, Reply};
use keyway_log::LogStore;
use keyway_record::{ErrorCode, Timestamp, TopicName};
use keyway_runtime::World;
use owner::{Message, Owner};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};

/// The internal topic with the groups' members and offsets.
const TOPIC: &str = "__groups";

/// Most groups; a client that makes up group ids must not use up the memory.
const GROUPS_MAX: usize = 100_000;

/// Requests that wait for one group's owner. Beyond it, connections wait before they hand over more.
const INBOX_LEN: usize = 256;

/// How often groups look for offsets that outlived their retention; Kafka's `offsets.retention.check.interval.ms`.
const EXPIRE_EVERY_MS: u64 = 600_000;

/// All groups.
pub(crate) struct Groups {
    records: Arc<InternalTopic>,
    slots: Mutex<BTreeMap<GroupId, Slot>>,
    next_caller: AtomicU64,
}

/// Where a group is.
enum Slot {
    /// Nobody uses it.
    Parked(Box<Group>),
    /// Its owner takes messages.
    Running(mpsc::Sender<Message>),
}

/// What to do for a group that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    /// Make it.
    Create,
    /// Nothing.
    Leave,
}

/// Why a group was not asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no such group.
    #[error("the group does not exist")]
    Unknown,
    /// The group's owner ended, or there are too many groups.
    #[error("the group is not available")]
    Unavailable,
}

impl AskError {
    /// Kafka's code, where `unknown` is what the request says about a group that does not exist.
    pub(crate) fn code(self, unknown: ErrorCode) -> ErrorCode {
        match self {
            Self::Unknown => unknown,
            Self::Unavailable => ErrorCode::CoordinatorNotAvailable,
        }
    }
}

impl Groups {
    /// All groups as the store has them. Their members have a whole session from now on to come back.
    pub(crate) fn recover(
        settings: &Settings,
        world: &World,
        store: &Arc<dyn LogStore>,
    ) -> Result<Self, InternalTopicError> {
        let records = Arc::new(InternalTopic::open(TOPIC, world, store)?);
        let settings = settings.now();
        let mut recovery = Recovery::new();
        for (key, value) in records.entries() {
            let record = GroupRecord::decode(&key, Some(&value)).map_err(|error| records.malformed(error))?;
            recovery.apply(record);
        }
        let groups = recovery.into_groups(world.clock.now(), settings.group_default());
        let parked = groups.into_iter().map(|group| (group.id().clone(), Slot::Parked(Box::new(group))));
        Ok(Self { records, slots: Mutex::new(parked.collect()), next_caller: AtomicU64::new(0) })
    }

    /// Wakes the groups that have members, whose sessions go on. Until the broker stops, tells groups of changed topics
    /// and has them forget outlived offsets.
    pub(crate) async fn watch(&self, node: &Arc<Node>) {
        for id in self.ids() {
            let timed = |group: &Group| group.next_deadline().is_some();
            if self.read(&id, timed).await == Ok(true) {
                // An owner that is told nothing still minds the deadlines.
                let _ = self.sender(node, &id, Missing::Leave);
            }
        }
        let mut next = node.world.clock.now().plus(EXPIRE_EVERY_MS);
        loop {
            tokio::select! {
                biased;
                () = node.stopping.cancelled() => return,
                () = node.topics.changed() => {
                    self.topics_changed().await;
                    continue;
                }
                () = node.world.clock.sleep_until(next) => {}
            }
            next = node.world.clock.now().plus(EXPIRE_EVERY_MS);
            let wall = Timestamp(node.world.clock.wall_ms());
            self.tell(node, |_| true, || Input::ExpireOffsets { wall }).await;
        }
    }

    /// Hands `input` to the group, which has its place in the group's order when this returns. The answer comes
    /// through the receiver; a receiver that fails stands for a group that is not available any more.
    pub(crate) async fn ask(
        &self,
        node: &Arc<Node>,
        group: &GroupId,
        missing: Missing,
        input: impl FnOnce(CallerId) -> Input,
    ) -> Result<oneshot::Receiver<Reply>, AskError> {
        let sender = self.sender(node, group, missing)?;
        let caller = CallerId(self.next_caller.fetch_add(1, Ordering::Relaxed));
        let (reply, receiver) = oneshot::channel();
        let message = Message::Ask { caller, input: input(caller), reply };
        sender.send(message).await.map_err(|_| AskError::Unavailable)?;
        Ok(receiver)
    }

    /// What `read` sees in the group, after everything that was handed to it before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        group: &GroupId,
        read: impl FnOnce(&Group) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        let sender = match self.slots().get(group) {
            None => return Err(AskError::Unknown),
            Some(Slot::Parked(group)) => return Ok(read(group)),
            Some(Slot::Running(sender)) => sender.clone(),
        };
        let (answer, receiver) = oneshot::channel();
        let read = move |group: &Group| {
            // Whoever asked may have gone.
            let _ = answer.send(read(group));
        };
        sender.send(Message::Read(Box::new(read))).await.map_err(|_| AskError::Unavailable)?;
        receiver.await.map_err(|_| AskError::Unavailable)
    }

    /// Every group's id, sorted.
    pub(crate) fn ids(&self) -> Vec<GroupId> {
        self.slots().keys().cloned().collect()
    }

    /// Every group forgets what it committed in a topic that is gone.
    pub(crate) async fn topic_deleted(&self, node: &Arc<Node>, topic: &TopicName) {
        let concerned = |group: &Group| group.offsets().topics().any(|(name, _)| name == topic);
        self.tell(node, concerned, || Input::TopicDeleted { topic: topic.clone() }).await;
    }

    /// Has every group that runs look at the topics. One that is parked looks when it is woken.
    async fn topics_changed(&self) {
        let running = |slot: &Slot| match slot {
            Slot::Running(sender) => Some(sender.clone()),
            Slot::Parked(_) => None,
        };
        let senders: Vec<_> = self.slots().values().filter_map(running).collect();
        for sender in senders {
            // An owner that ended has said why.
            let _ = sender.send(Message::TopicsChanged).await;
        }
    }

    /// Tells every group that runs, and of those that are parked the ones that are `concerned`.
    async fn tell(&self, node: &Arc<Node>, concerned: impl Fn(&Group) -> bool, input: impl Fn() -> Input) {
        for id in self.ids() {
            let told = match self.slots().get(&id) {
                Some(Slot::Parked(group)) => concerned(group),
                Some(Slot::Running(_)) => true,
                None => false,
            };
            if told && let Ok(sender) = self.sender(node, &id, Missing::Leave) {
                // An owner that ended has said why.
                let _ = sender.send(Message::Tell(input())).await;
            }
        }
    }

    /// The inbox of the group's owner, which is started if the group is parked.
    fn sender(
        &self,
        node: &Arc<Node>,
        id: &GroupId,
        missing: Missing,
    ) -> Result<mpsc::Sender<Message>, AskError> {
        let settings = node.settings.now();
        let mut slots = self.slots();
        let full = slots.len() >= GROUPS_MAX;
        let group = match slots.get(id) {
            Some(Slot::Running(sender)) => return Ok(sender.clone()),
            Some(Slot::Parked(_)) => {
                let Some(Slot::Parked(mut group)) = slots.remove(id) else { unreachable!("matched above") };
                group.configure(settings.group(id.as_str()));
                *group
            }
            None if missing == Missing::Leave => return Err(AskError::Unknown),
            None if full => {
                tracing::warn!(max = GROUPS_MAX, "too many consumer groups; refusing another");
                return Err(AskError::Unavailable);
            }
            None => Group::new(id.clone(), settings.group(id.as_str())),
        };
        let (sender, inbox) = mpsc::channel(INBOX_LEN);
        slots.insert(id.clone(), Slot::Running(sender.clone()));
        drop(slots);
        node.tasks.spawn(Owner::new(node.clone(), self.records.clone(), settings, group, inbox).run());
        Ok(sender)
    }

    /// Takes a group back from its owner, unless someone is about to send it something.
    fn park(&self, group: Group, inbox: &mpsc::Receiver<Message>) -> Result<(), Box<Group>> {
        let mut slots = self.slots();
        // Senders are cloned under this lock only, so the one that is left is the slot's own.
        if inbox.sender_strong_count() > 1 || !inbox.is_empty() {
            return Err(Box::new(group));
        }
        let id = group.id().clone();
        let slot = (!group.is_disposable()).then(|| Slot::Parked(Box::new(group)));
        match slot {
            Some(slot) => _ = slots.insert(id, slot),
            None => _ = slots.remove(&id),
        }
        Ok(())
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<GroupId, Slot>> {
        self.slots.lock().expect("no panic while the groups are locked")
    }
}
