//! Single keys, as people look at them.

use crate::consumer::Link;
use crate::dispatcher::Dispatcher;
use crate::entry::State;
use crate::slab::NIL;
use crate::{ConsumerId, Mode};
use keyway_record::{KeyHash, Offset};
use std::cmp::Reverse;

/// Which keys come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyOrder {
    /// The most deliveries of late.
    Rate,
    /// The most messages that wait.
    Backlog,
    /// The oldest message that is not done.
    Age,
}

/// What the oldest message of a key, or a message without one, waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// A consumer that holds as much as it may.
    Credit,
    /// A lost consumer that may be back, or, in the ordered modes, one that finishes what it holds.
    Consumer,
    /// Any consumer, or one whose filters were there a moment ago.
    Nobody,
    /// Its next try.
    Backoff,
    /// A person: it is used up.
    Poison,
    /// A dead-letter write.
    SideWrite,
    /// A consumer that wants its key, under the setting that holds those.
    Unmatched,
    /// A person: its key is parked.
    Parked,
    /// Being read again: its key was hot.
    Reread,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Credit,
        Self::Consumer,
        Self::Nobody,
        Self::Backoff,
        Self::Poison,
        Self::SideWrite,
        Self::Unmatched,
        Self::Parked,
        Self::Reread,
    ];
}

/// One key.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyView {
    /// Its hash; the record at `first` has its bytes.
    pub hash: KeyHash,
    /// Its oldest message that is not done; if it has none, one that was delivered lately.
    pub first: Offset,
    /// The consumer that holds its messages, or would be given the next.
    pub owner: Option<ConsumerId>,
    /// Messages that wait and are in memory.
    pub waiting: u32,
    /// Whether there are more, which will be read again: it is hot.
    pub spilled: bool,
    /// Messages delivered and unanswered.
    pub in_flight: u32,
    /// Deliveries of the oldest message.
    pub attempts: u32,
    /// What it waits for, if nothing of it is in flight.
    pub blocked: Option<Reason>,
    /// Deliveries per second of late, estimated; 0 if it is not among the busiest.
    pub rate_per_s: f64,
}

impl Dispatcher {
    /// The first `limit` keys in this order. Costs time in proportion to the live keys. Only Key-Shared knows keys.
    #[must_use]
    pub fn keys(&self, order: KeyOrder, limit: usize) -> Vec<KeyView> {
        if order == KeyOrder::Rate {
            let busiest = self.rates.busiest().into_iter().take(limit);
            return busiest
                .map(|(hash, last)| self.key(hash).unwrap_or_else(|| self.idle(hash, last)))
                .collect();
        }
        let mut keys = self.live_keys(order);
        if limit < keys.len() {
            keys.select_nth_unstable(limit);
            keys.truncate(limit);
        }
        keys.sort_unstable();
        keys.into_iter().map(|(_, _, key)| self.view(key)).collect()
    }

    /// One key, if it has messages that are not done.
    #[must_use]
    pub fn key(&self, hash: KeyHash) -> Option<KeyView> {
        self.live_key(hash).map(|key| self.view(key))
    }

    /// The live keys with what orders them: the fewest first, then the oldest.
    fn live_keys(&self, order: KeyOrder) -> Vec<(Reverse<u32>, i64, u32)> {
        let mut keys = Vec::with_capacity(self.table.len());
        for (offset, index) in self.window.live(i64::MAX) {
            let key = self.live[index].key;
            if key != NIL && self.live.keys[key].head == index {
                let count = if order == KeyOrder::Backlog { self.live.keys[key].count } else { 0 };
                keys.push((Reverse(count), offset, key));
            }
        }
        keys
    }

    fn idle(&self, hash: KeyHash, last: i64) -> KeyView {
        KeyView {
            hash,
            first: Offset(last),
            owner: None,
            waiting: 0,
            spilled: false,
            in_flight: 0,
            attempts: 0,
            blocked: None,
            rate_per_s: self.rates.per_second(self.now, hash),
        }
    }

    fn view(&self, key: u32) -> KeyView {
        let live = &self.live.keys[key];
        if live.head == NIL {
            let first = self.spills.ranges.get(&key).map_or(self.window.cursor(), |range| range.start);
            let blocked = Some(Reason::Reread);
            return KeyView { spilled: true, blocked, ..self.idle(live.hash, first) };
        }
        let head = &self.live[live.head];
        let in_flight = u32::from(live.run);
        let owner = if in_flight > 0 { head.consumer } else { self.owner_of_slot(live.slot) };
        KeyView {
            hash: live.hash,
            first: Offset(head.offset),
            owner: (owner != NIL).then(|| self.roster[owner].id),
            waiting: live.count - in_flight,
            spilled: live.spilled,
            in_flight,
            attempts: u32::from(head.attempts),
            blocked: self.reason(live.head),
            rate_per_s: self.rates.per_second(self.now, live.hash),
        }
    }

    fn owner_of_slot(&self, slot: u32) -> u32 {
        self.placement.slots.get(slot as usize).map_or(NIL, |slot| slot.owner)
    }

    /// What a message waits for; nothing if it is in flight or another of its key is before it.
    pub(crate) fn reason(&self, index: u32) -> Option<Reason> {
        match self.live[index].state {
            _ if !self.is_head(index) => None,
            State::Waiting if self.is_held_back(index) => Some(Reason::Parked),
            State::Waiting => Some(self.waits_for(index)),
            State::Backoff => Some(Reason::Backoff),
            State::Blocked => Some(Reason::Poison),
            State::SideWrite | State::SideRetry => Some(Reason::SideWrite),
            State::InFlight | State::Acked | State::Lost => None,
        }
    }

    /// What a message that could be delivered waits for.
    fn waits_for(&self, index: u32) -> Reason {
        let entry = &self.live[index];
        let owner = if entry.key != NIL {
            let slot = self.live.keys[entry.key].slot;
            if slot == self.placement.unmatched() {
                return Reason::Unmatched;
            }
            self.owner_of_slot(slot)
        } else if self.queue.blocked.first().is_some_and(|&first| first < entry.offset) {
            return Reason::Poison;
        } else if self.config.mode == Mode::Shared {
            self.roster.connected().next().map_or(NIL, |(at, _)| at)
        } else {
            self.active
        };
        if owner == NIL {
            Reason::Nobody
        } else if self.roster[owner].link == Link::Connected && !self.roster[owner].can_take() {
            Reason::Credit
        } else {
            Reason::Consumer
        }
    }
}
