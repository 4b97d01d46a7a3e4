//! Figures for people and for metrics.

use crate::ConsumerId;
use crate::consumer::Link;
use crate::dispatcher::Dispatcher;
use crate::entry::State;
use crate::placement::rank;
use crate::slab::NIL;
use keyway_record::{KeyHash, Offset};

/// What the dispatcher counts as it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Deliveries, redeliveries included.
    pub delivered: u64,
    /// Deliveries with an attempt above 1.
    pub redelivered: u64,
    /// Acks of what was in flight.
    pub acked: u64,
    /// Acks of what was no longer in flight and not delivered to anybody else.
    pub late_acks: u64,
    /// Acks and nacks that changed nothing.
    pub stale_acks: u64,
    /// Nacks of what was in flight.
    pub nacked: u64,
    /// Leases that ended.
    pub expired: u64,
    /// Messages that no filter wanted.
    pub skipped: u64,
    /// Messages that were used up and dropped.
    pub dropped: u64,
    /// Messages written elsewhere.
    pub dead_lettered: u64,
    /// Dead-letter writes that failed.
    pub side_write_errors: u64,
    /// Messages that the log dropped first.
    pub lost: u64,
}

/// Messages (the oldest of their keys) that wait, by what they wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Blocked {
    /// A consumer that holds as much as it may.
    pub credit: u64,
    /// A lost consumer that may be back, or, in the ordered modes, one that finishes what it holds.
    pub consumer: u64,
    /// Any consumer, or one whose filters were there a moment ago.
    pub nobody: u64,
    /// Their next try.
    pub backoff: u64,
    /// A person: used up under the policy that blocks. In the modes with one order, those behind it are counted too.
    pub poison: u64,
    /// A dead-letter write.
    pub side_write: u64,
    /// A consumer that wants their key, under the setting that holds those.
    pub unmatched: u64,
}

/// One consumer's figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerStats {
    /// Who.
    pub consumer: ConsumerId,
    /// Whether it can receive: not lost, not leaving.
    pub connected: bool,
    /// Whether it gets everything, in the ordered modes.
    pub active: bool,
    /// Messages it holds.
    pub in_flight: u32,
    /// Messages it may hold.
    pub credit: u32,
    /// Rendezvous slots it owns.
    pub slots: u32,
    /// Deliveries to it.
    pub delivered: u64,
    /// Its acks that counted.
    pub acked: u64,
    /// Its nacks that counted.
    pub nacked: u64,
    /// Its leases that ended.
    pub expired: u64,
}

/// A picture of a dispatcher. Costs time in proportion to what is live.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Everything below is done.
    pub cursor: Offset,
    /// Everything below was read. The lag in the log is its end minus the cursor minus `done_ahead`.
    pub next_read: Offset,
    /// Offsets between the two that are done.
    pub done_ahead: u64,
    /// Messages in memory.
    pub live_messages: u64,
    /// Keys that have messages in memory; in the modes without keys, 0.
    pub live_keys: u64,
    /// Messages delivered and unanswered.
    pub in_flight: u64,
    /// Messages that wait, by reason.
    pub blocked: Blocked,
    /// The consumers.
    pub consumers: Vec<ConsumerStats>,
    /// What was counted since this owner began.
    pub counters: Counters,
}

impl Dispatcher {
    /// A picture of what is going on.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let live = self.entries.len() as u64;
        Stats {
            cursor: Offset(self.window.cursor()),
            next_read: Offset(self.window.next_read()),
            done_ahead: self.window.span() as u64 - live,
            live_messages: live,
            live_keys: self.table.len() as u64,
            in_flight: self.leases.len as u64,
            blocked: self.blocked(),
            consumers: self.consumer_stats(),
            counters: self.counters,
        }
    }

    /// Which consumer a key's messages go to now, by filters and slots; `None` while there is nobody for it. Only
    /// Key-Shared places keys.
    #[must_use]
    pub fn owner_of(&self, key: &[u8]) -> Option<ConsumerId> {
        let slot = self.placement.slot_of(KeyHash::of(key));
        let wanting = self.roster.iter().filter(|(_, member)| {
            member.is_member() && member.group != NIL && self.declarations.get(member.group).wants(key)
        });
        let best = wanting.max_by_key(|(_, member)| rank(slot, member.name_hash));
        best.map(|(_, member)| member.id)
    }

    fn blocked(&self) -> Blocked {
        let mut blocked = Blocked::default();
        for (_, index) in self.window.live(i64::MAX) {
            match self.entries[index].state {
                State::Waiting if !self.is_head(index) => {}
                State::Waiting => *self.waits_for(index, &mut blocked) += 1,
                State::Backoff => blocked.backoff += 1,
                State::Blocked => blocked.poison += 1,
                State::SideWrite | State::SideRetry => blocked.side_write += 1,
                State::InFlight | State::Lost => {}
            }
        }
        blocked
    }

    /// What a message that could be delivered waits for.
    fn waits_for<'a>(&self, index: u32, blocked: &'a mut Blocked) -> &'a mut u64 {
        let entry = &self.entries[index];
        let owner = if entry.key != NIL {
            let slot = self.keys[entry.key].slot;
            if slot == self.placement.unmatched() {
                return &mut blocked.unmatched;
            }
            self.placement.slots[slot as usize].owner
        } else if self.queue.blocked.first().is_some_and(|&first| first < entry.offset) {
            return &mut blocked.poison;
        } else if self.config.mode.is_ordered() {
            self.active
        } else {
            self.roster.connected().next().map_or(NIL, |(at, _)| at)
        };
        if owner == NIL {
            &mut blocked.nobody
        } else if self.roster[owner].link == Link::Connected && !self.roster[owner].can_take() {
            &mut blocked.credit
        } else {
            &mut blocked.consumer
        }
    }

    fn consumer_stats(&self) -> Vec<ConsumerStats> {
        let mut slots = vec![0; self.roster.places() as usize];
        for slot in self.placement.slots.iter().take(self.config.slots as usize) {
            if slot.owner != NIL {
                slots[slot.owner as usize] += 1;
            }
        }
        let stats = self.roster.iter().map(|(at, consumer)| ConsumerStats {
            consumer: consumer.id,
            connected: consumer.link == Link::Connected,
            active: self.active == at,
            in_flight: consumer.in_flight,
            credit: consumer.credit,
            slots: slots[at as usize],
            delivered: consumer.delivered,
            acked: consumer.acked,
            nacked: consumer.nacked,
            expired: consumer.expired,
        });
        stats.collect()
    }
}
