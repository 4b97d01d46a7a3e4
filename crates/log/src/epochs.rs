//! The leader epochs of one partition: in which of them each record was written, and where each of them ends.
//!
//! ```text
//!   epoch 0          epoch 3              epoch 4, the current one
//!   |----------------|--------------------|--------------------> offsets
//!   0               57                  130                    log end
//! ```
//!
//! A reader remembers the epoch of the last record that it read. If the epoch ends before the reader's position, then
//! the log was cut in between, and what lies at the position now is not what the reader saw there.

use keyway_record::{LeaderEpoch, Offset};
use std::{collections::VecDeque, fmt};

/// Epochs remembered at most: one comes with each unclean start that may have cut the log, and with records after it.
/// What lies before them is known to have ended, and no longer in which epoch.
pub const EPOCHS_MAX: usize = 1_000;

/// The epochs of a partition, ascending, each with the offset at which it began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Epochs(VecDeque<EpochStart>);

/// Where an epoch began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record, or where that will be.
    pub start: Offset,
}

/// Where the records of an epoch, and of those before it, end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The epoch asked for, or the newest before it if it has no records here.
    pub epoch: LeaderEpoch,
    /// Offset after its last record.
    pub end: Offset,
}

/// An epoch that cannot follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("epoch {} at offset {} cannot follow {last}", given.epoch, given.start)]
pub struct EpochsError {
    /// The newest epoch.
    pub last: EpochStart,
    /// What should have followed.
    pub given: EpochStart,
}

impl fmt::Display for EpochStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} at offset {}", self.epoch, self.start)
    }
}

impl Epochs {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `epoch` is the current one from `start` on, unless it is that already. Fails if it is older than the
    /// newest, or begins before it.
    pub fn note(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), EpochsError> {
        let given = EpochStart { epoch, start };
        if let Some(&last) = self.0.back() {
            if start < last.start || epoch < last.epoch {
                return Err(EpochsError { last, given });
            }
            if epoch == last.epoch {
                return Ok(());
            }
            if start == last.start {
                // The one before has no records.
                self.0.pop_back();
            }
        }
        if self.0.len() == EPOCHS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(given);
        Ok(())
    }

    /// Forgets what lies before `start`. The newest epoch stays, whether it has records left or not.
    pub fn trim(&mut self, start: Offset) {
        while self.0.get(1).is_some_and(|second| second.start <= start) {
            self.0.pop_front();
        }
        if let Some(first) = self.0.front_mut() {
            first.start = first.start.max(start);
        }
    }

    /// The current epoch.
    #[must_use]
    pub fn current(&self) -> Option<LeaderEpoch> {
        self.0.back().map(|last| last.epoch)
    }

