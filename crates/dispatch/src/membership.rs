//! Consumers come, go, come back, and change what they want.

use crate::assignment::Member;
use crate::consumer::Link;
use crate::declarations::normalize;
use crate::dispatcher::{Dispatcher, Timer};
use crate::entry::State;
use crate::failure::Failure;
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::{Cause, Config, ConsumerId, Disconnects, Join, Millis, Mode, Output, Refusal};
use bytes::Bytes;

impl Dispatcher {
    pub(crate) fn join(&mut self, join: Join, out: &mut Vec<Output>) {
        let Join { consumer: id, name_hash, filters, credit, in_flight_per_key } = join;
        let known = self.roster.by_name.get(&name_hash).copied();
        if let Err(refusal) = self.may_join(known).and_then(|()| self.may_declare(&filters)) {
            out.push(Output::Refused { consumer: id, refusal });
            return;
        }
        if let Some(&other) = self.roster.by_id.get(&id)
            && known != Some(other)
        {
            self.expel(other, out);
        }
        let index = match known {
            Some(index) => self.take_over(index, id, out),
            None => self.roster.add(id, name_hash, credit),
        };
        self.roster[index].credit = credit;
        let per_key = in_flight_per_key.clamp(1, Config::IN_FLIGHT_PER_KEY_MAX);
        if self.config.mode.is_keyed() {
            self.roster[index].in_flight_per_key = per_key as u16;
            self.pipelining |= per_key > 1;
        }
        self.declare(index, &filters);
        self.elect();
        self.wake(index);
    }

    fn may_join(&self, known: Option<u32>) -> Result<(), Refusal> {
        let mut others = self.roster.iter().filter(|&(at, other)| Some(at) != known && other.is_member());
        if self.config.mode == Mode::Exclusive
            && let Some((_, holder)) = others.next()
        {
            return Err(Refusal::Exclusive { holder: holder.id });
        }
        if known.is_none() && self.roster.len() >= self.config.consumers_max as usize {
            return Err(Refusal::TooManyConsumers { max: self.config.consumers_max });
        }
        Ok(())
    }

    fn may_declare(&self, filters: &[Bytes]) -> Result<(), Refusal> {
        let max = Config::PATTERN_BYTES_MAX;
        if let Some(pattern) = filters.iter().find(|pattern| pattern.len() > max) {
            return Err(Refusal::PatternTooLong { len: pattern.len(), max });
        }
        let patterns = normalize(filters);
        let all = self.declarations.patterns() + patterns.len();
        if all > self.config.patterns_max as usize && self.declarations.find(&patterns).is_none() {
            return Err(Refusal::TooManyPatterns { max: self.config.patterns_max });
        }
        Ok(())
    }

    /// A consumer of the same name is there. What it holds returns, unless it was leaving: then it keeps it to finish, if
    /// it takes one message of a key at a time.
    fn take_over(&mut self, index: u32, id: ConsumerId, out: &mut Vec<Output>) -> u32 {
        let old = self.roster[index].id;
        if old != id {
            self.roster.rename(index, id);
            out.push(Output::Replaced { consumer: old });
        }
        match self.roster[index].link {
            Link::Connected => self.return_lost(index, out),
            Link::Lost => {
                self.stop_grace(index);
                self.return_lost(index, out);
            }
            Link::Leaving => {
                self.set_leave_deadline(index, None);
                // The new stream must not be given the end of a run whose beginning the old one has.
                if self.roster[index].in_flight_per_key > 1 {
                    self.return_held(index, Disconnects::Ignore, out);
                }
            }
            Link::Free => unreachable!("a known consumer has a place"),
        }
        self.roster[index].link = Link::Connected;
        index
    }

