//! What the parts of a store share, and the two loops that drive it.
//!
//! Locks, in the order in which they may be taken: checkpointer, flusher, committer, partitions, one log's state, staging or
//! arena. Those who wait are woken after the locks are released.

use crate::{
    CommitBy, Drive, Failure, Options,
    checkpoint::Checkpointer,
    commit::{Committer, Flusher},
    open_files::OpenFiles,
    partition::{Freed, Log, SegmentEntry},
    progress::Progress,
    staging::{Levels, Parked, Staging},
    wal::entry::LogId,
    wall_time::WallTime,
};
use keyway_log::{Durability, ReadError, StoreError, Ticket};
use keyway_record::{Millis, Offset, TopicPartition};
use keyway_runtime::{Clock, Disk, OpenMode};
use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
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

/// How often the file system is asked what it has left: bounds how late producers go on after a full disk, ms.
const SPACE_INTERVAL_MS: u64 = 1_000;

/// Pause after a segment could not be written, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Engine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) folder: PathBuf,
    pub(crate) options: Options,
    pub(crate) staging: Arc<Staging>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) files: OpenFiles,
    pub(crate) counters: Counters,
    committer: Mutex<Committer>,
    flusher: Mutex<Flusher>,
    /// What a flush takes, us: an average in which each new one counts an eighth.
    flush_us: AtomicU64,
    pub(crate) checkpointer: Mutex<Checkpointer>,
    pub(crate) wall_time: Mutex<WallTime>,
    /// One pass that gives up records at a time; taken before every other lock.
    pub(crate) cleaning: Mutex<()>,
    /// Of the manifest that this process began with.
    generation: u64,
    revisions: AtomicU64,
    partitions: Mutex<Partitions>,
    arena: Mutex<Arena>,
    duties: Mutex<Duties>,
    writer: Condvar,
    ended: AtomicBool,
}

/// The partitions that exist.
pub(crate) struct Partitions {
    pub(crate) logs: BTreeMap<TopicPartition, Arc<Log>>,
    pub(crate) next_log: LogId,
}

/// Durable batches in memory.
#[derive(Default)]
pub(crate) struct Arena {
    /// In the order of their commits: what is forgotten first.
    pub(crate) oldest: VecDeque<(Arc<Log>, Offset)>,
    /// Logs with something to write behind.
    pub(crate) dirty: Vec<Arc<Log>>,
    /// Paths inside the data folder that are removed once no manifest refers to them.
    pub(crate) garbage: Vec<String>,
}

/// What the writer thread has to do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Duties {
    /// Move batches to segments.
    pub(crate) write: bool,
    pub(crate) checkpoint: bool,
    /// Prepare a file for the write-ahead log.
    pub(crate) prepare: bool,
    /// Give up what is no longer kept.
    clean: bool,
    stop: bool,
}

impl Duties {
    fn any(&self) -> bool {
        self.write || self.checkpoint || self.prepare || self.clean
    }

    /// What there is to do, which then is no longer asked for.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self { stop: self.stop, ..Self::default() })
    }
}

/// Counts since the store was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) flushes: AtomicU64,
    /// Time that they took together, us.
    pub(crate) flush_us: AtomicU64,
    pub(crate) committed_bytes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    /// Logs that cannot be written at the moment.
    pub(crate) offline: AtomicU64,
}

