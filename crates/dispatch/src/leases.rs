//! Messages in flight, by the ends of their leases.
//!
//! Leases come in a few lengths, and those of one length end in the order in which they began: each length is a queue. A
//! message that is answered leaves a gap, found by the position it was given, so that its neighbours are not touched.
//! Gaps at the ends close at once; a queue that is mostly gaps closes up as a whole.

use crate::Millis;
use crate::entry::Entry;
use crate::live::Live;
use crate::slab::NIL;
use std::collections::VecDeque;

/// Gaps beyond the number of messages that a queue may have, and places that it keeps when it shrinks.
const SLACK: usize = 1_024;

/// Messages in flight. Messages behind others of their key have no lease yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    queues: [Queue; Self::IDLE + 1],
    pub(crate) len: usize,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    /// `NIL` where a message was answered, but at the ends.
    messages: VecDeque<u32>,
    /// Position of the first; positions wrap.
    first: u32,
    len: usize,
    /// The end of the last lease.
    last: Millis,
}

impl Leases {
    /// A lease is at most 2 to this times the ack timeout.
    pub(crate) const GROWTH_MAX: u16 = 6;
    /// Those without a lease.
    pub(crate) const IDLE: usize = Self::GROWTH_MAX as usize + 1;

    /// Appends a message whose lease is 2 to the `growth` times as long as the shortest, or `IDLE`.
    #[inline]
    pub(crate) fn push(&mut self, entry: &mut Entry, index: u32, growth: usize) {
        let queue = &mut self.queues[growth];
        assert!(queue.last <= entry.due || growth == Self::IDLE, "leases end in the order they began");
        queue.last = entry.due;
        entry.growth = growth as u8;
        entry.lease = queue.first.wrapping_add(queue.messages.len() as u32);
        queue.messages.push_back(index);
        queue.len += 1;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn remove(&mut self, live: &mut Live, index: u32) {
        let Entry { growth, lease, .. } = live[index];
        self.remove_from(live, index, growth, lease);
    }

    /// [`Self::remove`] for whoever has the entry in hands.
    #[inline]
    pub(crate) fn remove_from(&mut self, live: &mut Live, index: u32, growth: u8, position: u32) {
        let queue = &mut self.queues[usize::from(growth)];
        let message = &mut queue.messages[position.wrapping_sub(queue.first) as usize];
        assert!(*message == index, "a message in flight is where it was put");
        *message = NIL;
        queue.len -= 1;
        self.len -= 1;
        while queue.messages.front() == Some(&NIL) {
            queue.messages.pop_front();
            queue.first = queue.first.wrapping_add(1);
        }
        if queue.len.is_multiple_of(SLACK / 4) && queue.is_sparse() {
            queue.close_up(live);
        }
    }

    /// No lease of this length ends later.
    pub(crate) fn shorten(&mut self, growth: usize, latest: Millis) {
        let queue = &mut self.queues[growth];
        queue.last = queue.last.min(latest);
    }

    /// The message whose lease ends first.
    #[inline]
    pub(crate) fn first(&self, live: &Live) -> Option<u32> {
        if self.queues[0].len == self.len {
            return self.queues[0].messages.front().copied();
        }
        let heads = self.queues[..Self::IDLE].iter().filter_map(|queue| queue.messages.front().copied());
        heads.min_by_key(|&index| live[index].due)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.queues.iter().flat_map(|queue| queue.messages.iter().copied()).filter(|&index| index != NIL)
    }
}

impl Queue {
    fn is_sparse(&self) -> bool {
        self.messages.len() > 2 * self.len + SLACK || self.messages.capacity() > 8 * self.len + SLACK
    }

    #[cold]
    fn close_up(&mut self, live: &mut Live) {
        self.messages.retain(|&index| index != NIL);
        self.messages.shrink_to(2 * self.len + SLACK / 2);
        for (position, &index) in (0..).zip(&self.messages) {
            live[index].lease = self.first.wrapping_add(position);
        }
    }
}