    /// The epoch of the record at `offset`, or of the next one if `offset` is the log's end. `None` if that is no
    /// longer known.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.0.partition_point(|one| one.start <= offset);
        after.checked_sub(1).map(|index| self.0[index].epoch)
    }

    /// Where `epoch` ends in a log that ends at `log_end`, by Kafka's rule: the newest epoch up to the one asked for,
    /// and the start of the one after it, or the log's end if it is the current one. Of an epoch before all that are
    /// remembered, the start of the first. `None` if it is newer than the current one.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let after = self.0.partition_point(|one| one.epoch <= epoch);
        let newest = after.checked_sub(1).map_or(epoch, |index| self.0[index].epoch);
        match self.0.get(after) {
            Some(next) => Some(EpochEnd { epoch: newest, end: next.start }),
            None if newest == epoch && !self.0.is_empty() => Some(EpochEnd { epoch, end: log_end }),
            None => None,
        }
    }

    /// The epochs and where they began, oldest first.
    pub fn starts(&self) -> impl ExactSizeIterator<Item = EpochStart> + '_ {
        self.0.iter().copied()
    }

    /// Asserts what holds between two calls: epochs and their starts ascend, and are few.
    pub fn check(&self) {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        for (one, next) in pairs {
            assert!(one.epoch < next.epoch && one.start < next.start, "{one} before {next}");
        }
        assert!(self.0.len() <= EPOCHS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::random::Random;

    /// Every record's epoch, one by one.
    #[derive(Default)]
    struct Naive {
        epochs: Vec<i32>,
        start: i64,
        current: i32,
    }

    impl Naive {
        fn end(&self) -> i64 {
            self.epochs.len() as i64
        }

        /// Epochs that have records left or are the current one, with their first offsets; those trimmed away as a
        /// whole are forgotten.
        fn starts(&self) -> Vec<(i32, i64)> {
            let mut starts: Vec<(i32, i64)> = Vec::new();
            for offset in self.start..self.end() {
                let epoch = self.epochs[offset as usize];
                if starts.last().is_none_or(|(last, _)| *last != epoch) {
                    starts.push((epoch, offset));
                }
            }
            if starts.last().is_none_or(|(last, _)| *last != self.current) {
                starts.push((self.current, self.end()));
            }
            starts
        }

        fn end_of(&self, asked: i32) -> Option<(i32, i64)> {
            let starts = self.starts();
            if asked == self.current {
                return Some((asked, self.end()));
            }
            let (_, end) = *starts.iter().find(|(epoch, _)| *epoch > asked)?;
            let newest = starts.iter().rev().find(|(epoch, _)| *epoch <= asked);
            Some((newest.map_or(asked, |(epoch, _)| *epoch), end))
        }
    }

    #[test]
    fn random_histories_follow_the_naive_model() {
        for seed in 0..2_000 {
            let mut random = Random::new(seed);
            let (mut epochs, mut naive) = (Epochs::new(), Naive::default());
            epochs.note(LeaderEpoch(0), Offset(0)).unwrap();
            for _ in 0..60 {
                match random.below(6) {
                    0 => {
                        naive.current += 1 + random.below(3) as i32;
                        epochs.note(LeaderEpoch(naive.current), Offset(naive.end())).unwrap();
                    }
                    1 => {
                        naive.start += random.below((naive.end() - naive.start) as u64 + 1) as i64;
                        epochs.trim(Offset(naive.start));
                    }
                    _ => {
                        epochs.note(LeaderEpoch(naive.current), Offset(naive.end())).unwrap();
                        let count = naive.epochs.len() + 1 + random.below(5) as usize;
                        naive.epochs.resize(count, naive.current);
                    }
                }
                epochs.check();
                let starts: Vec<_> = epochs.starts().map(|one| (one.epoch.0, one.start.0)).collect();
                assert_eq!(starts, naive.starts(), "seed {seed}");
                let end = Offset(naive.end());
                for asked in -1..naive.current + 2 {
                    let found = epochs.end_of(LeaderEpoch(asked), end).map(|one| (one.epoch.0, one.end.0));
                    assert_eq!(found, naive.end_of(asked), "seed {seed}, epoch {asked}");
                }
                for offset in naive.start..=naive.end() {
                    let expected = naive.epochs.get(offset as usize).copied().unwrap_or(naive.current);
                    let found = epochs.epoch_of(Offset(offset));
                    assert_eq!(found, Some(LeaderEpoch(expected)), "seed {seed}, offset {offset}");
                }
            }
        }
    }

    #[test]
    fn what_goes_back_is_refused() {
        let mut epochs = Epochs::new();
        epochs.note(LeaderEpoch(2), Offset(10)).unwrap();
        let before = epochs.clone();
        assert!(epochs.note(LeaderEpoch(1), Offset(11)).is_err());
        assert!(epochs.note(LeaderEpoch(3), Offset(9)).is_err());
        assert!(epochs.note(LeaderEpoch(2), Offset(9)).is_err());
        assert_eq!(epochs, before);
    }

    #[test]
    fn the_oldest_epochs_are_forgotten() {
        let mut epochs = Epochs::new();
        for index in 0..EPOCHS_MAX as i32 + 5 {
            epochs.note(LeaderEpoch(index), Offset(i64::from(index) * 10)).unwrap();
            epochs.check();
        }
        assert_eq!(epochs.epoch_of(Offset(49)), None);
        assert_eq!(epochs.epoch_of(Offset(50)), Some(LeaderEpoch(5)));
        let end = epochs.end_of(LeaderEpoch(3), Offset(i64::MAX));
        assert_eq!(end, Some(EpochEnd { epoch: LeaderEpoch(3), end: Offset(50) }));
    }

    #[test]
    fn none_have_no_end() {
        assert_eq!(Epochs::new().end_of(LeaderEpoch(0), Offset(5)), None);
        assert_eq!(Epochs::new().epoch_of(Offset(5)), None);
        assert_eq!(Epochs::new().current(), None);
    }
}
