//! The usual case, written out: a key whose only message comes, is delivered and is acked.
//!
//! It does what the general ways do for such a key (`intake`, `run`, `dispatcher::complete`), without asking what cannot
//! be, and touches each record once.

use crate::brake::Outcome;
use crate::dispatcher::Dispatcher;
use crate::entry::{Entry, State};
use crate::key::Key;
use crate::key_table::Vacant;
use crate::slab::NIL;
use crate::{Arrival, Cause, Millis, Output, Token};

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
            lease: 0,
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
        let index = live.insert_single(
            Key::new(record.key, text, placement.slot_of(record.key), placement.version),
            Entry::new(record.offset.0, NIL, record.size),
        );
        table.insert(vacant, record.key, index);
        window.set_live(record.offset.0, index);
        window.read_one();
        if let Some(owner) = placement.link(&mut live.keys, roster, index) {
            self.wake(owner);
        }
        true
    }

    /// Takes the ack of a key's only message that never failed, lies beside it and was delivered with this token; whether
    /// it did.
    #[inline]
    pub(crate) fn ack_single(&mut self, index: u32, token: Option<Token>, out: &mut Vec<Output>) -> bool {
        let Self { live, table, window, leases, roster, counters, .. } = self;
        let Some(key) = live.beside_mut(index) else { return false };
        let Entry { offset, token: current, consumer, attempts, failures, state, growth, lease, .. } =
            key.beside;
        let single = key.count == 1 && !key.spilled && failures == 0 && self.parking.keys.is_empty();
        if !single || state != State::InFlight || token != Some(current) {
            return false;
        }
        assert!(key.head == index && key.run == 1 && !key.ready, "a key's only message is its run");
        table.remove(key.hash, index);
        leases.remove_from(live, index, growth, lease);
        live.free_single(index);
        window.set_done(offset);
        counters.acked += 1;
        counters.attempts[usize::from(attempts).clamp(1, 8) - 1] += 1;
        roster[consumer].acked += 1;
        self.note_outcome(consumer, Outcome::Acked, out);
        self.put_down(consumer);
        self.touch().completions += 1;
        true
    }
}
