//! All invariants, by recount.

use crate::assignment::Assignment;
use crate::consumer::Link;
use crate::dispatcher::{Dispatcher, Timer};
use crate::entry::State;
use crate::slab::NIL;
use crate::window::Cell;

impl Dispatcher {
    /// Recounts every counter and link and asserts the invariants; holds after every step. For tests: it costs time in
    /// proportion to everything there is.
    pub fn check(&self) {
        let live = self.check_window();
        let unparked = self.parking.entries.len();
        assert_eq!(live + unparked, self.live.len(), "every entry is in the window once, or was parked");
        assert!(live <= self.config.live_max as usize, "live messages are bounded");
        assert!(self.window.span() <= i64::from(self.config.span_max), "the span is bounded");
        self.check_keys();
        self.check_leases();
        self.check_waits();
        self.check_placement();
        self.check_roster();
        self.check_fixpoint();
    }

    /// What was read and is neither done nor in memory.
    #[cfg(test)]
    pub(crate) fn spilled_offsets(&self) -> std::collections::BTreeSet<i64> {
        let read = self.window.cursor()..self.window.next_read();
        read.filter(|&offset| self.window.get(offset) == Cell::Spilled).collect()
    }

    fn check_window(&self) -> usize {
        let cursor = self.window.cursor();
        assert!(cursor <= self.window.next_read());
        assert!(self.window.get(cursor) != Cell::Done, "the cursor stands on what is not done");
        let (mut live, mut spilled) = (0, 0);
        for offset in cursor..self.window.end() {
            match self.window.get(offset) {
                Cell::Live(index) => {
                    assert!(offset < self.window.next_read());
                    assert_eq!(self.live[index].offset, offset);
                    live += 1;
                }
                Cell::Done => {}
                Cell::Spilled => {
                    assert!(offset < self.window.next_read());
                    spilled += 1;
                }
                Cell::Unread => assert!(offset >= self.window.next_read(), "what was read is live or done"),
            }
        }
        assert_eq!(spilled, self.spills.count, "what is spilled is counted");
        let ranges = self.spills.ranges.values();
        let hidden =
            (cursor..self.window.next_read()).filter(|&offset| self.window.get(offset) == Cell::Spilled);
        for offset in hidden {
            assert!(ranges.clone().any(|range| range.contains(&offset)), "some key knows of {offset}");
        }
        live
    }

    fn live(&self) -> impl Iterator<Item = u32> {
        let parked = self.parking.entries.values().copied();
        self.window.live(i64::MAX).map(|(_, index)| index).chain(parked)
    }

    /// I1 and I2: a key's messages ascend, and only the oldest is anywhere but waiting.
    fn check_keys(&self) {
        let mut messages = 0;
        let (mut keys, mut keys_in_log) = (0, 0);
        let free = self.live.keys.free_indices();
        for index in (0..(self.live.keys.len() + free.len()) as u32).filter(|index| !free.contains(index)) {
            keys += 1;
            let key = &self.live.keys[index];
            assert_eq!(self.live_key(key.hash), Some(index));
            let (mut at, mut last, mut count) = (key.head, i64::MIN, 0);
            assert_eq!(key.spilled, self.spills.ranges.contains_key(&index));
            let short = key.spilled && key.count == 0;
            assert!(
                !short
                    || self.spills.thirsty.contains(&index)
                    || self.spills.reading.is_some_and(|(hash, _)| hash == key.hash),
                "a spilled key that has nothing else is read again"
            );
            if key.head == NIL {
                assert!(
                    key.spilled && key.count == 0 && !key.ready && key.run == 0,
                    "only live keys take memory"
                );
                keys_in_log += 1;
                continue;
            }
            let holder = self.live[key.head].consumer;
            while at != NIL {
                let entry = &self.live[at];
                assert!(entry.key == index && entry.offset > last, "a key's messages ascend");
                let in_run = count < u32::from(key.run);
                let held = matches!(entry.state, State::InFlight | State::Acked);
                assert_eq!(in_run, held, "what is in flight is the front of its key");
                assert!(!held || entry.consumer == holder, "a run is at one consumer");
                assert!(at != key.head || entry.state != State::Acked, "an acked head is done");
                assert!(
                    at == key.head
                        || held
                        || matches!(entry.state, State::Waiting | State::Lost | State::Backoff),
                    "only the head goes"
                );
                assert!(at != key.head || entry.state != State::Lost, "a lost head is done at once");
                (last, count, at) = (entry.offset, count + 1, entry.next);
                assert!(at != NIL || self.live[key.tail].offset == last);
            }
            assert!(count > 0, "only live keys take memory");
            assert_eq!(count, key.count);
            assert!(
                count <= self.share() || !self.parking.keys.is_empty(),
                "no key takes more memory than its share"
            );
            assert_eq!(key.ready, self.is_ready(index), "what could be delivered is on its slot");
            messages += count as usize;
        }
        assert_eq!(keys, self.table.len());
        assert!(keys_in_log <= self.spills.ranges.len());
        assert!(self.spills.thirsty.iter().all(|key| self.spills.ranges.contains_key(key)));
        if self.config.mode.is_keyed() {
            assert_eq!(messages, self.live.len(), "every message is of a key");
        }
    }

