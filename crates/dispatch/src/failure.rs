//! What a delivery that ended without an ack leads to.

use crate::brake::Outcome;
use crate::consumer::Link;
use crate::dispatcher::{Dispatcher, Timer, Verdict};
use crate::entry::State;
use crate::leases::Leases;
use crate::mutant::Mutant;
use crate::placement::mix;
use crate::slab::NIL;
use crate::{Backoff, Cause, Config, FailurePolicy, Output, Poison};
use keyway_record::Offset;

/// One delivery's end.
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// Whether it counts against the message.
    pub(crate) counts: bool,
    /// Least wait before the redelivery; `None` for at once.
    pub(crate) wait_ms: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// What a failure did to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Used {
    Counted,
    /// It would have used the message up, and the flood brake is engaged.
    Braked,
}

impl Dispatcher {
    /// Takes a message out of flight; it is nowhere then.
    #[inline]
    pub(crate) fn release(&mut self, index: u32) {
        let (consumer, key) = (self.live[index].consumer, self.live[index].key);
        self.leases.remove(&mut self.live, index);
        self.live[index].state = State::Waiting;
        self.live[index].consumer = NIL;
        if key != NIL {
            self.live.keys[key].run -= 1;
        }
        self.put_down(consumer);
    }

    /// A consumer holds one message less.
    #[inline]
    pub(crate) fn put_down(&mut self, consumer: u32) {
        let holder = &mut self.roster[consumer];
        holder.in_flight -= 1;
        if holder.link == Link::Leaving && holder.in_flight == 0 {
            self.drained.push(consumer);
        }
        self.wake(consumer);
    }

    /// A delivery ended without an ack: the message goes back to its key, and with it all of the key that is in flight.
    pub(crate) fn fail(&mut self, index: u32, failure: Failure, out: &mut Vec<Output>) {
        let consumer = self.live[index].consumer;
        match self.live[index].key {
            NIL => self.release(index),
            key => self.return_run(key),
        }
        self.counters.returned.count(failure.cause);
        let braked = failure.counts && self.count_failure(index, consumer, &failure, out) == Used::Braked;
        if self.live[index].offset < self.log_start && self.live[index].key == NIL {
            return self.lose(index, out);
        }
        let mut wait_ms = failure.wait_ms.map_or(0, |least| self.wait_ms(index, least));
        if braked {
            wait_ms = self.config.failure.max_redelivery_delay_ms;
        }
        self.live[index].due = self.now.plus(wait_ms);
        self.let_go_on(index, out);
    }

    fn count_failure(&mut self, index: u32, consumer: u32, failure: &Failure, out: &mut Vec<Output>) -> Used {
        let FailurePolicy { max_redelivery_count: max, poison, .. } = self.config.failure;
        let mut failures = self.live[index].failures.saturating_add(1);
        let mut used = Used::Counted;
        if failures > max && poison != Poison::Block {
            if self.is_braked(consumer) {
                (failures, used) = (max, Used::Braked);
            } else {
                self.note_outcome(consumer, Outcome::UsedUp, out);
            }
        }
        let entry = &mut self.live[index];
        (entry.failures, entry.cause) = (failures, failure.cause);
        if failures > 0 {
            self.troubled.insert(index, failure.reason.clone().map(shorten));
        }
        self.touch();
        used
    }

    /// The wait before the next delivery: the policy's, lengthened by what the consumer asked for and by jitter, capped.
    fn wait_ms(&self, index: u32, least_ms: u64) -> u64 {
        let FailurePolicy { base_redelivery_delay_ms: base, max_redelivery_delay_ms: max, .. } =
            self.config.failure;
        let entry = &self.live[index];
        let doublings = u32::from(entry.failures.saturating_sub(1)).min(63);
        let wait = match self.config.failure.backoff {
            Backoff::Fixed => base,
            Backoff::Exponential => base.saturating_mul(1 << doublings),
        };
        let wait = wait.max(least_ms).min(max);
        let percent = u64::from(self.config.failure.jitter_percent);
        let random = mix(self.config.seed ^ mix(entry.offset as u64) ^ u64::from(entry.attempts));
        wait.saturating_add(wait / 100 * (random % (percent + 1))).min(max)
    }

    /// Decides how an undelivered message that nothing is before goes on.
    #[inline]
    pub(crate) fn judge(&mut self, index: u32, out: &mut Vec<Output>) -> Verdict {
        if !self.parking.keys.is_empty()
            && let Some(verdict) = self.judge_parked(index, out)
        {
            return verdict;
        }
        let entry = &mut self.live[index];
        let due = entry.due;
        if entry.failures > self.config.failure.max_redelivery_count {
            return self.resolve_poison(index, out);
        }
        if due > self.now {
            entry.state = State::Backoff;
            if !self.mutated(Mutant::NoRetryTimer) {
                self.timers.insert((due, Timer::Retry(index)));
            }
            return Verdict::Waits;
        }
        entry.state = State::Waiting;
        Verdict::Ready
    }

