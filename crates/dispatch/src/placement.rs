//! Which consumer a key belongs to: rendezvous hashing over fixed slots.
//!
//! A slot belongs to the member with the highest score for it, so a join takes only what it wins and a leave gives away
//! only what it had. Ready keys hang on slots, slots with ready keys on the ring of their owner: a change of members
//! relinks slots. Behind the table of slots lie single slots of the same kind: one for keys whose filters' consumers are
//! all away, one for keys that no filter wants, and one per consumer for keys that only some consumers want.

use crate::assignment::Assignment;
use crate::consumer::Roster;
use crate::key::Key;
use crate::slab::{NIL, Slab};
use keyway_record::KeyHash;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) owner: u32,
    /// Ready keys, first in first out.
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// Neighbours in the owner's ring, while there are ready keys.
    pub(crate) next: u32,
    pub(crate) prev: u32,
}

const EMPTY: Slot = Slot { owner: NIL, head: NIL, tail: NIL, next: NIL, prev: NIL };

#[derive(Clone, Debug)]
pub(crate) struct Placement {
    /// Slots of the table.
    table: u32,
    pub(crate) slots: Vec<Slot>,
    pub(crate) assignment: Assignment,
    /// Grows when keys may have to be placed anew. On every slot, keys of older versions come before those of this one.
    pub(crate) version: u32,
    /// The first slot that may have ready keys of an older version; `NIL` when none has.
    pub(crate) sweep_at: u32,
    pub(crate) ready_keys: u32,
}

/// How well a consumer suits a slot; the name alone decides, so that no history and no node sees it otherwise.
pub(crate) fn score(slot: u32, name_hash: u64) -> u64 {
    mix(name_hash.wrapping_add(mix(u64::from(slot) + 1)))
}

/// A bijection of 64 bits in which every input bit reaches every output bit.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// The better of two candidates for a slot: score, then name.
pub(crate) fn rank(slot: u32, name_hash: u64) -> (u64, u64) {
    (score(slot, name_hash), name_hash)
}

impl Placement {
    pub(crate) fn new(table: u32) -> Self {
        Self {
            table,
            slots: Vec::new(),
            assignment: Assignment::new(),
            version: 0,
            sweep_at: NIL,
            ready_keys: 0,
        }
    }

    pub(crate) fn table(&self) -> u32 {
        self.table
    }

    /// Keys wanted by consumers that are all away.
    #[inline]
    pub(crate) fn nobody(&self) -> u32 {
        self.table
    }

    /// Keys that no filter wants.
    #[inline]
    pub(crate) fn unmatched(&self) -> u32 {
        self.table + 1
    }

    /// Keys that only some consumers want, and this one most.
    #[inline]
    pub(crate) fn private(&self, consumer: u32) -> u32 {
        self.table + 2 + consumer
    }

    /// The slot of the table that a key falls in: its hash's top bits.
    #[inline]
    pub(crate) fn slot_of(&self, hash: KeyHash) -> u32 {
        ((u64::from(self.table) * (hash.high() >> 32)) >> 32) as u32
    }

    /// Makes the slots for this many consumers' places.
    pub(crate) fn reserve(&mut self, places: u32) {
        let wanted = self.private(places) as usize;
        for index in self.slots.len()..wanted {
            let mut slot = EMPTY;
            slot.owner = (index as u32).checked_sub(self.table + 2).unwrap_or(NIL);
            self.slots.push(slot);
        }
    }

    /// Hangs a key on the slot it names. Returns the owner if it may have become runnable.
    #[inline(always)]
    pub(crate) fn link(&mut self, keys: &mut Slab<Key>, roster: &mut Roster, index: u32) -> Option<u32> {
        let key = &mut keys[index];
        assert!(!key.ready);
        key.ready = true;
        self.ready_keys += 1;
        let at = key.slot;
        let tail = self.slots[at as usize].tail;
        (key.prev, key.next) = (tail, NIL);
        self.slots[at as usize].tail = index;
        if tail != NIL {
            keys[tail].next = index;
            return None;
        }
        self.slots[at as usize].head = index;
        self.attach(roster, at)
    }

