//! Files: positioned reads, appends, flushes, and what a log needs of a folder.

use rustix::fs::FlockOperation;
use std::{
    fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

/// Where files live. All calls block; they belong on the log's own threads or where a short wait is fine.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Creates a folder and its parents.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Names inside a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with everything in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// The file system that holds `folder`, where the system can make all of it durable at once and tell whether that
    /// failed.
    fn volume(&self, folder: &Path) -> io::Result<Option<Box<dyn Volume>>> {
        let _ = folder;
        Ok(None)
    }

    /// Room in the file system that holds `folder`, where the system tells.
    fn space(&self, folder: &Path) -> io::Result<Option<Space>> {
        let _ = folder;
        Ok(None)
    }

    /// Takes `folder` for this process until the lock is dropped; `WouldBlock` if another process has it.
    fn lock_folder(&self, folder: &Path) -> io::Result<Box<dyn FolderLock>>;
}

/// A file system that can be made durable as a whole.
pub trait Volume: Send + Sync {
    /// Makes everything in it durable: contents, creations, renames and removals. `Err` if anything that was written
    /// since the volume was asked for could not be. Others who use the file system wait for it, and it for their bytes.
    fn sync_all(&self) -> io::Result<()>;
}

/// Room in a file system, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What this user may still write.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// The file must exist.
    Existing,
    /// The file is created if it is missing; its content is kept.
    Create,
}

/// Zeros written at a time where space cannot be taken otherwise.
const ZEROS_LEN: usize = 256 * 1024;

/// One open file. Reads and writes may run at the same time on different ranges.
pub trait File: Send + Sync {
    /// Reads into `bytes` from `at`; returns fewer bytes only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `at`.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Writes all of `pieces`, one after the other, from `at` on.
    fn write_pieces_at(&self, pieces: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        for piece in pieces {
            self.write_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes the content durable: `fdatasync`, or its honest equivalent.
    fn sync(&self) -> io::Result<()>;

    /// Cuts or extends the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Takes the space for `len` bytes from the file system, and makes the file that long.
    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate_by_zeros(self, len)
    }

    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

fn allocate_by_zeros<F: File + ?Sized>(file: &F, len: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LEN];
    let mut at = 0;
    while at < len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS_LEN);
        file.write_at(&zeros[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

/// A folder held for this process.
pub trait FolderLock: Send + Sync {}

/// The machine's file system.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(mode == OpenMode::Create)
            .truncate(false)
            .open(path)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn volume(&self, folder: &Path) -> io::Result<Option<Box<dyn Volume>>> {
        // One descriptor for all calls: the system tells through it what failed since it was opened.
        let folder = fs::File::open(folder)?;
        Ok(reports_failures().then(|| Box::new(RealVolume { folder }) as Box<dyn Volume>))
    }

    fn space(&self, folder: &Path) -> io::Result<Option<Space>> {
        let system = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        Ok(Some(Space { free: bytes(system.f_bavail), total: bytes(system.f_blocks) }))
    }

    fn lock_folder(&self, folder: &Path) -> io::Result<Box<dyn FolderLock>> {
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK_FILE))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(Box::new(RealFolderLock { _file: file }))
    }
}

#[cfg(target_os = "linux")]
struct RealVolume {
    folder: fs::File,
}

#[cfg(target_os = "linux")]
impl Volume for RealVolume {
    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.folder)?)
    }
}

/// `syncfs` tells of failed writes since Linux 5.8 (syncfs(2)).
#[cfg(target_os = "linux")]
fn reports_failures() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 8)
}

/// The file that carries a folder's lock and, for people, the holder's process id.
pub const LOCK_FILE: &str = "lock";

/// Pieces that Linux and macOS take in one call.
const PIECES_MAX: usize = 1_024;

struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn write_pieces_at(&self, pieces: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        for pieces in pieces.chunks(PIECES_MAX) {
            let mut done = loop {
                match rustix::io::pwritev(&self.file, pieces, at) {
                    Err(rustix::io::Errno::INTR) => {}
                    done => break done?,
                }
            };
            // What the system did not take at once goes piece by piece.
            for piece in pieces {
                let skipped = done.min(piece.len());
                done -= skipped;
                self.file.write_all_at(&piece[skipped..], at + skipped as u64)?;
                at += piece.len() as u64;
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Not every file system can.
            Err(rustix::io::Errno::OPNOTSUPP) => allocate_by_zeros(self, len),
            done => Ok(done?),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Released by the operating system when the file closes, however the process ends.
struct RealFolderLock {
    _file: fs::File,
}

impl FolderLock for RealFolderLock {}
