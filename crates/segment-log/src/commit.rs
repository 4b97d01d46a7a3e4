//! Commits: what is staged goes into a block, one flush makes all written blocks durable, everyone who waited is told.
//!
//! Writing and flushing are two steps under two locks, so that blocks are written while a flush is under way, and who
//! waits for the write only is not held up by it. There is one flush at a time: it takes all that was written before.

use crate::{
    Bypass, Drive, DurableBy, Failure,
    bypass::{Bypassed, Effort, Way, Ways},
    engine::Engine,
    partition::Log,
    staging::Staged,
    wal::{
        Flush, Wal,
        block::BlockBuilder,
        entry::{Entry, LogId},
    },
};
use keyway_log::{Durability, Ticket};
use keyway_record::{Offset, RecordBatch};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    task::Waker,
};

/// Writes blocks.
pub(crate) struct Committer {
    pub(crate) wal: Wal,
    block: BlockBuilder,
    /// Taken from staging for the block under way.
    taken: Vec<Staged>,
    /// What of the staged batches is in its segments.
    bypassed: Vec<Bypassed>,
    /// In blocks that nobody began to flush.
    written: Vec<Staged>,
    written_ticket: Ticket,
    written_bytes: u64,
    /// A write failed: what the file holds now is not known, so nothing more is written.
    failed: bool,
}

/// Flushes blocks, and tells that they are durable.
#[derive(Default)]
pub(crate) struct Flusher {
    /// In the blocks of the flush under way.
    flying: Vec<Staged>,
    ways: Ways,
    wakers: Vec<Waker>,
    /// Scratch of [`Flusher::publish`].
    committed: Vec<(Arc<Log>, Offset)>,
}

/// One flush: the blocks, and up to which ticket they go.
struct Flight {
    flush: Flush,
    ticket: Ticket,
    bytes: u64,
}

impl Committer {
    pub(crate) fn new(wal: Wal) -> Self {
        Self {
            wal,
            block: BlockBuilder::new(),
            taken: Vec::new(),
            bypassed: Vec::new(),
            written: Vec::new(),
            written_ticket: Ticket::default(),
            written_bytes: 0,
            failed: false,
        }
    }

    /// Writes one block of what is staged. Returns whom that wakes; `None` if there was nothing.
    pub(crate) fn write(&mut self, engine: &Engine) -> Result<Option<Vec<Waker>>, Failure> {
        if self.failed {
            return Ok(None);
        }
        let bytes_max = engine.options.commit_bytes_max;
        let Some(ticket) = engine.staging.take(bytes_max, &mut self.taken) else { return Ok(None) };
        self.fill_block();
        self.written_bytes += self.block.file_len();
        if let Err(error) = self.write_block(engine) {
            return Err(Failure::new("writing the write-ahead log", &error));
        }
        self.block.clear(bytes_max.saturating_mul(2));
        self.written.append(&mut self.taken);
        self.written_ticket = ticket;
        engine.counters.commits.fetch_add(1, Ordering::Relaxed);
        Ok(Some(engine.progress.reach(ticket, Durability::Written)))
    }

    /// Writes the block. Where there is no space for it, it is written again with what is held for that: until it is
    /// whole nothing of it counts.
    fn write_block(&mut self, engine: &Engine) -> io::Result<()> {
        let mut written = self.wal.write(&mut self.block);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
            && engine.release_reserve()
        {
            written = self.wal.write(&mut self.block);
        }
        self.failed |= written.is_err();
        written
    }

    /// Writes batches that were logged before once more, for a log that has them in no segment. They are not flushed.
    pub(crate) fn write_kept(
        &mut self,
        engine: &Engine,
        log: LogId,
        batches: Vec<RecordBatch>,
    ) -> io::Result<()> {
        let bytes_max = engine.options.commit_bytes_max;
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        let mut batches = batches.into_iter().peekable();
        while let Some(batch) = batches.next() {
            self.block.push(&Entry::Kept { log, batch });
            let next_len = batches.peek().map(|next| next.bytes().len() as u64);
            if next_len.is_none_or(|len| self.block.file_len() + len > bytes_max as u64) {
                self.written_bytes += self.block.file_len();
                let written = self.write_block(engine);
                self.block.clear(bytes_max.saturating_mul(2));
                written?;
            }
        }
        Ok(())
    }

    /// Has the batches that are in segments referred to, in the blocks that take them.
    fn note_bypassed(&mut self, bypassed: Vec<Bypassed>) {
        self.bypassed.retain(|each| !each.is_past());
        self.bypassed.extend(bypassed);
    }

    fn fill_block(&mut self) {
        if self.bypassed.is_empty() {
            return self.taken.iter().for_each(|staged| self.block.push(&staged.entry));
        }
        // For each of `bypassed`, once its first batch was met: whether the block refers to its batches.
        let mut refers = vec![None; self.bypassed.len()];
        for (index, staged) in self.taken.iter().enumerate() {
            let of = self.bypassed.iter().position(|each| each.holds(staged));
            let is_referred_to = of.is_some_and(|of| {
                *refers[of].get_or_insert_with(|| {
                    let reference = self.bypassed[of].refer_to(&self.taken[index..]);
                    reference.is_some_and(|entry| {
                        self.block.push(&entry);
                        true
                    })
                })
            });
            if !is_referred_to {
                self.block.push(&staged.entry);
            }
        }
    }

