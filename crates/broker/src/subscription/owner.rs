//! The task that owns a subscription: it feeds the dispatcher and obeys it.

use super::{
    SubscriptionId,
    fetch::{self, Fetched},
    handle::{Command, Consumer, Item, Subscription},
    latency::Latency,
    members::Members,
    parked::{self, Parked},
    payloads::{Payloads, Stored},
    policy::SubscriptionPolicy,
    reread::{self, Rereading},
    side_writes::SideWrites,
    window::Window,
};
use crate::{internal_topic::InternalTopicError, node::Node, partition::Partition};
use keyway_dispatch::{ConsumerId, Dispatcher, Input, Millis, Mode, Output, Token};
use keyway_log::{Isolation, ReadError, ReadLimit, Ticket};
use keyway_record::Offset;
use keyway_runtime::{BoxFuture, Clock};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Commands taken per wake-up before their deliveries go out.
pub(super) const COMMANDS_PER_TURN: usize = 256;

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
    pub(super) inputs: Vec<Input>,
    pub(super) reading: Option<Reading>,
    pub(super) rereading: Option<Rereading>,
    pub(super) side_writes: SideWrites,
    pub(super) parked: Parked,
    pub(super) policy: SubscriptionPolicy,
    pub(super) commands: mpsc::Receiver<Command>,
    clock: DispatchClock,
    timer: Option<(Millis, BoxFuture<'static, ()>)>,
    /// Resolves when the partition is deleted or closed.
    gone: Option<BoxFuture<'static, ()>>,
    /// What the newest consumer's record waits for.
    pub(super) registered: Option<Ticket>,
    pub(super) idle_since: Option<Millis>,
    pub(super) deleted: bool,
    /// Those who wait until nothing of the subscription is left.
    pub(super) delete_replies: Vec<oneshot::Sender<Result<(), Arc<InternalTopicError>>>>,
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
            gone: Some(partition.log.wait_past(Offset(i64::MAX), Isolation::ReadCommitted)),
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
                    let limit = ReadLimit::bytes(1);
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

    /// After a seek a fetch replaces the one that waits.
    pub(super) fn fetch(&mut self, from: Offset, records_max: u32, bytes_max: u32) {
        self.reading = Some(Reading {
            from,
            records_max: records_max as usize,
            bytes_max: bytes_max as usize,
            ready: self.partition.log.wait_past(from, Isolation::ReadCommitted),
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
