//! From a key's hash to its place in the slab.
//!
//! Open addressing, 8 bytes a place (tag and index), two fifths to a half full, no tombstones: a removal shifts the run
//! behind it back. Homes ascend with tags, so that the table has any size, and growing and shrinking read and write it in
//! order. The keys themselves live in the slab; the caller passes how to reach their whole hashes.

use crate::slab::NIL;
use keyway_record::KeyHash;

/// Fewer places than this stay.
const SHRINK_MIN: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u32,
    /// `NIL`: nothing is here.
    index: u32,
}

const EMPTY: Place = Place { tag: 0, index: NIL };

#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTable {
    places: Vec<Place>,
    len: usize,
}

/// Where a key that is not in the table goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacant(usize);

impl KeyTable {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The hash's low 32 bits: a place's home follows from them, so that moving places never looks at keys.
    #[inline]
    fn tag(hash: KeyHash) -> u32 {
        hash.low() as u32
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.places.len() as u64) >> 32) as usize
    }

    /// The key of this hash, or where it goes; that holds until the table changes.
    #[inline]
    pub(crate) fn find_or_vacant(
        &mut self,
        hash: KeyHash,
        hash_of: impl Fn(u32) -> KeyHash,
    ) -> Result<u32, Vacant> {
        if (self.len + 1) * 2 > self.places.len() {
            self.resize((self.places.len() / 4 * 5).max(16));
        }
        self.search(hash, hash_of)
    }

    #[inline]
    fn search(&self, hash: KeyHash, hash_of: impl Fn(u32) -> KeyHash) -> Result<u32, Vacant> {
        let wanted = Self::tag(hash);
        let mut at = self.home(wanted);
        // A table is never full.
        loop {
            let place = self.places[at];
            if place.index == NIL {
                return Err(Vacant(at));
            }
            if place.tag == wanted && hash_of(place.index) == hash {
                return Ok(place.index);
            }
            at = if at + 1 == self.places.len() { 0 } else { at + 1 };
        }
    }

    /// The key of this hash.
    pub(crate) fn find(&self, hash: KeyHash, hash_of: impl Fn(u32) -> KeyHash) -> Option<u32> {
        if self.len == 0 { None } else { self.search(hash, hash_of).ok() }
    }

    #[inline]
    pub(crate) fn insert(&mut self, at: Vacant, hash: KeyHash, index: u32) {
        let place = &mut self.places[at.0];
        assert!(place.index == NIL);
        *place = Place { tag: Self::tag(hash), index };
        self.len += 1;
    }

    #[cold]
    fn resize(&mut self, places: usize) {
        let old = std::mem::replace(&mut self.places, vec![EMPTY; places]);
        for place in old.into_iter().filter(|place| place.index != NIL) {
            let mut at = self.home(place.tag);
            while self.places[at].index != NIL {
                at = if at + 1 == places { 0 } else { at + 1 };
            }
            self.places[at] = place;
        }
    }

    /// Where this hash is or would be, or near it; reads it and no more.
    #[inline]
    pub(crate) fn peek(&self, hash: KeyHash) -> u64 {
        self.places.get(self.home(Self::tag(hash))).map_or(0, |place| u64::from(place.index))
    }

    /// A key that probably has this hash.
    #[inline]
    pub(crate) fn likely(&self, hash: KeyHash) -> Option<u32> {
        let wanted = Self::tag(hash);
        let &Place { tag, index } = self.places.get(self.home(wanted))?;
        (tag == wanted && index != NIL).then_some(index)
    }

    /// The key at `index` is in the table.
    #[inline]
    pub(crate) fn remove(&mut self, hash: KeyHash, index: u32) {
        let count = self.places.len();
        let home = self.home(Self::tag(hash));
        let places = self.places.as_mut_slice();
        let mut hole = home;
        while places[hole].index != index {
            assert!(places[hole].index != NIL, "a live key is in the table");
            hole = if hole + 1 == count { 0 } else { hole + 1 };
        }
        // Of what follows, each goes into the hole that its home does not lie behind, and leaves a hole.
        let mut at = hole;
        loop {
            at = if at + 1 == count { 0 } else { at + 1 };
            let place = places[at];
            if place.index == NIL {
                break;
            }
            let home = ((u64::from(place.tag) * count as u64) >> 32) as usize;
            let behind = if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
            if !behind {
                places[hole] = place;
                hole = at;
            }
        }
        places[hole] = EMPTY;
        self.len -= 1;
        if self.len * 8 < count && count > SHRINK_MIN {
            self.resize(count / 4);
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
                if add {
                    match table.find_or_vacant(hash_of(index), hash_of) {
                        Ok(found) => prop_assert!(found == index && map.contains_key(&index)),
                        Err(vacant) => {
                            table.insert(vacant, hash_of(index), index);
                            prop_assert!(map.insert(index, ()).is_none());
                        }
                    }
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
