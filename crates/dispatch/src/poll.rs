//! Dispatch: from queues to consumers, until nothing more can go.

use crate::declarations::Wanted;
use crate::dispatcher::Dispatcher;
use crate::entry::State;
use crate::mutant::Mutant;
use crate::placement::rank;
use crate::rates::Rates;
use crate::slab::NIL;
use crate::{Mode, Output, Token, Unmatched};
use keyway_record::Offset;

/// Messages and bytes that one consumer gets before it is the next one's turn.
const QUANTUM_MESSAGES: u32 = 16;
const QUANTUM_BYTES: u64 = 256 * 1024;
/// Ready keys placed anew in one step after filters or members changed: some 2 ms with ten thousand patterns.
const SWEEP_KEYS: u32 = 4_096;

impl Dispatcher {
    pub(crate) fn poll(&mut self, out: &mut Vec<Output>) {
        match self.config.mode {
            Mode::KeyShared => {
                let mut left = self.sweep();
                self.poll_keys(&mut left, out);
                self.pass_over_unmatched(&mut left, out);
            }
            Mode::Shared => self.poll_shared(out),
            Mode::Exclusive | Mode::Failover => self.poll_ordered(out),
        }
    }

    /// Round robin over consumers, inside a consumer over its slots, inside a slot over its keys: a hot key gets one turn
    /// a round.
    fn poll_keys(&mut self, left: &mut u32, out: &mut Vec<Output>) {
        let mut later = Vec::new();
        let mut ahead = 0;
        while let Some(consumer) = self.run.pop_front() {
            self.roster[consumer].queued = false;
            let (mut messages, mut bytes) = (0, 0);
            if ahead == 0 {
                ahead = self.read_ahead_of_deliveries(consumer, QUANTUM_MESSAGES as usize);
            }
            ahead -= 1;
            while messages < QUANTUM_MESSAGES && bytes < QUANTUM_BYTES {
                let holder = &self.roster[consumer];
                let at = holder.ring;
                if at == NIL || !holder.can_take() {
                    break;
                }
                let key = self.placement.slots[at as usize].head;
                if self.is_outdated(key) {
                    if *left == 0 {
                        later.push(consumer);
                        break;
                    }
                    *left -= 1;
                    self.place_again(key);
                    continue;
                }
                let first = self.placement.take_first(&mut self.live.keys, &mut self.roster, at);
                let mut index = first.unwrap_or_else(|| self.next_of(key));
                if self.mutated(Mutant::NewestFirst) {
                    index = self.live.keys[key].tail;
                }
                messages += 1;
                bytes += u64::from(self.deliver(index, consumer, out));
                if self.pipelining && self.roster[consumer].in_flight_per_key > 1 {
                    self.advance_key(key, out);
                }
                if self.mutated(Mutant::TwoInFlight) {
                    let second = self.live[index].next;
                    if second != NIL && self.live[second].state == State::Waiting {
                        self.deliver(second, consumer, out);
                    }
                }
            }
            if later.last() != Some(&consumer) {
                self.wake(consumer);
            }
        }
        for consumer in later {
            self.wake(consumer);
        }
    }

    /// Messages of keys that no filter wants, while somebody is there who could have wanted them.
    fn pass_over_unmatched(&mut self, left: &mut u32, out: &mut Vec<Output>) {
        let somebody = self.roster.connected().next().is_some() || self.mutated(Mutant::SkipForNobody);
        if self.declarations.all_open() || !somebody || self.config.unmatched == Unmatched::Hold {
            return;
        }
        let at = self.placement.unmatched() as usize;
        while self.placement.slots[at].head != NIL {
            let key = self.placement.slots[at].head;
            if self.is_outdated(key) {
                if *left == 0 {
                    break;
                }
                *left -= 1;
                self.place_again(key);
                continue;
            }
            let index = self.live.keys[key].head;
            self.placement.unlink(&mut self.live.keys, &mut self.roster, key);
            if self.config.unmatched == Unmatched::DeadLetter {
                self.live[index].cause = crate::Cause::Unmatched;
                self.ask_for_side_write(index, out);
            } else {
                self.counters.skipped += 1;
                out.push(Output::Skipped { offset: Offset(self.live[index].offset) });
                self.complete(index, out);
            }
        }
    }

    /// Strict round robin: one message each.
    fn poll_shared(&mut self, out: &mut Vec<Output>) {
        while let Some(index) = self.queue.peek(&self.live)
            && let Some(consumer) = self.run.pop_front()
        {
            self.roster[consumer].queued = false;
            if self.roster[consumer].can_take() {
                self.queue.pop(&mut self.live);
                self.deliver(index, consumer, out);
                self.wake(consumer);
            }
        }
    }

    /// Everything to the active consumer, once those who left have finished what they hold.
    fn poll_ordered(&mut self, out: &mut Vec<Output>) {
        if self.active == NIL || self.roster[self.active].in_flight as usize != self.leases.len {
            return;
        }
        while self.roster[self.active].can_take()
            && let Some(index) = self.queue.peek(&self.live)
        {
            self.queue.pop(&mut self.live);
            self.deliver(index, self.active, out);
        }
    }

