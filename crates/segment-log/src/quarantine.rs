//! Damaged segments: reported once, counted, and kept for as long as somebody may want them.
//!
//! What is around the damage is served. The manifest knows what was found, so that no retention, compaction or trim of a
//! later process removes the file: given up, it stays beside the others as `<name>.log.corrupt`. Only the deletion of its
//! partition takes it.

use crate::{
    engine::Engine,
    partition::{Log, SegmentEntry},
    segment::Damage,
};
use keyway_log::{DamagedRange, ReadError};
use keyway_runtime::OpenMode;
use std::sync::{Arc, atomic::Ordering};

/// What is added to the name of a damaged segment once its log has given it up.
pub(crate) const KEPT_EXTENSION: &str = "corrupt";

impl Log {
    /// Tells what reading a segment has shown, and has mended what can be.
    pub(crate) fn note_read(&self, entry: &SegmentEntry) {
        if entry.segment.take_lack_of_sidecar() && !entry.segment.is_damaged() && self.holds(entry) {
            self.engine.arena().unindexed.push((self.partition.clone(), entry.clone()));
            self.engine.demand(|duties| duties.mend = true);
        }
        self.report_damage(entry);
    }

    fn report_damage(&self, entry: &SegmentEntry) {
        if !entry.segment.has_news() || !self.holds(entry) {
            return;
        }
        let Some(damages) = entry.segment.take_news() else { return };
        let path = entry.segment.path.display();
        for Damage { position, end, from, next } in &damages {
            tracing::error!(
                partition = %self.partition, segment = %path, position, end,
                "the records from offset {from} to before {next} are damaged and not served, those around them are: \
                 restore the file from a backup and restart, or have consumers go on at offset {next}; the file is kept, and keyway topic damaged shows it"
            );
        }
        if damages.is_empty() {
            tracing::info!(partition = %self.partition, segment = %path, "what was damaged is good again");
        }
        self.engine.count_damaged();
        // The next process must not give the file up either.
        self.engine.demand(|duties| duties.checkpoint = true);
    }

    fn damages(&self) -> Vec<DamagedRange> {
        let state = self.state();
        let damaged = state.segments.iter().filter(|entry| entry.segment.is_damaged());
        let ranges = damaged.flat_map(|entry| {
            entry.segment.damages().into_iter().map(|damage| DamagedRange {
                partition: self.partition.clone(),
                file: entry.segment.path.clone(),
                position: damage.position,
                from: damage.from,
                next: damage.next,
            })
        });
        ranges.collect()
    }
}

impl Engine {
    /// Writes indexes that were missing or damaged beside their segments.
    pub(crate) fn mend_indexes(&self) {
        let unindexed = std::mem::take(&mut self.arena().unindexed);
        for (partition, entry) in unindexed {
            let file = self.files.open(&entry.segment, OpenMode::Existing).map_err(ReadError::Io);
            let indexed = file.and_then(|file| entry.segment.index_whole(file.as_ref(), entry.extent()));
            // Files are given up with the checkpointer locked.
            let mut checkpointer = self.checkpointer();
            let log = self.partitions().logs.get(&partition).cloned();
            let Some(log) = log.filter(|log| indexed.is_ok() && log.holds(&entry)) else { continue };
            if !entry.segment.is_damaged() {
                self.seal(&entry);
                checkpointer.note_sidecar(&entry.segment);
            }
            drop(checkpointer);
            log.report_damage(&entry);
        }
    }

    pub(crate) fn damages(&self) -> Vec<DamagedRange> {
        if self.counters.damaged.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        self.logs().iter().flat_map(|log| log.damages()).collect()
    }

    /// Counts the segments in which damage was found and that are part of a log.
    pub(crate) fn count_damaged(&self) {
        let of_log = |log: &Arc<Log>| {
            let state = log.state();
            state.segments.iter().filter(|entry| entry.segment.is_damaged()).count() as u64
        };
        let damaged = self.logs().iter().map(of_log).sum();
        self.counters.damaged.store(damaged, Ordering::Relaxed);
    }
}
