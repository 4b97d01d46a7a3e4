//! One message that is not done.

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
    /// Its position among the leases of its length, while in flight.
    pub(crate) lease: u32,
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

impl Entry {
    /// A message that was just read.
    #[inline]
    pub(crate) fn new(offset: i64, key: u32, size: u32) -> Self {
        let mut entry = Self::default();
        entry.begin(offset, key, size);
        entry
    }

    /// The place is now that of a message that was just read.
    #[inline]
    pub(crate) fn begin(&mut self, offset: i64, key: u32, size: u32) {
        *self = Self { offset, key, size, ..Self::default() };
    }
}

impl Default for Entry {
    /// No message's place.
    #[inline]
    fn default() -> Self {
        Self {
            offset: 0,
            token: Token::NONE,
            due: Millis::default(),
            key: NIL,
            next: NIL,
            lease: 0,
            consumer: NIL,
            size: 0,
            attempts: 0,
            failures: 0,
            state: State::Waiting,
            cause: Cause::default(),
            growth: 0,
        }
    }
}
