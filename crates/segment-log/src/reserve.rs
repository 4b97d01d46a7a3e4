//! Space that is held for real: a file that is given back when the write-ahead log or the manifest finds no more.
//!
//! Others who write to the same file system may take what is only counted as kept ([`crate::space`]). The file `reserve`
//! in the data folder has allocated blocks and nothing in them. Cut to nothing, it leaves room for what the broker has to
//! remember while producers are refused; it is taken again once there is space for it beside what they may write.

use crate::space;
use keyway_runtime::{Disk, File, OpenMode, Space};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Name of the file inside the data folder.
const FILE: &str = "reserve";

pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Mutex<Option<Arc<dyn File>>>,
    held_bytes: AtomicU64,
}

impl Reserve {
    /// What an earlier process holds is held on.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        let path = folder.join(FILE);
        let file = disk.open(&path, OpenMode::Existing).ok();
        let held_bytes = file.as_ref().and_then(|file| file.len().ok()).unwrap_or(0);
        Self { disk, path, file: Mutex::new(file), held_bytes: AtomicU64::new(held_bytes) }
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Gives the space back; `false` if there was none.
    pub(crate) fn release(&self) -> bool {
        let file = self.file.lock().expect("no panic under the lock");
        let held_bytes = self.held_bytes.swap(0, Ordering::Relaxed);
        let Some(file) = file.as_ref().filter(|_| held_bytes > 0) else { return false };
        match file.truncate(0) {
            Ok(()) => {
                tracing::error!(
                    path = %self.path.display(), bytes = held_bytes,
                    "the disk is full: the space held for this was given back, free some before it is used up"
                );
                true
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the space held for a full disk could not be given back");
                false
            }
        }
    }

    /// Takes the space again if there is enough; what the file system has left then.
    pub(crate) fn take(&self, space: Space, wal_file_bytes: u64) -> Space {
        let wanted = space::reserve_bytes(space.total, wal_file_bytes);
        if self.held_bytes() > 0 || space.free < wanted + wanted / 4 {
            return space;
        }
        match self.allocate(wanted) {
            Ok(()) => Space { free: space.free - wanted, ..space },
            Err(error) => {
                // Most likely somebody else was faster.
                tracing::debug!(path = %self.path.display(), %error, "no space could be held for a full disk");
                space
            }
        }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut file = self.file.lock().expect("no panic under the lock");
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(self.disk.open(&self.path, OpenMode::Create)?),
        };
        if let Err(error) = file.allocate(bytes) {
            _ = file.truncate(0);
            return Err(error);
        }
        self.held_bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}
