//! One message that is not done, and the list of leases.

use crate::live::Live;
use crate::slab::NIL;
use crate::{Cause, Millis, Token};

/// Where a message is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Behind others of its key, or ready.
    Waiting,
    /// Delivered and unanswered; its lease runs, if no other of its key is before it.
    InFlight,
    /// Delivered and acked, behind others of its key that are in flight.
    Acked,
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
    /// Which length its lease has, while in flight.
    pub(crate) growth: u8,
}

/// Messages in flight. Leases come in a few lengths; those of one length end in the order in which they began, so that
/// every operation is O(1). Messages behind others of their key have none yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leases {
    lists: [List; Self::IDLE + 1],
    pub(crate) len: usize,
    /// Those in other lists than the first.
    others: usize,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

impl Leases {
    /// A lease is at most 2 to this times the ack timeout.
    pub(crate) const GROWTH_MAX: u16 = 6;
    /// Those without a lease.
    pub(crate) const IDLE: usize = Self::GROWTH_MAX as usize + 1;

    pub(crate) fn new() -> Self {
        Self { lists: [List { head: NIL, tail: NIL }; Self::IDLE + 1], len: 0, others: 0 }
    }

    /// Appends a message whose lease is 2 to the `growth` times as long as the shortest, or `IDLE`.
    #[inline]
    pub(crate) fn push(&mut self, live: &mut Live, index: u32, growth: usize) {
        let list = &mut self.lists[growth];
        let due = live[index].due;
        live[index].growth = growth as u8;
        (live[index].lease_prev, live[index].lease_next) = (list.tail, NIL);
        if list.tail == NIL {
            list.head = index;
        } else {
            let in_order = live[list.tail].due <= due || growth == Self::IDLE;
            assert!(in_order, "leases end in the order they began");
            live[list.tail].lease_next = index;
        }
        list.tail = index;
        self.len += 1;
        self.others += usize::from(growth > 0);
    }

    #[inline]
    pub(crate) fn unlink(&mut self, live: &mut Live, index: u32) {
        let (prev, next) = (live[index].lease_prev, live[index].lease_next);
        let growth = usize::from(live[index].growth);
        let list = &mut self.lists[growth];
        if prev == NIL {
            list.head = next
        } else {
            live[prev].lease_next = next
        }
        if next == NIL {
            list.tail = prev
        } else {
            live[next].lease_prev = prev
        }
        self.len -= 1;
        self.others -= usize::from(growth > 0);
    }

    /// The message whose lease ends first.
    #[inline]
    pub(crate) fn first(&self, live: &Live) -> Option<u32> {
        let some = |index: u32| (index != NIL).then_some(index);
        let first = some(self.lists[0].head);
        if self.others == 0 {
            return first;
        }
        let heads = self.lists[..Self::IDLE].iter().filter_map(|list| some(list.head));
        heads.min_by_key(|&index| live[index].due)
    }

    pub(crate) fn iter<'a>(&self, live: &'a Live) -> impl Iterator<Item = u32> + use<'a> {
        let some = |index: u32| (index != NIL).then_some(index);
        self.lists.into_iter().flat_map(move |list| {
            std::iter::successors(some(list.head), move |&index| some(live[index].lease_next))
        })
    }
}
