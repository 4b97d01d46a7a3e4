//! The state machine: one step takes one input, then dispatches all that can be dispatched.

use crate::brake::Outcomes;
use crate::consumer::Roster;
use crate::declarations::Declarations;
use crate::entry::{Entry, State};
use crate::key_table::KeyTable;
use crate::leases::Leases;
use crate::live::Live;
use crate::park::Parking;
use crate::placement::Placement;
use crate::queue::Queue;
use crate::rates::Rates;
use crate::slab::NIL;
use crate::snapshot::{Retry, Snapshot};
use crate::spill::Spills;
use crate::stats::Counters;
use crate::window::Window;
use crate::{Config, Input, Millis, Output, OwnerEpoch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The dispatcher of one (subscription, partition).
#[derive(Debug)]
pub struct Dispatcher {
    pub(crate) config: Config,
    pub(crate) epoch: OwnerEpoch,
    /// Deliveries of this owner.
    pub(crate) sequence: u64,
    pub(crate) now: Millis,
    pub(crate) window: Window,
    /// First offset that the log still has.
    pub(crate) log_start: i64,
    pub(crate) live: Live,
    pub(crate) table: KeyTable,
    pub(crate) placement: Placement,
    pub(crate) declarations: Declarations,
    pub(crate) queue: Queue,
    pub(crate) roster: Roster,
    /// The consumer that gets everything, in the ordered modes.
    pub(crate) active: u32,
    /// Consumers that may have something to get.
    pub(crate) run: VecDeque<u32>,
    pub(crate) spills: Spills,
    pub(crate) parking: Parking,
    pub(crate) leases: Leases,
    /// The last messages of runs of two and more, by the keys' places.
    pub(crate) run_ends: Vec<u32>,
    /// Whether any consumer takes such runs.
    pub(crate) pipelining: bool,
    /// Whether places or policy changed in this step.
    pub(crate) moved: Moved,
    pub(crate) timers: BTreeSet<(Millis, Timer)>,
    /// Failures of a former owner's deliveries, until their messages are read.
    pub(crate) saved: BTreeMap<i64, Retry>,
    /// Entries that failed before, with what the consumer said.
    pub(crate) troubled: BTreeMap<u32, Option<String>>,
    /// Consumers that left and hold nothing any more.
    pub(crate) drained: Vec<u32>,
    /// Where the outstanding fetch reads, if there is one.
    pub(crate) fetching: Option<i64>,
    pub(crate) dirty: Option<Dirty>,
    pub(crate) counters: Counters,
    pub(crate) rates: Rates,
    pub(crate) outcomes: Outcomes,
    #[cfg(test)]
    pub(crate) mutant: Option<crate::mutant::Mutant>,
}

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// An entry's next try.
    Retry(u32),
    /// A lost consumer's place is given up.
    Grace(u32),
    /// What a leaving consumer still holds is taken from it.
    Leave(u32),
    /// A declaration that nobody makes any more is forgotten.
    Declaration(u32),
}

/// Whether keys may have other consumers than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Moved {
    #[default]
    No,
    Perhaps,
}

/// Changes that no snapshot was asked for yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirty {
    pub(crate) since: Millis,
    pub(crate) completions: u32,
    /// Worth a snapshot now.
    pub(crate) urgent: bool,
}

impl Dispatcher {
    /// A new subscription, beginning at `config.start`.
    #[must_use]
    pub fn new(config: Config, epoch: OwnerEpoch) -> Self {
        let start = config.start.0;
        Self::at(config, epoch, start)
    }

    /// Goes on where a former owner's snapshot ends: done offsets stay done, failures and waits are kept, and whatever
    /// was in flight is delivered again in its key's order. `epoch` is higher than any former owner's.
    #[must_use]
    pub fn recover(config: Config, snapshot: &Snapshot, epoch: OwnerEpoch) -> Self {
        assert!(epoch > snapshot.epoch, "an owner's epoch is higher than its predecessors'");
        let mut dispatcher = Self::at(config, epoch, snapshot.cursor.0);
        dispatcher.restore(snapshot);
        dispatcher
    }