    pub(crate) fn leave(&mut self, id: ConsumerId, deadline: Option<Millis>, out: &mut Vec<Output>) {
        let Some(&index) = self.roster.by_id.get(&id) else { return };
        match self.roster[index].link {
            Link::Connected => {}
            Link::Lost => {
                self.stop_grace(index);
                self.return_lost(index, out);
            }
            Link::Leaving => return self.set_leave_deadline(index, deadline),
            Link::Free => return,
        }
        self.start_leaving(index);
        if self.roster[index].in_flight > 0 {
            self.set_leave_deadline(index, deadline);
        }
        if self.mutated(Mutant::LeaveWithoutDrain) {
            self.return_lost(index, out);
        }
    }

    fn set_leave_deadline(&mut self, index: u32, deadline: Option<Millis>) {
        if let Some(old) = std::mem::replace(&mut self.roster[index].deadline, deadline) {
            self.timers.remove(&(old, Timer::Leave(index)));
        }
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, Timer::Leave(index)));
        }
    }

    /// A leaving consumer's time is over.
    pub(crate) fn take_back(&mut self, index: u32, out: &mut Vec<Output>) {
        self.roster[index].deadline = None;
        self.counters.forced_revokes += u64::from(self.roster[index].in_flight);
        let held = self.leases.iter().map(|entry| (entry, self.live[entry].key));
        let mut heads: Vec<(i64, u32)> = held
            .filter(|&(entry, key)| {
                key != NIL && self.live.keys[key].head == entry && self.live[entry].consumer == index
            })
            .map(|(entry, key)| (self.live[entry].offset, key))
            .collect();
        heads.sort_unstable();
        heads.into_iter().for_each(|(_, key)| self.revoke_run(key, out));
        self.return_held(index, Disconnects::Ignore, out);
    }

    pub(crate) fn gone(&mut self, id: ConsumerId, out: &mut Vec<Output>) {
        let Some(&index) = self.roster.by_id.get(&id) else { return };
        match self.roster[index].link {
            Link::Connected => {}
            Link::Leaving => return self.return_lost(index, out),
            Link::Lost | Link::Free => return,
        }
        match self.config.mode {
            // Its place waits for it: its keys, or the right to the subscription.
            Mode::KeyShared | Mode::Exclusive => {
                let consumer = &mut self.roster[index];
                consumer.link = Link::Lost;
                consumer.until = self.now.plus(self.config.reconnect_grace_ms);
                self.timers.insert((consumer.until, Timer::Grace(index)));
                if !self.config.mode.is_keyed() {
                    self.return_lost(index, out);
                }
                self.elect();
            }
            Mode::Shared | Mode::Failover => self.expel(index, out),
        }
    }

    pub(crate) fn resume(&mut self, id: ConsumerId) {
        let Some(&index) = self.roster.by_id.get(&id) else { return };
        if self.roster[index].link == Link::Lost {
            self.stop_grace(index);
            self.roster[index].link = Link::Connected;
            self.elect();
            self.wake(index);
        }
    }

    pub(crate) fn set_credit(&mut self, id: ConsumerId, credit: u32) {
        let Some(&index) = self.roster.by_id.get(&id) else { return };
        self.roster[index].credit = credit;
        self.wake(index);
    }

    pub(crate) fn set_filters(&mut self, id: ConsumerId, filters: Vec<Bytes>, out: &mut Vec<Output>) {
        let Some(&index) = self.roster.by_id.get(&id) else { return };
        if !self.roster[index].is_member() {
            return;
        }
        match self.may_declare(&filters) {
            Ok(()) => self.declare(index, &filters),
            Err(refusal) => out.push(Output::Refused { consumer: id, refusal }),
        }
    }

    /// The grace of a lost consumer is over.
    pub(crate) fn give_up(&mut self, index: u32, out: &mut Vec<Output>) {
        assert_eq!(self.roster[index].link, Link::Lost, "only a lost consumer has a grace");
        self.expel(index, out);
    }

    /// Forgets a consumer at once; what it holds returns.
    fn expel(&mut self, index: u32, out: &mut Vec<Output>) {
        if self.roster[index].link == Link::Lost {
            self.timers.remove(&(self.roster[index].until, Timer::Grace(index)));
        }
        if self.roster[index].is_member() {
            self.start_leaving(index);
        }
        self.return_lost(index, out);
        self.drained.retain(|&other| other != index);
        self.remove(index);
    }

    /// From now on it gets nothing new.
    fn start_leaving(&mut self, index: u32) {
        self.roster[index].link = Link::Leaving;
        let group = std::mem::replace(&mut self.roster[index].group, NIL);
        self.release_declaration(group, index);
        self.give_slots_away(index);
        self.elect();
        if self.roster[index].in_flight == 0 {
            self.drained.push(index);
        }
    }

    pub(crate) fn forget_drained(&mut self, out: &mut Vec<Output>) {
        while let Some(index) = self.drained.pop() {
            let consumer = &self.roster[index];
            if consumer.link == Link::Leaving && consumer.in_flight == 0 {
                out.push(Output::Drained { consumer: consumer.id });
                self.remove(index);
                self.touch().urgent = true;
            }
        }
    }

    fn remove(&mut self, index: u32) {
        self.set_leave_deadline(index, None);
        self.run.retain(|&other| other != index);
        self.roster[index].queued = false;
        self.roster.remove(index);
    }

    fn stop_grace(&mut self, index: u32) {
        assert!(
            self.timers.remove(&(self.roster[index].until, Timer::Grace(index))),
            "a lost consumer has a grace"
        );
    }

    /// What a lost consumer holds goes back.
    fn return_lost(&mut self, index: u32, out: &mut Vec<Output>) {
        self.return_held(index, self.config.failure.disconnects, out);
    }

    /// What a consumer holds goes back to the heads of its keys, the oldest first, and can be delivered at once.
    fn return_held(&mut self, index: u32, disconnects: Disconnects, out: &mut Vec<Output>) {
        let held = self.leases.iter().filter(|&entry| self.live[entry].consumer == index);
        let mut held: Vec<(i64, u32)> = held.map(|entry| (self.live[entry].offset, entry)).collect();
        held.sort_unstable();
        for (nth, (_, entry)) in held.into_iter().enumerate() {
            if self.live[entry].state != State::InFlight {
                continue; // It went back with an older one of its key.
            }
            if self.mutated(Mutant::AckOnLoss) {
                self.release(entry);
                self.complete(entry, out);
                continue;
            }
            // One order, one run: only the oldest can be what took the consumer down.
            let oldest = nth == 0 || !self.config.mode.is_ordered();
            let counts = oldest && disconnects == Disconnects::Count;
            let failure = Failure { cause: Cause::Disconnect, counts, wait_ms: None, reason: None };
            self.fail(entry, failure, out);
        }
    }

    /// The ordered modes have one active consumer: it stays so while it is connected, then the next by order of joining.
    fn elect(&mut self) {
        let connected = |at: u32| self.roster[at].link == Link::Connected;
        if self.config.mode.is_ordered() && (self.active == NIL || !connected(self.active)) {
            let next = self.roster.connected().min_by_key(|(_, consumer)| consumer.joined);
            self.active = next.map_or(NIL, |(at, _)| at);
        }
    }

    /// A member declares what it wants, and takes the slots that it wins.
    fn declare(&mut self, index: u32, filters: &[Bytes]) {
        if !self.config.mode.is_keyed() {
            return;
        }
        let patterns = normalize(filters);
        let old = self.roster[index].group;
        if old != NIL && self.declarations.get(old).patterns == patterns {
            return;
        }
        let group = match self.declarations.find(&patterns) {
            Some(group) => group,
            None => self.declarations.add(patterns),
        };
        let declared = self.declarations.get_mut(group);
        declared.members.push(index);
        if declared.members.len() == 1 {
            // One that was retained has a timer; one from a former owner has it at the beginning of time.
            let until = declared.until.take().unwrap_or_default();
            self.timers.remove(&(until, Timer::Declaration(group)));
        }
        self.roster[index].group = group;
        self.release_declaration(old, index);
        self.placement.reserve(self.roster.places());
        self.give_slot(self.placement.private(index), index);
        if Some(group) == self.declarations.open() {
            self.win_slots(index);
        }
        if old != NIL {
            self.give_slots_away(index);
        }
        self.touch();
        self.place_anew_if_filtered();
    }

    /// One member less; the last one's declaration counts for a while.
    fn release_declaration(&mut self, group: u32, index: u32) {
        if group == NIL {
            return;
        }
        let grace_ms = if self.mutated(Mutant::NoFilterGrace) { 0 } else { self.config.filter_grace_ms };
        let until = self.now.plus(grace_ms);
        let declared = self.declarations.get_mut(group);
        declared.members.retain(|&member| member != index);
        if declared.members.is_empty() {
            declared.until = Some(until);
            self.timers.insert((until, Timer::Declaration(group)));
        }
        self.touch();
    }

    /// The time of a declaration without members is over, or, after a restart, begins.
    pub(crate) fn forget_declaration(&mut self, group: u32) {
        let declared = self.declarations.get_mut(group);
        assert!(declared.members.is_empty(), "a declaration with members has no timer");
        if declared.until.is_none() {
            let until = self.now.plus(self.config.filter_grace_ms);
            declared.until = Some(until);
            self.timers.insert((until, Timer::Declaration(group)));
            return;
        }
        let filtered = !self.declarations.all_open();
        self.declarations.remove(group);
        self.touch();
        if filtered {
            self.place_anew();
        }
    }

    /// Without filters a change of members moves slots; with filters each ready key may have another consumer.
    fn place_anew_if_filtered(&mut self) {
        if !self.declarations.all_open() {
            self.place_anew();
        }
    }

    /// A member without filters takes its slots.
    fn win_slots(&mut self, index: u32) {
        let joined = Member { place: index, name_hash: self.roster[index].name_hash };
        let Self { placement, roster, .. } = self;
        placement.assignment.join(self.config.slots, joined, |place| roster[place].name_hash);
        self.assign_slots();
        if self.mutated(Mutant::GreedyJoin) {
            (0..self.placement.table()).step_by(3).for_each(|slot| self.give_slot(slot, index));
        }
    }

    /// The slots of one that is no longer an unfiltered member go to the next best.
    fn give_slots_away(&mut self, index: u32) {
        if !self.config.mode.is_keyed() {
            return;
        }
        if !self.roster[index].is_member() {
            // What is ready there is placed anew.
            self.give_slot(self.placement.private(index), NIL);
        }
        let open = self.declarations.open();
        let stays = self.roster[index].is_member() && Some(self.roster[index].group) == open;
        if !stays {
            let heirs = self.slot_members();
            self.placement.assignment.leave(index, &heirs);
            self.assign_slots();
        }
        self.place_anew_if_filtered();
    }

    /// Those who own slots: the members without filters.
    pub(crate) fn slot_members(&self) -> Vec<Member> {
        let open = self.declarations.open();
        let members =
            self.roster.iter().filter(|(_, member)| member.is_member() && Some(member.group) == open);
        members.map(|(place, member)| Member { place, name_hash: member.name_hash }).collect()
    }

    fn assign_slots(&mut self) {
        let members = self.slot_members();
        let owners = self.placement.assignment.owners(&members, self.config.slots_max(members.len()));
        for (slot, owner) in (0..).zip(owners) {
            self.give_slot(slot, owner);
        }
    }

    fn give_slot(&mut self, slot: u32, owner: u32) {
        if self.placement.slots[slot as usize].owner != owner
            && let Some(owner) = self.placement.set_owner(&mut self.roster, slot, owner)
        {
            self.wake(owner);
        }
    }
}
