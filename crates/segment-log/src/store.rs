//! The store as its users see it.

use crate::{
    Drive, Failure, OpenError, Options,
    engine::{Engine, Failed},
    partition::{Handle, Log},
    progress::Wait,
    recover,
    staging::Staged,
    wal::entry::{Entry, LogId},
};
use keyway_log::{
    BoxFuture, Cleaned, DamagedRange, Durability, LogFigures, LogStore, PartitionLog, StoreConfig,
    StoreError, Ticket, Volume, producers::ProducerStates, waiters::Place,
};
use keyway_record::{Offset, Timestamp, TopicPartition};
use keyway_runtime::{FolderLock, World};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering},
    thread::JoinHandle,
};

/// Stack of the store's threads: their loops are flat.
const STACK_LEN: usize = 256 * 1024;

/// Partitions in a data folder. Dropping it stops without a checkpoint, as a crash would: what was not waited for may
/// be lost. [`LogStore::close`] loses nothing and makes the next start quick.
pub struct SegmentStore {
    engine: Arc<Engine>,
    running: Mutex<Running>,
}

/// What ends with the store.
struct Running {
    threads: Vec<JoinHandle<()>>,
    lock: Option<Box<dyn FolderLock>>,
}

/// Figures of a running store, for tests, benchmarks and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Commits since the store was opened.
    pub commits: u64,
    /// Flushes of the write-ahead log.
    pub flushes: u64,
    /// Bytes of commits, padding included.
    pub committed_bytes: u64,
    /// Bytes of batches that went straight to their segments.
    pub bypassed_bytes: u64,
    /// Flushes of segments that such batches waited for.
    pub segment_flushes: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Bytes taken in and not yet durable.
    pub staged_bytes: usize,
    /// Bytes in memory and not yet in a segment.
    pub unwritten_bytes: usize,
    /// Bytes of batches in memory.
    pub memory_bytes: usize,
    /// Bytes of write-ahead log that no checkpoint covers.
    pub wal_bytes: u64,
}

impl SegmentStore {
    /// Opens the store in `folder`, which is made if it is missing, and reads back what was durable.
    pub fn open(world: &World, folder: PathBuf, options: Options) -> Result<Self, OpenError> {
        let drive = options.drive;
        let (engine, lock) = recover::open(world, folder, options)?;
        let threads = match drive {
            Drive::Threads => vec![
                spawn("keyway-commit", &engine, Engine::run_commits)?,
                spawn("keyway-segments", &engine, Engine::run_writes)?,
            ],
            Drive::Steps => Vec::new(),
        };
        Ok(Self { engine, running: Mutex::new(Running { threads, lock: Some(lock) }) })
    }

    /// With [`Drive::Steps`]: does one piece of work. `false` if there was none.
    pub fn step(&self) -> bool {
        self.engine.commit_step() || self.engine.write_step() || self.engine.mark_step()
    }

    /// Moves everything durable to the segments and covers the write-ahead log. Blocks.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.engine.checkpoint().map_err(Failed::into_store_error)
    }

    /// Resolves once the store has failed and stopped: the process should say so and end. Never, if it does not fail.
    pub fn failed(&self) -> BoxFuture<'static, Failure> {
        self.engine.progress.failed()
    }

    /// The figures now.
    pub fn stats(&self) -> Stats {
        let counters = &self.engine.counters;
        let levels = self.engine.staging.levels();
        Stats {
            commits: counters.commits.load(Ordering::Relaxed),
            flushes: counters.flushes.load(Ordering::Relaxed),
            committed_bytes: counters.committed_bytes.load(Ordering::Relaxed),
            bypassed_bytes: counters.bypassed_bytes.load(Ordering::Relaxed),
            segment_flushes: counters.segment_flushes.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            staged_bytes: levels.staged,
            unwritten_bytes: levels.unwritten,
            memory_bytes: levels.memory,
            wal_bytes: levels.wal,
        }
    }

    fn stop_threads(&self) {
        self.engine.stop_threads();
        let threads = std::mem::take(&mut self.running.lock().expect("no panic under the lock").threads);
        for thread in threads {
            // A thread that panicked has stopped the store already.
            _ = thread.join();
        }
    }
}

fn spawn(name: &str, engine: &Arc<Engine>, run: fn(&Engine)) -> Result<JoinHandle<()>, OpenError> {
    let engine = engine.clone();
    let folder = engine.folder.clone();
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_LEN)
        .spawn(move || run(&engine))
        .map_err(OpenError::io("start a thread for", folder))
}

