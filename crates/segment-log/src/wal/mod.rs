//! The write-ahead log: everything durable, of all partitions, in one order.
//!
//! ```text
//!   wal/000.wal   | 5:17 5:18 5:19 ... |  free again: a checkpoint covers epoch 5
//!   wal/001.wal   | 6:20 6:21 ... 6:55 |
//!   wal/002.wal   | 7:56 7:57 . . . .  |  epoch 7; commit 58 comes next
//! ```
//!
//! A ring of files of one length, used again in place and never cut: overwriting blocks that the file system has
//! already placed costs half of what appending does. A file has no header; the epoch in its first block tells which
//! life of the file the blocks belong to.

pub(crate) mod block;
mod cut;
pub(crate) mod entry;
mod replay;

pub(crate) use replay::holds_blocks;

use block::{BlockBuilder, Link, StoreId};
use keyway_runtime::{Disk, File, OpenMode};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Name of the folder inside the data folder.
pub(crate) const FOLDER: &str = "wal";

/// A file that is being prepared.
const TEMPORARY: &str = "prepared.tmp";

/// Zeros written at a time when a file is prepared.
const ZEROS_LEN: usize = 256 * 1024;

/// Where a block lies, and its link in the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// Index of the file.
    pub(crate) slot: u32,
    /// Byte in the file.
    pub(crate) at: u64,
    /// The block's link.
    pub(crate) link: Link,
}

pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    store_id: StoreId,
    file_bytes: u64,
    files: Vec<WalFile>,
    /// Where the next block goes.
    next: Position,
    /// Sequence before which every block is flushed.
    flushed: Arc<AtomicU64>,
    /// A block behind the flushed ones says so, or nobody has to be told that.
    marked: bool,
    /// Bytes written since the store was opened, and how many of them the last checkpoint covers.
    written: u64,
    covered: u64,
}

/// One file of the ring.
pub(crate) struct WalFile {
    file: Arc<dyn File>,
    len: u64,
    /// The life of the file that replay needs; `None` if the file is free.
    epoch: Option<u64>,
}

