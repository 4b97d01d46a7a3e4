//! The task that owns a subscription: it feeds the dispatcher and obeys it.

use super::{
    SubscriptionId,
    fetch::{self, Fetched},
    handle::{
        Command, Consumer, Item, StreamEnd, SubscribeError, SubscribeRequest, Subscribed, Subscription,
    },
    latency::Latency,
    members::{Members, Reservation},
    parked::{self, Parked},
    payloads::{Payloads, Stored},
    policy::SubscriptionPolicy,
    record::{Key, StoredConsumer},
    reread::{self, Rereading},
    side_writes::SideWrites,
    window::Window,
};
use crate::{internal_topic::InternalTopicError, node::Node, partition::Partition};
use bytes::Bytes;
use keyway_dispatch::{Config, ConsumerId, Dispatcher, Input, Join, Millis, Mode, Output, Reason, Token};
use keyway_log::{ReadError, ReadLimit, Ticket};
use keyway_record::{KeyHash, Offset};
use keyway_runtime::{BoxFuture, Clock};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Commands taken per wake-up before their deliveries go out.
const COMMANDS_PER_TURN: usize = 256;

/// How long a subscription of a non-reliable topic outlives its last consumer; Danube's is 60 to 90 s.
const IDLE_MS: u64 = 60_000;

/// Pause after the log could not be read.
pub(super) const READ_RETRY_MS: u64 = 1_000;

/// Everything about one subscription of one partition.
pub(super) struct Owner {
    pub(super) node: Arc<Node>,
    pub(super) id: SubscriptionId,
    pub(super) mode: Mode,
    pub(super) reliable: bool,
    pub(super) partition: Arc<Partition>,
    pub(super) dispatcher: Dispatcher,
    pub(super) members: Members,
    pub(super) outlets: BTreeMap<ConsumerId, Outlet>,
    pub(super) in_flight: BTreeMap<Offset, InFlight>,
    pub(super) payloads: Payloads,
    /// A few records that were read again, ascending: those about to be delivered are likely to be here.
    pub(super) reread: Vec<(Offset, Stored)>,
    pub(super) outputs: Vec<Output>,
    /// What the dispatcher is told with the next step.
    inputs: Vec<Input>,
    pub(super) reading: Option<Reading>,
    pub(super) rereading: Option<Rereading>,
    pub(super) side_writes: SideWrites,
    pub(super) parked: Parked,
    pub(super) policy: SubscriptionPolicy,
    commands: mpsc::Receiver<Command>,
    clock: DispatchClock,
    timer: Option<(Millis, BoxFuture<'static, ()>)>,
    /// Resolves when the partition is deleted or closed.
    gone: Option<BoxFuture<'static, ()>>,
    /// What the newest consumer's record waits for.
    registered: Option<Ticket>,
    idle_since: Option<Millis>,
    pub(super) deleted: bool,
    /// Those who wait until nothing of the subscription is left.
    delete_replies: Vec<oneshot::Sender<Result<(), Arc<InternalTopicError>>>>,
    pub(super) stored: LastStored,
    /// Why the last dead letter could not be written.
    pub(super) dead_letter_error: Option<String>,
}

/// What is known of the state that was stored last.
#[derive(Default)]
pub(super) struct LastStored {
    pub(super) cursor: Offset,
    pub(super) bytes: usize,
    /// When it is durable.
    pub(super) ticket: Option<Ticket>,
    /// Since when a newer state could not be stored.
    pub(super) failing_since: Option<Millis>,
}

/// What an owner begins with: new, or as a former one left it.
pub(super) struct Inherited {
    pub(super) dispatcher: Dispatcher,
    pub(super) members: Members,
    pub(super) parked: Parked,
}

/// One open stream.
pub(super) struct Outlet {
    pub(super) consumer: Arc<Consumer>,
    pub(super) items: mpsc::Sender<Item>,
    pub(super) broker_addr: String,
    pub(super) window: Window,
    /// Times from delivery to answer.
    pub(super) latency: Latency,
}

/// One delivery that was not answered yet.
pub(super) struct InFlight {
    pub(super) stream: ConsumerId,
    pub(super) token: Token,
    pub(super) since: Millis,
}

/// A fetch that waits for records to read.
pub(super) struct Reading {
    pub(super) from: Offset,
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
    pub(super) ready: BoxFuture<'static, ()>,
}

/// The dispatcher's time: wall-clock milliseconds at the start, monotonic from there on.
struct DispatchClock {
    clock: Arc<dyn Clock>,
    wall_at_zero_ms: i64,
}

impl Owner {
    pub(super) fn new(
        node: Arc<Node>,
        subscription: &Subscription,
        partition: Arc<Partition>,
        inherited: Inherited,
        policy: SubscriptionPolicy,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let Inherited { dispatcher, members, parked } = inherited;
        let clock = DispatchClock::new(node.world.clock.clone());
        let payloads = Payloads::new(node.subscriptions.cache_bytes.clone());
        Self {
            id: subscription.id.clone(),
            mode: subscription.mode,
            reliable: subscription.reliable,
            side_writes: SideWrites::new(),
            parked,
            idle_since: Some(clock.now()),
            gone: Some(partition.log.wait_past(Offset(i64::MAX))),
            registered: None,
            node,
            partition,
            dispatcher,
            members,
            outlets: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            payloads,
            reread: Vec::new(),
            outputs: Vec::new(),
            inputs: Vec::new(),
            reading: None,
            rereading: None,
            policy,
            commands,
            clock,
            timer: None,
            deleted: false,
            delete_replies: Vec::new(),
            stored: LastStored::default(),
            dead_letter_error: None,
        }
    }

