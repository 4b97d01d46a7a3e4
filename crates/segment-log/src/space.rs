//! What the file system has left, and for whom: user data stops early enough that the broker's own state goes on.
//!
//! The file system is asked every now and then; in between, what is taken in is counted against what it had, and against
//! what [`crate::reserve`] holds. Other users of the file system are seen when it is asked the next time.

use keyway_log::AppendError;
use keyway_runtime::Space;

/// Kept for the broker's own state, and for the segments of what the write-ahead log holds. A sixteenth of a small
/// file system, no more than this of a large one, and room for two files of the write-ahead log in any.
const RESERVE_MAX: u64 = 64 << 20;

/// Most that a batch takes besides its bytes: what its commit is padded with.
const PADDING: u64 = 4096;

#[derive(Clone, Copy, Debug)]
pub(crate) struct SpaceLeft {
    free: u64,
    reserve: u64,
    /// Of that, what is kept from the broker's own state too: a file of the write-ahead log may be wanted at any time.
    kept_from_all: u64,
}

/// What is kept from user data in a file system of so many bytes.
pub(crate) fn reserve_bytes(total: u64, wal_file_bytes: u64) -> u64 {
    share(total).max(2 * wal_file_bytes)
}

fn share(total: u64) -> u64 {
    (total / 16).min(RESERVE_MAX)
}

impl Default for SpaceLeft {
    /// Nobody has told yet, or nobody can.
    fn default() -> Self {
        Self { free: u64::MAX, reserve: 0, kept_from_all: 0 }
    }
}

impl SpaceLeft {
    pub(crate) fn new(space: Space, wal_file_bytes: u64) -> Self {
        Self {
            free: space.free,
            reserve: reserve_bytes(space.total, wal_file_bytes),
            kept_from_all: (share(space.total) / 4).max(wal_file_bytes),
        }
    }

    /// Counts a batch, which is written twice: to the write-ahead log and to its segment.
    pub(crate) fn take(&mut self, len: usize, internal: bool) -> Result<(), AppendError> {
        let wanted = 2 * len as u64 + PADDING;
        let kept = if internal { self.kept_from_all } else { self.reserve };
        if self.free < wanted.saturating_add(kept) {
            return Err(AppendError::NoSpace);
        }
        self.free -= wanted;
        Ok(())
    }

    pub(crate) fn limit(&mut self, free: u64) {
        self.free = self.free.min(free);
    }

    /// Whether there is nothing left for user data.
    pub(crate) fn is_low(&self) -> bool {
        self.free < self.reserve.saturating_add(PADDING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_to_internal_topics() {
        let mut left = SpaceLeft::new(Space { free: 80_000, total: 1_000_000 }, 10_000);
        assert!(left.take(1_000, false).is_ok() && !left.is_low());
        assert_eq!(left.take(10_000, false), Err(AppendError::NoSpace));
        assert!(left.take(1_000, false).is_ok(), "a smaller one still fits");
        while left.take(1_000, false).is_ok() {}
        let before = left.free;
        assert!(before >= 62_500 && left.is_low() == (before < 62_500 + PADDING));
        assert!(left.take(1_000, true).is_ok());
        while left.take(1_000, true).is_ok() {}
        assert!(left.free >= 62_500 / 4);
        let tiny = SpaceLeft::new(Space { free: 50_000, total: 60_000 }, 20_000);
        let taken = |internal| tiny.clone().take(3_000, internal).is_ok();
        assert_eq!(
            (taken(false), taken(true)),
            (false, true),
            "two files of the write-ahead log are kept free"
        );
        assert!(SpaceLeft::default().take(usize::MAX / 4, false).is_ok(), "nobody told");
    }
}
