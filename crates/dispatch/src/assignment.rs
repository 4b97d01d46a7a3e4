//! Which member owns which slot: rendezvous hashing with a bound on everyone's load.
//!
//! Every slot asks the members in the order of their scores for it; a member that has as many slots as it may keeps those
//! with the highest scores and sends the others on. Where everyone ends up depends on the members' names and on nothing
//! else: slots and members prefer by the same scores, so there is one outcome that no slot and member would both rather
//! leave, whoever asked first (Gale and Shapley 1962). Below the bound it is plain rendezvous hashing.

use crate::placement::rank;
use crate::slab::NIL;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Who may own slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// In the roster.
    pub(crate) place: u32,
    pub(crate) name_hash: u64,
}

/// What every slot would choose if nobody's load were bounded.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// Places of the members with the highest scores, by slot; `NIL` while there are none.
    first: Vec<u32>,
}

/// Next choices of a slot that are found at once: more than nearly any slot asks.
const CHOICES: usize = 16;

impl Assignment {
    pub(crate) fn new() -> Self {
        Self { first: Vec::new() }
    }

    /// A member more. `name_of` knows the others by their places.
    pub(crate) fn join(&mut self, slots: u32, joined: Member, name_of: impl Fn(u32) -> u64) {
        self.first.resize(slots as usize, NIL);
        for (slot, first) in (0..).zip(&mut self.first) {
            if *first == NIL || rank(slot, joined.name_hash) > rank(slot, name_of(*first)) {
                *first = joined.place;
            }
        }
    }

    /// A member less; `members` are the others.
    pub(crate) fn leave(&mut self, left: u32, members: &[Member]) {
        for (slot, first) in (0..).zip(&mut self.first).filter(|(_, first)| **first == left) {
            let best = members.iter().max_by_key(|member| rank(slot, member.name_hash));
            *first = best.map_or(NIL, |member| member.place);
        }
    }

    /// Every slot's owner among `members`, who own at most `load_max` slots each; together they may own all.
    pub(crate) fn owners(&self, members: &[Member], load_max: usize) -> Vec<u32> {
        let mut loads = BTreeMap::new();
        for &place in self.first.iter().filter(|&&place| place != NIL) {
            *loads.entry(place).or_insert(0usize) += 1;
        }
        if loads.values().all(|&load| load <= load_max) {
            return self.first.clone();
        }
        Proposals::new(self, members, load_max).settle()
    }
}

/// Slots that ask, and members that accept for the time being.
struct Proposals<'a> {
    members: &'a [Member],
    load_max: usize,
    /// By member: accepted slots, the lowest score on top.
    accepted: Vec<BinaryHeap<Reverse<(u64, u32)>>>,
    /// Slots that were sent on: the members to ask, the best last, and how many are known to have refused.
    choices: BTreeMap<u32, (Vec<u32>, usize)>,
}

impl<'a> Proposals<'a> {
    fn new(assignment: &Assignment, members: &'a [Member], load_max: usize) -> Self {
        assert!(load_max * members.len() >= assignment.first.len(), "the members can own all slots");
        let accepted = vec![BinaryHeap::new(); members.len()];
        let mut proposals = Self { members, load_max, accepted, choices: BTreeMap::new() };
        let index: BTreeMap<u32, u32> = members.iter().map(|member| member.place).zip(0..).collect();
        for (slot, first) in (0..).zip(&assignment.first) {
            let member = index[first];
            proposals.accept(slot, member);
        }
        proposals
    }

    fn accept(&mut self, slot: u32, member: u32) {
        let (score, _) = rank(slot, self.members[member as usize].name_hash);
        self.accepted[member as usize].push(Reverse((score, slot)));
    }

