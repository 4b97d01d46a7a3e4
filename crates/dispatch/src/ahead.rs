//! Reading ahead: what a batch is about to need is read once before it is used.
//!
//! A message costs several cache misses, and most of them hang on each other: table, key, neighbours. One message after
//! the other would wait for each in turn. These passes read the same kind of place for a whole batch, so that the misses
//! of a batch are under way at once. A core looks only a few hundred instructions ahead: each loop that misses does
//! nothing else, and what it needs to know was gathered before. They change nothing.

use crate::slab::NIL;
use crate::{Arrival, Dispatcher, Input, Mode};
use std::hint::black_box;

/// Places read at once: more than a core has misses under way, few enough to stay in its first cache.
pub(crate) const BATCH: usize = 32;

/// Places to be read.
struct Places {
    indices: [u32; BATCH],
    len: usize,
}

impl Places {
    const NONE: Self = Self { indices: [NIL; BATCH], len: 0 };

    #[inline]
    fn add(&mut self, index: u32) {
        self.indices[self.len] = index;
        self.len += 1;
    }

    #[inline]
    fn as_slice(&self) -> &[u32] {
        &self.indices[..self.len]
    }
}

impl Dispatcher {
    /// What the acks among these inputs will touch. Returns the message of each, as things are now; `NIL` for none.
    pub(crate) fn read_ahead_of_acks(&self, inputs: &[Input]) -> [u32; BATCH] {
        let mut messages = Places::NONE;
        for input in inputs.iter().take(BATCH) {
            messages.add(match input {
                Input::Ack { offset, .. } => self.window.live_at(offset.0),
                _ => NIL,
            });
        }
        black_box(self.live.read_messages(messages.as_slice()));
        let mut read = 0;
        for &index in messages.as_slice() {
            if let Some(key) = self.live.keys.get(index) {
                read ^= self.table.peek(key.hash);
            }
        }
        black_box(read);
        messages.indices
    }

    /// What these records will touch.
    pub(crate) fn read_ahead_of_records(&self, records: &[Arrival]) {
        if self.config.mode != Mode::KeyShared {
            return;
        }
        let mut read = 0;
        for record in records {
            read ^= self.table.peek(record.key);
        }
        black_box(read);
        black_box(self.live.read_messages(self.live.keys.next_free(records.len())));
        let mut keys = Places::NONE;
        for record in records.iter().take(BATCH) {
            if let Some(key) = self.table.likely(record.key) {
                keys.add(key);
            } else if let Some(slot) = self.placement.slots.get(self.placement.slot_of(record.key) as usize) {
                keys.add(slot.tail);
            }
        }
        black_box(self.live.read_messages(keys.as_slice()));
    }

    /// What the next deliveries of this consumer, and of those that run after it, will touch, so many at most for each.
    /// Returns for how many consumers it did.
    pub(crate) fn read_ahead_of_deliveries(&self, first: u32, each_max: usize) -> usize {
        let (mut consumers, mut keys) = (0, Places::NONE);
        for consumer in std::iter::once(first).chain(self.run.iter().copied()) {
            let consumer = &self.roster[consumer];
            let wanted = (consumer.credit.saturating_sub(consumer.in_flight) as usize).min(each_max);
            if consumers > 0 && keys.len + wanted > BATCH {
                break;
            }
            let mut at = consumer.ring;
            for _ in 0..wanted {
                let Some(slot) = self.placement.slots.get(at as usize) else { break };
                keys.add(slot.head);
                at = if slot.next == consumer.ring { NIL } else { slot.next };
            }
            consumers += 1;
        }
        black_box(self.live.read_messages(keys.as_slice()));
        consumers
    }
}
