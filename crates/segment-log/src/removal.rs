//! Removing files that nothing refers to, a piece at a time: a file system that frees a gigabyte at once, or a thousand
//! files, lets flushes wait meanwhile.
//!
//! What is to be removed is in the manifest until it is gone, so a process that ends on the way leaves the rest to the
//! next one. **Invariant**: only the writer removes anything; commits never do.

use crate::{checkpoint::Checkpointer, engine::Engine, quarantine::KEPT_EXTENSION};
use std::{io, path::Path};

/// Bytes that a file is shortened by at a time.
const PIECE_LEN: u64 = 32 << 20;

impl Checkpointer {
    /// Removes a piece of what the manifest calls garbage; `false` once there is none left. What cannot be removed stays
    /// behind, unused.
    pub(crate) fn remove_step(&mut self, engine: &Engine) -> bool {
        let Some(garbage) = self.removals.front() else { return false };
        let path = engine.folder.join(garbage);
        match remove_piece(engine, &path) {
            Ok(false) => return true,
            Ok(true) => {
                // The next manifest says nothing of it any more, so the removal must be durable before that.
                self.unsynced.folders.retain(|folder| !folder.starts_with(&path));
                self.unsynced.folders.extend(path.parent().map(Path::to_path_buf));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "unused files could not be removed");
            }
        }
        self.removals.pop_front();
        !self.removals.is_empty()
    }
}

/// Whether all of it is gone.
fn remove_piece(engine: &Engine, path: &Path) -> io::Result<bool> {
    let disk = engine.disk.as_ref();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("log" | "idx") => remove_piece_of_file(engine, path),
        Some(KEPT_EXTENSION) => disk.rename(&path.with_extension(""), path).map(|()| true),
        _ => {
            let Some(first) = disk.list(path)?.into_iter().next() else {
                return disk.remove_folder(path).map(|()| true);
            };
            remove_piece_of_file(engine, &path.join(first)).map(|_| false)
        }
    }
}

fn remove_piece_of_file(engine: &Engine, path: &Path) -> io::Result<bool> {
    {
        let file = engine.disk.open(path, keyway_runtime::OpenMode::Existing)?;
        let len = file.len()?;
        if len > PIECE_LEN {
            return file.truncate(len - PIECE_LEN).map(|()| false);
        }
    }
    engine.disk.remove(path).map(|()| true)
}
