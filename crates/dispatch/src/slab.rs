//! Records of one kind behind `u32` indices.

use std::ops::{Index, IndexMut};

/// No record.
pub(crate) const NIL: u32 = u32::MAX;

/// A vector whose freed places are used again, so that a steady population allocates nothing. It grows by a sixteenth, so
/// that little of it is empty, and shrinks after a burst.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    places: Vec<T>,
    free: Vec<u32>,
    /// Places freed since the last look at what could be given back.
    freed: usize,
}

/// Fewer places than this stay.
const SHRINK_MIN: usize = 1_024;

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), freed: 0 }
    }

    /// Records in use.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Places, free ones included: every index is below.
    #[inline]
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    #[inline]
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = record;
            return index;
        }
        self.push(record)
    }

    #[cold]
    fn push(&mut self, record: T) -> u32 {
        let index = u32::try_from(self.places.len()).expect("a slab holds fewer than 2^32 records");
        assert!(index != NIL);
        grow_a_little(&mut self.places);
        self.places.push(record);
        index
    }

    /// The place that the insertion after so many others will use.
    #[inline]
    pub(crate) fn nth_free(&self, nth: usize) -> Option<u32> {
        self.free.get(self.free.len().checked_sub(nth + 1)?).copied()
    }

    /// The caller holds no index to this place any more.
    #[inline]
    pub(crate) fn free(&mut self, index: u32) {
        self.free.push(index);
        self.freed += 1;
        if self.freed >= self.places.len() / 4 || self.free.len() == self.places.len() {
            self.shrink_if_too_large();
        }
    }

    #[cold]
    fn shrink_if_too_large(&mut self) {
        if self.places.len() > SHRINK_MIN && self.len() < self.places.len() / 8 {
            self.shrink();
        }
        self.freed = self.freed.min(self.places.len() / 4 - self.places.len() / 16);
    }

    /// Gives back the free places at the end, and has the lowest of the others used first, so that the end becomes free.
    fn shrink(&mut self) {
        self.freed = 0;
        let mut in_use = vec![true; self.places.len()];
        self.free.iter().for_each(|&index| in_use[index as usize] = false);
        let end = in_use.iter().rposition(|&used| used).map_or(0, |last| last + 1);
        self.places.truncate(end);
        self.places.shrink_to_fit();
        self.free = (0..end as u32).rev().filter(|&index| !in_use[index as usize]).collect();
    }

    /// Indices that are not in use; for `check`.
    pub(crate) fn free_indices(&self) -> &[u32] {
        &self.free
    }
}

/// Makes room for one more and a sixteenth, where a vector by itself would double.
pub(crate) fn grow_a_little<T>(places: &mut Vec<T>) {
    if places.len() == places.capacity() {
        places.reserve_exact((places.len() / 16).max(16));
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.places[index as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.places[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(slab: &mut Slab<u32>) {
        for _ in 0..100_000 {
            let index = slab.insert(0);
            slab.free(index);
        }
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut slab = Slab::new();
        let indices: Vec<u32> = (0..100_000u32).map(|record| slab.insert(record)).collect();
        assert!(slab.places.capacity() <= 107_000, "little is empty: {}", slab.places.capacity());
        let (stay, go) = indices.split_at(100);
        go.iter().for_each(|&index| slab.free(index));
        assert_eq!(slab.len(), 100);
        traffic(&mut slab);
        assert!(slab.places.capacity() <= 1_024, "{} places for 100", slab.places.capacity());
        assert!(stay.iter().all(|&index| slab[index] == index), "who stays keeps its place");
    }

    #[test]
    fn one_that_stays_at_the_end_keeps_the_rest_in_use() {
        let mut slab = Slab::new();
        (0..10_000u32).for_each(|record| assert_eq!(slab.insert(record), record));
        (0..9_999).for_each(|index| slab.free(index));
        traffic(&mut slab);
        assert_eq!(slab.places.len(), 10_000);
        let again = Vec::from_iter((0..50).map(|record| slab.insert(record)));
        assert!(again.iter().all(|&index| index < 100), "the lowest are used first: {again:?}");
        slab.free(9_999);
        traffic(&mut slab);
        assert!(slab.places.capacity() <= 1_024, "{} places for 50", slab.places.capacity());
    }
}
