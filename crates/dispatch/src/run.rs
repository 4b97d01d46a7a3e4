//! Runs: the messages of one key that are in flight together.
//!
//! A run is the front of its key's queue, at one consumer, no longer than that consumer takes. Acks count from its front:
//! one for a later message is provisional. When a message of it fails, or its consumer is lost, the whole run goes back
//! to be delivered again in order, and the consumer is told to forget it. Only the lowest message has a lease; the next
//! one's begins when it is the lowest, so that messages do not time out behind their predecessors.
//!
//! A run of one, all that most clients can have, is a key's head in flight and nothing else.

use crate::dispatcher::{Dispatcher, Moved};
use crate::entry::State;
use crate::leases::Leases;
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::{Millis, Output, Token};

impl Dispatcher {
    /// A key's first message that is not in flight; `NIL` if there is none.
    #[inline]
    pub(crate) fn next_of(&self, key: u32) -> u32 {
        let live = &self.live.keys[key];
        match live.run {
            0 => live.head,
            1 => self.live[live.head].next,
            _ => self.live[self.run_ends[key as usize]].next,
        }
    }

    /// A message is in flight now, behind the others of its key that are.
    #[inline]
    pub(crate) fn extend_run(&mut self, key: u32, index: u32) {
        self.live.keys[key].run += 1;
        if self.live.keys[key].run > 1 {
            if self.run_ends.len() <= key as usize {
                self.run_ends.resize(key as usize + 1, NIL);
            }
            self.run_ends[key as usize] = index;
        }
    }

    /// Whether a key's next message may join those in flight: they leave room, and neither is anybody's last attempt,
    /// which is made alone so that it is certain what failed.
    pub(crate) fn may_extend(&self, key: u32, next: u32) -> bool {
        let live = &self.live.keys[key];
        let head = &self.live[live.head];
        let last = self.config.failure.max_redelivery_count;
        let alone = (head.failures >= last || self.live[next].failures >= last)
            && !self.mutated(Mutant::LastAttemptInCompany);
        live.run < self.roster[head.consumer].in_flight_per_key && !alone
    }

    /// Starts the lease of a message: that of a lowest one ends, those behind it have none yet. For clients that take
    /// runs it is longer with every attempt: a run that is too long for one lease must get through some time.
    #[inline]
    pub(crate) fn lease(&mut self, index: u32) {
        let entry = &self.live[index];
        if entry.key != NIL
            && self.live.keys[entry.key].head != index
            && !self.mutated(Mutant::LeasesRunTogether)
        {
            return self.leases.push(&mut self.live[index], index, Leases::IDLE);
        }
        let growth = match self.roster[entry.consumer].in_flight_per_key {
            1 => 0,
            _ => (entry.attempts.max(1) - 1).min(Leases::GROWTH_MAX),
        };
        self.live[index].due = self.now.plus(self.config.failure.ack_timeout_ms << growth);
        self.leases.push(&mut self.live[index], index, growth as usize);
    }

    /// An ack for a message with others before it in flight: it counts when they are done.
    pub(crate) fn ack_provisionally(&mut self, index: u32) {
        let consumer = self.live[index].consumer;
        self.leases.remove(&mut self.live, index);
        self.live[index].state = State::Acked;
        self.put_down(consumer);
    }

    /// The lowest message of a run was done: so are those after it that were acked, and the next one's lease begins.
    pub(crate) fn settle_run(&mut self, key: u32, out: &mut Vec<Output>) {
        while self.live.keys[key].run > 0 {
            let head = self.live.keys[key].head;
            if self.live[head].state != State::Acked {
                self.leases.remove(&mut self.live, head);
                return self.lease(head);
            }
            self.count_ack(head, out);
            self.tell_unparked(head, out);
            self.live.keys[key].run -= 1;
            self.pop_head(key, head);
            self.forget(head);
        }
    }

    /// All of a key that is in flight goes back to the front of its queue; it is nowhere then.
    pub(crate) fn return_run(&mut self, key: u32) {
        if self.live.keys[key].ready {
            self.placement.unlink(&mut self.live.keys, &mut self.roster, key);
        }
        let mut index = self.live.keys[key].head;
        for nth in 0..self.live.keys[key].run {
            let (consumer, next) = (self.live[index].consumer, self.live[index].next);
            let in_flight = self.live[index].state == State::InFlight;
            if in_flight {
                self.leases.remove(&mut self.live, index);
                self.put_down(consumer);
            }
            let cut_off = self.is_cut_off(index);
            let entry = &mut self.live[index];
            entry.consumer = NIL;
            entry.due = Millis::default();
            entry.state = if cut_off { State::Lost } else { State::Waiting };
            if !in_flight && self.mutated(Mutant::KeepProvisional) {
                self.live[index].state = State::Lost;
            }
            self.counters.revoked += u64::from(nth > 0);
            index = next;
        }
        self.live.keys[key].run = 0;
    }

    /// Tells the consumer of a run that it is void, if it may hold such.
    pub(crate) fn revoke_run(&mut self, key: u32, out: &mut Vec<Output>) {
        let consumer = &self.roster[self.live[self.live.keys[key].head].consumer];
        if consumer.in_flight_per_key > 1 && !self.mutated(Mutant::NoRevoke) {
            self.sequence += 1;
            let token = Token::new(self.epoch, self.sequence);
            out.push(Output::Revoke { consumer: consumer.id, key: self.live.keys[key].hash, token });
        }
    }

    /// Places or policy changed: keys in flight may go on now that could not, or the other way round.
    pub(crate) fn relink_runs(&mut self, out: &mut Vec<Output>) {
        if std::mem::take(&mut self.moved) == Moved::No || !self.pipelining {
            return;
        }
        let in_flight = self.leases.iter().map(|index| self.live[index].key);
        let mut keys: Vec<u32> = in_flight.filter(|&key| key != NIL).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if self.live.keys[key].ready {
                self.placement.unlink(&mut self.live.keys, &mut self.roster, key);
            }
            self.advance_key(key, out);
        }
    }
}
