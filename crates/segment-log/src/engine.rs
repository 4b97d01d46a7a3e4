//! What the parts of a store share; the two loops that drive it are in `commits` and `writes`.
//!
//! Locks, in the order in which they may be taken: checkpointer, flusher, committer, partitions, one log's state, staging or
//! arena. Those who wait are woken after the locks are released.

mod commits;
mod writes;

use crate::{
    Failure, Options,
    checkpoint::Checkpointer,
    commit::{Committer, Flusher},
    open_files::OpenFiles,
    partition::{Evicted, Freed, Log, SegmentEntry},
    progress::Progress,
    quarantine::KEPT_EXTENSION,
    reserve::Reserve,
    segment::IndexMemory,
    staging::Staging,
    wal::entry::LogId,
    wall_time::WallTime,
};
use keyway_log::{ReadError, StoreConfig, StoreError};
use keyway_record::{LeaderEpoch, Offset, RecordBatch, TopicPartition};
use keyway_runtime::{Clock, Disk, OpenMode};
use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, TryLockResult,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use writes::Duties;

pub(crate) struct Engine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) folder: PathBuf,
    pub(crate) options: Options,
    pub(crate) staging: Arc<Staging>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) files: OpenFiles,
    pub(crate) index_memory: Arc<IndexMemory>,
    pub(crate) reserve: Reserve,
    pub(crate) counters: Counters,
    committer: Mutex<Committer>,
    flusher: Mutex<Flusher>,
    /// What a flush takes, us: an average in which each new one counts an eighth.
    flush_us: AtomicU64,
    /// What it takes to flush a MiB of segments that were written behind, us: an average in which each new one counts a
    /// quarter. 0 before it is known.
    pub(crate) second_write_us: AtomicU64,
    checkpointer: Mutex<Checkpointer>,
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
    config: Mutex<StoreConfig>,
    ended: AtomicBool,
}

/// The partitions that exist.
pub(crate) struct Partitions {
    pub(crate) logs: BTreeMap<TopicPartition, Arc<Log>>,
    pub(crate) next_log: LogId,
    /// The epoch in which every log appends, for as long as the store is open.
    pub(crate) leader_epoch: LeaderEpoch,
}

/// Durable batches in memory.
#[derive(Default)]
pub(crate) struct Arena {
    /// In the order of their commits: what is forgotten first.
    pub(crate) oldest: VecDeque<(Arc<Log>, Offset)>,
    /// Logs with something to write behind.
    pub(crate) dirty: Vec<Arc<Log>>,
    /// Paths inside the data folder that are removed once no manifest refers to them. What ends in
    /// [`KEPT_EXTENSION`] is the name that a damaged file gets instead.
    pub(crate) garbage: Vec<String>,
    /// Sealed segments without an index beside them.
    pub(crate) unindexed: Vec<(TopicPartition, SegmentEntry)>,
}