    /// Takes the first key off a slot that is its owner's turn; the next slot of the ring is next. Returns the key's head,
    /// if nothing of it is in flight.
    #[inline]
    pub(crate) fn take_first(&mut self, keys: &mut Slab<Key>, roster: &mut Roster, at: u32) -> Option<u32> {
        let slot = &mut self.slots[at as usize];
        let key = &mut keys[slot.head];
        assert!(key.ready && key.slot == at);
        key.ready = false;
        self.ready_keys -= 1;
        slot.head = key.next;
        if slot.head == NIL {
            slot.tail = NIL;
            self.detach(roster, at);
        } else {
            roster[slot.owner].ring = slot.next;
        }
        (key.run == 0).then_some(key.head)
    }

    /// Takes a key off its slot.
    #[inline]
    pub(crate) fn unlink(&mut self, keys: &mut Slab<Key>, roster: &mut Roster, index: u32) {
        let key = &mut keys[index];
        assert!(key.ready);
        key.ready = false;
        self.ready_keys -= 1;
        let (at, prev, next) = (key.slot, key.prev, key.next);
        let slot = &mut self.slots[at as usize];
        // A head's `prev` says nothing, so that the usual removal does not touch the key behind.
        let first = slot.head == index;
        if first {
            slot.head = next
        } else {
            keys[prev].next = next
        }
        if next == NIL {
            slot.tail = if first { NIL } else { prev }
        } else if !first {
            keys[next].prev = prev
        }
        if slot.head == NIL {
            self.detach(roster, at);
        }
    }

    /// Puts a slot that has ready keys into its owner's ring, as the last.
    #[inline]
    fn attach(&mut self, roster: &mut Roster, at: u32) -> Option<u32> {
        let owner = self.slots[at as usize].owner;
        if owner == NIL {
            return None;
        }
        let first = roster[owner].ring;
        if first == NIL {
            roster[owner].ring = at;
            (self.slots[at as usize].prev, self.slots[at as usize].next) = (at, at);
        } else {
            let last = self.slots[first as usize].prev;
            (self.slots[at as usize].prev, self.slots[at as usize].next) = (last, first);
            self.slots[last as usize].next = at;
            self.slots[first as usize].prev = at;
        }
        Some(owner)
    }

    #[inline]
    fn detach(&mut self, roster: &mut Roster, at: u32) {
        let Slot { owner, prev, next, .. } = self.slots[at as usize];
        if owner == NIL {
            return;
        }
        if next == at {
            roster[owner].ring = NIL;
        } else {
            self.slots[prev as usize].next = next;
            self.slots[next as usize].prev = prev;
            if roster[owner].ring == at {
                roster[owner].ring = next;
            }
        }
        (self.slots[at as usize].prev, self.slots[at as usize].next) = (NIL, NIL);
    }

    /// Gives a slot to another owner, ready keys and all. Returns the owner if it may have become runnable.
    pub(crate) fn set_owner(&mut self, roster: &mut Roster, at: u32, owner: u32) -> Option<u32> {
        let busy = self.slots[at as usize].head != NIL;
        if busy {
            self.detach(roster, at);
        }
        self.slots[at as usize].owner = owner;
        if busy { self.attach(roster, at) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn owners(names: &BTreeSet<u64>) -> Vec<Option<u64>> {
        (0..4_096).map(|slot| names.iter().copied().max_by_key(|&name| rank(slot, name))).collect()
    }

    #[test]
    fn a_join_moves_one_nth_and_a_leave_only_the_leavers_own() {
        let mut names: BTreeSet<u64> = (1..=9).map(mix).collect();
        let nine = owners(&names);
        names.insert(mix(10));
        let ten = owners(&names);
        let moved: Vec<_> = (0..4_096).filter(|&slot| nine[slot] != ten[slot]).collect();
        assert!(moved.iter().all(|&slot| ten[slot] == Some(mix(10))), "a join takes only what it wins");
        assert!((300..520).contains(&moved.len()), "about 4096/10 slots move, not {}", moved.len());
        for &name in &names {
            let share = ten.iter().filter(|&&owner| owner == Some(name)).count();
            assert!((300..520).contains(&share), "an even share, not {share}");
        }
    }

    #[test]
    fn keys_spread_over_the_whole_table() {
        let placement = Placement::new(64);
        let seen: BTreeSet<u32> =
            (0..2_000u32).map(|key| placement.slot_of(KeyHash::of(&key.to_le_bytes()))).collect();
        assert_eq!(seen, (0..64).collect());
    }
}
