//! From a key's hash to its place in the slab.
//!
//! Open addressing, 8 bytes a place (tag and index), three fifths to three quarters full, no tombstones: a removal shifts
//! the run behind it back. Homes ascend with tags, so that the table has any size, growing and shrinking read and write
//! it in order. The keys themselves live in the slab; the caller passes how to reach their whole hashes.

use crate::slab::NIL;
use keyway_record::KeyHash;

/// Fewer places than this stay.
const SHRINK_MIN: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTable {
    places: Vec<(u32, u32)>,
    len: usize,
}

impl KeyTable {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The hash's low 32 bits: a place's home is theirs, so that moving places never looks at keys.
    #[inline]
    fn tag(hash: KeyHash) -> u32 {
        hash.low() as u32
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.places.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.places.len() { 0 } else { at + 1 }
    }

    /// Places from `from` on to `to`.
    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.places.len() - from }
    }

    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, hash_of: impl Fn(u32) -> KeyHash) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let wanted = Self::tag(hash);
        let mut at = self.home(wanted);
        loop {
            let (tag, index) = self.places[at];
            if index == NIL {
                return None;
            }
            if tag == wanted && hash_of(index) == hash {
                return Some(index);
            }
            at = self.after(at);
        }
    }

    /// Some part of the place where this hash is or would be; reads it and no more.
    #[inline]
    pub(crate) fn peek(&self, hash: KeyHash) -> u32 {
        self.places.get(self.home(Self::tag(hash))).map_or(NIL, |&(_, index)| index)
    }

    /// A key that probably has this hash.
    #[inline]
    pub(crate) fn likely(&self, hash: KeyHash) -> Option<u32> {
        let wanted = Self::tag(hash);
        let &(tag, index) = self.places.get(self.home(wanted))?;
        (tag == wanted && index != NIL).then_some(index)
    }

    /// The hash is not in the table yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: KeyHash, index: u32) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.resize((self.places.len() / 4 * 5).max(16));
        }
        self.place(Self::tag(hash), index);
        self.len += 1;
    }

    #[cold]
    fn resize(&mut self, places: usize) {
        let old = std::mem::replace(&mut self.places, vec![(0, NIL); places]);
        for (tag, index) in old.into_iter().filter(|&(_, index)| index != NIL) {
            self.place(tag, index);
        }
    }

    #[inline]
    fn place(&mut self, tag: u32, index: u32) {
        let mut at = self.home(tag);
        while self.places[at].1 != NIL {
            at = self.after(at);
        }
        self.places[at] = (tag, index);
    }

    /// The key at `index` is in the table.
    #[inline]
    pub(crate) fn remove(&mut self, hash: KeyHash, index: u32) {
        let mut hole = self.home(Self::tag(hash));
        while self.places[hole].1 != index {
            assert!(self.places[hole].1 != NIL, "a live key is in the table");
            hole = self.after(hole);
        }
        let mut at = hole;
        loop {
            at = self.after(at);
            let (tag, index) = self.places[at];
            if index == NIL {
                break;
            }
            // The place may move back to the hole unless its home lies behind the hole.
            if self.distance(self.home(tag), at) >= self.distance(hole, at) {
                self.places[hole] = (tag, index);
                hole = at;
            }
        }
        self.places[hole] = (0, NIL);
        self.len -= 1;
        if self.len * 4 < self.places.len() && self.places.len() > SHRINK_MIN {
            self.resize(self.places.len() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Few distinct homes, so that runs are long and removals shift.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..200, any::<bool>()), 0..400)) {
            let hash_of = |index: u32| KeyHash(u128::from(u32::MAX / 7 * (index % 7)) | u128::from(index) << 40);
            let mut table = KeyTable::default();
            let mut map = BTreeMap::new();
            for (index, add) in steps {
                if add && !map.contains_key(&index) {
                    table.insert(hash_of(index), index);
                    map.insert(index, ());
                } else if !add && map.remove(&index).is_some() {
                    table.remove(hash_of(index), index);
                }
                prop_assert_eq!(table.len(), map.len());
                for index in 0..200 {
                    let expected = map.contains_key(&index).then_some(index);
                    prop_assert_eq!(table.find(hash_of(index), hash_of), expected);
                }
            }
        }
    }
}
