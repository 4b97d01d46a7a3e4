//! Who is there.

use crate::brake::Outcomes;
use crate::slab::NIL;
use crate::{ConsumerId, Millis};
use std::collections::BTreeMap;

/// What a consumer's connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    Connected,
    /// Its stream was lost; what is its own waits for it.
    Lost,
    /// It gets nothing new and may finish what it has.
    Leaving,
    /// Nobody: a place to use again.
    Free,
}

#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) name_hash: u64,
    /// Its filter declaration.
    pub(crate) group: u32,
    pub(crate) link: Link,
    /// End of the grace while lost.
    pub(crate) until: Millis,
    /// When what it holds is taken from it, while it leaves.
    pub(crate) deadline: Option<Millis>,
    /// Order of joining.
    pub(crate) joined: u64,
    pub(crate) credit: u32,
    /// Messages of one key that it takes.
    pub(crate) in_flight_per_key: u16,
    pub(crate) in_flight: u32,
    /// First of its slots with ready keys.
    pub(crate) ring: u32,
    /// Whether it is in the run queue.
    pub(crate) queued: bool,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) nacked: u64,
    pub(crate) expired: u64,
    pub(crate) outcomes: Outcomes,
}

impl Consumer {
    pub(crate) fn new(id: ConsumerId, name_hash: u64, credit: u32, joined: u64) -> Self {
        Self {
            id,
            name_hash,
            group: NIL,
            link: Link::Connected,
            until: Millis::default(),
            deadline: None,
            joined,
            credit,
            in_flight_per_key: 1,
            in_flight: 0,
            ring: NIL,
            queued: false,
            delivered: 0,
            acked: 0,
            nacked: 0,
            expired: 0,
            outcomes: Outcomes::default(),
        }
    }

    /// Whether it may be given another message.
    #[inline]
    pub(crate) fn can_take(&self) -> bool {
        self.link == Link::Connected && self.in_flight < self.credit
    }

    /// Whether it belongs into the run queue and is not there, where messages queue by key.
    #[inline]
    pub(crate) fn should_run(&self) -> bool {
        self.ring != NIL && !self.queued && self.can_take()
    }

    /// Whether keys are placed on it.
    #[inline]
    pub(crate) fn is_member(&self) -> bool {
        matches!(self.link, Link::Connected | Link::Lost)
    }
}

/// The consumers by place, id and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    places: Vec<Consumer>,
    free: Vec<u32>,
    pub(crate) by_id: BTreeMap<ConsumerId, u32>,
    pub(crate) by_name: BTreeMap<u64, u32>,
    joins: u64,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Places, free ones included.
    pub(crate) fn places(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn add(&mut self, id: ConsumerId, name_hash: u64, credit: u32) -> u32 {
        self.joins += 1;
        let consumer = Consumer::new(id, name_hash, credit, self.joins);
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index as usize] = consumer;
                index
            }
            None => {
                self.places.push(consumer);
                self.places() - 1
            }
        };
        assert!(self.by_id.insert(id, index).is_none());
        assert!(self.by_name.insert(name_hash, index).is_none());
        index
    }

    pub(crate) fn remove(&mut self, index: u32) {
        let consumer = &mut self.places[index as usize];
        assert!(consumer.in_flight == 0 && consumer.ring == NIL && !consumer.queued);
        consumer.link = Link::Free;
        assert_eq!(self.by_id.remove(&consumer.id), Some(index));
        assert_eq!(self.by_name.remove(&consumer.name_hash), Some(index));
        self.free.push(index);
    }

    pub(crate) fn rename(&mut self, index: u32, id: ConsumerId) {
        let old = std::mem::replace(&mut self.places[index as usize].id, id);
        assert_eq!(self.by_id.remove(&old), Some(index));
        assert!(self.by_id.insert(id, index).is_none());
    }

    /// All consumers, with their places, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Consumer)> {
        (0..).zip(&self.places).filter(|(_, consumer)| consumer.link != Link::Free)
    }

    pub(crate) fn connected(&self) -> impl Iterator<Item = (u32, &Consumer)> {
        self.iter().filter(|(_, consumer)| consumer.link == Link::Connected)
    }
}

impl std::ops::Index<u32> for Roster {
    type Output = Consumer;

    #[inline]
    fn index(&self, index: u32) -> &Consumer {
        &self.places[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Roster {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Consumer {
        &mut self.places[index as usize]
    }
}