    fn settle(mut self) -> Vec<u32> {
        let mut over: Vec<u32> = (0..self.members.len() as u32).collect();
        while let Some(member) = over.pop() {
            while self.accepted[member as usize].len() > self.load_max {
                let Reverse((_, slot)) =
                    self.accepted[member as usize].pop().expect("it has more than it may");
                let next = self.next_choice(slot);
                self.accept(slot, next);
                if self.accepted[next as usize].len() > self.load_max {
                    over.push(next);
                }
            }
        }
        let slots = self.accepted.iter().map(BinaryHeap::len).sum();
        let mut owners = vec![NIL; slots];
        for (member, accepted) in self.members.iter().zip(&self.accepted) {
            accepted.iter().for_each(|&Reverse((_, slot))| owners[slot as usize] = member.place);
        }
        owners
    }

    /// The best member that has not refused this slot.
    fn next_choice(&mut self, slot: u32) -> u32 {
        // The first choice has refused, or it would not ask.
        let (choices, refused) = self.choices.entry(slot).or_insert((Vec::new(), 1));
        if choices.is_empty() {
            let members = (0..self.members.len() as u32).collect();
            *choices =
                ranked(members, *refused, |member| rank(slot, self.members[member as usize].name_hash));
        }
        *refused += 1;
        choices.pop().expect("the members can own all slots")
    }
}

/// The next few after so many of the best, the best last.
fn ranked(mut members: Vec<u32>, after: usize, rank: impl Fn(u32) -> (u64, u64)) -> Vec<u32> {
    let mut all: Vec<((u64, u64), u32)> = members.drain(..).map(|member| (rank(member), member)).collect();
    let end = all.len().min(after + CHOICES);
    if end < all.len() {
        all.select_nth_unstable_by_key(end, |&(rank, _)| Reverse(rank));
        all.truncate(end);
    }
    all.sort_unstable_by_key(|&(rank, _)| Reverse(rank));
    all.drain(..after.min(end));
    all.iter().rev().map(|&(_, member)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::mix;

    /// Pairs by descending score, each taken if slot and member are free: the definition.
    fn naive(slots: u32, members: &[Member], load_max: usize) -> Vec<u32> {
        let pair = |slot, member: &Member| (rank(slot, member.name_hash), slot, member.place);
        let mut pairs: Vec<_> =
            (0..slots).flat_map(|slot| members.iter().map(move |m| pair(slot, m))).collect();
        pairs.sort_unstable();
        let mut owners = vec![NIL; slots as usize];
        let mut loads = BTreeMap::new();
        for (_, slot, place) in pairs.into_iter().rev() {
            let load = loads.entry(place).or_insert(0);
            if owners[slot as usize] == NIL && *load < load_max {
                owners[slot as usize] = place;
                *load += 1;
            }
        }
        owners
    }

    fn members(count: u32) -> Vec<Member> {
        (0..count).map(|place| Member { place, name_hash: mix(u64::from(place) + 77) }).collect()
    }

    fn joined(slots: u32, members: &[Member]) -> Assignment {
        let mut assignment = Assignment::new();
        for &member in members {
            assignment.join(slots, member, |place| mix(u64::from(place) + 77));
        }
        assignment
    }

    #[test]
    fn agrees_with_the_definition() {
        for count in [1, 2, 3, 7, 20, 60] {
            for slots in [1u32, 8, 64, 256] {
                let members = members(count);
                let mean = (slots as usize).div_ceil(count as usize);
                for load_max in [mean, mean + 1, mean * 2, usize::MAX / 1_000] {
                    let owners = joined(slots, &members).owners(&members, load_max);
                    assert_eq!(owners, naive(slots, &members, load_max), "{count} {slots} {load_max}");
                }
            }
        }
    }

    #[test]
    fn history_does_not_show() {
        let members = members(30);
        let mut backwards = members.clone();
        backwards.reverse();
        let mut assignment = joined(1_024, &backwards);
        assignment.leave(members[3].place, &[&members[..3], &members[4..]].concat());
        assignment.join(1_024, members[3], |place| mix(u64::from(place) + 77));
        assert_eq!(assignment.owners(&members, 37), joined(1_024, &members).owners(&members, 37));
    }
}
