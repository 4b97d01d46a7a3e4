//! Records of one kind behind `u32` indices.

use std::ops::{Index, IndexMut};

/// No record.
pub(crate) const NIL: u32 = u32::MAX;

/// Places of one page.
const PAGE: usize = 256;

/// Records whose freed places are used again, so that a steady population allocates nothing. It grows by a page, so that
/// nothing moves and little is empty, and shrinks after a burst.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Box<[T; PAGE]>>,
    /// Places that were ever used.
    places: usize,
    free: Vec<u32>,
    /// Places freed since the last look at what could be given back.
    freed: usize,
}

/// Fewer places than this stay.
const SHRINK_MIN: usize = 1_024;

impl<T: Clone + Default> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), places: 0, free: Vec::new(), freed: 0 }
    }

    /// Records in use.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places - self.free.len()
    }

    /// Places, free ones included: every index is below.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// A place for another record, with what was there before.
    #[inline]
    pub(crate) fn add(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.push())
    }

    #[cold]
    fn push(&mut self) -> u32 {
        let index = u32::try_from(self.places).expect("a slab holds fewer than 2^32 records");
        assert!(index != NIL);
        if self.places == self.pages.len() * PAGE {
            let page = vec![T::default(); PAGE].into_boxed_slice();
            self.pages.push(page.try_into().unwrap_or_else(|_| unreachable!("a page has its size")));
        }
        self.places += 1;
        index
    }

    /// Free places that the next so many insertions will use, if there are as many.
    #[inline]
    pub(crate) fn next_free(&self, count: usize) -> &[u32] {
        &self.free[self.free.len().saturating_sub(count)..]
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        Some(&self.pages.get(index as usize / PAGE)?[index as usize % PAGE])
    }

    /// The caller holds no index to this place any more.
    #[inline]
    pub(crate) fn free(&mut self, index: u32) {
        self.free.push(index);
        self.freed += 1;
        if self.freed >= self.places / 4 || self.free.len() == self.places {
            self.shrink_if_too_large();
        }
    }

    #[cold]
    fn shrink_if_too_large(&mut self) {
        if self.places > SHRINK_MIN && self.len() < self.places / 8 {
            self.shrink();
        }
        self.freed = self.freed.min(self.places / 4 - self.places / 16);
    }

    /// Gives back the free places at the end, and has the lowest of the others used first, so that the end becomes free.
    fn shrink(&mut self) {
        self.freed = 0;
        let mut in_use = vec![true; self.places];
        self.free.iter().for_each(|&index| in_use[index as usize] = false);
        let end = in_use.iter().rposition(|&used| used).map_or(0, |last| last + 1);
        self.places = end;
        self.pages.truncate(end.div_ceil(PAGE));
        self.pages.shrink_to_fit();
        self.free = (0..end as u32).rev().filter(|&index| !in_use[index as usize]).collect();
    }

    /// Indices that are not in use; for `check`.
    pub(crate) fn free_indices(&self) -> &[u32] {
        &self.free
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.pages[index as usize / PAGE][index as usize % PAGE]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.pages[index as usize / PAGE][index as usize % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places that take memory.
    fn room(slab: &Slab<u32>) -> usize {
        slab.pages.len() * PAGE
    }

    fn insert(slab: &mut Slab<u32>, record: u32) -> u32 {
        let index = slab.add();
        slab[index] = record;
        index
    }

    fn traffic(slab: &mut Slab<u32>) {
        for _ in 0..100_000 {
            let index = slab.add();
            slab.free(index);
        }
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut slab = Slab::new();
        let indices: Vec<u32> = (0..100_000u32).map(|record| insert(&mut slab, record)).collect();
        assert!(room(&slab) <= 107_000, "little is empty: {}", room(&slab));
        let (stay, go) = indices.split_at(100);
        go.iter().for_each(|&index| slab.free(index));
        assert_eq!(slab.len(), 100);
        traffic(&mut slab);
        assert!(room(&slab) <= 1_024, "{} places for 100", room(&slab));
        assert!(stay.iter().all(|&index| slab[index] == index), "who stays keeps its place");
    }

    #[test]
    fn one_that_stays_at_the_end_keeps_the_rest_in_use() {
        let mut slab = Slab::new();
        (0..10_000u32).for_each(|record| assert_eq!(insert(&mut slab, record), record));
        (0..9_999).for_each(|index| slab.free(index));
        traffic(&mut slab);
        assert_eq!(slab.places, 10_000);
        let again = Vec::from_iter((0..50).map(|record| insert(&mut slab, record)));
        assert!(again.iter().all(|&index| index < 100), "the lowest are used first: {again:?}");
        slab.free(9_999);
        traffic(&mut slab);
        assert!(room(&slab) <= 1_024, "{} places for 50", room(&slab));
    }
}
