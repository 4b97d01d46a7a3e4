//! The task that owns one group: messages and timers in, answers and records out.

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    node::Node,
    settings::Effective,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use keyway_groups::{CallerId, Catalog, Group, GroupRecord, Input, Output, PersistId, Reply, State};
use keyway_record::ErrorCode;
use keyway_runtime::Millis;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// How long a group that has nothing to wait for keeps its task, ms: longer than the pause between two commits of a
/// client that only commits.
const IDLE_MS: u64 = 15_000;

/// What an owner is told.
pub(super) enum Message {
    /// Someone waits for the answer.
    Ask { caller: CallerId, input: Input, reply: oneshot::Sender<Reply> },
    /// Nobody waits.
    Tell(Input),
    /// There are other topics, or topics have more partitions.
    TopicsChanged,
    /// Someone wants to look.
    Read(Box<dyn FnOnce(&Group) + Send>),
}

pub(super) struct Owner {
    node: Arc<Node>,
    records: Arc<InternalTopic>,
    group: Group,
    /// The settings that the group follows.
    settings: Arc<Effective>,
    /// The topics as the group was last told.
    catalog: Option<Arc<Catalog>>,
    inbox: mpsc::Receiver<Message>,
    callers: BTreeMap<CallerId, oneshot::Sender<Reply>>,
    /// Appends that are not durable yet, in the order in which they will be.
    persisting: FuturesOrdered<BoxFuture<'static, Result<PersistId, InternalTopicError>>>,
    timer: Timer,
    used: Millis,
}

/// A sleep that is made anew only when what it is for changes.
struct Timer {
    due: Option<Due>,
    sleep: BoxFuture<'static, ()>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// The group has a deadline.
    Group(Millis),
    /// It has none; time to see whether anyone still uses it.
    Idle(Millis),
}

impl Timer {
    fn unset() -> Self {
        Self { due: None, sleep: std::future::pending().boxed() }
    }
}

impl Owner {
    /// The owner of a group that is configured by `settings`.
    pub(super) fn new(
        node: Arc<Node>,
        records: Arc<InternalTopic>,
        settings: Arc<Effective>,
        group: Group,
        inbox: mpsc::Receiver<Message>,
    ) -> Self {
        let timer = Timer::unset();
        let used = node.world.clock.now();
        Self {
            node,
            records,
            group,
            settings,
            catalog: None,
            inbox,
            callers: BTreeMap::new(),
            persisting: FuturesOrdered::new(),
            timer,
            used,
        }
    }

    /// Ends when the group is parked, when the broker stops, or when the log fails; in the last case the group stays
    /// away for good, because nobody knows what it last wrote.
    pub(super) async fn run(mut self) {
        let stopping = self.node.stopping.clone();
        loop {
            self.set_timer();
            let stepped = tokio::select! {
                biased;
                Some(persisted) = self.persisting.next(), if !self.persisting.is_empty() => match persisted {
                    Ok(id) => self.step(Input::Persisted { id }).await,
                    Err(error) => Err(error),
                },
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = &mut self.timer.sleep => match std::mem::replace(&mut self.timer, Timer::unset()).due {
                    Some(Due::Group(_)) => self.step(Input::Tick).await,
                    _ => Ok(()),
                },
                () = stopping.cancelled(), if self.persisting.is_empty() => {
                    self.abandon(ErrorCode::NotCoordinator);
                    return;
                }
            };
            if let Err(error) = stepped {
                tracing::error!(group = %self.group.id(), "a consumer group goes offline: {error}");
                self.abandon(ErrorCode::CoordinatorNotAvailable);
                return;
            }
            if self.may_go() {
                match self.try_park() {
                    Some(owner) => self = owner,
                    None => return,
                }
            }
        }
    }

