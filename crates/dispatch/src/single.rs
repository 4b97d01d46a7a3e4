//! The usual case, written out: a key whose only message comes, is delivered and is acked.
//!
//! It does what the general ways do for such a key (`intake`, `run`, `dispatcher::complete`), without asking what cannot
//! be, and touches each record once.

use crate::brake::Outcome;
use crate::consumer::Link;
use crate::dispatcher::Dispatcher;
use crate::entry::{Entry, State};
use crate::key_table::Vacant;
use crate::{Arrival, Output, Token};

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
        let index = live.add_key();
        let key = &mut live.keys[index];
        key.begin(record.key, text, placement.slot_of(record.key), placement.version);
        (key.head, key.tail, key.count) = (index, index, 1);
        key.beside.begin(record.offset.0, index, record.size);
        live.count_beside();
        table.insert(vacant, record.key, index);
        window.set_live(record.offset.0, index);
        window.read_one();
        if let Some(owner) = placement.link(&mut live.keys, roster, index) {
            self.wake(owner);
        }
        true
    }

    /// Takes the ack of a message that was at `index` a moment ago, if it is its key's only one and beside it, never failed
    /// and was delivered with this token; whether it did.
    #[inline(always)]
    pub(crate) fn ack_single(
        &mut self,
        index: u32,
        offset: i64,
        token: Option<Token>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Self { live, table, window, leases, counters, .. } = self;
        let Some(key) = live.keys.get(index) else { return false };
        let Entry { token: current, consumer, attempts, failures, state, growth, lease, .. } = key.beside;
        let single = key.count == 1 && !key.spilled && failures == 0 && self.parking.keys.is_empty();
        let same = key.beside.key == index && key.beside.offset == offset && token == Some(current);
        if !single || !same || state != State::InFlight {
            return false;
        }
        assert!(key.head == index && key.run == 1 && !key.ready, "a key's only message is its run");
        table.remove(key.hash, index);
        leases.remove_from(live, index, growth, lease);
        live.free_single(index);
        window.set_done(offset);
        counters.acked += 1;
        counters.attempts[usize::from(attempts).clamp(1, 8) - 1] += 1;
        self.touch().completions += 1;
        let holder = &mut self.roster[consumer];
        holder.acked += 1;
        if holder.outcomes.are_good() && self.outcomes.are_good() && holder.link == Link::Connected {
            // The usual end of the usual case: what follows does no more.
            holder.in_flight -= 1;
            if holder.should_run() {
                holder.queued = true;
                self.run.push_back(consumer);
            }
            return true;
        }
        self.note_outcome(consumer, Outcome::Acked, out);
        self.put_down(consumer);
        true
    }
}
