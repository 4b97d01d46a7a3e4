//! The local-file engine: one write-ahead log for everything, segments behind it.
//!
//! ```text
//!   append ──► staging ──► one commit ──► write-ahead log (flushed) ──► high watermarks, waiters
//!     │                                                                      │
//!     └──────────────► memory: the newest batches of every log ◄── read ─────┘
//!                               │ in large chunks, later
//!                               ▼
//!                 segments/<topic>-<partition>.<log id>/<base offset>.log
//! ```
//!
//! | file | what | owner |
//! |---|---|---|
//! | `lock` | the process that has the folder | `keyway_runtime::Disk` |
//! | `manifest.0`, `manifest.1` | what a checkpoint knows | `manifest` |
//! | `reserve` | space for a full disk | `reserve` |
//! | `wal/*.wal` | the write-ahead log: a ring of chained blocks | `wal`, `wal::block`, `wal::entry` |
//! | `segments/*/*.log` | record batches, verbatim | `segment` |
//! | `segments/*/*.idx` | a sealed segment's index | `segment::sidecar` |
//! | `segments/*/*.log.corrupt` | a damaged segment that its log gave up | `quarantine` |
//!
//! **Invariant**: nobody is told that a record is safe, and nobody sees it, before the block that holds it is flushed.
//! **Invariant**: appending does no I/O and waits for nobody; segments are not written or flushed on the way to an ack, but
//! for a commit so large that the write-ahead log refers to what is in them (`bypass`).
//! **Invariant**: a block refers to nothing that was not flushed before it was written.
//! **Invariant**: a write or flush of the write-ahead log that failed is never tried again.
//! **Invariant**: a start after which readers may miss what they saw moves the leader epoch on before it does anything else.
//! **Invariant**: recovery reads the manifest and the write-ahead log, and no segment.

mod bypass;
mod checkpoint;
mod clean;
mod commit;
mod compact;
mod engine;
mod epoch;
mod error;
mod manifest;
mod offline;
mod open_files;
mod options;
mod partition;
mod progress;
mod quarantine;
mod read;
mod recover;
mod removal;
mod reserve;
mod retention;
mod schedule;
mod segment;
mod slabs;
mod space;
mod staging;
mod store;
mod wal;
mod wall_time;
mod write_behind;

pub use error::{Failure, OpenError};
pub use options::{Bypass, CommitBy, Drive, DurableBy, OnDamage, Options};
pub use store::{SegmentStore, Stats};
