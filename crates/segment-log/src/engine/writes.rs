//! The writer thread: segments, checkpoints, files for the write-ahead log, and what is no longer kept.

use super::{Engine, FailOnPanic, Failed};
use crate::{Drive, schedule::Schedule, staging::Levels, write_behind::Pass};
use keyway_log::StoreConfig;
use keyway_record::{Millis, Offset};
use keyway_runtime::Space;
use std::{
    sync::{MutexGuard, atomic::Ordering},
    time::Duration,
};

/// How often the file system is asked what it has left: bounds how late producers go on after a full disk, ms.
const SPACE_INTERVAL_MS: u64 = 1_000;

/// Pause after a segment could not be written, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Pause between two pieces of what is removed: 1,000 small files, or 32 GiB, in 5 s.
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// What the writer thread has to do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Duties {
    /// Move batches to segments.
    pub(crate) write: bool,
    pub(crate) checkpoint: bool,
    /// Prepare a file for the write-ahead log.
    pub(crate) prepare: bool,
    /// Write indexes that are missing.
    pub(crate) mend: bool,
    /// Remove files that nothing refers to.
    pub(crate) remove: bool,
    /// Give up what is no longer kept.
    retain: bool,
    /// Compact what is worth it.
    compact: bool,
    pub(super) stop: bool,
}

impl Duties {
    fn any(&self) -> bool {
        self.is_urgent() || self.retain || self.compact
    }

    /// Whether there is something that a pass over all partitions has to let through.
    fn is_urgent(&self) -> bool {
        self.write || self.checkpoint || self.prepare || self.mend || self.remove
    }

    /// What there is to do, which then is no longer asked for.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self { stop: self.stop, ..Self::default() })
    }
}

impl Engine {
    /// The writer thread. Returns once it is told to stop or the store has failed.
    pub(crate) fn run_writes(&self) {
        let _guard = FailOnPanic(self);
        let mut schedule = Schedule::new(self.clock.now());
        loop {
            let mut duties = self.duties();
            while !duties.stop {
                let (now, config) = (self.clock.now(), self.config());
                duties.retain |= schedule.take_retention(config, now);
                duties.compact |= schedule.take_compaction(config, now);
                if duties.any() {
                    break;
                }
                let left_ms = schedule.next_at(config).0.saturating_sub(now.0).min(SPACE_INTERVAL_MS);
                let waited = self.writer.wait_timeout(duties, Duration::from_millis(left_ms));
                drop(waited.expect("no panic under the lock"));
                self.check_space();
                self.retry_offline();
                duties = self.duties();
            }
            if duties.stop || self.has_ended() {
                return;
            }
            drop(duties);
            if !self.write_step() {
                self.pause_before_retry();
            }
        }
    }

    /// Does what the writer has to do. `false` if there was nothing or the disk refused; then it is tried again later.
    pub(crate) fn write_step(&self) -> bool {
        self.check_space();
        let duties = self.duties().take();
        if !duties.any() || self.has_ended() {
            return false;
        }
        let retained = if duties.retain { self.retain_by_clock() } else { Ok(()) };
        let compacted = if duties.compact { self.compact_by_clock() } else { Ok(()) };
        for failed in [retained, compacted] {
            if let Err(Failed::Retry(error)) = failed {
                tracing::warn!(%error, "old records could not be given up; the next pass tries again");
            }
        }
        self.work(duties)
    }

    /// All but giving up records.
    fn work(&self, duties: Duties) -> bool {
        if duties.prepare {
            self.prepare_file();
        }
        if duties.mend {
            self.mend_indexes();
        }
        if duties.remove {
            self.remove_step();
        }
        let done = match (duties.checkpoint, duties.write) {
            (true, _) => self.checkpoint(),
            (false, true) => self.write_behind(),
            (false, false) => Ok(()),
        };
        if let Err(Failed::Retry(error)) = &done {
            tracing::warn!(%error, "a segment could not be written; its records stay in memory and in the write-ahead log");
            self.demand(|again| {
                again.write |= duties.write;
                again.checkpoint |= duties.checkpoint;
            });
        }
        done.is_ok()
    }

    /// Removes a piece of what is to be removed, and leaves the disk to others for a while.
    fn remove_step(&self) {
        if !self.checkpointer().remove_step(self) {
            return;
        }
        if self.options.drive == Drive::Threads {
            let idle = |duties: &mut Duties| !duties.stop && !duties.any();
            let waited = self.writer.wait_timeout_while(self.duties(), REMOVAL_PAUSE, idle);
            drop(waited.expect("no panic under the lock"));
        }
        self.demand(|duties| duties.remove = true);
    }

