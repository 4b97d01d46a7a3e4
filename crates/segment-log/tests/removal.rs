//! What retention gives up is removed a piece at a time, by nobody who commits.

use keyway_log::{
    LogStore,
    contract::{append, batch, durable, partition},
};
use keyway_record::Offset;
use keyway_runtime::{Disk, File, FolderLock, OpenMode, RealDisk, Space, Volume, World};
use keyway_segment_log::{Options, SegmentStore};
use std::{
    fs,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Bytes that may be freed at once.
const PIECE_LEN: u64 = 32 << 20;

/// One removal, or one file made shorter: which, by how much, and by which thread.
#[derive(Clone, Debug)]
struct Freed {
    path: PathBuf,
    bytes: u64,
    thread: String,
}

/// The machine's disk, watched.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Vec<Freed>>>);

impl Watched {
    fn note(&self, path: &Path, bytes: u64) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push(Freed { path: path.into(), bytes, thread });
    }

    fn freed(&self) -> Vec<Freed> {
        self.0.lock().unwrap().clone()
    }
}

struct WatchedFile {
    file: Arc<dyn File>,
    path: PathBuf,
    by: Watched,
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(WatchedFile { file, path: path.into(), by: self.clone() }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let bytes = fs::metadata(path)?.len();
        self.note(path, bytes);
        RealDisk.remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.note(path, 0);
        assert!(RealDisk.list(path)?.is_empty(), "files are removed one by one");
        RealDisk.remove_folder(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn volume(&self, folder: &Path) -> io::Result<Option<Box<dyn Volume>>> {
        RealDisk.volume(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Option<Space>> {
        RealDisk.space(folder)
    }

    fn lock_folder(&self, folder: &Path) -> io::Result<Box<dyn FolderLock>> {
        RealDisk.lock_folder(folder)
    }
}

impl File for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn write_pieces_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.file.write_pieces_at(pieces, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let before = self.file.len()?;
        if len < before {
            self.by.note(&self.path, before - len);
        }
        self.file.truncate(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn files_are_removed_in_pieces_by_the_writer_alone() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data");
    let disk = Watched::default();
    let world = World { disk: Arc::new(disk.clone()), ..World::real() };
    let options = Options { segment_bytes: 10_000, ..Options::default() };
    let store = SegmentStore::open(&world, folder.clone(), options).unwrap();
    let (log, gone) = (store.create(&partition("a")).unwrap(), store.create(&partition("b")).unwrap());
    for _ in 0..300 {
        append(&store, gone.as_ref(), &batch(1, 2_000, 5));
        durable(&store, append(&store, log.as_ref(), &batch(1, 2_000, 5)).ticket);
    }
    store.checkpoint().unwrap();
    let before = disk.freed().len();
    // As long as the ones of real life.
    let first = folder.join("segments/a-0.0/00000000000000000000.log");
    fs::OpenOptions::new().write(true).open(&first).unwrap().set_len(5 * PIECE_LEN + 1).unwrap();

    durable(&store, log.trim(Offset(290)).unwrap());
    store.delete(&partition("b")).unwrap();
    store.checkpoint().unwrap();
    let begun = Instant::now();
    let other = folder.join("segments/b-0.1");
    while first.exists() || other.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", disk.freed().last());
        durable(&store, append(&store, log.as_ref(), &batch(1, 100, 5)).ticket);
    }
    let freed: Vec<_> = disk.freed().split_off(before);
    assert!(freed.len() > 120, "{}", freed.len());
    for each in &freed {
        assert_eq!(each.thread, "keyway-segments", "{each:?}");
        assert!(each.bytes <= PIECE_LEN, "{each:?}");
    }
    assert_eq!(freed.iter().filter(|each| each.path == first).count(), 6, "five pieces, then the file");
    store.close().unwrap();
}
