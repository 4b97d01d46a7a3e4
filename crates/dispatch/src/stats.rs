//! Figures for people and for metrics.

use crate::consumer::Link;
use crate::dispatcher::Dispatcher;
use crate::placement::rank;
use crate::slab::NIL;
use crate::{Cause, ConsumerId, Reason};
use keyway_record::{KeyHash, Offset};
use std::collections::BTreeMap;

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
    /// Deliveries that ended without an ack, by why.
    pub returned: ByCause,
    /// Dead letters, by the last failure.
    pub dead_lettered_by: ByCause,
    /// Messages written to where parked ones go.
    pub parked: u64,
    /// Parked messages that were processed after their key was released.
    pub unparked: u64,
    /// Messages that came back because another of their key failed before them.
    pub revoked: u64,
    /// Messages taken from leaving consumers at their deadline.
    pub forced_revokes: u64,
    /// Messages of hot keys that were left in the log, to be read again.
    pub spilled: u64,
    /// Times that the flood brake engaged.
    pub flood_brakes: u64,
    /// Acked messages by how often they were delivered: once, twice, …; the last one counts all that took longer.
    pub attempts: [u64; 8],
}

/// A figure by what ended a delivery without an ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByCause {
    /// The consumer said so.
    pub nack: u64,
    /// No answer within the ack timeout.
    pub ack_timeout: u64,
    /// The consumer was lost, or was made to give it back.
    pub disconnect: u64,
    /// No filter wanted the key.
    pub unmatched: u64,
}

impl ByCause {
    pub(crate) fn count(&mut self, cause: Cause) {
        let figure = match cause {
            Cause::Nack => &mut self.nack,
            Cause::AckTimeout => &mut self.ack_timeout,
            Cause::Disconnect => &mut self.disconnect,
            Cause::Unmatched => &mut self.unmatched,
        };
        *figure += 1;
    }

    /// All causes together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.nack + self.ack_timeout + self.disconnect + self.unmatched
    }
}

/// Messages (the oldest of their keys) that wait, by what they wait for: see [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Blocked {
    counts: [u64; Reason::ALL.len()],
}

impl Blocked {
    /// How many wait for this.
    #[must_use]
    pub fn by(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    fn by_mut(&mut self, reason: Reason) -> &mut u64 {
        &mut self.counts[reason as usize]
    }

    /// How many wait for anything.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.counts.iter().sum()
    }
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
    /// Whether the flood brake is engaged for it.
    pub flood_brake: bool,
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
    /// Offsets between the cursor and `next_read`; at `span_max` nothing more is read.
    pub span: u64,
    /// The bound of `span`.
    pub span_max: u64,
    /// The bound of `live_messages`.
    pub live_max: u64,
    /// Offsets in the span that are not done.
    pub holes: u64,
    /// Keys that could be delivered if their consumers could take more.
    pub ready_keys: u64,
    /// Hot keys with messages that are not in memory.
    pub spilled_keys: u64,
    /// Messages of theirs that are not in memory.
    pub spilled_messages: u64,
    /// Keys that are parked, or not yet through with what was parked.
    pub parked_keys: u64,
    /// Whether the flood brake is engaged for all consumers.
    pub flood_brake: bool,
    /// Messages that wait, by reason.
    pub blocked: Blocked,
    /// The oldest of them, by reason.
    pub oldest_blocked: Vec<(Reason, Offset)>,
    /// The consumers.
    pub consumers: Vec<ConsumerStats>,
    /// What was counted since this owner began.
    pub counters: Counters,
}

impl Dispatcher {
    /// A picture of what is going on.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let live = (self.live.len() - self.parking.entries.len()) as u64;
        let span = self.window.span() as u64;
        let (blocked, oldest_blocked) = self.blocked();
        Stats {
            cursor: Offset(self.window.cursor()),
            next_read: Offset(self.window.next_read()),
            done_ahead: span - live - self.spills.count,
            live_messages: live,
            live_keys: self.table.len() as u64,
            in_flight: self.leases.len as u64,
            span,
            span_max: u64::from(self.config.span_max),
            live_max: u64::from(self.config.live_max),
            holes: live + self.spills.count,
            ready_keys: u64::from(self.placement.ready_keys),
            spilled_keys: self.spills.ranges.len() as u64,
            spilled_messages: self.spills.count,
            parked_keys: self.parking.keys.len() as u64,
            flood_brake: self.outcomes.engaged,
            blocked,
            oldest_blocked,
            consumers: self.consumer_stats(),
            counters: self.counters,
        }
    }

    /// Which consumer a key's messages go to now, by filters and slots; `None` while there is nobody for it. Only
    /// Key-Shared places keys.
    #[must_use]
    pub fn owner_of(&self, key: &[u8]) -> Option<ConsumerId> {
        let slot = self.placement.slot_of(KeyHash::of(key));
        let open = self.declarations.open();
        if !self.declarations.iter().any(|(group, declared)| Some(group) != open && declared.wants(key)) {
            let owner = self.placement.slots.get(slot as usize).map_or(NIL, |slot| slot.owner);
            return (owner != NIL).then(|| self.roster[owner].id);
        }
        let wanting = self.roster.iter().filter(|(_, member)| {
            member.is_member() && member.group != NIL && self.declarations.get(member.group).wants(key)
        });
        let best = wanting.max_by_key(|(_, member)| rank(slot, member.name_hash));
        best.map(|(_, member)| member.id)
    }

    fn blocked(&self) -> (Blocked, Vec<(Reason, Offset)>) {
        let mut blocked = Blocked::default();
        let mut oldest = BTreeMap::new();
        for (offset, index) in self.window.live(i64::MAX) {
            if let Some(reason) = self.reason(index) {
                *blocked.by_mut(reason) += 1;
                oldest.entry(reason).or_insert(Offset(offset));
            }
        }
        for (&offset, &index) in &self.parking.entries {
            if let Some(reason) = self.reason(index) {
                *blocked.by_mut(reason) += 1;
                let first = oldest.entry(reason).or_insert(Offset(offset));
                *first = Offset(offset).min(*first);
            }
        }
        for (&key, range) in &self.spills.ranges {
            if self.live.keys[key].head == NIL {
                *blocked.by_mut(Reason::Reread) += 1;
                let first = oldest.entry(Reason::Reread).or_insert(Offset(range.start));
                *first = Offset(range.start).min(*first);
            }
        }
        (blocked, oldest.into_iter().collect())
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
            flood_brake: consumer.outcomes.engaged,
        });
        stats.collect()
    }
}