    /// Runs until the broker stops, the topic is deleted, or nobody wants a subscription that nothing keeps.
    pub(super) async fn run(mut self) {
        let stopping = self.node.stopping.clone();
        let mut received = Vec::with_capacity(COMMANDS_PER_TURN);
        self.step(Input::Tick);
        self.obey().await;
        while !self.deleted && !self.is_abandoned() {
            self.arm_timer();
            let Self { commands, reading, rereading, timer, gone, side_writes, parked, .. } = &mut self;
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                count = commands.recv_many(&mut received, COMMANDS_PER_TURN) => {
                    if count == 0 {
                        break;
                    }
                    for command in received.drain(..) {
                        self.command(command).await;
                    }
                    self.step_all();
                }
                written = side_writes.written() => self.written(written),
                () = reread::due(rereading) => self.read_again(),
                () = parked::due(&mut parked.search) => self.search_parked(),
                () = readable(reading) => self.read(),
                () = due(timer) => self.timer = None,
                () = end_of_log(gone) => {
                    self.gone = None;
                    let limit = ReadLimit { bytes_max: 1 };
                    let read = self.partition.log.read(self.partition.log.bounds().high_watermark, limit);
                    self.deleted = matches!(read, Err(ReadError::Deleted));
                }
            }
            if self.dispatcher.next_deadline().is_some_and(|deadline| deadline <= self.now()) {
                self.step(Input::Tick);
            }
            self.obey().await;
            // A chain of reads that finds nobody to deliver to must not keep a thread to itself.
            tokio::task::coop::consume_budget().await;
        }
        self.end().await;
    }

    pub(super) fn now(&self) -> Millis {
        self.clock.now()
    }

    pub(super) fn step(&mut self, input: Input) {
        self.inputs.push(input);
        self.step_all();
    }

    /// Tells the dispatcher what has come together; many answers in one step cost far less than one by one.
    pub(super) fn step_all(&mut self) {
        if !self.inputs.is_empty() {
            let now = self.now();
            self.dispatcher.step_all(now, &mut self.inputs, &mut self.outputs);
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Ack { offset, token } => self.ack(offset, token),
            Command::Nack { offset, token, delay_ms, reason } => {
                self.answered(offset, token);
                self.inputs.push(Input::Nack { offset, token, delay_ms, reason });
            }
            other => {
                self.step_all();
                self.command_now(other).await;
            }
        }
    }