    fn set_timer(&mut self) {
        let due = match (self.group.next_deadline(), self.timer.due) {
            (Some(deadline), _) => Due::Group(deadline),
            (None, Some(Due::Idle(at))) => Due::Idle(at),
            (None, _) => Due::Idle(self.used.max(self.node.world.clock.now()).plus(IDLE_MS)),
        };
        if self.timer.due != Some(due) {
            let (Due::Group(at) | Due::Idle(at)) = due;
            self.timer = Timer { due: Some(due), sleep: self.node.world.clock.sleep_until(at) };
        }
    }

    /// Whether the group waits for nothing, and was not used for a while or holds nothing.
    fn may_go(&mut self) -> bool {
        if !self.callers.is_empty() || !self.persisting.is_empty() {
            return false;
        }
        if self.group.is_disposable() {
            // A deleted group answers nobody; whoever comes next finds a new one.
            if self.group.state() == State::Dead {
                self.group =
                    Group::new(self.group.id().clone(), self.settings.group(self.group.id().as_str()));
            }
            return true;
        }
        let idle_since = self.node.world.clock.now().0.saturating_sub(self.used.0);
        self.group.next_deadline().is_none() && idle_since >= IDLE_MS
    }

    async fn take(&mut self, message: Message) -> Result<(), InternalTopicError> {
        self.used = self.node.world.clock.now();
        match message {
            Message::Ask { caller, input, reply } => {
                assert!(self.callers.insert(caller, reply).is_none(), "a caller asks once");
                self.look_at_topics().await?;
                self.step(input).await
            }
            Message::Tell(input) => self.step(input).await,
            Message::TopicsChanged => self.look_at_topics().await,
            Message::Read(read) => {
                read(&self.group);
                Ok(())
            }
        }
    }

    /// Tells the group which topics there are, if it does not know.
    async fn look_at_topics(&mut self) -> Result<(), InternalTopicError> {
        let catalog = self.node.topics.catalog();
        if self.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalog)) {
            return Ok(());
        }
        self.catalog = Some(catalog.clone());
        self.step(Input::Topics { catalog }).await
    }

    /// Has the group follow the settings there are now.
    fn look_at_settings(&mut self) {
        let now = self.node.settings.now();
        if !Arc::ptr_eq(&self.settings, &now) {
            self.group.configure(now.group(self.group.id().as_str()));
            self.settings = now;
        }
    }

    async fn step(&mut self, input: Input) -> Result<(), InternalTopicError> {
        self.look_at_settings();
        let mut outputs = Vec::new();
        self.group.step(self.node.world.clock.now(), input, &mut outputs);
        for output in outputs {
            match output {
                Output::Reply { caller, reply } => self.reply(caller, reply),
                Output::Persist { id, records } => self.persist(id, &records).await?,
            }
        }
        Ok(())
    }

    fn reply(&mut self, caller: CallerId, reply: Reply) {
        let waiting = self.callers.remove(&caller).expect("each caller is answered once");
        // The client may have gone.
        let _ = waiting.send(reply);
    }

    /// Appends the records now; the group goes on while they become durable, so many commits share one flush.
    async fn persist(&mut self, id: PersistId, records: &[GroupRecord]) -> Result<(), InternalTopicError> {
        let mut newest = None;
        if !records.is_empty() {
            newest = Some(self.records.put_staged(records.iter().map(GroupRecord::encode).collect()).await?);
        }
        let records = self.records.clone();
        let durable = async move {
            if let Some(newest) = newest {
                records.wait(newest).await?;
            }
            Ok(id)
        };
        self.persisting.push_back(durable.boxed());
        Ok(())
    }

    /// Gives the group back, unless someone is about to use it; then its owner goes on.
    fn try_park(mut self) -> Option<Self> {
        let node = self.node.clone();
        match node.groups.park(self.group, &self.inbox) {
            Ok(()) => None,
            Err(group) => {
                self.group = *group;
                Some(self)
            }
        }
    }

    /// Answers all who wait.
    fn abandon(&mut self, error: ErrorCode) {
        let mut outputs = Vec::new();
        self.group.abandon(error, &mut outputs);
        for output in outputs {
            if let Output::Reply { caller, reply } = output {
                self.reply(caller, reply);
            }
        }
    }
}
