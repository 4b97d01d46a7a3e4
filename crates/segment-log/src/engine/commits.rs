//! The commit thread, and the commits of those who wait.

use super::{Engine, FailOnPanic};
use crate::{CommitBy, Drive, Failure, commit::Flusher, staging::Parked};
use keyway_log::{Durability, Ticket};
use std::{
    io,
    sync::{MutexGuard, atomic::Ordering},
    task::Waker,
    time::Duration,
};

/// How often the commit thread looks for what nobody waits for, while there are commits: bounds how late such records
/// are readable, and how much of `Durability::Written` a power cut takes.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without a commit after which the thread sleeps until something is staged, having said in the log that its last
/// commit was flushed: damage to that is then not taken for a torn end.
const TICKS_QUIET: u32 = 100;

/// Longest average flush that may run on the task of the one who waits for it. Above it, a hand-off to the thread (20 to
/// 60 us) is small change and a blocked worker is not.
const INLINE_FLUSH_US_MAX: u64 = 1_000;

/// What it takes until a task that is woken runs. A flush that is quicker is made for others rather than left to the first
/// of them.
const HAND_OFF_US: u64 = 20;

/// Commits that one task makes at most before it goes on with its own.
const COMMITS_MAX: usize = 8;

impl Engine {
    /// Commits one block of what is staged, after a flush that is under way. `false` if there was nothing, or the store
    /// has failed.
    pub(crate) fn commit_step(&self) -> bool {
        self.commit_with(self.flusher.lock().expect("no panic under the lock"))
    }

    fn commit_with<'a>(&'a self, mut flusher: MutexGuard<'a, Flusher>) -> bool {
        if self.has_ended() {
            return false;
        }
        let mut done = false;
        for _ in 0..COMMITS_MAX {
            match flusher.step(self) {
                Ok(true) => done = true,
                Ok(false) => return done,
                Err(failure) => {
                    // Under the lock: nobody may flush after this.
                    self.fail(failure);
                    flusher.take_wakers().into_iter().for_each(Waker::wake);
                    return false;
                }
            }
            let wakers = flusher.take_wakers();
            drop(flusher);
            wakers.into_iter().for_each(Waker::wake);
            if self.thread_commits() || !(self.staging.has_staged() || self.committer().has_written()) {
                return done;
            }
            // Who came while the flush was under way waits for the next one.
            if self.flush_us.load(Ordering::Relaxed) > HAND_OFF_US {
                break;
            }
            match self.flusher.try_lock() {
                Ok(again) => flusher = again,
                Err(_) => return done,
            }
        }
        self.progress.wake_first(Durability::Durable);
        done
    }

    /// Does for the one who waits what the wait is for, if nobody else is at it and it is quick. `false` if somebody
    /// else will do it, who tells everyone who waits by then.
    pub(crate) fn commit_for(&self, ticket: Ticket, durability: Durability) -> bool {
        match durability {
            Durability::Written if self.waiters_commit() => self.write_for(ticket),
            Durability::Durable if !self.thread_commits() => self.flush_for(ticket),
            Durability::Written | Durability::Durable => false,
        }
    }

    fn write_for(&self, ticket: Ticket) -> bool {
        let mut wakers = Vec::new();
        let mut committer = self.committer();
        while !self.progress.has_reached(ticket, Durability::Written) && !self.has_ended() {
            match committer.write(self) {
                Ok(Some(woken)) => wakers.extend(woken),
                Ok(None) => break,
                Err(failure) => {
                    self.fail(failure);
                    break;
                }
            }
        }
        drop(committer);
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    fn flush_for(&self, ticket: Ticket) -> bool {
        while !self.progress.has_reached(ticket, Durability::Durable) {
            let Ok(flusher) = self.flusher.try_lock() else { return false };
            if !self.commit_with(flusher) {
                break;
            }
        }
        true
    }

    /// Whether commits are left to the thread: asked for, or because a flush takes so long that nobody else's task
    /// should be held up by it.
    pub(crate) fn thread_commits(&self) -> bool {
        !self.waiters_commit() || self.flush_us.load(Ordering::Relaxed) > INLINE_FLUSH_US_MAX
    }

    fn waiters_commit(&self) -> bool {
        self.options.commit_by == CommitBy::Waiters && self.options.drive == Drive::Threads
    }

    pub(crate) fn note_flush(&self, took_us: u64) {
        let average = self.flush_us.load(Ordering::Relaxed);
        // One flush that had to wait for the device says little, so no single one counts for more than the bound.
        let average = (average * 7 + took_us.min(8 * INLINE_FLUSH_US_MAX)) / 8;
        self.flush_us.store(average, Ordering::Relaxed);
        self.counters.flush_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Commits all that is staged, and has it on the device even if nobody was promised that.
    pub(crate) fn commit_all(&self) -> Result<(), Failure> {
        self.commit_until(self.staging.last_ticket())?;
        self.flusher.lock().expect("no panic under the lock").flush_for_checkpoint(self)
    }

    /// Says behind the last commit that it was flushed. `false` if that is said already, or cannot be now.
    pub(crate) fn mark_step(&self) -> bool {
        let mut committer = self.committer();
        if self.has_ended() {
            return false;
        }
        match committer.wal.mark() {
            Ok(done) => done,
            // It may be missing, and space is for what may not.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => false,
            Err(error) => {
                drop(committer);
                self.fail(Failure::new("writing the write-ahead log", &error));
                false
            }
        }
    }

    /// Commits until `ticket` is durable.
    pub(crate) fn commit_until(&self, ticket: Ticket) -> Result<(), Failure> {
        while !self.progress.has_reached(ticket, Durability::Durable) {
            if !self.commit_step() && self.has_ended() {
                return Err(self.progress.failure().unwrap_or_else(Failure::closed));
            }
        }
        Ok(())
    }

    /// The commit thread: commits what nobody else does. Returns once it is told to stop or the store has failed.
    pub(crate) fn run_commits(&self) {
        let _guard = FailOnPanic(self);
        let mut quiet = TICKS_QUIET;
        let mut taken = Ticket::default();
        while !self.has_ended() {
            let asleep = quiet == TICKS_QUIET;
            let commits = self.counters.commits.load(Ordering::Relaxed);
            let patience = if asleep { None } else { Some(TICK) };
            match self.staging.park(self.thread_commits(), patience, taken) {
                Parked::Stop => return,
                Parked::Work => quiet = 0,
                Parked::Idle => {}
            }
            taken = self.staging.taken();
            let done = self.commit_step();
            if done || commits != self.counters.commits.load(Ordering::Relaxed) {
                quiet = 0;
            } else if quiet < TICKS_QUIET {
                quiet += 1;
                if quiet == TICKS_QUIET {
                    self.mark_step();
                }
            }
        }
    }
}