    /// Anything but an answer.
    async fn command_now(&mut self, command: Command) {
        match command {
            Command::Ack { .. } | Command::Nack { .. } => unreachable!("answers are taken together"),
            Command::Open { consumer, stream, outlet, broker_addr } => {
                self.open(consumer, stream, outlet, broker_addr);
            }
            Command::Close { stream } => self.close(stream),
            Command::SetPolicy { policy } => self.set_policy(*policy),
            Command::Describe { reply } => _ = reply.send(self.describe()),
            Command::Keys { order, limit, reply } => _ = reply.send(self.keys(order, limit)),
            Command::Key { key, reply } => _ = reply.send(self.key(&key)),
            Command::Release { key, reply } => _ = reply.send(self.release(key.as_deref())),
            Command::Seek { to, reply } => {
                self.seek(to);
                // What this writes is what the caller waits for.
                self.obey().await;
                _ = reply.send(self.stored.ticket);
            }
            Command::Delete { reply } => {
                self.deleted = true;
                self.delete_replies.push(reply);
            }
            Command::Subscribe { request, reply } => {
                let answer = self.subscribe(request).await;
                // Whoever asked may have gone; the consumer is registered all the same.
                _ = reply.send(answer);
            }
        }
    }

    async fn subscribe(&mut self, request: SubscribeRequest) -> Result<Subscribed, SubscribeError> {
        let now_ms = self.node.world.clock.now().0;
        let SubscribeRequest { consumer_id, consumer_name, topic_name, filters } = request;
        if self.mode == Mode::Exclusive
            && let Some(holder) = self.members.holder_besides(&consumer_name, now_ms)
        {
            return Err(SubscribeError::Exclusive { holder: holder.name.clone() });
        }
        let reserved = self.members.reservation(&consumer_name, now_ms);
        let known = self.members.named(&consumer_name).cloned();
        let known = known.filter(|known| known.topic_name == topic_name && known.filters == filters);
        if let Some(consumer) = known {
            consumer.heard(now_ms);
            self.members.register(consumer.clone())?;
            if reserved == Reservation::None {
                self.declare(&consumer);
            }
            // Its record may still be on its way, if the first answer was not waited for.
            return Ok(Subscribed { consumer, ticket: self.registered });
        }
        let consumer = Arc::new(Consumer::new(consumer_id, consumer_name, topic_name, filters, now_ms));
        let evicted = self.members.register(consumer.clone())?;
        match reserved {
            Reservation::Stream => self.set_filters(&consumer),
            Reservation::Grace | Reservation::None => self.declare(&consumer),
        }
        self.store_consumer(&consumer, evicted).await?;
        Ok(Subscribed { consumer, ticket: self.registered })
    }

    /// A consumer that has not opened its stream yet gets nothing, but what it wants is not skipped either: the order in
    /// which workers start must lose no message.
    fn declare(&mut self, consumer: &Consumer) {
        if self.mode != Mode::KeyShared {
            return;
        }
        let stream = self.node.subscriptions.next_stream();
        let filters = consumer.filters.clone();
        let join = join(stream, consumer, filters, 0);
        self.step(Input::Join(join));
        self.step(Input::Leave { consumer: stream, deadline: None });
    }

    /// A connected consumer that subscribes again may want other keys now.
    fn set_filters(&mut self, consumer: &Arc<Consumer>) {
        let open = self.outlets.iter_mut().find(|(_, outlet)| {
            // One that names the topic in another way is another client, and will take over.
            outlet.consumer.name == consumer.name && outlet.consumer.topic_name == consumer.topic_name
        });
        if let Some((&stream, outlet)) = open {
            outlet.consumer = consumer.clone();
            if self.mode == Mode::KeyShared {
                self.step(Input::SetFilters { consumer: stream, filters: consumer.filters.clone() });
            }
        }
    }

