//! Reading the write-ahead log back: every block of the chain from a checkpoint to the end.
//!
//! The next block of the chain is at the next position of the same file, or first in the file of the next epoch. Where
//! neither is valid the log ends, torn or not; but if a later block of the chain says that the one missing here was
//! flushed, then it was there, somebody may have been told so, and it is damaged.

use super::{
    Position, Wal, WalFile,
    block::{ALIGNMENT, BlockError, HEADER_LEN, Header, Link, StoreId},
    entry::Entry,
    file_name,
};
use crate::OpenError;
use bytes::{Bytes, BytesMut};
use keyway_runtime::{Disk, OpenMode};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes looked through at a time for blocks behind the end.
const SCAN_LEN: usize = 256 * 1024;

/// Files of a ring at most: a bound against a folder full of other things.
const SLOTS_MAX: usize = 10_000;

impl Wal {
    /// Opens the files in `folder`; [`Wal::replay`] and [`Wal::settle`] must follow before anything is written.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        store_id: StoreId,
        file_bytes: u64,
        checkpoint: Position,
    ) -> Result<Self, OpenError> {
        let names = disk.list(&folder).map_err(OpenError::io("list", &folder))?;
        let mut files = Vec::new();
        for slot in 0..SLOTS_MAX {
            let name = file_name(slot);
            if !names.contains(&name) {
                break;
            }
            let path = folder.join(name);
            let failed = |action| OpenError::io(action, &path);
            let file = disk.open(&path, OpenMode::Existing).map_err(failed("open"))?;
            let mut len = file.len().map_err(failed("measure"))?;
            // A crash may have come between the file's creation and its length.
            if len < file_bytes {
                file.truncate(file_bytes).map_err(failed("extend"))?;
                len = file_bytes;
            }
            files.push(WalFile { file, len, epoch: None });
        }
        let Some(first) = files.get_mut(checkpoint.slot as usize) else {
            let path = folder.join(file_name(checkpoint.slot as usize));
            let missing = io::Error::new(io::ErrorKind::NotFound, "the write-ahead log file is missing");
            return Err(OpenError::io("open", path)(missing));
        };
        first.epoch = Some(checkpoint.link.epoch);
        let flushed = Arc::new(AtomicU64::new(checkpoint.link.sequence));
        let next = checkpoint;
        Ok(Self {
            disk,
            folder,
            store_id,
            file_bytes,
            files,
            next,
            flushed,
            marked: true,
            written: 0,
            covered: 0,
        })
    }

    /// Hands every entry from the checkpoint on to `apply`. Returns what is wrong behind the last one if that is damaged
    /// and not just torn; then [`Wal::cut`] must follow, and [`Wal::settle`] in any case.
    pub(crate) fn replay(
        &mut self,
        mut apply: impl FnMut(Entry) -> Result<(), String>,
    ) -> Result<Option<String>, OpenError> {
        while let Some((header, payload)) = self.next_block()? {
            for entry in Entry::walk(payload, header.entries_count) {
                let applied = entry.map_err(|error| error.to_string()).and_then(&mut apply);
                applied.map_err(|reason| self.unreadable(reason))?;
            }
            self.step_over(&header);
            self.written += header.file_len();
        }
        let missing = self.next.link.sequence;
        let damage = |later: u64| {
            format!("commit {missing} is not valid, and commit {later} behind it says that it was flushed")
        };
        Ok(self.later_block()?.map(damage))
    }

    /// Makes sure that all that was replayed is on the device: a process may have been killed between its write and its
    /// flush.
    pub(crate) fn settle(&mut self) -> Result<(), OpenError> {
        for (slot, file) in self.files.iter().enumerate().filter(|(_, file)| file.epoch.is_some()) {
            file.file.sync().map_err(OpenError::io("sync", self.path(slot)))?;
        }
        self.flushed.store(self.next.link.sequence, Ordering::Release);
        self.marked = self.written == 0;
        Ok(())
    }

    fn step_over(&mut self, header: &Header) {
        self.next.at += header.file_len();
        self.next.link.sequence += 1;
        self.next.link.previous = header.crc;
    }

    /// What was written from `from` on, to be read while commits go on. The caller sees to it that nothing of it is
    /// recycled meanwhile.
    pub(crate) fn written_since(&self, from: Position) -> WrittenSince {
        let files = self.files.iter().map(|file| WalFile { file: file.file.clone(), ..*file });
        let wal = Self {
            disk: self.disk.clone(),
            folder: self.folder.clone(),
            files: files.collect(),
            next: from,
            flushed: Arc::new(AtomicU64::new(from.link.sequence)),
            ..*self
        };
        WrittenSince { wal, until: self.next.link.sequence }
    }

    /// The block that continues the chain; moves to the next file if it is there.
    fn next_block(&mut self) -> Result<Option<(Header, Bytes)>, OpenError> {
        let link = self.next.link;
        if let Some(found) = self.block_at(self.next.slot as usize, self.next.at)?
            && found.0.link == link
        {
            return Ok(Some(found));
        }
        let next_link = Link { epoch: link.epoch + 1, ..link };
        for slot in 0..self.files.len() {
            if let Some(found) = self.block_at(slot, 0)?
                && found.0.link == next_link
            {
                self.next =
                    Position { slot: u32::try_from(slot).expect("few files"), at: 0, link: next_link };
                self.files[slot].epoch = Some(next_link.epoch);
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The sequence of a block behind the end of the chain that says that the block missing there was flushed.
    fn later_block(&self) -> Result<Option<u64>, OpenError> {
        let (slot, at) = (self.next.slot as usize, self.next.at);
        if let Some(found) = self.later_block_in(slot, at)? {
            return Ok(Some(found));
        }
        for slot in (0..self.files.len()).filter(|other| *other != slot) {
            // A file that begins with a valid block of an earlier life has no block of a later one.
            let earlier = |(header, _): &(Header, _)| header.link.epoch <= self.next.link.epoch;
            if !self.block_at(slot, 0)?.as_ref().is_some_and(earlier)
                && let Some(found) = self.later_block_in(slot, 0)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// As [`Wal::later_block`], in one file from a place on.
    fn later_block_in(&self, slot: usize, mut at: u64) -> Result<Option<u64>, OpenError> {
        let missing = self.next.link;
        let mut chunk = vec![0; SCAN_LEN];
        while at < self.files[slot].len {
            let count = self.files[slot].file.read_at(&mut chunk, at).map_err(self.read_failed(slot))?;
            for start in (0..count).step_by(ALIGNMENT as usize) {
                let Ok(header) = Header::parse(&chunk[start..count]) else { continue };
                let tells = header.store_id == self.store_id
                    && header.link.epoch >= missing.epoch
                    && header.flushed > missing.sequence;
                if tells && self.block_at(slot, at + start as u64)?.is_some() {
                    return Ok(Some(header.link.sequence));
                }
            }
            at += SCAN_LEN as u64;
        }
        Ok(None)
    }

    /// The valid block of this store at a place, if there is one.
    pub(super) fn block_at(&self, slot: usize, at: u64) -> Result<Option<(Header, Bytes)>, OpenError> {
        let file = &self.files[slot];
        let mut bytes = BytesMut::zeroed(ALIGNMENT as usize);
        let count = file.file.read_at(&mut bytes, at).map_err(self.read_failed(slot))?;
        bytes.truncate(count);
        let Ok(header) = Header::parse(&bytes) else { return Ok(None) };
        if at + header.file_len() > file.len {
            return Ok(None);
        }
        let len = HEADER_LEN + header.payload_len as usize;
        if len > bytes.len() {
            bytes.resize(len, 0);
            let count = file.file.read_at(&mut bytes, at).map_err(self.read_failed(slot))?;
            bytes.truncate(count);
        }
        match header.check(&bytes.freeze()) {
            Ok(payload) if header.store_id == self.store_id => Ok(Some((header, payload))),
            Ok(_) => Err(OpenError::Foreign { path: self.path(slot) }),
            Err(BlockError::Crc | BlockError::Length | BlockError::Magic | BlockError::Version(_)) => {
                Ok(None)
            }
        }
    }

    pub(crate) fn unreadable(&self, reason: String) -> OpenError {
        OpenError::Corrupt { path: self.path(self.next.slot as usize), position: self.next.at, reason }
    }

    fn read_failed(&self, slot: usize) -> impl FnOnce(io::Error) -> OpenError + use<> {
        OpenError::io("read", self.path(slot))
    }

    pub(super) fn path(&self, slot: usize) -> PathBuf {
        self.folder.join(file_name(slot))
    }
}

/// Blocks of a write-ahead log in use.
pub(crate) struct WrittenSince {
    wal: Wal,
    /// Sequence of the block after the last one.
    until: u64,
}

impl WrittenSince {
    /// Hands every entry to `visit`, in order.
    pub(crate) fn each(mut self, mut visit: impl FnMut(Entry)) -> Result<(), OpenError> {
        while self.wal.next.link.sequence < self.until {
            let Some((header, payload)) = self.wal.next_block()? else {
                return Err(self.wal.unreadable("a commit is not as it was written".into()));
            };
            for entry in Entry::walk(payload, header.entries_count) {
                visit(entry.map_err(|error| self.wal.unreadable(error.to_string()))?);
            }
            self.wal.step_over(&header);
        }
        Ok(())
    }
}

/// Whether any file in `folder` begins with a valid block, whoever wrote it: then something was committed.
pub(crate) fn holds_blocks(disk: &dyn Disk, folder: &std::path::Path) -> io::Result<bool> {
    for name in disk.list(folder)? {
        let file = disk.open(&folder.join(name), OpenMode::Existing)?;
        let mut start = vec![0; HEADER_LEN];
        let count = file.read_at(&mut start, 0)?;
        if Header::parse(&start[..count]).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