impl Wal {
    /// A first write-ahead log with one file, durable in its folder.
    ///
    /// The file is not filled with zeros, so that a first start is instant: until it is used again its commits cost
    /// what appends cost.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        store_id: StoreId,
        file_bytes: u64,
    ) -> io::Result<Self> {
        disk.create_folder(&folder)?;
        let mut file = WalFile::create_sparse(disk.as_ref(), &folder, 0, file_bytes)?;
        disk.sync_folder(&folder)?;
        let link = Link { epoch: 1, sequence: 1, previous: 0 };
        file.epoch = Some(link.epoch);
        let next = Position { slot: 0, at: 0, link };
        Ok(Self {
            disk,
            folder,
            store_id,
            file_bytes,
            files: vec![file],
            next,
            flushed: Arc::new(AtomicU64::new(1)),
            marked: true,
            written: 0,
            covered: 0,
        })
    }

    /// Where the next block goes.
    pub(crate) fn position(&self) -> Position {
        self.next
    }

    /// Bytes written so far: a measure to hand back to [`Wal::recycle`].
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that no checkpoint covers.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.written - self.covered
    }

    /// Writes `block` at the next position. Not durable before a [`Wal::flush`] has run.
    pub(crate) fn write(&mut self, block: &mut BlockBuilder) -> io::Result<()> {
        let len = block.file_len();
        if self.next.at + len > self.files[self.next.slot as usize].len {
            self.move_on(len)?;
        }
        let crc = block.seal(self.store_id, self.next.link, self.flushed());
        self.files[self.next.slot as usize].file.write_pieces_at(&block.pieces(), self.next.at)?;
        self.marked = false;
        self.next.at += len;
        self.next.link.sequence += 1;
        self.next.link.previous = crc;
        self.written += len;
        Ok(())
    }

    /// What it takes to make the written blocks durable. They may be flushed while further ones are written.
    pub(crate) fn flush(&self) -> Flush {
        let file = self.files[self.next.slot as usize].file.clone();
        Flush { file, sequence: self.next.link.sequence, flushed: self.flushed.clone() }
    }

    fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// Says in a block of its own that the blocks so far are flushed, unless that is said already. Nothing is lost if the
    /// mark is: it need not be flushed. `true` if a mark was written.
    pub(crate) fn mark(&mut self) -> io::Result<bool> {
        if self.marked || self.flushed() < self.next.link.sequence {
            return Ok(false);
        }
        self.write(&mut BlockBuilder::new())?;
        self.marked = true;
        Ok(true)
    }

    /// Goes on in a free file that has room for `len` bytes. What is in the file left behind is flushed first, so that
    /// only one file ever has blocks that are not.
    fn move_on(&mut self, len: u64) -> io::Result<()> {
        self.flush().run()?;
        let free = self.files.iter().position(|file| file.epoch.is_none() && file.len >= len);
        let slot = match free {
            Some(slot) => slot,
            None => {
                let file = WalFile::create_sparse(
                    self.disk.as_ref(),
                    &self.folder,
                    self.files.len(),
                    self.file_bytes.max(len),
                )?;
                self.disk.sync_folder(&self.folder)?;
                self.files.push(file);
                self.files.len() - 1
            }
        };
        self.next.slot = u32::try_from(slot).expect("few files");
        self.next.at = 0;
        self.next.link.epoch += 1;
        self.files[slot].epoch = Some(self.next.link.epoch);
        Ok(())
    }

    /// Frees the files before `checkpoint`, which was taken when `written` bytes had been written.
    pub(crate) fn recycle(&mut self, checkpoint: Position, written: u64) {
        assert!(checkpoint.link.epoch <= self.next.link.epoch && written <= self.written);
        self.covered = written;
        for file in &mut self.files {
            if file.epoch.is_some_and(|epoch| epoch < checkpoint.link.epoch) {
                file.epoch = None;
            }
        }
    }

    /// The next file to prepare, if there will soon be none to move on to.
    pub(crate) fn wanted_file(&self) -> Option<Preparation> {
        let nearly_full = self.next.at > self.files[self.next.slot as usize].len / 2;
        let none_free = self.files.iter().all(|file| file.epoch.is_some());
        (nearly_full && none_free).then(|| Preparation {
            disk: self.disk.clone(),
            folder: self.folder.clone(),
            slot: self.files.len(),
            len: self.file_bytes,
        })
    }

    /// Takes a prepared file into the ring, unless a file was made in its place meanwhile.
    pub(crate) fn add(&mut self, preparation: &Preparation, file: WalFile) -> io::Result<()> {
        let temporary = self.folder.join(TEMPORARY);
        if preparation.slot != self.files.len() {
            return self.disk.remove(&temporary);
        }
        self.disk.rename(&temporary, &self.folder.join(file_name(preparation.slot)))?;
        self.disk.sync_folder(&self.folder)?;
        self.files.push(file);
        Ok(())
    }
}

/// Blocks on their way to the device.
pub(crate) struct Flush {
    file: Arc<dyn File>,
    /// The blocks before this one.
    sequence: u64,
    flushed: Arc<AtomicU64>,
}

impl Flush {
    pub(crate) fn run(&self) -> io::Result<()> {
        self.file.sync()?;
        // Two flushes may overlap when the log moves to another file.
        self.flushed.fetch_max(self.sequence, Ordering::AcqRel);
        Ok(())
    }
}

/// A file that is made while commits go on.
pub(crate) struct Preparation {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    slot: usize,
    len: u64,
}

impl Preparation {
    /// Makes the file, filled with zeros and durable.
    ///
    /// It has a temporary name first: the commits may need, and make, a file in its place before it is ready.
    pub(crate) fn run(&self) -> io::Result<WalFile> {
        let temporary = self.folder.join(TEMPORARY);
        self.fill(&temporary).inspect_err(|_| {
            // The part that was written is most likely what fills the disk.
            _ = self.disk.remove(&temporary);
        })
    }

    fn fill(&self, path: &Path) -> io::Result<WalFile> {
        let file = self.disk.open(path, OpenMode::Create)?;
        write_zeros(file.as_ref(), 0, self.len)?;
        Ok(WalFile { file, len: self.len, epoch: None })
    }
}

impl WalFile {
    fn create_sparse(disk: &dyn Disk, folder: &Path, slot: usize, len: u64) -> io::Result<Self> {
        let file = disk.open(&folder.join(file_name(slot)), OpenMode::Create)?;
        file.truncate(len)?;
        file.sync()?;
        Ok(Self { file, len, epoch: None })
    }
}

/// Fills a file with zeros from a place up to its length, durably.
fn write_zeros(file: &dyn File, from: u64, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    let mut at = from;
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS_LEN);
        file.write_at(&zeros[..count], at)?;
        at += count as u64;
    }
    file.sync()
}

fn file_name(slot: usize) -> String {
    format!("{slot:03}.wal")
}