    fn resolve_poison(&mut self, index: u32, out: &mut Vec<Output>) -> Verdict {
        if self.config.failure.poison == Poison::Park
            && self.live[index].key != NIL
            && let Some(verdict) = self.park(index, out)
        {
            return verdict;
        }
        let entry = &mut self.live[index];
        let (offset, attempts, cause) = (Offset(entry.offset), u32::from(entry.attempts), entry.cause);
        let next = if entry.key == NIL { NIL } else { entry.next };
        match self.config.failure.poison {
            Poison::Block | Poison::Park => {
                entry.state = State::Blocked;
                if entry.key == NIL {
                    self.queue.blocked.insert(offset.0);
                }
                out.push(Output::Blocked { offset, attempts, cause });
                Verdict::Waits
            }
            Poison::DeadLetter => {
                self.ask_for_side_write(index, out);
                Verdict::Waits
            }
            Poison::Drop => {
                self.counters.dropped += 1;
                out.push(Output::Dropped { offset, attempts, cause });
                if self.mutated(Mutant::PoisonTakesKey) {
                    let mut other = next;
                    while other != NIL {
                        self.live[other].state = State::Lost;
                        other = self.live[other].next;
                    }
                }
                Verdict::Done
            }
        }
    }

    pub(crate) fn ask_for_side_write(&mut self, index: u32, out: &mut Vec<Output>) {
        let parks = self.is_held_back(index);
        let entry = &mut self.live[index];
        entry.state = State::SideWrite;
        let (offset, attempts, cause) = (Offset(entry.offset), u32::from(entry.attempts), entry.cause);
        let reason = self.troubled.get(&index).cloned().flatten();
        out.push(match parks {
            true => Output::Park { offset, attempts, cause, reason },
            false => Output::DeadLetter { offset, attempts, cause, reason },
        });
    }

    /// A wait is over.
    pub(crate) fn retry(&mut self, index: u32, out: &mut Vec<Output>) {
        match self.live[index].state {
            State::Backoff => {
                self.live[index].state = State::Waiting;
                self.let_go_on(index, out)
            }
            State::SideRetry if self.is_cut_off(index) => {
                self.live[index].state = State::Waiting;
                self.lose(index, out);
            }
            State::SideRetry => self.ask_for_side_write(index, out),
            state => unreachable!("{state:?} has no retry timer"),
        }
    }

    pub(crate) fn expire_lease(&mut self, index: u32, out: &mut Vec<Output>) {
        let consumer = self.live[index].consumer;
        self.counters.expired += 1;
        self.roster[consumer].expired += 1;
        if self.live[index].key != NIL {
            self.revoke_run(self.live[index].key, out);
        }
        let failure = Failure { cause: Cause::AckTimeout, counts: true, wait_ms: Some(0), reason: None };
        self.fail(index, failure, out);
        if self.mutated(Mutant::CreditLeak) {
            self.roster[consumer].in_flight += 1;
        }
    }

    /// Another policy: running leases are shortened if they would outlast it, blocked messages judged again.
    pub(crate) fn set_policy(&mut self, policy: FailurePolicy, out: &mut Vec<Output>) {
        let in_flight: Vec<u32> = self.leases.iter().collect();
        for index in in_flight {
            let growth = u32::from(self.live[index].growth);
            let latest = self.now.plus(policy.ack_timeout_ms << growth);
            self.live[index].due = self.live[index].due.min(latest);
        }
        for growth in 0..=Leases::IDLE {
            self.leases.shorten(growth, self.now.plus(policy.ack_timeout_ms << growth));
        }
        self.config.failure = policy;
        self.release_brakes(out);
        let blocked = |&(_, index): &(i64, u32)| self.live[index].state == State::Blocked;
        let blocked: Vec<(i64, u32)> = self.window.live(i64::MAX).filter(blocked).collect();
        for (_, index) in blocked {
            let FailurePolicy { poison, max_redelivery_count, .. } = self.config.failure;
            let stays = (poison == Poison::Block || poison == Poison::Park && !self.config.mode.is_keyed())
                && self.live[index].failures > max_redelivery_count;
            if self.live[index].state == State::Blocked && !stays {
                self.stop_waiting(index);
                self.let_go_on(index, out);
            }
        }
    }
}

/// At most [`Config::REASON_BYTES_MAX`] bytes of a reason, cut between characters.
fn shorten(mut reason: String) -> String {
    let mut end = reason.len().min(Config::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
