//! The one queue of a subscription that does not queue by key.

use crate::live::Live;
use crate::slab::NIL;
use std::collections::BTreeSet;

/// Messages that wait, lowest offset first: fresh ones as they were read, and returned ones.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    fresh_head: u32,
    fresh_tail: u32,
    fresh_len: usize,
    returned: BTreeSet<(i64, u32)>,
    /// Used-up messages; nothing behind the first of them is delivered.
    pub(crate) blocked: BTreeSet<i64>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            fresh_head: NIL,
            fresh_tail: NIL,
            fresh_len: 0,
            returned: BTreeSet::new(),
            blocked: BTreeSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fresh_len + self.returned.len()
    }

    pub(crate) fn push_fresh(&mut self, live: &mut Live, index: u32) {
        live[index].next = NIL;
        if self.fresh_tail == NIL {
            self.fresh_head = index;
        } else {
            assert!(live[self.fresh_tail].offset < live[index].offset, "records are read in order");
            live[self.fresh_tail].next = index;
        }
        self.fresh_tail = index;
        self.fresh_len += 1;
    }

    pub(crate) fn push_returned(&mut self, offset: i64, index: u32) {
        assert!(self.returned.insert((offset, index)), "a message returns once");
    }

    /// Takes a returned message out; whether it was there.
    pub(crate) fn remove_returned(&mut self, offset: i64, index: u32) -> bool {
        self.returned.remove(&(offset, index))
    }

    /// The next message, unless a blocked one is before it.
    pub(crate) fn peek(&self, live: &Live) -> Option<u32> {
        let index = if self.returned_is_first(live) { self.returned.first()?.1 } else { self.fresh_head };
        let behind_blocked = self.blocked.first().is_some_and(|&blocked| blocked < live[index].offset);
        (!behind_blocked).then_some(index)
    }

    /// Takes the message that [`Self::peek`] returned.
    pub(crate) fn pop(&mut self, live: &mut Live) {
        if self.returned_is_first(live) {
            self.returned.pop_first().expect("the queue has a message");
        } else {
            self.pop_fresh(live).expect("the queue has a message");
        }
    }

    /// Returned messages are older than fresh ones, but for those that a new owner reads while they still wait.
    fn returned_is_first(&self, live: &Live) -> bool {
        let fresh = self.peek_fresh().map(|index| live[index].offset);
        fresh.is_none_or(|fresh| self.returned.first().is_some_and(|&(returned, _)| returned < fresh))
    }

    /// The oldest fresh message.
    pub(crate) fn peek_fresh(&self) -> Option<u32> {
        (self.fresh_head != NIL).then_some(self.fresh_head)
    }

    pub(crate) fn pop_fresh(&mut self, live: &mut Live) -> Option<u32> {
        let index = self.peek_fresh()?;
        self.fresh_head = live[index].next;
        if self.fresh_head == NIL {
            self.fresh_tail = NIL;
        }
        self.fresh_len -= 1;
        live[index].next = NIL;
        Some(index)
    }

    /// Every waiting message; for `check`.
    pub(crate) fn iter<'a>(&'a self, live: &'a Live) -> impl Iterator<Item = u32> + 'a {
        let some = |index: u32| (index != NIL).then_some(index);
        let fresh = std::iter::successors(some(self.fresh_head), move |&index| some(live[index].next));
        self.returned.iter().map(|&(_, index)| index).chain(fresh)
    }
}
