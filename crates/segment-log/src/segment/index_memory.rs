//! What the indexes of all segments take of memory, and what they may take.
//!
//! Sealed segments forget theirs, which lie beside them. Those that are written to cannot: a segment whose index is larger
//! than most while all together are too large is closed early ([`IndexMemory::is_too_large`]).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Least bytes of an index for which a segment is closed early, however many there are: about 1 MiB of segment.
const CLOSED_MIN: usize = 2 * 1024;

/// Counts of one store.
#[derive(Debug)]
pub(crate) struct IndexMemory {
    max: usize,
    bytes: AtomicUsize,
    /// Segments that may still be written to.
    growing: AtomicUsize,
}

impl IndexMemory {
    /// Indexes that are to take at most `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, bytes: AtomicUsize::new(0), growing: AtomicUsize::new(0) }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether indexes have to be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes() > self.max
    }

    /// Whether a segment that is written to has to be closed, by the bytes of its index.
    pub(crate) fn is_too_large(&self, bytes: usize) -> bool {
        self.is_over() && bytes > (self.max / self.growing.load(Relaxed).max(1)).max(CLOSED_MIN)
    }

    /// An index takes `now` bytes, of which it had counted `own`.
    pub(super) fn count(&self, own: &AtomicUsize, now: usize) {
        let before = own.swap(now, Relaxed);
        if before != now {
            self.bytes.fetch_add(now.wrapping_sub(before), Relaxed);
        }
    }

    /// There is another segment that may be written to.
    pub(super) fn begin(&self) {
        self.growing.fetch_add(1, Relaxed);
    }

    /// One of them is not written to any more.
    pub(super) fn end(&self) {
        let before = self.growing.fetch_sub(1, Relaxed);
        assert!(before > 0, "more segments were closed than there were");
    }
}