    /// Whether blocks wait for a flush.
    pub(crate) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    fn take_flight(&mut self, flying: &mut Vec<Staged>) -> Option<Flight> {
        assert!(flying.is_empty(), "one flush at a time");
        std::mem::swap(flying, &mut self.written);
        let bytes = std::mem::take(&mut self.written_bytes);
        (!flying.is_empty()).then(|| Flight { flush: self.wal.flush(), ticket: self.written_ticket, bytes })
    }
}

impl Flusher {
    /// Writes one block of what is staged, and flushes it with all that was written before; `false` if there was
    /// nothing. After an error nothing may be flushed any more: a flush that is tried again may succeed without having
    /// written anything.
    pub(crate) fn step(&mut self, engine: &Engine) -> Result<bool, Failure> {
        let begun = engine.clock.now_us();
        let large = engine.large();
        let is_large = !large.is_empty();
        let bypassed = match self.way(engine) {
            Way::Bypass if is_large => engine.bypass(large)?,
            Way::Bypass | Way::Held => Vec::new(),
        };
        let bypass_us = engine.clock.now_us().saturating_sub(begun);
        let bypassed_with = bypassed.iter().map(|each| each.effort).max();
        let bypassed_bytes: usize = bypassed.iter().map(|each| each.bytes).sum();
        let flight = {
            let mut committer = engine.committer();
            committer.note_bypassed(bypassed);
            self.wakers.extend(committer.write(engine)?.into_iter().flatten());
            committer.take_flight(&mut self.flying)
        };
        let Some(Flight { flush, ticket, bytes }) = flight else { return Ok(false) };
        if engine.options.durable_by == DurableBy::Fsync {
            run(engine, &flush, bypass_us)?;
        }
        if is_large && bypassed_with.is_none_or(|effort| effort == Effort::Usual) {
            let way = if bypassed_with.is_some() { Way::Bypass } else { Way::Held };
            let took_us = engine.clock.now_us().saturating_sub(begun);
            let second_us_per_mib = engine.second_write_us_per_mib();
            self.ways.note(way, bytes as usize + bypassed_bytes, took_us, second_us_per_mib);
        }
        engine.counters.committed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.publish(engine);
        self.wakers.append(&mut engine.progress.reach(ticket, Durability::Durable));
        engine.forget_oldest();
        Ok(true)
    }

    /// Whom the last step wakes, once the flusher is somebody else's to take: whoever wakes first takes the processor, and
    /// would have to wait for it.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Flushes what was written behind everyone's back: batches that were logged before.
    pub(crate) fn flush_kept(&mut self, engine: &Engine) -> Result<(), Failure> {
        let flush = engine.committer().wal.flush();
        run(engine, &flush, 0)
    }

    /// Flushes what was written, for a checkpoint: what it knows must not be taken back, whatever was promised.
    pub(crate) fn flush_for_checkpoint(&mut self, engine: &Engine) -> Result<(), Failure> {
        match engine.options.durable_by {
            DurableBy::Fsync => Ok(()),
            DurableBy::Os => self.flush_kept(engine),
        }
    }

    /// The way of what is large in the next commit.
    fn way(&self, engine: &Engine) -> Way {
        match (engine.options.bypass, engine.options.drive) {
            (Bypass::Never, _) => Way::Held,
            (Bypass::WhereQuicker, Drive::Threads) => self.ways.next(),
            (Bypass::WhereQuicker, Drive::Steps) | (Bypass::Always, _) => Way::Bypass,
        }
    }

    /// Moves the high watermarks, and puts the batches where the writer finds them.
    fn publish(&mut self, engine: &Engine) {
        let mut staged_bytes = 0;
        let mut newly_dirty: Vec<Arc<Log>> = Vec::new();
        for staged in self.flying.drain(..) {
            staged_bytes += staged.batch_len();
            let Entry::Data { batch, .. } = &staged.entry else { continue };
            let next = batch.next_offset();
            self.committed.push((staged.log, next));
        }
        for (log, next) in &self.committed {
            if log.commit(*next, &mut self.wakers) {
                newly_dirty.push(log.clone());
            }
        }
        let mut arena = engine.arena();
        arena.oldest.extend(self.committed.drain(..));
        arena.dirty.extend(newly_dirty);
        drop(arena);
        let (wal_bytes, wants_file) = {
            let committer = engine.committer();
            (committer.wal.live_bytes(), committer.wal.wanted_file().is_some())
        };
        let levels = engine.staging.change_waking(&mut self.wakers, |levels| {
            levels.staged -= staged_bytes;
            levels.wal = wal_bytes;
        });
        engine.demand_for(&levels, wants_file);
    }
}

/// `before_us` is what flushing segments took before.
fn run(engine: &Engine, flush: &Flush, before_us: u64) -> Result<(), Failure> {
    let begun = engine.clock.now_us();
    flush.run().map_err(|error| Failure::new("flushing the write-ahead log", &error))?;
    engine.note_flush(before_us + engine.clock.now_us().saturating_sub(begun));
    engine.counters.flushes.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
