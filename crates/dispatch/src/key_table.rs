//! From a key's hash to its place in the slab.
//!
//! Buckets of a cache line with room for seven keys, about half full, and no tombstones. A key is in the bucket that its
//! tag says or, if that was full, in one behind it; every bucket counts the keys that passed it, so that a search knows
//! where to end. All of a bucket is compared at once: loops of random length would cost a mispredicted branch each. Homes
//! ascend with tags, so that the table has any size, and growing and shrinking read and write it in order. The keys
//! themselves live in the slab; the caller passes how to reach their whole hashes.

use crate::slab::NIL;
use keyway_record::KeyHash;

/// Fewer buckets than this stay.
const SHRINK_MIN: usize = 256;
/// Keys that a bucket has room for.
const ROOM: usize = 7;
/// Keys for each bucket, at most, on average.
const LOAD: usize = 4;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; ROOM],
    /// `NIL`: nothing is here.
    indices: [u32; ROOM],
    /// Keys whose search comes here and goes on.
    passed: u32,
}

const EMPTY: Bucket = Bucket { tags: [0; ROOM], indices: [NIL; ROOM], passed: 0 };

/// Bit `n` says whether the `n`-th is the wanted one.
#[inline]
fn equal(numbers: &[u32; ROOM], wanted: u32) -> u32 {
    (0..ROOM).fold(0, |bits, at| bits | u32::from(numbers[at] == wanted) << at)
}

impl Bucket {
    #[inline]
    fn position(&self, index: u32) -> Option<usize> {
        let found = equal(&self.indices, index);
        (found != 0).then_some(found.trailing_zeros() as usize)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTable {
    buckets: Vec<Bucket>,
    len: usize,
}

/// Where a key that is not in the table goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacant {
    bucket: usize,
    position: usize,
}

impl KeyTable {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The hash's low 32 bits: a key's home follows from them, so that moving keys never looks at them.
    #[inline]
    fn tag(hash: KeyHash) -> u32 {
        hash.low() as u32
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    /// The key of this hash, or where it goes; that holds until the table changes.
    #[inline]
    pub(crate) fn find_or_vacant(
        &mut self,
        hash: KeyHash,
        hash_of: impl Fn(u32) -> KeyHash,
    ) -> Result<u32, Vacant> {
        if self.len >= self.buckets.len() * LOAD {
            self.resize((self.buckets.len() / 4 * 5).max(16));
        }
        match self.find(hash, hash_of) {
            Some(index) => Ok(index),
            None => Err(self.vacant(Self::tag(hash))),
        }
    }

    /// The first bucket with room, from a tag's home on.
    #[inline]
    fn vacant(&self, tag: u32) -> Vacant {
        let mut bucket = self.home(tag);
        // A table is never full.
        loop {
            if let Some(position) = self.buckets[bucket].position(NIL) {
                return Vacant { bucket, position };
            }
            bucket = self.after(bucket);
        }
    }

    /// The key of this hash.
    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, hash_of: impl Fn(u32) -> KeyHash) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let wanted = Self::tag(hash);
        let mut at = self.home(wanted);
        loop {
            let bucket = &self.buckets[at];
            let mut found = equal(&bucket.tags, wanted);
            while found != 0 {
                let index = bucket.indices[found.trailing_zeros() as usize];
                if index != NIL && hash_of(index) == hash {
                    return Some(index);
                }
                found &= found - 1;
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.after(at);
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, at: Vacant, hash: KeyHash, index: u32) {
        self.put(at, Self::tag(hash), index);
        self.len += 1;
    }

    #[inline]
    fn put(&mut self, at: Vacant, tag: u32, index: u32) {
        let mut passed = self.home(tag);
        while passed != at.bucket {
            self.buckets[passed].passed += 1;
            passed = self.after(passed);
        }
        let bucket = &mut self.buckets[at.bucket];
        assert!(bucket.indices[at.position] == NIL);
        (bucket.tags[at.position], bucket.indices[at.position]) = (tag, index);
    }

    #[cold]
    fn resize(&mut self, buckets: usize) {
        for bucket in std::mem::replace(&mut self.buckets, vec![EMPTY; buckets]) {
            for (tag, index) in bucket.tags.into_iter().zip(bucket.indices) {
                if index != NIL {
                    self.put(self.vacant(tag), tag, index);
                }
            }
        }
    }

    /// Where this hash is or would be, or near it; reads it and no more.
    #[inline]
    pub(crate) fn peek(&self, hash: KeyHash) -> u64 {
        self.buckets.get(self.home(Self::tag(hash))).map_or(0, |bucket| u64::from(bucket.passed))
    }

    /// A key that probably has this hash.
    #[inline]
    pub(crate) fn likely(&self, hash: KeyHash) -> Option<u32> {
        let wanted = Self::tag(hash);
        let bucket = self.buckets.get(self.home(wanted))?;
        let found = equal(&bucket.tags, wanted);
        let index = if found == 0 { NIL } else { bucket.indices[found.trailing_zeros() as usize] };
        (index != NIL).then_some(index)
    }

    /// The key at `index` is in the table.
    #[inline(always)]
    pub(crate) fn remove(&mut self, hash: KeyHash, index: u32) {
        let mut at = self.home(Self::tag(hash));
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(found) = bucket.position(index) {
                bucket.indices[found] = NIL;
                break;
            }
            assert!(bucket.passed > 0, "a live key is in the table");
            bucket.passed -= 1;
            at = self.after(at);
        }
        self.len -= 1;
        if self.len < self.buckets.len() && self.buckets.len() > SHRINK_MIN {
            self.resize(self.buckets.len() / 3);
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
                let passed: u32 = table.buckets.iter().map(|bucket| bucket.passed).sum();
                prop_assert!(!map.is_empty() || passed == 0, "nothing passes when nothing is there");
                for index in 0..200 {
                    let expected = map.contains_key(&index).then_some(index);
                    prop_assert_eq!(table.find(hash_of(index), hash_of), expected);
                }
            }
        }
    }
}
