//! Hot keys: their later messages stay in the log, to be read again when it is their turn.
//!
//! A key with more messages than its share of memory spills: what follows of it is known only as "read, not done", and
//! the key remembers from where. When its queue is half its share, its records are read again, filtered by its hash. So no
//! key takes the memory of the others, and one that is stuck takes less the fuller memory is. The span still counts what
//! is spilled.

use crate::dispatcher::Dispatcher;
use crate::entry::State;
use crate::mutant::Mutant;
use crate::slab::NIL;
use crate::window::Cell;
use crate::{Arrival, Output};
use keyway_record::{KeyHash, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A key's share of memory, as a part of it.
const SHARE_PART: u32 = 8;
/// Its share when memory is crowded (three quarters full).
const CROWDED_PART: u32 = 64;
/// Messages of a key whose head is stuck: enough to go on with while the next are read.
const STUCK_MAX: u32 = 1_000;
/// The same, when memory is half full.
const STUCK_CROWDED_MAX: u32 = 64;

/// What is not in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spills {
    /// By key: the range that its spilled messages lie in.
    pub(crate) ranges: BTreeMap<u32, Range<i64>>,
    /// Keys that should be read again.
    pub(crate) thirsty: BTreeSet<u32>,
    /// The outstanding read: whose, and from where.
    pub(crate) reading: Option<(KeyHash, i64)>,
    /// Messages.
    pub(crate) count: u64,
    /// Below it nothing is spilled that no key knows of.
    swept: i64,
}

impl Spills {
    pub(crate) fn from(start: i64) -> Self {
        Self { swept: start, ..Self::default() }
    }
}

impl Dispatcher {
    /// Most messages of one key in memory.
    pub(crate) fn share(&self) -> u32 {
        (self.config.live_max / SHARE_PART).max(1)
    }

    /// Whether a key's next message stays in the log.
    #[inline]
    pub(crate) fn must_spill(&self, key: u32) -> bool {
        let live = &self.live.keys[key];
        live.spilled || live.count > 0 && self.is_full(key)
    }

    fn is_full(&self, key: u32) -> bool {
        let (count, max, used) = (self.live.keys[key].count, self.config.live_max, self.live.len() as u32);
        let crowded = used >= max / 4 * 3;
        if self.mutated(Mutant::NeverSpill) || !crowded && count < self.share().min(STUCK_CROWDED_MAX) {
            return false;
        }
        let head = self.live[self.live.keys[key].head].state;
        let moves = matches!(head, State::Waiting | State::InFlight | State::Acked);
        let most = match (moves, crowded) {
            (true, false) => self.share(),
            (true, true) => max / CROWDED_PART,
            (false, true) => 1,
            (false, false) if used < max / 2 => self.share().min(STUCK_MAX),
            (false, false) => self.share().min(STUCK_CROWDED_MAX),
        };
        count >= most.max(1)
    }

    /// Leaves the record at the end of what was read in the log.
    pub(crate) fn spill(&mut self, key: u32, offset: i64) {
        self.window.set_spilled(offset);
        self.window.read_one();
        self.live.keys[key].spilled = true;
        self.spills.count += 1;
        self.counters.spilled += 1;
        self.spills.ranges.entry(key).or_insert(offset..offset).end = offset + 1;
    }

    /// A key got shorter.
    #[inline]
    pub(crate) fn reread_if_thirsty(&mut self, key: u32) {
        if self.live.keys[key].spilled && self.live.keys[key].count <= self.share() / 2 {
            self.spills.thirsty.insert(key);
        }
    }

    /// Asks for the spilled records of a key that needs them, if there is room.
    pub(crate) fn ask_to_reread(&mut self, out: &mut Vec<Output>) {
        let room = self.config.live_max.saturating_sub(self.live.len() as u32);
        if self.spills.reading.is_some() || room == 0 {
            return;
        }
        let Some(key) = self.spills.thirsty.pop_first() else { return };
        let (hash, range) = (self.live.keys[key].hash, self.spills.ranges[&key].clone());
        let wanted = self.share().saturating_sub(self.live.keys[key].count).max(1);
        self.spills.reading = Some((hash, range.start));
        out.push(Output::Reread {
            key: hash,
            from: Offset(range.start),
            to: Offset(range.end),
            records_max: wanted.min(room).min(self.config.fetch_records_max),
        });
    }

    /// The answer.
    pub(crate) fn take_reread(
        &mut self,
        hash: KeyHash,
        base: i64,
        end: i64,
        records: &[Arrival],
        out: &mut Vec<Output>,
    ) {
        if self.spills.reading != Some((hash, base)) {
            return;
        }
        self.spills.reading = None;
        let Some(key) = self.live_key(hash).filter(|&key| self.live.keys[key].spilled) else { return };
        let mut stop = end;
        for record in records.iter().filter(|record| record.key == hash) {
            if self.window.get(record.offset.0) != Cell::Spilled {
                continue;
            }
            if self.live.len() >= self.config.live_max as usize || self.live.keys[key].count >= self.share() {
                stop = stop.min(record.offset.0);
                break;
            }
            self.spills.count -= 1;
            self.append(key, record, out);
        }
        let range = self.spills.ranges.get_mut(&key).expect("a spilled key has a range");
        range.start = range.start.max(stop);
        self.go_on_with_spilled(key, out);
        self.forget_orphans();
    }

    /// A spilled key has more in memory, or less in the log.
    fn go_on_with_spilled(&mut self, key: u32, out: &mut Vec<Output>) {
        if self.spills.ranges[&key].is_empty() {
            self.spills.ranges.remove(&key);
            self.spills.thirsty.remove(&key);
            self.live.keys[key].spilled = false;
        } else {
            self.reread_if_thirsty(key);
        }
        if self.live.keys[key].head == NIL {
            self.advance_key(key, out);
        }
    }

    /// Spilled offsets that no key knows of any more were dropped by the log without a word: gaps.
    fn forget_orphans(&mut self) {
        let first = self.spills.ranges.values().map(|range| range.start).min();
        let to = first.unwrap_or(self.window.next_read());
        if self.spills.count > 0 {
            for offset in self.spills.swept.max(self.window.cursor())..to {
                if self.window.get(offset) == Cell::Spilled {
                    self.window.set_done(offset);
                    self.spills.count -= 1;
                    self.touch();
                }
            }
        }
        self.spills.swept = self.spills.swept.max(to);
    }

    /// The log's start moved over what is spilled.
    pub(crate) fn lose_spilled(&mut self, out: &mut Vec<Output>) {
        if self.spills.ranges.is_empty() {
            return;
        }
        let to = self.log_start.min(self.window.next_read());
        for offset in self.spills.swept.max(self.window.cursor())..to {
            if self.window.get(offset) == Cell::Spilled {
                self.window.set_done(offset);
                self.spills.count -= 1;
                self.counters.lost += 1;
                self.touch();
                out.push(Output::Lost { offset: Offset(offset) });
            }
        }
        let cut: Vec<u32> =
            self.spills.ranges.iter().filter(|(_, range)| range.start < to).map(|(&key, _)| key).collect();
        for key in cut {
            let range = self.spills.ranges.get_mut(&key).expect("it was just found");
            range.start = to;
            self.go_on_with_spilled(key, out);
        }
        self.forget_orphans();
        self.forget_saved();
    }
}
