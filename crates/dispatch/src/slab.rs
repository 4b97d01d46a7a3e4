//! Records of one kind behind `u32` indices.

use std::ops::{Index, IndexMut};

/// No record.
pub(crate) const NIL: u32 = u32::MAX;

/// A vector whose freed places are used again, so that a steady population allocates nothing.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    places: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Records in use.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    #[inline]
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = record;
            return index;
        }
        let index = u32::try_from(self.places.len()).expect("a slab holds fewer than 2^32 records");
        assert!(index != NIL);
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
        &self.places[index as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.places[index as usize]
    }
}
