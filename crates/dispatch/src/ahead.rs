//! Reading ahead: what a batch is about to need is read once before it is used.
//!
//! A message costs some ten cache misses, and most of them hang on each other: table, key, entry, neighbours. One
//! message after the other would wait for each in turn. These passes read the same places for a whole batch, one kind
//! of place at a time, so that the misses of a batch are under way at once. They change nothing.

use crate::slab::NIL;
use crate::window::Cell;
use crate::{Arrival, Dispatcher, Input, Mode};
use std::hint::black_box;

/// Places read at once: more than a core has misses under way, few enough to stay in its first cache.
pub(crate) const BATCH: usize = 32;

impl Dispatcher {
    /// What the acks among these inputs will touch.
    pub(crate) fn read_ahead_of_acks(&self, inputs: &[Input]) {
        let (mut found, mut len, mut read) = ([NIL; BATCH], 0, 0);
        for input in inputs.iter().take(BATCH) {
            let Input::Ack { offset, .. } = input else { continue };
            let Cell::Live(index) = self.window.get(offset.0) else { continue };
            read ^= self.live.peek(index);
            found[len] = index;
            len += 1;
        }
        for index in &found[..len] {
            let entry = &self.live[*index];
            if entry.key != NIL {
                read ^= u64::from(self.table.peek(self.live.keys[entry.key].hash));
            }
            if entry.next != NIL {
                read ^= self.live.peek(entry.next);
            }
        }
        black_box(read);
    }

    /// What these records will touch.
    pub(crate) fn read_ahead_of_records(&self, records: &[Arrival]) {
        if self.config.mode != Mode::KeyShared {
            return;
        }
        let mut read = 0;
        for (nth, record) in records.iter().enumerate() {
            read ^= u64::from(self.table.peek(record.key));
            if let Some(index) = self.live.keys.nth_free(nth) {
                read ^= self.live.peek(index);
            }
        }
        for record in records {
            if let Some(index) = self.table.likely(record.key) {
                let key = &self.live.keys[index];
                read ^= u64::from(key.tail) ^ u64::from(key.beside.next);
            } else if let Some(slot) = self.placement.slots.get(self.placement.slot_of(record.key) as usize)
                && slot.tail != NIL
            {
                read ^= u64::from(self.live.keys[slot.tail].next);
            }
        }
        black_box(read);
    }

    /// What the next deliveries of this consumer, and of those that run after it, will touch, so many at most for each.
    /// Returns how many consumers that is.
    pub(crate) fn read_ahead_of_deliveries(&self, first: u32, each_max: usize) -> usize {
        let (mut consumers, mut left, mut read) = (0, BATCH, 0);
        for consumer in std::iter::once(first).chain(self.run.iter().copied()) {
            let consumer = &self.roster[consumer];
            let mut wanted = (consumer.credit.saturating_sub(consumer.in_flight) as usize).min(each_max);
            let mut at = consumer.ring;
            while wanted.min(left) > 0 && at != NIL {
                let slot = &self.placement.slots[at as usize];
                read ^= self.live.peek(slot.head);
                (wanted, left) = (wanted - 1, left - 1);
                at = if slot.next == consumer.ring { NIL } else { slot.next };
            }
            consumers += 1;
            if left == 0 {
                break;
            }
        }
        black_box(read);
        consumers
    }
}
