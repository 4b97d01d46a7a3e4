//! What readers remember, and what the log must tell them after a crash: that something they read is gone, if and only
//! if it is.

use keyway_log::PartitionLog;
use keyway_record::{LeaderEpoch, Offset, RecordBatch, TopicPartition};
use std::collections::BTreeMap;

/// Readers of one batch after another that are remembered for each partition and life.
const READERS_MAX: usize = 6;

/// One that read everything before `position`, the last record of it in `epoch`.
#[derive(Clone, Copy, Debug)]
struct Reader {
    /// Which life of the partition it read.
    incarnation: u64,
    epoch: LeaderEpoch,
    position: Offset,
    /// Something that it read is gone, whatever lies there now.
    lost: bool,
}

/// Those of all partitions, over all lives of a store.
#[derive(Clone, Default)]
pub(crate) struct Readers {
    of: BTreeMap<TopicPartition, Vec<Reader>>,
    lost: u64,
}

impl Readers {
    /// Takes in readers of a partition's batches as they were before the crash.
    pub(crate) fn see(&mut self, target: &TopicPartition, incarnation: u64, batches: &[RecordBatch]) {
        let step = batches.len() / READERS_MAX + 1;
        let readers = batches.iter().rev().step_by(step).map(|batch| Reader {
            incarnation,
            epoch: batch.leader_epoch(),
            position: batch.next_offset(),
            lost: false,
        });
        self.of.entry(target.clone()).or_default().extend(readers);
    }

    /// Checks what a partition that has `batches` left tells them.
    pub(crate) fn check(
        &mut self,
        target: &TopicPartition,
        incarnation: u64,
        log: &dyn PartitionLog,
        after_crash: bool,
    ) {
        let bounds = log.bounds();
        let Some(readers) = self.of.get_mut(target) else { return };
        readers.retain(|reader| reader.incarnation == incarnation);
        for reader in readers {
            if after_crash && !reader.lost && reader.position > bounds.end {
                reader.lost = true;
                self.lost += 1;
            }
            let told = log.epoch_end(reader.epoch).is_none_or(|found| found.end < reader.position);
            if reader.position > bounds.start {
                assert_eq!(told, reader.lost, "{target}: {reader:?} in {bounds:?}");
            }
        }
    }

    /// How many lost something that they had read.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

/// Checks a log's epochs against the batches that it has, one by one.
pub(crate) fn check_epochs(log: &dyn PartitionLog, batches: &[&RecordBatch]) {
    let (bounds, current) = (log.bounds(), log.leader_epoch());
    let mut starts: Vec<(LeaderEpoch, Offset)> = Vec::new();
    for batch in batches {
        let (epoch, base) = (batch.leader_epoch(), batch.base_offset().max(bounds.start));
        assert_eq!(log.epoch_of(base), Some(epoch), "the epoch of {base}");
        assert!(starts.last().is_none_or(|(last, _)| *last <= epoch) && epoch <= current);
        if starts.last().is_none_or(|(last, _)| *last != epoch) {
            starts.push((epoch, base));
        }
    }
    if starts.last().is_none_or(|(last, _)| *last != current) {
        starts.push((current, bounds.end));
    }
    for (index, (epoch, _)) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(bounds.end, |(_, start)| *start);
        let found = log.epoch_end(*epoch).map(|found| (found.epoch, found.end));
        assert_eq!(found, Some((*epoch, end)), "the end of epoch {epoch}");
    }
    assert_eq!(log.epoch_end(LeaderEpoch(current.0 + 1)), None);
}