    async fn store_consumer(
        &mut self,
        consumer: &Consumer,
        evicted: Option<Arc<Consumer>>,
    ) -> Result<(), SubscribeError> {
        let key = |name: &str| Key::Consumer(self.id.clone(), name.to_owned()).encode();
        let stored =
            StoredConsumer { topic_name: consumer.topic_name.clone(), filters: consumer.filters.clone() };
        let mut entries = vec![(key(&consumer.name), Some(stored.encode()))];
        if let Some(evicted) = evicted {
            self.node.subscriptions.forget(evicted.id);
            entries.push((key(&evicted.name), None));
        }
        if self.reliable {
            let staged = self.node.subscriptions.records.put_staged(entries).await;
            self.registered = Some(staged.map_err(super::store_error)?);
        }
        Ok(())
    }

    fn open(
        &mut self,
        consumer: Arc<Consumer>,
        stream: ConsumerId,
        items: mpsc::Sender<Item>,
        broker_addr: String,
    ) {
        if let Err(error) = self.members.register(consumer.clone()) {
            tracing::warn!(subscription = %self.id.name, consumer = %consumer.name, %error, "stream refused");
            return;
        }
        if let Some(old) = self.members.opened(&consumer.name, stream) {
            self.end_stream(old, StreamEnd::TakenOver);
        }
        let mut window = Window::new(self.policy.failure.ack_timeout_ms);
        window.set_limit(self.window_limit(self.outlets.len() + 1));
        let filters = if self.mode == Mode::KeyShared { consumer.filters.clone() } else { Vec::new() };
        let join = join(stream, &consumer, filters, window.credit());
        let latency = Latency::new();
        self.outlets.insert(stream, Outlet { consumer, items, broker_addr, window, latency });
        self.idle_since = None;
        self.step(Input::Join(join));
        self.share_unacked();
    }

    /// How many messages each of so many consumers may hold.
    fn window_limit(&self, consumers: usize) -> u32 {
        // The standby of an ordered subscription holds nothing.
        let sharing = if matches!(self.mode, Mode::Shared | Mode::KeyShared) { consumers as u32 } else { 1 };
        self.policy.unacked_max.map_or(Config::CREDIT_DEFAULT, |max| max / sharing)
    }

    /// The consumers' windows after a change of their number or of the policy.
    fn share_unacked(&mut self) {
        let limit = self.window_limit(self.outlets.len());
        let windows = self.outlets.iter_mut().map(|(&stream, outlet)| (stream, &mut outlet.window));
        let changed: Vec<_> =
            windows.filter_map(|(stream, window)| Some((stream, window.set_limit(limit)?))).collect();
        for (consumer, credit) in changed {
            self.step(Input::SetCredit { consumer, credit });
        }
    }

    /// The stream is lost, and what it carried with it.
    pub(super) fn close(&mut self, stream: ConsumerId) {
        if self.forget_outlet(stream).is_some() {
            self.step(Input::Gone { consumer: stream });
            self.share_unacked();
        }
    }

    /// Ends a stream that the dispatcher has given up already.
    pub(super) fn end_stream(&mut self, stream: ConsumerId, end: StreamEnd) {
        if let Some(outlet) = self.forget_outlet(stream) {
            // A full outlet ends without a word, which clients take as a lost connection.
            _ = outlet.items.try_send(Err(end));
        }
    }

    fn forget_outlet(&mut self, stream: ConsumerId) -> Option<Outlet> {
        let outlet = self.outlets.remove(&stream)?;
        let now_ms = self.node.world.clock.now().0;
        self.members.closed(&outlet.consumer.name, stream, now_ms);
        if self.outlets.is_empty() {
            self.idle_since = Some(self.now());
        }
        Some(outlet)
    }

    fn ack(&mut self, offset: Offset, token: Option<Token>) {
        if self.answered(offset, token) {
            self.payloads.remove(offset);
        }
        self.inputs.push(Input::Ack { offset, token });
    }

