//! A store of partitions that become durable together.

use crate::{BoxFuture, PartitionLog};
use keyway_record::TopicPartition;
use std::sync::Arc;

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

    /// Makes everything durable and stops; later appends are refused. Blocks.
    fn close(&self) -> Result<(), StoreError>;
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
