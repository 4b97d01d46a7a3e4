//! Messages in flight, by the ends of their leases.
//!
//! Leases come in a few lengths, and those of one length end in the order in which they began: each length is a queue. A
//! message that is answered leaves a gap, found by the position it was given, so that its neighbours are not touched.
//! Gaps at the ends close at once; a queue that is mostly gaps closes up as a whole.

use crate::Millis;
use crate::entry::Entry;
use crate::live::Live;
use crate::slab::NIL;

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
    /// A power of two of places; the message at a position is at its remainder. `NIL` where none is.
    places: Vec<u32>,
    /// Positions, which wrap, of the first message and after the last.
    first: u32,
    end: u32,
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
        entry.lease = queue.end;
        queue.push(index);
        queue.len += 1;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn remove(&mut self, live: &mut Live, index: u32) {
        let Entry { growth, lease, .. } = live[index];
        self.remove_from(live, index, growth, lease);
    }

    /// [`Self::remove`] for whoever has the entry in hands.
    #[inline(always)]
    pub(crate) fn remove_from(&mut self, live: &mut Live, index: u32, growth: u8, position: u32) {
        let queue = &mut self.queues[usize::from(growth)];
        let place = queue.place(position);
        assert!(queue.places[place] == index, "a message in flight is where it was put");
        queue.places[place] = NIL;
        queue.len -= 1;
        self.len -= 1;
        if queue.len == 0 {
            queue.first = queue.end;
        }
        while queue.len > 0 && queue.places[queue.place(queue.first)] == NIL {
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
            return self.queues[0].front();
        }
        let heads = self.queues[..Self::IDLE].iter().filter_map(Queue::front);
        heads.min_by_key(|&index| live[index].due)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.queues.iter().flat_map(Queue::iter)
    }
}

impl Queue {
    #[inline]
    fn place(&self, position: u32) -> usize {
        position as usize & self.places.len().wrapping_sub(1)
    }

    /// Positions between the ends.
    #[inline]
    fn span(&self) -> usize {
        self.end.wrapping_sub(self.first) as usize
    }

    #[inline]
    fn push(&mut self, index: u32) {
        if self.span() == self.places.len() {
            self.resize((2 * self.places.len()).max(16));
        }
        let place = self.place(self.end);
        self.places[place] = index;
        self.end = self.end.wrapping_add(1);
    }

    #[inline]
    fn front(&self) -> Option<u32> {
        (self.len > 0).then(|| self.places[self.place(self.first)])
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let positions = (0..self.span() as u32).map(|nth| self.first.wrapping_add(nth));
        positions.map(|position| self.places[self.place(position)]).filter(|&index| index != NIL)
    }

    #[cold]
    fn resize(&mut self, places: usize) {
        let mut resized = vec![NIL; places];
        for nth in 0..self.span() as u32 {
            let position = self.first.wrapping_add(nth);
            resized[position as usize & (places - 1)] = self.places[self.place(position)];
        }
        self.places = resized;
    }

    fn is_sparse(&self) -> bool {
        self.span() > 2 * self.len + SLACK || self.places.len() > 8 * self.len + SLACK
    }

    #[cold]
    fn close_up(&mut self, live: &mut Live) {
        let messages: Vec<u32> = self.iter().collect();
        self.places = vec![NIL; (2 * self.len).max(SLACK / 2).next_power_of_two()];
        self.end = self.first;
        for index in messages {
            live[index].lease = self.end;
            self.push(index);
        }
    }
}