    /// Tries what could not be written again.
    fn retry_offline(&self) {
        if self.counters.offline.load(Ordering::Relaxed) > 0
            && let Err(failure) = self.checkpointer().retry_offline(self)
        {
            self.fail(failure);
        }
    }

    /// Asks what the file system has left, for those who append.
    pub(crate) fn check_space(&self) {
        match self.disk.space(&self.folder) {
            Ok(Some(space)) => {
                let space = self.reserve.take(space, self.options.wal_file_bytes);
                let free = space.free.saturating_add(self.reserve.held_bytes());
                if self.staging.note_space(Space { free, ..space }) {
                    tracing::error!(
                        free_bytes = space.free, folder = %self.folder.display(),
                        "the disk is nearly full: producers are refused until there is space again"
                    );
                    // What the configs no longer keep goes first.
                    self.demand(|duties| duties.retain = true);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the file system does not tell what it has left"),
        }
    }

    /// Lets the writer do what is urgent, and holds it up as long as `bytes` may take. `false` once it must end.
    pub(crate) fn pause_writer(&self, bytes: usize) -> bool {
        let wait_ms = bytes as u64 * 1_000 / self.config().compaction_bytes_per_s.max(1);
        let until = Millis(self.clock.now().0.saturating_add(wait_ms));
        loop {
            let mut duties = self.duties();
            if duties.stop || self.has_ended() {
                return false;
            }
            let asked = duties.take();
            // The pass that is under way is followed by the next one.
            (duties.retain, duties.compact) = (asked.retain, asked.compact);
            let urgent = Duties { retain: false, compact: false, ..asked };
            if urgent.is_urgent() {
                drop(duties);
                if !self.work(urgent) {
                    self.pause_before_retry();
                }
                continue;
            }
            let left_ms = until.0.saturating_sub(self.clock.now().0);
            if left_ms == 0 {
                return true;
            }
            let waited = self.writer.wait_timeout(duties, Duration::from_millis(left_ms));
            drop(waited.expect("no panic under the lock"));
        }
    }

    /// Takes a checkpoint now.
    pub(crate) fn checkpoint(&self) -> Result<(), Failed> {
        let mut checkpointer = self.checkpointer();
        if let Some(failure) = self.progress.failure() {
            return Err(Failed::Stop(failure));
        }
        let done = checkpointer.checkpoint(self);
        drop(checkpointer);
        if let Err(Failed::Stop(failure)) = &done {
            self.fail(failure.clone());
        }
        self.forget_oldest();
        done
    }

    /// Moves everything durable to the segments.
    fn write_behind(&self) -> Result<(), Failed> {
        let mut checkpointer = self.checkpointer();
        let done = checkpointer.write_behind(self, Pass::Behind(Offset(i64::MAX)));
        drop(checkpointer);
        self.forget_oldest();
        done.map_err(Failed::Retry)
    }

    fn pause_before_retry(&self) {
        let runs = |duties: &mut Duties| !duties.stop;
        let waited = self.writer.wait_timeout_while(self.duties(), RETRY_PAUSE, runs);
        drop(waited.expect("no panic under the lock"));
    }

    /// Gives the writer something to do.
    pub(crate) fn demand(&self, change: impl FnOnce(&mut Duties)) {
        change(&mut self.duties());
        self.writer.notify_all();
    }

    /// Asks for what the levels ask for.
    pub(crate) fn demand_for(&self, levels: &Levels, prepare: bool) {
        let arena_bytes_max = self.options.arena_bytes_max;
        let write = levels.writable(arena_bytes_max) >= arena_bytes_max / 2;
        let checkpoint = levels.wal >= self.options.checkpoint_bytes;
        if write || checkpoint || prepare {
            self.demand(|duties| {
                duties.write |= write;
                duties.checkpoint |= checkpoint;
                duties.prepare |= prepare;
            });
        }
    }

    fn prepare_file(&self) {
        if self.staging.is_space_low() {
            return;
        }
        let Some(preparation) = self.committer().wal.wanted_file() else { return };
        let prepared = preparation.run().and_then(|file| self.committer().wal.add(&preparation, file));
        if let Err(error) = prepared {
            // Commits make a file for themselves when they need one.
            tracing::warn!(%error, "a file for the write-ahead log could not be prepared");
        }
    }

    pub(crate) fn configure(&self, config: StoreConfig) {
        *self.config.lock().expect("no panic under the lock") = config;
        self.writer.notify_all();
    }

    fn config(&self) -> StoreConfig {
        *self.config.lock().expect("no panic under the lock")
    }

    pub(super) fn duties(&self) -> MutexGuard<'_, Duties> {
        self.duties.lock().expect("no panic under the lock")
    }
}
