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

impl Dispatcher {
    /// Takes the first message of a key, where no filters and no former owner's failures are to be looked at; whether
    /// it did.
    #[inline]
    pub(crate) fn take_single(&mut self, record: &Arrival, vacant: Vacant) -> bool {
        let plain = self.saved.is_empty() && self.declarations.all_open() && self.parking.keys.is_empty();
        if !plain || self.placement.slots.is_empty() {
            return false;
        }
        let Self { entries, keys, table, texts, window, placement, roster, .. } = self;
        let index = entries.insert(Entry::new(record.offset.0, NIL, record.size));
        let key = keys.insert(Key {
            hash: record.key,
            head: index,
            tail: index,
            count: 1,
            slot: placement.slot_of(record.key),
            next: NIL,
            prev: NIL,
            version: placement.version,
            run: 0,
            spilled: false,
            ready: false,
        });
        entries[index].key = key;
        table.insert(vacant, record.key, key);
        texts.set(key, record.key_text.as_deref().unwrap_or_default());
        window.set_live(record.offset.0, index);
        window.read_one();
        if let Some(owner) = placement.link(keys, roster, key) {
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
        let Self { entries, keys, table, texts, window, leases, .. } = self;
        let Entry { key, offset, consumer, failures, .. } = entries[index];
        if key == NIL || keys[key].count > 1 || keys[key].spilled || failures > 0 {
            return false;
        }
        let live = &keys[key];
        assert!(live.head == index && live.run == 1 && !live.ready, "a key's only message is its run");
        table.remove(live.hash, key);
        leases.unlink(entries, index);
        entries.free(index);
        keys.free(key);
        texts.clear(key, keys.places());
        window.set_done(offset);
        self.put_down(consumer);
        self.touch().completions += 1;
        true
    }
}