    fn at(config: Config, epoch: OwnerEpoch, start: i64) -> Self {
        config.assert_valid();
        Self {
            epoch,
            sequence: 0,
            now: Millis::default(),
            window: Window::new(start),
            log_start: 0,
            live: Live::new(),
            table: KeyTable::default(),
            placement: Placement::new(config.slots),
            declarations: Declarations::default(),
            queue: Queue::new(),
            roster: Roster::default(),
            active: NIL,
            run: VecDeque::new(),
            spills: Spills::from(start),
            parking: Parking::default(),
            leases: Leases::default(),
            run_ends: Vec::new(),
            pipelining: false,
            moved: Moved::No,
            timers: BTreeSet::new(),
            saved: BTreeMap::new(),
            troubled: BTreeMap::new(),
            drained: Vec::new(),
            fetching: None,
            // The first snapshot claims the epoch.
            dirty: Some(Dirty { since: Millis::default(), completions: 0, urgent: true }),
            counters: Counters::default(),
            rates: Rates::default(),
            outcomes: Outcomes::default(),
            config,
            #[cfg(test)]
            mutant: None,
        }
    }

    /// Takes one input at the time `now`, dispatches until nothing more can be, and appends to `out` what is to be done.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        self.take(input, out);
        self.settle(out);
    }

    /// Takes these inputs at the time `now` as one step: dispatch comes after the last of them. Cheaper than a step for
    /// each, as far as acks are concerned several times so.
    pub fn step_all(&mut self, now: Millis, inputs: &mut Vec<Input>, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        let mut inputs = inputs.drain(..);
        while !inputs.as_slice().is_empty() {
            let messages = self.read_ahead_of_acks(inputs.as_slice());
            for (message, input) in messages.into_iter().zip(inputs.by_ref()) {
                let Input::Ack { offset, token } = input else {
                    self.take(input, out);
                    continue;
                };
                // Nothing in it needs to be dropped, and to find that out costs more than reading it.
                std::mem::forget(input);
                self.ack(message, offset.0, token, out);
            }
        }
        self.settle(out);
    }

    /// The live key of this hash.
    #[inline]
    pub(crate) fn live_key(&self, hash: keyway_record::KeyHash) -> Option<u32> {
        self.table.find(hash, |other| self.live.keys[other].hash)
    }

    pub(crate) fn take(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Records { base, end, records } => self.take_records(base.0, end.0, &records, out),
            Input::Join(join) => {
                self.moved = Moved::Perhaps;
                self.join(join, out)
            }
            Input::Leave { consumer, deadline } => {
                self.moved = Moved::Perhaps;
                self.leave(consumer, deadline, out)
            }
            Input::Gone { consumer } => {
                self.moved = Moved::Perhaps;
                self.gone(consumer, out)
            }
            Input::Resume { consumer } => self.resume(consumer),
            Input::SetFilters { consumer, filters } => {
                self.moved = Moved::Perhaps;
                self.set_filters(consumer, filters, out)
            }
            Input::SetCredit { consumer, credit } => self.set_credit(consumer, credit),
            Input::Ack { offset, token } => self.ack(self.window.live_at(offset.0), offset.0, token, out),
            Input::Nack { offset, token, delay_ms, reason } => {
                self.nack(offset.0, token, delay_ms, reason, out)
            }
            Input::Renew { offset, token } => self.renew(offset.0, token),
            Input::Seek { to } => self.seek(to.0, out),
            Input::Release { key } => self.release_key(key, out),
            Input::ReleaseAll => self.release_all(out),
            Input::Unpark { key, parked } => self.unpark(key, &parked, out),
            Input::Reread { key, base, end, records } => self.take_reread(key, base.0, end.0, &records, out),
            Input::LogStart { to } => self.move_log_start(to.0, out),
            Input::SetPolicy(policy) => {
                self.moved = Moved::Perhaps;
                self.set_policy(policy, out)
            }
            Input::SideDone { offset, ok } => self.side_done(offset.0, ok, out),
            Input::Tick => {}
        }
    }

    /// Everything that follows from what was taken.
    fn settle(&mut self, out: &mut Vec<Output>) {
        for key in std::mem::take(&mut self.parking.recovered) {
            self.ask_for_parked(key, out);
        }
        self.fire_timers(out);
        self.relink_runs(out);
        self.poll(out);
        self.forget_drained(out);
        self.move_cursor(out);
        self.ask_to_persist(out);
        self.ask_to_reread(out);
        self.ask_to_fetch(out);
    }

    /// When to step with [`Input::Tick`] if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let persist = self.dirty.map(|dirty| dirty.since.plus(self.config.persist_ms));
        let timer = self.timers.first().map(|&(at, _)| at);
        let lease = self.leases.first(&self.live).map(|index| self.live[index].due);
        let sweep = (self.placement.sweep_at != NIL).then_some(self.now);
        [persist, timer, lease, sweep].into_iter().flatten().min()
    }

    fn fire_timers(&mut self, out: &mut Vec<Output>) {
        while let Some(index) = self.leases.first(&self.live)
            && self.live[index].due <= self.now
        {
            self.expire_lease(index, out);
        }
        while let Some(&(at, timer)) = self.timers.first()
            && at <= self.now
        {
            self.timers.pop_first();
            self.moved = Moved::Perhaps;
            match timer {
                Timer::Retry(entry) => self.retry(entry, out),
                Timer::Grace(consumer) => self.give_up(consumer, out),
                Timer::Leave(consumer) => self.take_back(consumer, out),
                Timer::Declaration(group) => self.forget_declaration(group),
            }
        }
    }

    /// Notes that a snapshot would differ now.
    #[inline]
    pub(crate) fn touch(&mut self) -> &mut Dirty {
        let since = self.now;
        self.dirty.get_or_insert(Dirty { since, completions: 0, urgent: false })
    }

    fn ask_to_persist(&mut self, out: &mut Vec<Output>) {
        let Some(dirty) = self.dirty else { return };
        let due = dirty.since.plus(self.config.persist_ms) <= self.now;
        if due || dirty.urgent || dirty.completions >= self.config.persist_completions {
            self.dirty = None;
            out.push(Output::Persist);
        }
    }

    fn move_cursor(&mut self, out: &mut Vec<Output>) {
        if self.window.advance() {
            self.touch();
            out.push(Output::CursorMoved(keyway_record::Offset(self.window.cursor())));
        }
    }

    /// Whether this entry is the oldest of its key, or alone.
    #[inline]
    pub(crate) fn is_head(&self, index: u32) -> bool {
        let key = self.live[index].key;
        key == NIL || self.live.keys[key].head == index
    }

    /// Takes an entry that is not in flight away from whatever it waits for.
    pub(crate) fn stop_waiting(&mut self, index: u32) {
        let Entry { offset, key, due, state, .. } = self.live[index];
        match state {
            State::Waiting if key != NIL => {
                if self.live.keys[key].ready {
                    self.placement.unlink(&mut self.live.keys, &mut self.roster, key);
                }
            }
            State::Waiting => {
                if !self.queue.remove_returned(offset, index) {
                    let fresh = self.queue.pop_fresh(&mut self.live);
                    assert_eq!(
                        fresh,
                        Some(index),
                        "only the oldest fresh message leaves the queue undelivered"
                    );
                }
            }
            State::Backoff | State::SideRetry => {
                assert!(self.timers.remove(&(due, Timer::Retry(index))), "a waiting message has a timer");
            }
            State::Blocked => {
                self.queue.blocked.remove(&offset);
            }
            State::InFlight | State::Acked | State::SideWrite | State::Lost => {
                unreachable!("{state:?} does not wait")
            }
        }
    }

    /// The message at `index` is done: the next of its key goes on.
    #[inline]
    pub(crate) fn complete(&mut self, index: u32, out: &mut Vec<Output>) {
        let key = self.live[index].key;
        if key != NIL {
            self.tell_unparked(index, out);
            self.pop_head(key, index);
        }
        self.forget(index);
        if key != NIL && self.live.keys[key].run > 0 {
            self.settle_run(key, out);
        }
        if key != NIL && !self.mutated(crate::mutant::Mutant::NoWakeAfterAck) {
            self.advance_key(key, out);
        }
    }

    #[inline]
    pub(crate) fn pop_head(&mut self, key: u32, index: u32) {
        let (next, at) = (self.live[index].next, key);
        let key = &mut self.live.keys[key];
        assert_eq!(key.head, index, "a key's messages are done in order");
        key.head = next;
        key.count -= 1;
        if next == NIL {
            key.tail = NIL;
        }
        self.reread_if_thirsty(at);
    }

    #[inline]
    pub(crate) fn forget(&mut self, index: u32) {
        let entry = self.live[index];
        if !self.forget_unparked(index) {
            self.window.set_done(entry.offset);
        }
        if entry.failures > 0 {
            self.troubled.remove(&index);
        }
        self.live.free(index);
        self.touch().completions += 1;
    }

    /// Lets a key's first message that is not in flight go on, if those that are let it.
    #[inline]
    pub(crate) fn advance_key(&mut self, index: u32, out: &mut Vec<Output>) {
        if self.live.keys[index].run > 0 {
            return self.advance_behind(index, out);
        }
        if self.live.keys[index].ready {
            return;
        }
        loop {
            let head = self.live.keys[index].head;
            if head == NIL {
                if !self.live.keys[index].spilled {
                    self.ask_for_parked_if_empty(index, out);
                    self.forget_key(index);
                }
                return;
            }
            if self.live[head].state == State::Backoff {
                return;
            }
            if self.live[head].state == State::Lost {
                self.counters.lost += 1;
                out.push(Output::Lost { offset: keyway_record::Offset(self.live[head].offset) });
            } else {
                match self.judge(head, out) {
                    Verdict::Ready => return self.link_key(index),
                    Verdict::Waits => return,
                    Verdict::Done => {}
                }
            }
            self.tell_unparked(head, out);
            self.pop_head(index, head);
            self.forget(head);
        }
    }

    fn advance_behind(&mut self, index: u32, out: &mut Vec<Output>) {
        let next = self.next_of(index);
        if self.live.keys[index].ready
            || next == NIL
            || !self.may_extend(index, next)
            || self.is_held_back(next)
        {
            return;
        }
        let used_up = self.live[next].failures > self.config.failure.max_redelivery_count;
        if self.live[next].state == State::Waiting && !used_up && self.judge(next, out) == Verdict::Ready {
            self.link_key(index);
        }
    }

    #[inline]
    fn forget_key(&mut self, index: u32) {
        self.table.remove(self.live.keys[index].hash, index);
        self.live.free_key(index);
    }

    /// Lets an undelivered message without a queue behind it, or at the head of its key, go on.
    pub(crate) fn let_go_on(&mut self, index: u32, out: &mut Vec<Output>) {
        let Entry { key, offset, .. } = self.live[index];
        if key != NIL {
            return self.advance_key(key, out);
        }
        match self.judge(index, out) {
            Verdict::Ready => self.queue.push_returned(offset, index),
            Verdict::Waits => {}
            Verdict::Done => self.complete(index, out),
        }
    }
}

/// What becomes of an undelivered head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It can be delivered.
    Ready,
    /// Something else wakes it.
    Waits,
    /// It is done.
    Done,
}
