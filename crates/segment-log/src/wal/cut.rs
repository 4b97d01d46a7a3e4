//! Cutting off a damaged end, because somebody asked for it: what follows the damage is kept beside and forgotten.

use super::{Wal, write_zeros};
use crate::OpenError;
use keyway_runtime::OpenMode;
use std::io;

/// Bytes copied at a time.
const CHUNK_LEN: usize = 256 * 1024;

/// Copies of one file at most: each start that cuts makes one.
const COPIES_MAX: usize = 1_000;

impl Wal {
    /// Clears everything from the end of the chain on, after a copy of each file concerned is safe as
    /// `<name>.<number>.corrupt`. A crash on the way leaves a damaged log again, or a cut one.
    pub(crate) fn cut(&mut self, reason: &str) -> Result<(), OpenError> {
        let damaged = self.next.slot as usize;
        let mut concerned = vec![(damaged, self.next.at)];
        for slot in (0..self.files.len()).filter(|slot| *slot != damaged) {
            // Files before the damage begin with a block of theirs; one that begins with none may be a later one.
            let earlier =
                self.block_at(slot, 0)?.is_some_and(|(header, _)| header.link.epoch < self.next.link.epoch);
            if !earlier {
                concerned.push((slot, 0));
            }
        }
        for (slot, _) in &concerned {
            self.keep_copy(*slot)?;
        }
        self.disk.sync_folder(&self.folder).map_err(OpenError::io("sync", &self.folder))?;
        // The damaged place itself last: until then the next start finds the damage again.
        for (slot, from) in concerned.iter().rev() {
            let file = &self.files[*slot];
            write_zeros(file.file.as_ref(), *from, file.len)
                .map_err(OpenError::io("clear", self.path(*slot)))?;
        }
        tracing::error!(
            file = %self.path(damaged).display(), position = self.next.at, reason,
            "the write-ahead log was cut at its damage as asked; what followed is kept in *.corrupt beside it"
        );
        Ok(())
    }

    fn keep_copy(&self, slot: usize) -> Result<(), OpenError> {
        let path = self.path(slot);
        let names = self.disk.list(&self.folder).map_err(OpenError::io("list", &self.folder))?;
        let name = |number| format!("{}.{number}.corrupt", super::file_name(slot));
        let free = (1..COPIES_MAX).map(name).find(|name| !names.contains(name));
        let full = || io::Error::other("too many copies of damaged files lie here; move them away");
        let copy = || {
            let free = free.ok_or_else(full)?;
            let copy = self.disk.open(&self.folder.join(free), OpenMode::Create)?;
            let file = &self.files[slot];
            let mut chunk = vec![0; CHUNK_LEN];
            let mut at = 0;
            while at < file.len {
                let count = file.file.read_at(&mut chunk, at)?;
                if count == 0 {
                    break;
                }
                copy.write_at(&chunk[..count], at)?;
                at += count as u64;
            }
            copy.sync()
        };
        copy().map_err(OpenError::io("copy", path))
    }
}
