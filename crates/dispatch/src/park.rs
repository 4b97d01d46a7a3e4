//! Parked keys: their messages go elsewhere, in order, until somebody releases the key.
//!
//! A key is parked before its first message is written, so that a snapshot that knows of a parked message knows of its
//! key. A released key asks for its parked messages part by part ([`Output::Unpark`]); they stand in front of its live
//! ones, have entries but no place in the window (their offsets are done), and are forgotten elsewhere only when they are
//! done. A crash in between asks for what is still parked again.

use crate::dispatcher::{Dispatcher, Verdict};
use crate::entry::{Entry, State};
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::window::Cell;
use crate::{Arrival, Cause, Output};
use keyway_record::{KeyHash, Offset};
use std::collections::BTreeMap;

/// Most parked keys; beyond them a used-up message blocks its key. What a snapshot has of each is 17 bytes.
const PARKED_KEYS_MAX: usize = 65_536;

/// Where a parked key is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// What comes is written elsewhere.
    Parked,
    /// Released; a write that is under way comes first.
    Released,
    /// Its parked messages were asked for.
    Asked,
    /// Some of them are in memory.
    Unparking,
}

/// The parked keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parking {
    pub(crate) keys: BTreeMap<KeyHash, Stage>,
    /// Parked messages in memory, by their offsets.
    pub(crate) entries: BTreeMap<i64, u32>,
    /// Released by a former owner, and not asked for by this one yet.
    pub(crate) recovered: Vec<KeyHash>,
}

impl Dispatcher {
    /// The entry of an offset, parked or live.
    #[inline]
    pub(crate) fn entry_at(&self, offset: i64) -> Option<u32> {
        match self.window.get(offset) {
            Cell::Live(index) => Some(index),
            _ if self.parking.entries.is_empty() => None,
            _ => self.parking.entries.get(&offset).copied(),
        }
    }

    /// Whether a message was parked and is in memory again.
    #[inline]
    pub(crate) fn is_unparked(&self, index: u32) -> bool {
        !self.parking.entries.is_empty() && self.parking.entries.get(&self.live[index].offset) == Some(&index)
    }

    /// Whether the log has this message no more; a parked one is not there anyway.
    pub(crate) fn is_cut_off(&self, index: u32) -> bool {
        self.live[index].offset < self.log_start && !self.is_unparked(index)
    }

    fn stage_of(&self, key: u32) -> Option<Stage> {
        self.parking.keys.get(&self.live.keys[key].hash).copied()
    }

    /// Whether a key's live messages wait for its parked ones.
    pub(crate) fn is_held_back(&self, index: u32) -> bool {
        let key = self.live[index].key;
        !self.parking.keys.is_empty()
            && key != NIL
            && self.stage_of(key).is_some()
            && !self.is_unparked(index)
    }

    /// A used-up head parks its key; `None` if there are too many parked keys.
    pub(crate) fn park(&mut self, index: u32, out: &mut Vec<Output>) -> Option<Verdict> {
        let hash = self.live.keys[self.live[index].key].hash;
        if self.is_unparked(index) {
            // It is parked still, and so is all that was behind it.
            self.parking.keys.insert(hash, Stage::Parked);
            self.touch().urgent = true;
            return Some(Verdict::Done);
        }
        if self.parking.keys.len() >= PARKED_KEYS_MAX {
            return None;
        }
        self.parking.keys.insert(hash, Stage::Parked);
        self.dirty = None;
        out.push(Output::Persist);
        self.ask_for_side_write(index, out);
        Some(Verdict::Waits)
    }

    /// What becomes of the head of a parked key with nothing in flight; `None` if it goes on as any other.
    pub(crate) fn judge_parked(&mut self, index: u32, out: &mut Vec<Output>) -> Option<Verdict> {
        let key = self.live[index].key;
        if key == NIL {
            return None;
        }
        match (self.stage_of(key)?, self.is_unparked(index)) {
            (Stage::Parked, true) => return Some(Verdict::Done),
            (_, true) => return None,
            (_, false) if self.is_cut_off(index) => {
                self.counters.lost += 1;
                out.push(Output::Lost { offset: Offset(self.live[index].offset) });
                return Some(Verdict::Done);
            }
            (Stage::Parked, false) => self.ask_for_side_write(index, out),
            (Stage::Released | Stage::Unparking, false) => {
                self.live[index].state = State::Waiting;
                self.ask_for_parked(self.live.keys[key].hash, out);
            }
            (Stage::Asked, false) if self.mutated(Mutant::LiveBeforeParked) => return None,
            (Stage::Asked, false) => self.live[index].state = State::Waiting,
        }
        Some(Verdict::Waits)
    }