impl LogStore for SegmentStore {
    fn create(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        let mut partitions = self.engine.partitions();
        if partitions.logs.contains_key(partition) {
            return Err(StoreError::Exists { partition: partition.clone() });
        }
        let id = partitions.next_log;
        let producers = ProducerStates::new(self.engine.options.producer_expiration_ms);
        let log = Arc::new(Log::new(id, partition.clone(), self.engine.clone(), producers));
        let entry = Entry::Create { log: id, partition: partition.clone() };
        let noted = log.state().epochs.note(partitions.leader_epoch, Offset::ZERO);
        noted.expect("a new log has no epoch yet");
        let staged = Staged { entry, log: log.clone() };
        self.engine.staging.push_control(staged).ok_or(StoreError::Closed)?;
        partitions.next_log = LogId(id.0 + 1);
        partitions.logs.insert(partition.clone(), log.clone());
        Ok(Arc::new(Handle(log)))
    }

    fn delete(&self, partition: &TopicPartition) -> Result<(), StoreError> {
        let mut partitions = self.engine.partitions();
        let unknown = || StoreError::Unknown { partition: partition.clone() };
        let log = partitions.logs.get(partition).ok_or_else(unknown)?.clone();
        let freed = log.delete().ok_or(StoreError::Closed)?;
        partitions.logs.remove(partition);
        drop(partitions);
        self.engine.free(freed);
        self.engine.discard_folder(&log);
        Ok(())
    }

    fn list(&self) -> Vec<TopicPartition> {
        self.engine.partitions().logs.keys().cloned().collect()
    }

    fn open(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        match self.engine.partitions().logs.get(partition) {
            Some(log) => Ok(Arc::new(Handle(log.clone()))),
            None => Err(StoreError::Unknown { partition: partition.clone() }),
        }
    }

    fn wait(&self, ticket: Ticket, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(Wait { engine: self.engine.clone(), ticket, durability, place: Place::default() })
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        self.engine.staging.room()
    }

    fn clean(&self, now: Timestamp) -> Result<Cleaned, StoreError> {
        if self.engine.has_ended() {
            return Err(StoreError::Closed);
        }
        self.engine.clean(now, &|_| !self.engine.has_ended()).map_err(Failed::into_store_error)
    }

    fn configure(&self, config: StoreConfig) {
        self.engine.configure(config);
    }

    fn volume(&self) -> Option<Volume> {
        let space = self.engine.disk.space(&self.engine.folder).ok().flatten();
        Some(Volume {
            folder: self.engine.folder.clone(),
            total_bytes: space.map(|space| space.total),
            usable_bytes: space.map(|space| space.free),
        })
    }

    fn figures(&self) -> LogFigures {
        let stats = self.stats();
        LogFigures {
            flushes: stats.flushes,
            flush_ms: self.engine.counters.flush_us.load(Ordering::Relaxed) / 1_000,
            flushed_bytes: stats.committed_bytes,
            staged_bytes: stats.staged_bytes as u64,
            memory_bytes: stats.memory_bytes as u64,
            index_bytes: self.engine.index_memory.bytes() as u64,
            recovery_bytes: stats.wal_bytes,
            offline_partitions: self.engine.counters.offline.load(Ordering::Relaxed),
            damaged_segments: self.engine.counters.damaged.load(Ordering::Relaxed),
            is_space_low: self.engine.staging.is_space_low(),
        }
    }

    fn damages(&self) -> Vec<DamagedRange> {
        self.engine.damages()
    }

    fn close(&self) -> Result<(), StoreError> {
        let was_closed = self.engine.staging.is_closed();
        self.engine.staging.close();
        self.stop_threads();
        let closed = self.close_cleanly(was_closed);
        self.engine.end(None);
        self.running.lock().expect("no panic under the lock").lock = None;
        closed
    }
}

impl SegmentStore {
    fn close_cleanly(&self, was_closed: bool) -> Result<(), StoreError> {
        let failed = |failure: Failure| StoreError::Io(failure.to_io());
        if let Some(failure) = self.engine.progress.failure() {
            return Err(failed(failure));
        }
        if was_closed {
            return Ok(());
        }
        self.engine.commit_until(self.engine.staging.last_ticket()).map_err(failed)?;
        self.engine.checkpoint().map_err(Failed::into_store_error)
    }
}

impl Drop for SegmentStore {
    fn drop(&mut self) {
        self.stop_threads();
        self.engine.end(None);
        // The logs know the engine and the engine the logs.
        let logs = std::mem::take(&mut self.engine.partitions().logs);
        drop(logs);
        let mut arena = self.engine.arena();
        let (oldest, dirty) = (std::mem::take(&mut arena.oldest), std::mem::take(&mut arena.dirty));
        drop(arena);
        drop((oldest, dirty));
    }
}
