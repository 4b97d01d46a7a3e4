//! One message that is not done, and the list of leases.

use crate::slab::{NIL, Slab};
use crate::{Cause, Millis, Token};

/// Where a message is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Behind others of its key, or ready.
    Waiting,
    /// Delivered and unanswered; its lease runs.
    InFlight,
    /// Failed; a timer brings it back.
    Backoff,
    /// Used up under [`Poison::Block`](crate::Poison::Block).
    Blocked,
    /// The owner writes it elsewhere.
    SideWrite,
    /// That write failed; a timer asks again.
    SideRetry,
    /// The log dropped it while a message before it in its key was in flight.
    Lost,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    /// Of the last delivery.
    pub(crate) token: Token,
    /// In flight: the lease's end. Otherwise not to be delivered before this.
    pub(crate) due: Millis,
    /// Its key, `NIL` where messages do not queue by key.
    pub(crate) key: u32,
    /// Next of its key, or of the queue of fresh messages.
    pub(crate) next: u32,
    pub(crate) lease_prev: u32,
    pub(crate) lease_next: u32,
    /// Holder while in flight.
    pub(crate) consumer: u32,
    pub(crate) size: u32,
    /// Deliveries.
    pub(crate) attempts: u16,
    /// Those that failed and count.
    pub(crate) failures: u16,
    pub(crate) state: State,
    pub(crate) cause: Cause,
}

/// Messages in flight in the order in which their leases end. All leases have one length, so the order is the order of
/// delivery and every operation is O(1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leases {
    pub(crate) head: u32,
    tail: u32,
    pub(crate) len: usize,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { head: NIL, tail: NIL, len: 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, entries: &mut Slab<Entry>, index: u32) {
        let due = entries[index].due;
        (entries[index].lease_prev, entries[index].lease_next) = (self.tail, NIL);
        if self.tail == NIL {
            self.head = index;
        } else {
            assert!(entries[self.tail].due <= due, "leases end in the order they began");
            entries[self.tail].lease_next = index;
        }
        self.tail = index;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn unlink(&mut self, entries: &mut Slab<Entry>, index: u32) {
        let (prev, next) = (entries[index].lease_prev, entries[index].lease_next);
        if prev == NIL {
            self.head = next
        } else {
            entries[prev].lease_next = next
        }
        if next == NIL {
            self.tail = prev
        } else {
            entries[next].lease_prev = prev
        }
        self.len -= 1;
    }

    /// When the first lease ends.
    #[inline]
    pub(crate) fn first_due(&self, entries: &Slab<Entry>) -> Option<Millis> {
        (self.head != NIL).then(|| entries[self.head].due)
    }

    pub(crate) fn iter<'a>(&self, entries: &'a Slab<Entry>) -> impl Iterator<Item = u32> + use<'a> {
        let some = |index: u32| (index != NIL).then_some(index);
        std::iter::successors(some(self.head), move |&index| some(entries[index].lease_next))
    }
}