    /// Whether a key's next message could be delivered if its consumer could take more.
    fn is_ready(&self, index: u32) -> bool {
        let key = &self.live.keys[index];
        let next = self.next_of(index);
        if key.run == 0 || next == NIL {
            return next != NIL && self.live[next].state == State::Waiting && !self.is_held_back(next);
        }
        let (holder, message) = (self.live[key.head].consumer, &self.live[next]);
        let used_up = message.failures > self.config.failure.max_redelivery_count;
        message.state == State::Waiting
            && !used_up
            && !self.is_held_back(next)
            && self.may_extend(index, next)
            && self.placement.slots[key.slot as usize].owner == holder
    }

    fn check_leases(&self) {
        let leased: Vec<u32> = self.leases.iter().collect();
        assert_eq!(leased.len(), self.leases.len);
        for growth in 0..crate::leases::Leases::IDLE {
            let of_length = leased.iter().filter(|&&index| usize::from(self.live[index].growth) == growth);
            assert!(of_length.is_sorted_by_key(|&index| self.live[index].due));
        }
        for &index in &leased {
            let key = self.live[index].key;
            let lowest = key == NIL || self.live.keys[key].head == index;
            let idle = usize::from(self.live[index].growth) == crate::leases::Leases::IDLE;
            assert_eq!(lowest, !idle, "the lowest message of a run has its lease");
        }
        assert!(leased.iter().all(|&index| self.live[index].state == State::InFlight));
        assert_eq!(
            leased.len(),
            self.live().filter(|&index| self.live[index].state == State::InFlight).count()
        );
        for (at, consumer) in self.roster.iter() {
            let held = leased.iter().filter(|&&index| self.live[index].consumer == at).count();
            assert_eq!(held, consumer.in_flight as usize, "consumer {} counts what it holds", consumer.id);
        }
        for &index in &leased {
            assert!(
                self.live[index].token.raw() >> 40 == u64::from(self.epoch.get()),
                "tokens are of this owner"
            );
        }
    }

    /// I5, first half: whatever waits is where its wake-up finds it.
    fn check_waits(&self) {
        let queued: Vec<u32> = self.queue.iter(&self.live).collect();
        assert_eq!(queued.len(), self.queue.len());
        for index in self.live() {
            let entry = &self.live[index];
            let timer = self.timers.contains(&(entry.due, Timer::Retry(index)));
            assert_eq!(
                timer,
                matches!(entry.state, State::Backoff | State::SideRetry),
                "{entry:?} and its timer"
            );
            let blocked = self.queue.blocked.contains(&entry.offset);
            assert_eq!(blocked, entry.state == State::Blocked && entry.key == NIL);
            assert_eq!(queued.contains(&index), entry.state == State::Waiting && entry.key == NIL);
            assert_eq!(self.troubled.contains_key(&index), entry.failures > 0);
        }
        assert!(self.troubled.len() <= self.live.len() && self.queue.blocked.len() <= self.live.len());
        for &(at, timer) in &self.timers {
            match timer {
                Timer::Retry(index) => assert_eq!(self.live[index].due, at),
                Timer::Grace(index) => {
                    assert!(self.roster[index].link == Link::Lost && self.roster[index].until == at)
                }
                Timer::Leave(index) => {
                    let consumer = &self.roster[index];
                    assert!(consumer.link == Link::Leaving && consumer.deadline == Some(at));
                }
                Timer::Declaration(group) => {
                    let group = self.declarations.get(group);
                    assert!(group.members.is_empty() && group.until == Some(at), "{group:?} ends at {at:?}");
                }
            }
        }
        for (_, group) in self.declarations.iter() {
            assert_eq!(
                group.until.is_none(),
                !group.members.is_empty(),
                "a declaration has members or an end"
            );
        }
    }

