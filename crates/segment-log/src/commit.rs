//! One commit: everything staged goes into one block, one flush makes it durable, everyone who waited is told.

use crate::{
    Failure,
    engine::Engine,
    partition::Log,
    staging::Staged,
    wal::{Wal, block::BlockBuilder, entry::Entry},
};
use keyway_log::Durability;
use keyway_record::Offset;
use std::sync::{Arc, atomic::Ordering};

pub(crate) struct Committer {
    pub(crate) wal: Wal,
    block: BlockBuilder,
    taken: Vec<Staged>,
}

impl Committer {
    pub(crate) fn new(wal: Wal) -> Self {
        Self { wal, block: BlockBuilder::new(), taken: Vec::new() }
    }

    /// Commits one block; `false` if nothing was staged. After an error nothing more may be committed: what the file
    /// holds now is not known, and a flush that is tried again may succeed without having written anything.
    pub(crate) fn step(&mut self, engine: &Engine) -> Result<bool, Failure> {
        let bytes_max = engine.options.commit_bytes_max;
        let Some(ticket) = engine.staging.take(bytes_max, &mut self.taken) else { return Ok(false) };
        self.taken.iter().for_each(|staged| self.block.push(&staged.entry));
        let block_len = self.block.file_len();
        let failed = |action| move |error| Failure::new(action, &error);
        self.wal.write(&mut self.block).map_err(failed("writing the write-ahead log"))?;
        engine.progress.reach(ticket, Durability::Written);
        let begun = engine.clock.now();
        self.wal.sync().map_err(failed("flushing the write-ahead log"))?;
        // Shorter than a tick of the clock, most of them; over many, what the ticks cut off and add evens out.
        let flush_ms = engine.clock.now().0.saturating_sub(begun.0);
        engine.counters.flush_ms.fetch_add(flush_ms, Ordering::Relaxed);
        engine.counters.commits.fetch_add(1, Ordering::Relaxed);
        engine.counters.flushes.fetch_add(1, Ordering::Relaxed);
        engine.counters.committed_bytes.fetch_add(block_len, Ordering::Relaxed);
        self.block.clear(bytes_max.saturating_mul(2));
        self.publish(engine);
        engine.progress.reach(ticket, Durability::Durable);
        engine.forget_oldest();
        Ok(true)
    }

    /// Moves the high watermarks, and puts the batches where the writer finds them.
    fn publish(&mut self, engine: &Engine) {
        let mut staged_bytes = 0;
        let mut newly_dirty: Vec<Arc<Log>> = Vec::new();
        let mut committed: Vec<(Arc<Log>, Offset)> = Vec::with_capacity(self.taken.len());
        for staged in self.taken.drain(..) {
            staged_bytes += staged.batch_len();
            let Entry::Data { batch, .. } = &staged.entry else { continue };
            let next = batch.next_offset();
            committed.push((staged.log, next));
        }
        for (log, next) in &committed {
            if log.commit(*next) {
                newly_dirty.push(log.clone());
            }
        }
        let mut arena = engine.arena();
        arena.oldest.extend(committed);
        arena.dirty.extend(newly_dirty);
        drop(arena);
        let wal_bytes = self.wal.live_bytes();
        let levels = engine.staging.change(|levels| {
            levels.staged -= staged_bytes;
            levels.wal = wal_bytes;
        });
        engine.demand_for(&levels, self.wal.wanted_file().is_some());
    }
}