    /// Another policy from now on: for what is in flight, what is blocked, and how much the consumers may hold.
    fn set_policy(&mut self, policy: SubscriptionPolicy) {
        for outlet in self.outlets.values_mut() {
            outlet.window.set_ack_timeout(policy.failure.ack_timeout_ms);
        }
        let failure = policy.failure.clone();
        self.policy = policy;
        self.step(Input::SetPolicy(failure));
        self.share_unacked();
    }

    /// Forgets what is in flight and in memory and goes on at `to`.
    fn seek(&mut self, to: Offset) {
        self.in_flight.clear();
        self.payloads.clear();
        self.side_writes.forget_waiting();
        self.parked.seek();
        self.step(Input::Seek { to });
    }

    /// Lets the blocked messages of a key, or of all keys, be tried again; returns how many there were.
    fn release(&mut self, key: Option<&[u8]>) -> u64 {
        let Some(key) = key else {
            let before = self.waiting_for_people();
            self.step(Input::ReleaseAll);
            return before;
        };
        let key = KeyHash::of(key);
        let blocked = self.dispatcher.key(key).is_some_and(|view| view.blocked == Some(Reason::Poison));
        let waits = blocked || self.parked.contains(key);
        self.step(Input::Release { key });
        u64::from(waits)
    }

    fn waiting_for_people(&self) -> u64 {
        let stats = self.dispatcher.stats();
        stats.blocked.by(Reason::Poison) + stats.parked_keys
    }

    /// The answer to a delivery, unless it is stale, moves its consumer's window.
    fn answered(&mut self, offset: Offset, token: Option<Token>) -> bool {
        let current = self.in_flight.get(&offset);
        if current.is_none_or(|in_flight| token.is_some_and(|token| token != in_flight.token)) {
            return false;
        }
        let InFlight { stream, since, .. } = self.in_flight.remove(&offset).expect("found above");
        let held_ms = self.now().0.saturating_sub(since.0);
        if let Some(outlet) = self.outlets.get_mut(&stream) {
            outlet.latency.record(held_ms);
        }
        self.move_window(stream, held_ms);
        true
    }

    pub(super) fn move_window(&mut self, stream: ConsumerId, held_ms: u64) {
        let Some(outlet) = self.outlets.get_mut(&stream) else { return };
        if let Some(credit) = outlet.window.answered(held_ms) {
            self.inputs.push(Input::SetCredit { consumer: stream, credit });
        }
    }

    /// After a seek a fetch replaces the one that waits.
    pub(super) fn fetch(&mut self, from: Offset, records_max: u32, bytes_max: u32) {
        self.reading = Some(Reading {
            from,
            records_max: records_max as usize,
            bytes_max: bytes_max as usize,
            ready: self.partition.log.wait_past(from),
        });
    }

    /// Answers the outstanding fetch.
    fn read(&mut self) {
        let Reading { from, records_max, bytes_max, .. } =
            self.reading.take().expect("a read was waited for");
        match fetch::read(&*self.partition.log, from, records_max, bytes_max) {
            Ok(fetched) if fetched.end > from => self.take(fetched),
            Err(ReadError::Deleted) => self.deleted = true,
            Err(ReadError::OutOfRange { start, .. }) if start > from => {
                self.step(Input::LogStart { to: start });
                self.step(Input::Records { base: from, end: start, records: Vec::new() });
            }
            Err(error) => {
                tracing::error!(partition = %self.partition.id, subscription = %self.id.name, %error, "cannot read");
                self.read_later(from, records_max, bytes_max);
            }
            // Nothing to read although something was waited for: the log is closed.
            Ok(_) => self.read_later(from, records_max, bytes_max),
        }
    }

    fn read_later(&mut self, from: Offset, records_max: usize, bytes_max: usize) {
        let clock = &self.node.world.clock;
        let ready = clock.sleep_until(clock.now().plus(READ_RETRY_MS));
        self.reading = Some(Reading { from, records_max, bytes_max, ready });
    }

