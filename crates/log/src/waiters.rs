//! Tasks that wait for a number to be passed: a high watermark, a ticket.

use std::{collections::BTreeMap, task::Waker};

/// Wakers in the order of what they wait for. Lives under the lock that guards the number itself.
#[derive(Debug)]
pub struct Waiters<K> {
    wakers: BTreeMap<(K, u64), Waker>,
    next_id: u64,
}

/// A waiting future's place among the others; empty until it first has to wait.
#[derive(Debug, Default)]
pub struct Place<K>(Option<(K, u64)>);

impl<K: Ord + Copy> Waiters<K> {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self { wakers: BTreeMap::new(), next_id: 0 }
    }

    /// Will wake `waker`, and no earlier waker of the same place, once the number is past `number`.
    pub fn wait(&mut self, place: &mut Place<K>, number: K, waker: &Waker) {
        let key = *place.0.get_or_insert_with(|| {
            self.next_id += 1;
            (number, self.next_id)
        });
        assert!(key.0 == number, "a place waits for one number");
        match self.wakers.entry(key) {
            std::collections::btree_map::Entry::Vacant(vacant) => _ = vacant.insert(waker.clone()),
            std::collections::btree_map::Entry::Occupied(mut occupied) => {
                occupied.get_mut().clone_from(waker)
            }
        }
    }

    /// Forgets the waker of a future that is dropped.
    pub fn leave(&mut self, place: &mut Place<K>) {
        if let Some(key) = place.0.take() {
            self.wakers.remove(&key);
        }
    }

    /// Takes out those who wait for a number below `number`; wake them after the lock is released.
    #[must_use]
    pub fn take_below(&mut self, number: K) -> Vec<Waker> {
        // The common case must not build a second tree.
        if self.wakers.first_key_value().is_none_or(|((first, _), _)| *first >= number) {
            return Vec::new();
        }
        let later = self.wakers.split_off(&(number, 0));
        std::mem::replace(&mut self.wakers, later).into_values().collect()
    }

    /// Takes out the one that waits for the lowest number; it may wait again.
    #[must_use]
    pub fn take_first(&mut self) -> Option<Waker> {
        self.wakers.pop_first().map(|(_, waker)| waker)
    }

    /// Takes out everyone; wake them after the lock is released.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers).into_values().collect()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }
}

impl<K: Ord + Copy> Default for Waiters<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_waiter_is_woken_once_and_only_when_its_number_is_passed() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut waiters = Waiters::new();
        let mut places: [Place<i64>; 3] = Default::default();
        for (number, place) in places.iter_mut().enumerate() {
            waiters.wait(place, number as i64, &waker);
            waiters.wait(place, number as i64, &waker);
        }
        assert_eq!(waiters.take_below(0).len(), 0);
        waiters.take_below(2).into_iter().for_each(Waker::wake);
        assert_eq!((count.0.load(Ordering::Relaxed), waiters.len()), (2, 1));
        waiters.leave(&mut places[2]);
        waiters.leave(&mut places[0]);
        assert!(waiters.is_empty());
    }
}
