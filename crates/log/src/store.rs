//! A store of partitions that become durable together.

use crate::{BoxFuture, PartitionLog, StoreConfig};
use keyway_record::{Offset, Timestamp, TopicPartition};
use std::{path::PathBuf, sync::Arc};

/// Partitions under one roof. What was appended becomes durable in one order over all of them, so one wait for the
/// greatest [`Ticket`] covers every append before it, in whatever partition.
pub trait LogStore: Send + Sync {
    /// Makes an empty partition. It exists after a restart once any later ticket is durable.
    fn create(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError>;

    /// Gives up a partition and its records; readers get [`crate::ReadError::Deleted`]. Space is freed at leisure.
    /// It stays deleted after a restart once any later ticket is durable.
    fn delete(&self, partition: &TopicPartition) -> Result<(), StoreError>;

    /// All partitions, sorted.
    fn list(&self) -> Vec<TopicPartition>;

    /// The partition's log; the same one for every caller.
    fn open(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError>;

    /// Resolves once everything up to `ticket` has reached `durability`. `Err` means that it may never be known:
    /// nobody must be told that the records are safe, or that they are lost.
    fn wait(&self, ticket: Ticket, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Resolves once an append that met [`crate::AppendError::Full`] may be tried again.
    fn room(&self) -> BoxFuture<'static, ()>;

    /// Gives up what the partitions' configs no longer keep at wall-clock time `now`. An engine with a thread of its
    /// own does so by itself now and then. Blocks.
    ///
    /// By time, no batch goes that holds a record younger than [`crate::LogConfig::retention_ms`], and a log whose
    /// batches are all older ends up empty. By size, at least [`crate::LogConfig::retention_bytes`] stay, and at most
    /// one segment more. A start that moved is as durable as any later ticket.
    fn clean(&self, now: Timestamp) -> Result<Cleaned, StoreError>;

    /// When an engine with a thread of its own does so, from now on.
    fn configure(&self, _config: StoreConfig) {}

    /// Where the records lie, for people; `None` for a store without a folder.
    fn volume(&self) -> Option<Volume> {
        None
    }

    /// What the store counts, for people and for metrics.
    fn figures(&self) -> LogFigures {
        LogFigures::default()
    }

    /// What was found to be damaged, by partition and offset. Nobody looks for it: it is found by reading.
    fn damages(&self) -> Vec<DamagedRange> {
        Vec::new()
    }

    /// Makes everything durable and stops; later appends are refused. Blocks.
    fn close(&self) -> Result<(), StoreError>;
}

/// A data folder, and the file system that it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// The folder.
    pub folder: PathBuf,
    /// Bytes that the file system has; `None` if it does not tell.
    pub total_bytes: Option<u64>,
    /// Bytes that are free.
    pub usable_bytes: Option<u64>,
}

/// What one [`LogStore::clean`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cleaned {
    /// Partitions whose start moved.
    pub trimmed_partitions: u64,
    /// Partitions that were compacted.
    pub compacted_partitions: u64,
    /// Bytes that compaction gave up.
    pub compacted_bytes: u64,
}

/// Figures of a store since it was opened; all 0 in one that has no disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogFigures {
    /// Flushes that made appends durable.
    pub flushes: u64,
    /// Time that these took together, ms.
    pub flush_ms: u64,
    /// Bytes written for them.
    pub flushed_bytes: u64,
    /// Bytes taken in and not yet durable.
    pub staged_bytes: u64,
    /// Bytes of batches in memory.
    pub memory_bytes: u64,
    /// Bytes in memory that say where batches lie in files.
    pub index_bytes: u64,
    /// Bytes that a start after a crash would have to read back.
    pub recovery_bytes: u64,
    /// Partitions whose files cannot be written.
    pub offline_partitions: u64,
    /// Segments in which damage was found.
    pub damaged_segments: u64,
    /// Appends are refused because the file system is nearly full.
    pub is_space_low: bool,
}

/// Records that are damaged where they are stored. They are not served; those around them are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedRange {
    /// The partition.
    pub partition: TopicPartition,
    /// The file, which is kept whatever happens to the partition's records.
    pub file: PathBuf,
    /// First damaged byte in it.
    pub position: u64,
    /// First offset that cannot be served.
    pub from: Offset,
    /// The next good one.
    pub next: Offset,
}

/// A place in the one order in which a store's appends become durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

/// How safe is safe enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Durability {
    /// The operating system has the bytes: they outlive this process, not a power cut.
    Written,
    /// The device has flushed the bytes: they outlive a power cut.
    Durable,
}

/// Why a store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The partition is not in the store.
    #[error("partition {partition} is not in the store")]
    Unknown {
        /// The partition asked for.
        partition: TopicPartition,
    },
    /// The partition is in the store already.
    #[error("partition {partition} is in the store already")]
    Exists {
        /// The partition to be created.
        partition: TopicPartition,
    },
    /// The store was closed, or failed and stopped.
    #[error("the store is closed")]
    Closed,
    /// The disk failed.
    #[error("the disk failed")]
    Io(#[from] std::io::Error),
}