    fn take(&mut self, fetched: Fetched) {
        let Fetched { base, end, arrivals, payloads } = fetched;
        for (arrival, stored) in arrivals.iter().zip(payloads) {
            self.payloads.insert(arrival.offset, stored);
        }
        self.step(Input::Records { base, end, records: arrivals });
    }

    fn is_abandoned(&self) -> bool {
        !self.reliable && self.idle_since.is_some_and(|since| since.plus(IDLE_MS) <= self.now())
    }

    /// The armed timer may be early, never late: most deadlines are leases that an ack moves on.
    fn arm_timer(&mut self) {
        let idle = self.idle_since.filter(|_| !self.reliable).map(|since| since.plus(IDLE_MS));
        let deadline = [self.dispatcher.next_deadline(), idle].into_iter().flatten().min();
        let Some(deadline) = deadline else { return };
        if self.timer.as_ref().is_none_or(|(armed, _)| *armed > deadline) {
            self.timer = Some((deadline, self.clock.sleep_until(deadline)));
        }
    }

    async fn end(mut self) {
        if self.deleted || !self.reliable {
            self.node.subscriptions.remove(&self.id);
        }
        if !self.deleted {
            self.finish_side_writes().await;
            return self.persist().await;
        }
        for stream in self.outlets.keys().copied().collect::<Vec<_>>() {
            self.end_stream(stream, StreamEnd::Deleted);
        }
        let gone = self.forget_records().await;
        if let Err(error) = &gone {
            tracing::warn!(subscription = %self.id.name, %error, "the records of a deleted subscription stay");
        }
        let gone = gone.map_err(Arc::new);
        for reply in self.delete_replies {
            // Whoever asked may have gone; the subscription is deleted all the same.
            _ = reply.send(gone.clone());
        }
    }

    /// Removes what is stored; durable when this returns.
    async fn forget_records(&mut self) -> Result<(), InternalTopicError> {
        if !self.reliable {
            return Ok(());
        }
        let consumers =
            self.members.iter().map(|consumer| Key::Consumer(self.id.clone(), consumer.name.clone()));
        let parked = self.parked.stored_keys(&self.id);
        let keys = consumers.chain(parked).chain([Key::Subscription(self.id.clone())]);
        let entries = keys.map(|key| (key.encode(), None)).collect();
        self.node.subscriptions.records.put(entries).await
    }
}

/// Danube's clients know no revoke, so each holds one message of a key.
fn join(stream: ConsumerId, consumer: &Consumer, filters: Vec<Bytes>, credit: u32) -> Join {
    Join { consumer: stream, name_hash: consumer.name_hash(), filters, credit, in_flight_per_key: 1 }
}

impl DispatchClock {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let wall_at_zero_ms = clock.wall_ms() - clock.now().0 as i64;
        Self { clock, wall_at_zero_ms }
    }

    fn now(&self) -> Millis {
        Millis((self.wall_at_zero_ms + self.clock.now().0 as i64).max(0) as u64)
    }

    fn sleep_until(&self, deadline: Millis) -> BoxFuture<'static, ()> {
        let at = i64::try_from(deadline.0).unwrap_or(i64::MAX).saturating_sub(self.wall_at_zero_ms);
        self.clock.sleep_until(Millis(at.max(0) as u64))
    }
}

async fn readable(reading: &mut Option<Reading>) {
    match reading {
        Some(reading) => (&mut reading.ready).await,
        None => std::future::pending().await,
    }
}

async fn end_of_log(gone: &mut Option<BoxFuture<'static, ()>>) {
    match gone {
        Some(gone) => gone.await,
        None => std::future::pending().await,
    }
}

async fn due(timer: &mut Option<(Millis, BoxFuture<'static, ()>)>) {
    match timer {
        Some((_, sleep)) => sleep.await,
        None => std::future::pending().await,
    }
}

/// What an outlet must hold: a full window, and as much again for messages delivered once more after their lease ended.
pub(crate) const OUTLET_ITEMS: usize = 2 * Config::CREDIT_DEFAULT as usize + 1;
