//! What a log promises, whatever keeps it: local files, memory, or a cluster elsewhere.
//!
//! ```text
//!   0          start                 high watermark         end
//!   |  trimmed   |  durable, readable       |  appended       |
//!   '------------+--------------------------+-----------------'--> offsets
//! ```
//!
//! A [`LogStore`] holds partitions; a [`PartitionLog`] is one of them. Everything is in offsets and record-batch
//! bytes, never in a protocol's request types. Cursors, group offsets and topic configuration are records in internal
//! topics above this seam, so an engine stays small. [`contract`] is the suite that every engine passes.

pub mod compaction;
mod config;
pub mod epochs;
pub mod memory;
mod partition;
pub mod producers;
mod store;
pub mod transactions;
pub mod waiters;

#[cfg(any(test, feature = "contract"))]
pub mod contract;

pub use config::{Compaction, LogConfig, StoreConfig};
pub use memory::MemoryStore;
pub use partition::{AppendError, Appended, Bounds, Isolation, PartitionLog, ReadError, ReadLimit, Slice};
pub use store::{Cleaned, DamagedRange, Durability, LogFigures, LogStore, StoreError, Ticket, Volume};

use std::{future::Future, pin::Pin};

/// A boxed future, as `dyn` traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
