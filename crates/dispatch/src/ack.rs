//! Answers: acks, nacks, finished dead-letter writes.

use crate::brake::Outcome;
use crate::dispatcher::{Dispatcher, Timer};
use crate::entry::State;
use crate::failure::Failure;
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::{Cause, Output, Token};

impl Dispatcher {
    /// Takes an ack; `message` is the message there, or was a moment ago.
    #[inline]
    pub(crate) fn ack(&mut self, message: u32, offset: i64, token: Option<Token>, out: &mut Vec<Output>) {
        if self.ack_single(message, offset, token, out) {
            return;
        }
        let Some(index) = self.entry_at(offset) else {
            self.counters.stale_acks += 1;
            return;
        };
        let entry = self.live[index];
        let current = token.is_none_or(|token| token == entry.token) || self.mutated(Mutant::AckAnyToken);
        match entry.state {
            State::InFlight if current && !self.is_head(index) => self.ack_provisionally(index),
            State::InFlight if current => {
                self.count_ack(index, out);
                self.release(index);
                self.complete(index, out);
            }
            // A late ack of the last delivery: nothing after it was released, so it still counts and saves a duplicate.
            State::Waiting | State::Backoff | State::Blocked
                if token == Some(entry.token) && entry.token != Token::NONE && self.is_head(index) =>
            {
                self.counters.late_acks += 1;
                self.stop_waiting(index);
                self.complete(index, out);
            }
            _ => self.counters.stale_acks += 1,
        }
    }

    #[inline]
    pub(crate) fn count_ack(&mut self, index: u32, out: &mut Vec<Output>) {
        let entry = self.live[index];
        self.counters.acked += 1;
        self.counters.attempts[usize::from(entry.attempts).clamp(1, 8) - 1] += 1;
        self.roster[entry.consumer].acked += 1;
        self.note_outcome(entry.consumer, Outcome::Acked, out);
    }

    pub(crate) fn nack(
        &mut self,
        offset: i64,
        token: Option<Token>,
        delay_ms: Option<u64>,
        reason: Option<String>,
        out: &mut Vec<Output>,
    ) {
        let index = match self.entry_at(offset) {
            Some(index) if self.live[index].state == State::InFlight => index,
            _ => return self.counters.stale_acks += 1,
        };
        if token.is_some_and(|token| token != self.live[index].token) {
            self.counters.stale_acks += 1;
            return;
        }
        self.counters.nacked += 1;
        self.roster[self.live[index].consumer].nacked += 1;
        let wait_ms = Some(delay_ms.unwrap_or(0));
        let key = self.live[index].key;
        if key != NIL && self.live.keys[key].run > 1 {
            self.revoke_run(key, out);
        }
        self.fail(index, Failure { cause: Cause::Nack, counts: true, wait_ms, reason }, out);
        if self.mutated(Mutant::NackToTail) {
            self.move_head_to_tail(index);
        }
    }

    /// A worker says that it is still busy.
    pub(crate) fn renew(&mut self, offset: i64, token: Token) {
        let index = match self.entry_at(offset) {
            Some(index) if self.live[index].state == State::InFlight => index,
            _ => return self.counters.stale_acks += 1,
        };
        if token != self.live[index].token {
            self.counters.stale_acks += 1;
            return;
        }
        self.leases.remove(&mut self.live, index);
        self.lease(index);
    }

    #[cfg(test)]
    fn move_head_to_tail(&mut self, index: u32) {
        let key = self.live[index].key;
        if self.live[index].state != State::Backoff || key == NIL || self.live.keys[key].count < 2 {
            return;
        }
        self.stop_waiting(index);
        let second = self.live[index].next;
        let tail = self.live.keys[key].tail;
        self.live[tail].next = index;
        self.live[index].next = NIL;
        self.live[index].state = State::Waiting;
        (self.live.keys[key].head, self.live.keys[key].tail) = (second, index);
        self.link_key(key);
    }

    #[cfg(not(test))]
    fn move_head_to_tail(&mut self, _: u32) {}

    pub(crate) fn side_done(&mut self, offset: i64, ok: bool, out: &mut Vec<Output>) {
        let index = match self.entry_at(offset) {
            Some(index) if self.live[index].state == State::SideWrite => index,
            _ => return,
        };
        if ok {
            if self.is_held_back(index) {
                self.counters.parked += 1;
            } else {
                self.counters.dead_lettered += 1;
                self.counters.dead_lettered_by.count(self.live[index].cause);
            }
            self.complete(index, out);
        } else if self.is_cut_off(index) {
            self.lose(index, out);
        } else {
            self.counters.side_write_errors += 1;
            let entry = &mut self.live[index];
            entry.state = State::SideRetry;
            entry.due = self.now.plus(SIDE_RETRY_MS);
            self.timers.insert((entry.due, Timer::Retry(index)));
        }
    }
}

/// Wait before a failed dead-letter write is asked for again: long enough for an append to recover, short for a person.
const SIDE_RETRY_MS: u64 = 1_000;