    /// Returns the size of the message.
    #[inline]
    fn deliver(&mut self, index: u32, consumer: u32, out: &mut Vec<Output>) -> u32 {
        self.sequence += 1;
        let token = match self.mutated(Mutant::TokensRestart) {
            false => Token::new(self.epoch, self.sequence),
            true => Token::from_raw(self.sequence),
        };
        let Self { live, roster, leases, counters, .. } = self;
        let (entry, run) = live.with_run(index);
        assert_eq!(entry.state, State::Waiting, "only a waiting message is delivered");
        entry.state = State::InFlight;
        entry.token = token;
        entry.consumer = consumer;
        entry.attempts = entry.attempts.saturating_add(1);
        let (key, offset, attempt) = (entry.key, Offset(entry.offset), u32::from(entry.attempts));
        let size = entry.size;
        let holder = &mut roster[consumer];
        holder.in_flight += 1;
        holder.delivered += 1;
        counters.delivered += 1;
        counters.redelivered += u64::from(attempt > 1);
        out.push(Output::Deliver { consumer: holder.id, offset, token, attempt });
        if self.pipelining {
            if key != NIL {
                self.extend_run(key, index);
            }
            self.lease(index);
        } else {
            // A run of one, with the shortest lease.
            entry.due = self.now.plus(self.config.failure.ack_timeout_ms);
            leases.push(entry, index, 0);
            if let Some(run) = run {
                *run += 1;
            }
        }
        if key != NIL && Rates::counts(self.sequence) {
            self.rates.count(self.now, self.live.keys[key].hash, offset.0);
        }
        size
    }

    /// Puts a consumer that may have something to get into the run queue.
    #[inline]
    pub(crate) fn wake(&mut self, index: u32) {
        let consumer = &mut self.roster[index];
        let runs = match self.config.mode {
            Mode::KeyShared => consumer.should_run(),
            Mode::Shared => consumer.can_take() && !consumer.queued,
            Mode::Exclusive | Mode::Failover => false,
        };
        if runs {
            consumer.queued = true;
            self.run.push_back(index);
        }
    }

    /// Hangs a key whose head can be delivered on its slot.
    #[inline]
    pub(crate) fn link_key(&mut self, index: u32) {
        if self.live.keys[index].version != self.placement.version || self.placement.slots.is_empty() {
            let slot = self.place(index);
            self.live.keys[index].slot = slot;
            self.live.keys[index].version = self.placement.version;
        }
        if self.live.keys[index].run > 0 && !self.mutated(Mutant::RunOverTwo) {
            let holder = self.live[self.live.keys[index].head].consumer;
            if self.placement.slots[self.live.keys[index].slot as usize].owner != holder {
                return;
            }
        }
        if let Some(owner) = self.placement.link(&mut self.live.keys, &mut self.roster, index) {
            self.wake(owner);
        }
    }

    /// The slot a key belongs to, by its filters and members.
    #[inline]
    fn place(&mut self, index: u32) -> u32 {
        self.placement.reserve(self.roster.places());
        let Self { placement, declarations, roster, live, .. } = self;
        let slot = placement.slot_of(live.keys[index].hash);
        if declarations.all_open() {
            return slot;
        }
        match declarations.wanted(live.text(index)) {
            Wanted::Unfiltered => slot,
            Wanted::Unmatched => placement.unmatched(),
            Wanted::Filtered => {
                let best = declarations.wanting().max_by_key(|&at| rank(slot, roster[at].name_hash));
                best.map_or(placement.nobody(), |at| placement.private(at))
            }
        }
    }

    /// Every ready key is to be placed anew, after filters or members changed: when it is its turn, or in the sweep.
    pub(crate) fn place_anew(&mut self) {
        self.placement.version = self.placement.version.wrapping_add(1);
        self.placement.sweep_at = 0;
    }

    /// Places some of the ready keys anew whose places were chosen before the last change. Returns how many more may be
    /// in this step.
    fn sweep(&mut self) -> u32 {
        let mut left = SWEEP_KEYS;
        while self.placement.sweep_at != NIL && left > 0 {
            let Some(slot) = self.placement.slots.get(self.placement.sweep_at as usize) else {
                self.placement.sweep_at = NIL;
                break;
            };
            if self.is_outdated(slot.head) {
                self.place_again(slot.head);
                left -= 1;
            } else {
                self.placement.sweep_at += 1;
            }
        }
        left
    }

    /// Whether this ready key's place was chosen before the last change.
    #[inline]
    fn is_outdated(&self, key: u32) -> bool {
        let some = self.placement.sweep_at != NIL;
        some && key != NIL && self.live.keys[key].version != self.placement.version
    }

    fn place_again(&mut self, key: u32) {
        self.placement.unlink(&mut self.live.keys, &mut self.roster, key);
        self.link_key(key);
    }

    /// Takes all ready keys off their slots.
    pub(crate) fn unlink_ready_keys(&mut self) -> Vec<u32> {
        let mut ready = Vec::with_capacity(self.placement.ready_keys as usize);
        for slot in &self.placement.slots {
            let mut key = slot.head;
            while key != NIL {
                ready.push(key);
                key = self.live.keys[key].next;
            }
        }
        for &key in &ready {
            self.placement.unlink(&mut self.live.keys, &mut self.roster, key);
        }
        ready
    }
}