    fn check_placement(&self) {
        let members = self.slot_members();
        let mut fresh = Assignment::new();
        for &member in &members {
            fresh.join(self.config.slots, member, |place| self.roster[place].name_hash);
        }
        let owners = match members.len() {
            0 => vec![NIL; self.config.slots as usize],
            count => fresh.owners(&members, self.config.slots_max(count)),
        };
        let mut ready = 0;
        for (at, slot) in (0..).zip(&self.placement.slots) {
            let (mut key, mut last) = (slot.head, NIL);
            while key != NIL {
                assert!(self.live.keys[key].ready && self.live.keys[key].slot == at);
                assert!(key == slot.head || self.live.keys[key].prev == last);
                ready += 1;
                (last, key) = (key, self.live.keys[key].next);
            }
            assert_eq!(last, slot.tail);
            let in_ring = slot.owner != NIL && slot.head != NIL;
            assert_eq!(slot.next != NIL, in_ring, "a slot with ready keys is in its owner's ring");
            if at < self.placement.table() {
                // I13: a function of the members, whoever came first.
                assert_eq!(slot.owner, owners[at as usize], "slot {at} belongs to the best");
            }
        }
        assert_eq!(ready, self.placement.ready_keys);
        for (at, consumer) in self.roster.iter() {
            let slots = &self.placement.slots;
            let in_ring =
                (0..slots.len()).filter(|&slot| slots[slot].owner == at && slots[slot].head != NIL).count();
            let mut walked = 0;
            let mut slot = consumer.ring;
            while slot != NIL && (walked == 0 || slot != consumer.ring) {
                assert_eq!(slots[slot as usize].owner, at);
                walked += 1;
                slot = slots[slot as usize].next;
            }
            assert_eq!(walked, in_ring, "a ring has every slot of its consumer that has ready keys");
        }
    }

    fn check_roster(&self) {
        assert_eq!(self.roster.by_id.len(), self.roster.iter().count());
        assert_eq!(self.roster.by_name.len(), self.roster.by_id.len());
        for (at, consumer) in self.roster.iter() {
            assert_eq!(self.roster.by_id.get(&consumer.id), Some(&at));
            assert_eq!(self.roster.by_name.get(&consumer.name_hash), Some(&at));
            assert_eq!(consumer.queued, self.run.contains(&at));
            let grace = self.timers.contains(&(consumer.until, Timer::Grace(at)));
            assert_eq!(grace, consumer.link == Link::Lost);
            let leave =
                consumer.deadline.is_some_and(|at_ms| self.timers.contains(&(at_ms, Timer::Leave(at))));
            assert_eq!(leave, consumer.deadline.is_some(), "a deadline has a timer");
            assert!(
                consumer.link != Link::Leaving || consumer.in_flight > 0,
                "a drained consumer is forgotten"
            );
        }
        for (index, group) in self.declarations.iter() {
            let members =
                self.roster.iter().filter(|(_, member)| member.is_member() && member.group == index);
            let mut declared = group.members.clone();
            declared.sort_unstable();
            assert_eq!(declared, Vec::from_iter(members.map(|(at, _)| at)));
        }
        assert_eq!(self.run.len(), self.roster.iter().filter(|(_, consumer)| consumer.queued).count());
        assert!(self.drained.is_empty());
    }

    /// I5, second half: nothing more can be dispatched, and when consumers could take more, more was asked for.
    fn check_fixpoint(&self) {
        let room = self.live.len() < self.config.live_max as usize;
        let asks = self.spills.reading.is_some() || self.spills.thirsty.is_empty();
        assert!(asks || !room, "what is spilled is asked for when there is room");
        if self.placement.sweep_at != NIL {
            return;
        }
        for (at, consumer) in self.roster.connected().filter(|(_, consumer)| consumer.can_take()) {
            assert!(consumer.ring == NIL, "consumer {} could take what is ready for it", consumer.id);
            if self.config.mode == crate::Mode::Shared {
                assert!(
                    self.queue.peek(&self.live).is_none(),
                    "consumer {} could take a message",
                    consumer.id
                );
            }
            let draining = self.leases.len != consumer.in_flight as usize;
            if self.active == at && !draining {
                assert!(self.queue.peek(&self.live).is_none(), "the active consumer could take a message");
            }
            let wanting = !self.config.mode.is_ordered() || self.active == at;
            let starved = wanting && self.queue.blocked.is_empty() && self.room().is_some();
            assert!(
                self.fetching.is_some() || !starved,
                "there is room and demand, and nothing was asked for"
            );
        }
        let due = self.next_deadline();
        assert!(due.is_none_or(|due| due > self.now), "whatever was due is over");
    }
}