impl Engine {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        folder: PathBuf,
        options: Options,
        committer: Committer,
        checkpointer: Checkpointer,
        next_log: LogId,
    ) -> Self {
        let generation = checkpointer.generation();
        Self {
            files: OpenFiles::new(disk.clone(), options.open_files_max),
            staging: Arc::new(Staging::new(&options)),
            disk,
            clock,
            folder,
            options,
            progress: Arc::default(),
            counters: Counters::default(),
            committer: Mutex::new(committer),
            flusher: Mutex::default(),
            flush_us: AtomicU64::new(0),
            checkpointer: Mutex::new(checkpointer),
            wall_time: Mutex::default(),
            cleaning: Mutex::default(),
            generation,
            revisions: AtomicU64::new(0),
            partitions: Mutex::new(Partitions { logs: BTreeMap::new(), next_log }),
            arena: Mutex::default(),
            duties: Mutex::default(),
            writer: Condvar::new(),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn segments_folder(&self) -> PathBuf {
        self.folder.join(crate::segment::FOLDER)
    }

    pub(crate) fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().expect("no panic under the lock")
    }

    pub(crate) fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().expect("no panic under the lock")
    }

    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        self.partitions().logs.values().cloned().collect()
    }

    pub(crate) fn committer(&self) -> MutexGuard<'_, Committer> {
        self.committer.lock().expect("no panic under the lock")
    }

    /// Commits one block of what is staged, after a flush that is under way. `false` if there was nothing, or the store
    /// has failed.
    pub(crate) fn commit_step(&self) -> bool {
        self.commit_with(self.flusher.lock().expect("no panic under the lock"))
    }

    fn commit_with(&self, mut flusher: MutexGuard<'_, Flusher>) -> bool {
        if self.has_ended() {
            return false;
        }
        let done = match flusher.step(self) {
            Ok(done) => done,
            Err(failure) => {
                // Under the lock: nobody may flush after this.
                self.fail(failure);
                return false;
            }
        };
        drop(flusher);
        // Who came while the flush was under way waits for the next one, which the first of them makes.
        if done && !self.thread_commits() && (self.staging.has_staged() || self.committer().has_written()) {
            self.progress.wake_first(Durability::Durable);
        }
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
        let mut committer = self.committer();
        while !self.progress.has_reached(ticket, Durability::Written) && !self.has_ended() {
            match committer.write(self) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    drop(committer);
                    self.fail(failure);
                    break;
                }
            }
        }
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

    /// Does what the writer has to do. `false` if there was nothing or the disk refused; then it is tried again later.
    pub(crate) fn write_step(&self) -> bool {
        self.check_space();
        let duties = self.duties().take();
        if !duties.any() || self.has_ended() {
            return false;
        }
        if duties.clean
            && let Err(Failed::Retry(error)) = self.clean_by_clock()
        {
            tracing::warn!(%error, "old records could not be given up; the next pass tries again");
        }
        self.work(duties)
    }

    /// All but cleaning.
    fn work(&self, duties: Duties) -> bool {
        if duties.prepare {
            self.prepare_file();
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

    /// Asks what the file system has left, for those who append.
    pub(crate) fn check_space(&self) {
        match self.disk.space(&self.folder) {
            Ok(Some(space)) => {
                if self.staging.note_space(space) {
                    tracing::error!(
                        free_bytes = space.free, folder = %self.folder.display(),
                        "the disk is nearly full: producers are refused until there is space again"
                    );
                    // What the configs no longer keep goes first.
                    self.demand(|duties| duties.clean = true);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the file system does not tell what it has left"),
        }
    }

    /// Lets the writer do what is urgent, and holds it up as long as `bytes` may take. `false` once it must end.
    pub(crate) fn pause_writer(&self, bytes: usize) -> bool {
        let wait_ms = bytes as u64 * 1_000 / self.options.compaction_bytes_per_s.max(1);
        let until = Millis(self.clock.now().0.saturating_add(wait_ms));
        loop {
            let mut duties = self.duties();
            if duties.stop || self.has_ended() {
                return false;
            }
            let asked = duties.take();
            // The pass that is under way is followed by the next one.
            duties.clean = asked.clean;
            let urgent = Duties { clean: false, ..asked };
            if urgent.any() {
                drop(duties);
                if !self.work(urgent) {
                    let duties = self.duties();
                    let running = |duties: &mut Duties| !duties.stop;
                    let waited = self.writer.wait_timeout_while(duties, RETRY_PAUSE, running);
                    drop(waited.expect("no panic under the lock"));
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

    /// A number that no segment file of this data folder has in its name, nor will have.
    pub(crate) fn next_revision(&self) -> u64 {
        let counted = self.revisions.fetch_add(1, Ordering::Relaxed);
        // What an earlier process left to be removed is in a manifest of an earlier generation.
        (self.generation << 24) + 1 + counted
    }

    /// Takes a checkpoint now.
    pub(crate) fn checkpoint(&self) -> Result<(), Failed> {
        let mut checkpointer = self.checkpointer.lock().expect("no panic under the lock");
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
        let mut checkpointer = self.checkpointer.lock().expect("no panic under the lock");
        let done = checkpointer.write_behind(self);
        drop(checkpointer);
        self.forget_oldest();
        done.map_err(Failed::Retry)
    }

    /// The commit thread: commits what nobody else does. Returns once it is told to stop or the store has failed.
    pub(crate) fn run_commits(&self) {
        let _guard = FailOnPanic(self);
        let mut quiet = TICKS_QUIET;
        while !self.has_ended() {
            let asleep = quiet == TICKS_QUIET;
            let commits = self.counters.commits.load(Ordering::Relaxed);
            match self.staging.park(self.thread_commits(), if asleep { None } else { Some(TICK) }) {
                Parked::Stop => return,
                Parked::Work => quiet = 0,
                Parked::Idle => {}
            }
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

    /// The writer thread. Returns once it is told to stop or the store has failed.
    pub(crate) fn run_writes(&self) {
        let _guard = FailOnPanic(self);
        let interval_ms = self.options.clean_interval_ms.max(1);
        let mut clean_at = Millis(self.clock.now().0.saturating_add(interval_ms));
        loop {
            let mut duties = self.duties();
            while !duties.stop {
                let now = self.clock.now();
                if now >= clean_at {
                    duties.clean = true;
                    clean_at = Millis(now.0.saturating_add(interval_ms));
                }
                if duties.any() {
                    break;
                }
                let left_ms = clean_at.0.saturating_sub(now.0).min(SPACE_INTERVAL_MS);
                let waited = self.writer.wait_timeout(duties, Duration::from_millis(left_ms));
                drop(waited.expect("no panic under the lock"));
                self.check_space();
                duties = self.duties();
            }
            if duties.stop || self.has_ended() {
                return;
            }
            drop(duties);
            if !self.write_step() {
                let duties = self.duties();
                let stopped = |duties: &mut Duties| !duties.stop;
                let waited = self.writer.wait_timeout_while(duties, RETRY_PAUSE, stopped);
                drop(waited.expect("no panic under the lock"));
            }
        }
    }

    /// Lets both threads end after what they are doing.
    pub(crate) fn stop_threads(&self) {
        self.staging.stop();
        self.duties().stop = true;
        self.writer.notify_all();
    }

    /// Gives the writer something to do.
    pub(crate) fn demand(&self, change: impl FnOnce(&mut Duties)) {
        change(&mut self.duties());
        self.writer.notify_all();
    }

    /// Asks for what the levels ask for.
    pub(crate) fn demand_for(&self, levels: &Levels, prepare: bool) {
        let write = levels.unwritten >= self.options.arena_bytes_max / 2;
        let checkpoint = levels.wal >= self.options.checkpoint_bytes;
        if write || checkpoint || prepare {
            self.demand(|duties| {
                duties.write |= write;
                duties.checkpoint |= checkpoint;
                duties.prepare |= prepare;
            });
        }
    }

    /// Keeps count of memory that came free.
    pub(crate) fn free(&self, freed: Freed) {
        if freed.memory > 0 || freed.unwritten > 0 {
            self.staging.change(|levels| {
                levels.memory -= freed.memory;
                levels.unwritten -= freed.unwritten;
            });
        }
    }

    /// Drops the oldest batches that are in segments from memory until the arena's bound is kept.
    pub(crate) fn forget_oldest(&self) {
        while self.staging.levels().memory > self.options.arena_bytes_max {
            let Some((log, next)) = self.arena().oldest.pop_front() else { return };
            match log.evict(next) {
                Some(freed) => self.free(freed),
                None => {
                    self.arena().oldest.push_front((log, next));
                    return;
                }
            }
        }
    }

    /// Closes a segment for good and writes its index beside it, for the next checkpoint to sync: what a manifest calls
    /// sealed has no index of an earlier life. Nobody may be writing to the segment.
    pub(crate) fn seal(&self, entry: &SegmentEntry) {
        entry.segment.seal();
        let file = self.files.open(&entry.segment, OpenMode::Existing).map_err(ReadError::Io);
        let disk = self.disk.as_ref();
        let written = file.and_then(|file| entry.segment.write_sidecar(disk, file.as_ref(), entry.len));
        if let Err(error) = written {
            tracing::warn!(segment = %entry.segment.path.display(), %error, "a segment's index could not be written; it is made when it is needed");
            // None is better than half of one, or that of a life before.
            _ = disk.remove(&entry.segment.sidecar_path());
        }
    }

    /// Has the files of segments that were given up removed after the next checkpoint.
    pub(crate) fn discard_segments(&self, entries: &[SegmentEntry]) {
        entries.iter().for_each(|entry| self.files.close(&entry.segment));
        let files =
            entries.iter().flat_map(|entry| [entry.segment.path.clone(), entry.segment.sidecar_path()]);
        self.discard(files.map(|path| self.inside(&path)).collect());
    }

    /// Has a deleted partition's folder removed after the next checkpoint.
    pub(crate) fn discard_folder(&self, log: &Log) {
        self.discard(vec![self.inside(&log.folder())]);
    }

    fn discard(&self, garbage: Vec<String>) {
        if !garbage.is_empty() {
            self.arena().garbage.extend(garbage);
            self.demand(|duties| duties.checkpoint = true);
        }
    }

    fn inside(&self, path: &std::path::Path) -> String {
        let path = path.strip_prefix(&self.folder).expect("all files are in the data folder");
        path.to_str().expect("our own names are UTF-8").to_owned()
    }

    /// Whether the store was closed or has failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Stops for good: nothing more is taken in, and nobody is told that anything is durable.
    pub(crate) fn fail(&self, failure: Failure) {
        if !self.has_ended() {
            tracing::error!(%failure, "the log has stopped");
        }
        self.end(Some(failure));
    }

    pub(crate) fn end(&self, failure: Option<Failure>) {
        self.ended.store(true, Ordering::SeqCst);
        self.staging.close();
        self.progress.end(failure);
        self.logs().iter().for_each(|log| log.wake_all());
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

    fn duties(&self) -> MutexGuard<'_, Duties> {
        self.duties.lock().expect("no panic under the lock")
    }
}

/// Why the writer could not finish.
pub(crate) enum Failed {
    /// Nothing is lost: the write-ahead log has it.
    Retry(std::io::Error),
    /// What is on the disk is not known any more.
    Stop(Failure),
}

impl Failed {
    pub(crate) fn into_store_error(self) -> StoreError {
        match self {
            Self::Retry(error) => StoreError::Io(error),
            Self::Stop(failure) => StoreError::Io(failure.to_io()),
        }
    }
}

/// A loop that panics must not leave anyone waiting.
struct FailOnPanic<'a>(&'a Engine);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = std::io::Error::other("a thread of the log panicked");
            self.0.fail(Failure::new("running the log", &error));
        }
    }
}