/// Counts since the store was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) flushes: AtomicU64,
    /// Time that they took together, us.
    pub(crate) flush_us: AtomicU64,
    pub(crate) committed_bytes: AtomicU64,
    /// Of batches that went straight to their segments, and the flushes of those.
    pub(crate) bypassed_bytes: AtomicU64,
    pub(crate) segment_flushes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    /// Logs that cannot be written at the moment.
    pub(crate) offline: AtomicU64,
    /// Segments that are damaged in part.
    pub(crate) damaged: AtomicU64,
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
        let index_memory = Arc::new(IndexMemory::new(options.index_bytes_max));
        Self {
            files: OpenFiles::new(disk.clone(), options.open_files_max, index_memory.clone()),
            index_memory,
            reserve: Reserve::new(disk.clone(), &folder),
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
            second_write_us: AtomicU64::new(0),
            checkpointer: Mutex::new(checkpointer),
            wall_time: Mutex::default(),
            cleaning: Mutex::default(),
            generation,
            revisions: AtomicU64::new(0),
            partitions: Mutex::new(Partitions {
                logs: BTreeMap::new(),
                next_log,
                leader_epoch: LeaderEpoch(0),
            }),
            arena: Mutex::default(),
            duties: Mutex::default(),
            writer: Condvar::new(),
            config: Mutex::default(),
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

    /// A number that no segment file of this data folder has in its name, nor will have.
    pub(crate) fn next_revision(&self) -> u64 {
        let counted = self.revisions.fetch_add(1, Ordering::Relaxed);
        // What an earlier process left to be removed is in a manifest of an earlier generation.
        (self.generation << 24) + 1 + counted
    }

    /// Lets both threads end after what they are doing.
    pub(crate) fn stop_threads(&self) {
        self.staging.stop();
        self.duties().stop = true;
        self.writer.notify_all();
    }

    /// Gives back the space that is held for a full disk, and refuses user data until the file system is asked again.
    pub(crate) fn release_reserve(&self) -> bool {
        let held_bytes = self.reserve.held_bytes();
        let released = self.reserve.release();
        if released {
            self.staging.limit_space(held_bytes);
        }
        released
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
                Evicted::Freed(freed) => self.free(freed),
                // It is listed again once it is back.
                Evicted::Offline => {}
                Evicted::Later => {
                    self.arena().oldest.push_front((log, next));
                    return;
                }
            }
        }
    }

    pub(crate) fn checkpointer(&self) -> MutexGuard<'_, Checkpointer> {
        self.checkpointer.lock().expect("no panic under the lock")
    }

    /// As [`Engine::checkpointer`], unless somebody has it: for who holds a lock that comes after it.
    pub(crate) fn try_checkpointer(&self) -> TryLockResult<MutexGuard<'_, Checkpointer>> {
        self.checkpointer.try_lock()
    }

    /// Closes a segment for good and writes its index beside it, for the next checkpoint to sync: what a manifest calls
    /// sealed has no index of an earlier life. Nobody may be writing to the segment.
    pub(crate) fn seal(&self, entry: &SegmentEntry) {
        entry.segment.seal();
        let file = self.files.open(&entry.segment, OpenMode::Existing).map_err(ReadError::Io);
        let disk = self.disk.as_ref();
        let written = file.and_then(|file| entry.segment.write_sidecar(disk, file.as_ref(), entry.extent()));
        if let Err(error) = written {
            tracing::warn!(segment = %entry.segment.path.display(), %error, "a segment's index could not be written; it is made when it is needed");
            // None is better than half of one, or that of a life before.
            _ = disk.remove(&entry.segment.sidecar_path());
        }
    }

    /// Logs batches once more, behind everything that was logged so far. Not flushed.
    pub(crate) fn log_again(&self, log: &Log, batches: Vec<RecordBatch>) -> Result<(), Failure> {
        let written = self.committer().write_kept(self, log.id, batches);
        written.map_err(|error| Failure::new("writing the write-ahead log", &error))
    }

    /// Flushes what was logged again.
    pub(crate) fn flush_again(&self) -> Result<(), Failure> {
        self.flusher.lock().expect("no panic under the lock").flush_kept(self)
    }

    /// Has the files of segments that were given up removed after the next checkpoint.
    pub(crate) fn discard_segments(&self, entries: &[SegmentEntry]) {
        entries.iter().for_each(|entry| self.files.close(&entry.segment));
        let files = entries.iter().flat_map(|entry| {
            let segment = &entry.segment;
            let path = self.inside(&segment.path);
            let path = if segment.is_damaged() { format!("{path}.{KEPT_EXTENSION}") } else { path };
            [path, self.inside(&segment.sidecar_path())]
        });
        self.discard(files.collect());
        if entries.iter().any(|entry| entry.segment.is_damaged()) {
            self.count_damaged();
        }
    }

    /// Has a deleted partition's folder removed after the next checkpoint.
    pub(crate) fn discard_folder(&self, log: &Log) {
        self.discard(vec![self.inside(&log.folder())]);
    }

    /// Keeps the files of segments that were given up when less was known of them.
    pub(crate) fn keep_segments(&self, entries: &[SegmentEntry]) {
        if self.arena().garbage.is_empty() {
            return;
        }
        let files =
            entries.iter().flat_map(|entry| [entry.segment.path.clone(), entry.segment.sidecar_path()]);
        let kept: Vec<_> = files.map(|path| self.inside(&path)).collect();
        self.arena().garbage.retain(|path| !kept.contains(path));
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
