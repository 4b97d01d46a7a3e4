//! How many unanswered messages a consumer may hold.
//!
//! Danube's clients have no flow control: they queue what they get. A message that waits in a slow client's queue for
//! longer than the ack timeout would count as failed though nobody touched it, so the window follows the time that
//! messages take to be answered: it grows while answers are fast and shrinks when they come near the timeout.

use keyway_dispatch::Config;

/// Window of a consumer that nothing is known of. Danube's own default is 10 for the whole subscription.
const INITIAL: u32 = 16;

/// An answer within this part of the ack timeout lets the window grow.
const FAST_PART: u64 = 8;

/// An answer later than this part of the ack timeout shrinks it.
const SLOW_PART: u64 = 4;

/// The window of one consumer's stream.
#[derive(Debug)]
pub(super) struct Window {
    credit: u32,
    /// The credit never exceeds it.
    limit: u32,
    ack_timeout_ms: u64,
    /// Answers that were on their way before the last change showed.
    pending: u32,
}

impl Window {
    pub(super) fn new(ack_timeout_ms: u64) -> Self {
        Self { credit: INITIAL, limit: Config::CREDIT_DEFAULT, ack_timeout_ms, pending: 0 }
    }

    /// From now on answers are measured by another timeout.
    pub(super) fn set_ack_timeout(&mut self, ack_timeout_ms: u64) {
        self.ack_timeout_ms = ack_timeout_ms;
    }

    /// From now on at most `limit` messages; returns the new window if it changed.
    pub(super) fn set_limit(&mut self, limit: u32) -> Option<u32> {
        self.limit = limit.clamp(1, Config::CREDIT_DEFAULT);
        self.change(self.credit)
    }

    pub(super) fn credit(&self) -> u32 {
        self.credit
    }

    /// A message was answered after `held_ms`; returns the new window if it changed.
    pub(super) fn answered(&mut self, held_ms: u64) -> Option<u32> {
        if held_ms * SLOW_PART > self.ack_timeout_ms {
            if self.pending > 0 {
                self.pending -= 1;
                return None;
            }
            self.pending = self.credit;
            return self.change(self.credit - self.credit.div_ceil(3));
        }
        if held_ms * FAST_PART <= self.ack_timeout_ms {
            self.pending = 0;
            return self.change(self.credit + 1);
        }
        None
    }

    fn change(&mut self, credit: u32) -> Option<u32> {
        let credit = credit.clamp(1, self.limit);
        (std::mem::replace(&mut self.credit, credit) != credit).then_some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A client that takes `work_ms` for each message, one after another, from a full window.
    fn longest_wait(work_ms: u64, messages: u64) -> u64 {
        let mut window = Window::new(30_000);
        let mut held: VecDeque<u64> = VecDeque::new();
        let mut longest = 0;
        for now in (0..messages).map(|index| index * work_ms) {
            while held.len() < window.credit() as usize {
                held.push_back(now);
            }
            let waited = now + work_ms - held.pop_front().expect("a window is at least 1");
            longest = longest.max(waited);
            window.answered(waited);
        }
        longest
    }

    #[test]
    fn no_message_waits_for_the_ack_timeout_however_slow_the_client() {
        for work_ms in [1, 10, 100, 500, 1_000, 1_500] {
            let longest = longest_wait(work_ms, 1_000);
            assert!(longest < 30_000, "{work_ms} ms of work: {longest} ms");
        }
    }

    #[test]
    fn a_limit_holds_whatever_the_speed() {
        let mut window = Window::new(30_000);
        assert_eq!(window.set_limit(5), Some(5));
        (0..100).for_each(|_| _ = window.answered(2));
        assert_eq!(window.credit(), 5);
        assert_eq!(window.set_limit(1_000), None);
        (0..100).for_each(|_| _ = window.answered(2));
        assert_eq!(window.credit(), Config::CREDIT_DEFAULT);
    }

    #[test]
    fn a_fast_client_gets_the_whole_window() {
        let mut window = Window::new(30_000);
        (0..100).for_each(|_| _ = window.answered(2));
        assert_eq!(window.credit(), Config::CREDIT_DEFAULT);
        assert_eq!(window.answered(2), None);
    }
}