    /// A key has nothing in memory any more: if it was released, the next part is due.
    #[inline]
    pub(crate) fn ask_for_parked_if_empty(&mut self, key: u32, out: &mut Vec<Output>) {
        if !self.parking.keys.is_empty()
            && matches!(self.stage_of(key), Some(Stage::Released | Stage::Unparking))
        {
            self.ask_for_parked(self.live.keys[key].hash, out);
        }
    }

    pub(crate) fn ask_for_parked(&mut self, hash: KeyHash, out: &mut Vec<Output>) {
        self.parking.keys.insert(hash, Stage::Asked);
        out.push(Output::Unpark { key: hash });
    }

    /// A parked key is released.
    pub(crate) fn release_parked(&mut self, hash: KeyHash, out: &mut Vec<Output>) {
        if self.parking.keys.get(&hash) != Some(&Stage::Parked) {
            return;
        }
        self.touch().urgent = true;
        let head = self.live_key(hash).map_or(NIL, |key| self.live.keys[key].head);
        let writing = head != NIL && matches!(self.live[head].state, State::SideWrite | State::SideRetry);
        if writing {
            self.parking.keys.insert(hash, Stage::Released);
        } else {
            self.ask_for_parked(hash, out);
        }
    }

    /// A part of a released key's parked messages.
    pub(crate) fn unpark(&mut self, hash: KeyHash, parked: &[Arrival], out: &mut Vec<Output>) {
        match self.parking.keys.get(&hash) {
            Some(Stage::Asked) => {}
            // Asked for again when its write is over.
            Some(Stage::Parked) => return self.release_parked(hash, out),
            _ => return,
        }
        let known = self.live_key(hash);
        if parked.is_empty() {
            self.parking.keys.remove(&hash);
            self.touch().urgent = true;
            if let Some(key) = known {
                self.advance_key(key, out);
            }
            return;
        }
        let key = known.unwrap_or_else(|| self.key_of(&parked[0]));
        let before = self.parking.entries.len();
        let room = self.share().saturating_sub(self.live.keys[key].count).max(1) as usize;
        for record in parked.iter().take(room).rev() {
            let head = self.live.keys[key].head;
            let given = head != NIL && self.live[head].offset <= record.offset.0;
            if given || self.window.get(record.offset.0) != Cell::Done {
                continue; // Given twice, or written before a crash that the snapshot does not know of.
            }
            let mut entry = Entry::new(record.offset.0, key, record.size);
            (entry.next, entry.cause) = (head, Cause::default());
            let index = self.live.insert(entry);
            self.parking.entries.insert(record.offset.0, index);
            let live = &mut self.live.keys[key];
            (live.head, live.count) = (index, live.count + 1);
            if head == NIL {
                live.tail = index;
            }
        }
        if self.parking.entries.len() == before {
            self.parking.keys.remove(&hash);
            self.touch().urgent = true;
        } else {
            self.parking.keys.insert(hash, Stage::Unparking);
        }
        self.advance_key(key, out);
    }

    /// A message that was parked leaves memory; whether it was one.
    #[inline]
    pub(crate) fn forget_unparked(&mut self, index: u32) -> bool {
        let unparked = self.is_unparked(index);
        if unparked {
            self.parking.entries.remove(&self.live[index].offset);
        }
        unparked
    }

    /// Says that a message is done elsewhere too, if it was parked. Before it is forgotten.
    #[inline]
    pub(crate) fn tell_unparked(&mut self, index: u32, out: &mut Vec<Output>) {
        let offset = Offset(self.live[index].offset);
        if self.is_unparked(index) && self.stage_of(self.live[index].key) != Some(Stage::Parked) {
            self.counters.unparked += 1;
            out.push(Output::Unparked { offset });
        }
    }
}
