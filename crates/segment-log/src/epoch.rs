//! The store's leader epoch, and which starts move it on.
//!
//! All partitions have one epoch, and every record carries the one in which it was appended. A start moves it on by one
//! if records may be gone that somebody has read, so that nobody takes what follows for what was there:
//!
//! - readers of the life before saw what was not flushed ([`DurableBy::Os`]), and it did not end in a close;
//! - a damaged write-ahead log is cut, as somebody asked for.
//!
//! With [`DurableBy::Fsync`] it stays: readers see nothing that is not flushed, so neither a kill nor a power cut takes
//! anything from them.
//!
//! **Invariant**: the epoch is durable before anything is cut and before anything is appended in it.

use crate::{
    DurableBy, OpenError,
    manifest::{Manifest, ManifestWriteError},
};
use keyway_record::LeaderEpoch;
use keyway_runtime::Disk;
use std::path::Path;

/// What a start does to the end of the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// It goes on from where it ended.
    Kept,
    /// It cuts off what is damaged.
    Cut,
}

impl Manifest {
    /// Begins a life of the store: moves the epoch on if it must, and notes what readers of this life will see.
    pub(crate) fn begin_life(
        &mut self,
        durable_by: DurableBy,
        tail: Tail,
        disk: &dyn Disk,
        folder: &Path,
    ) -> Result<(), OpenError> {
        let was_exposed = std::mem::replace(&mut self.exposed, durable_by == DurableBy::Os);
        if was_exposed || tail == Tail::Cut {
            let next =
                self.leader_epoch.0.checked_add(1).expect("2^31 unclean starts take longer than anyone has");
            self.leader_epoch = LeaderEpoch(next);
            tracing::warn!(
                leader_epoch = next,
                "records that were read may be lost: consumers are told by the next leader epoch"
            );
        } else if !self.exposed {
            return Ok(());
        }
        // In both files, so that one that is damaged later takes nothing back.
        for _ in 0..2 {
            self.generation += 1;
            self.write(disk, folder)
                .map_err(ManifestWriteError::into_io)
                .map_err(OpenError::io("write the manifest in", folder))?;
        }
        Ok(())
    }
}
