//! Memory for batches: slabs that are carved up, and used again once nothing of them is referred to.
//!
//! A batch is copied once, from the connection's buffer into its place here. That place is what the write-ahead log and
//! the segment are written from and what readers get, so it stays as long as one of them needs it. Batches leave memory
//! in the order in which they came, and so do slabs.

use bytes::BytesMut;
use std::collections::VecDeque;

/// Bytes of a slab. Batches longer than half of it get memory of their own.
const SLAB_LEN: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Slabs {
    /// What is left of the slab that is carved up, once there is one.
    current: Option<BytesMut>,
    /// What is left of earlier ones, oldest first: handles by which they are had again.
    earlier: VecDeque<BytesMut>,
    earlier_max: usize,
}

impl Slabs {
    /// For about `bytes_max` of batches at a time. Twice that is kept for further use; what comes beyond is given back
    /// to the system.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { earlier_max: 2 * bytes_max / SLAB_LEN + 2, ..Self::default() }
    }

    /// Memory for `len` bytes.
    pub(crate) fn claim(&mut self, len: usize) -> BytesMut {
        if len > SLAB_LEN / 2 {
            return BytesMut::with_capacity(len);
        }
        let mut current = match self.current.take() {
            Some(current) if current.capacity() >= len => current,
            used_up => {
                let next = self.next_slab();
                self.earlier.extend(used_up);
                if self.earlier.len() > self.earlier_max {
                    self.earlier.pop_front();
                }
                next
            }
        };
        self.current = Some(current.split_off(len));
        current
    }

    fn next_slab(&mut self) -> BytesMut {
        let is_free = self.earlier.front_mut().is_some_and(|oldest| oldest.try_reclaim(SLAB_LEN));
        let reclaimed = if is_free { self.earlier.pop_front() } else { None };
        reclaimed.unwrap_or_else(|| BytesMut::with_capacity(SLAB_LEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, Bytes};

    #[test]
    fn slabs_come_back_once_nothing_refers_to_them() {
        let mut slabs = Slabs::new(4 * SLAB_LEN);
        let mut places = std::collections::BTreeSet::new();
        let mut held: VecDeque<Bytes> = VecDeque::new();
        for round in 0..4_000_u32 {
            let mut claim = slabs.claim(10_000);
            assert!(claim.is_empty() && claim.capacity() >= 10_000);
            claim.put_slice(&round.to_be_bytes().repeat(2_500));
            places.insert(claim.as_ptr() as usize & !(SLAB_LEN - 1));
            held.push_back(claim.freeze());
            if held.len() > 150 {
                let oldest = held.pop_front().unwrap();
                assert_eq!(oldest[..4], (round - 150).to_be_bytes(), "nobody wrote over what is held");
                assert!(oldest.chunks(4).all(|chunk| chunk == &oldest[..4]));
            }
        }
        // Each slab may lie across two aligned places.
        assert!(places.len() <= 2 * 5, "{} places for what fits into two slabs", places.len());
    }

    #[test]
    fn long_batches_get_memory_of_their_own() {
        assert!(Slabs::new(0).claim(3 * SLAB_LEN).capacity() >= 3 * SLAB_LEN);
    }
}
