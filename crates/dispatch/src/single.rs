//! The usual case, written out: a key whose only message comes, is delivered and is acked.
//!
//! It does what the general ways do for such a key (`intake`, `run`, `dispatcher::complete`), without asking what cannot
//! be, and touches each record once.

use crate::dispatcher::Dispatcher;
use crate::entry::{Entry, State};
use crate::key::Key;
use crate::key_table::Vacant;
use crate::slab::NIL;
use crate::{Arrival, Cause, Millis, Token};

impl Entry {
    /// A message that was just read.
    #[inline]
    pub(crate) fn new(offset: i64, key: u32, size: u32) -> Self {
        Self {
            offset,
            token: Token::NONE,
            due: Millis::default(),
            key,
            next: NIL,
            lease_prev: NIL,
            lease_next: NIL,
            consumer: NIL,
            size,
            attempts: 0,
            failures: 0,
            state: State::Waiting,
            cause: Cause::default(),
            growth: 0,
        }
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self::new(0, NIL, 0)
    }
}

impl Dispatcher {
    /// Takes the first message of a key, where no filters and no former owner's failures are to be looked at; whether
    /// it did.
    #[inline]
    pub(crate) fn take_single(&mut self, record: &Arrival, vacant: Vacant) -> bool {
        let plain = self.saved.is_empty() && self.declarations.all_open() && self.parking.keys.is_empty();
        if !plain || self.placement.slots.is_empty() {
            return false;
        }
        let Self { live, table, window, placement, roster, .. } = self;
        let text = record.key_text.as_deref().unwrap_or_default();
        let mut key = Key::new(record.key, text, placement.slot_of(record.key), placement.version);
        key.count = 1;
        key.beside = Entry::new(record.offset.0, NIL, record.size);
        let index = live.insert_single(key);
        table.insert(vacant, record.key, index);
        window.set_live(record.offset.0, index);
        window.read_one();
        if let Some(owner) = placement.link(&mut live.keys, roster, index) {
            self.wake(owner);
        }
        true
    }

    /// Completes the acked message of a key that has no other and never failed; whether it did.
    #[inline]
    pub(crate) fn complete_single(&mut self, index: u32) -> bool {
        if !self.parking.keys.is_empty() {
            return false;
        }
        let Self { live, table, window, leases, .. } = self;
        let Entry { key, offset, consumer, failures, .. } = live[index];
        if key != index || live.keys[key].count > 1 || live.keys[key].spilled || failures > 0 {
            return false;
        }
        let single = &live.keys[key];
        assert!(single.head == index && single.run == 1 && !single.ready, "a key's only message is its run");
        table.remove(single.hash, key);
        leases.unlink(live, index);
        live.free_single(index);
        window.set_done(offset);
        self.put_down(consumer);
        self.touch().completions += 1;
        true
    }
}
