//! Who waits for the write is not held up by a flush, and neither are further writes.

mod crash;

use crash::{disk::CrashDisk, history};
use keyway_log::{
    Durability, Isolation, LogStore,
    contract::{append, batch, block_on, partition},
};
use keyway_record::Offset;
use keyway_runtime::{Disk, File, FolderLock, OpenMode, RealDisk, World};
use keyway_segment_log::{CommitBy, Drive, Options, SegmentStore};
use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    task::{Context, Waker},
    thread,
};

/// The real disk, with flushes of the write-ahead log that can be held up.
#[derive(Clone)]
struct SlowDisk(Arc<Gate>);

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        while state.closed {
            state = self.changed.wait(state).unwrap();
        }
        state.waiting -= 1;
    }

    fn set_closed(&self, closed: bool) {
        self.state.lock().unwrap().closed = closed;
        self.changed.notify_all();
    }

    fn wait_for_someone(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.waiting == 0).unwrap());
    }
}

struct SlowFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl File for SlowFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(bytes, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }
    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealDisk.open(path, mode)?;
        let is_log = path.extension().is_some_and(|extension| extension == "wal");
        Ok(if is_log { Arc::new(SlowFile { file, gate: self.0.clone() }) } else { file })
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
        RealDisk.remove(path)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_folder(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
    fn lock_folder(&self, folder: &Path) -> io::Result<Box<dyn FolderLock>> {
        RealDisk.lock_folder(folder)
    }
}

fn writes_go_ahead(commit_by: CommitBy) {
    let home = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let world = World { disk: Arc::new(SlowDisk(gate.clone())), ..World::real() };
    let options = Options { commit_by, ..Options::default() };
    let store = SegmentStore::open(&world, home.path().join("data"), options).unwrap();
    let log = store.create(&partition("a")).unwrap();
    gate.set_closed(true);
    let first = append(&store, log.as_ref(), &batch(1, 100, 5)).ticket;
    thread::scope(|scope| {
        let flushing = scope.spawn(|| block_on(store.wait(first, Durability::Durable)));
        gate.wait_for_someone();
        let commits = store.stats().commits;
        for _ in 0..5 {
            let ticket = append(&store, log.as_ref(), &batch(1, 100, 5)).ticket;
            block_on(store.wait(ticket, Durability::Written)).unwrap();
        }
        assert_eq!(store.stats().commits, commits + 5, "each was written on its own");
        assert_eq!(log.bounds().high_watermark.0, 0, "and nobody sees any of them");
        let newest = append(&store, log.as_ref(), &batch(1, 100, 5)).ticket;
        let mut waiting = store.wait(newest, Durability::Durable);
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let flushes = store.stats().flushes;
        gate.set_closed(false);
        flushing.join().unwrap().unwrap();
        block_on(waiting).unwrap();
        assert!(store.stats().flushes <= flushes + 2, "one flush for all that were written meanwhile");
    });
    assert_eq!(log.bounds().high_watermark, log.bounds().end);
}

#[test]
fn writes_go_ahead_of_a_flush_that_a_waiter_makes() {
    writes_go_ahead(CommitBy::Waiters);
}

/// Whoever waits for the write takes it from under the sleeping thread, which has to flush it all the same.
#[test]
fn what_was_only_written_is_flushed_though_the_thread_was_asleep() {
    let home = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(&World::real(), home.path().join("data"), Options::default()).unwrap();
    let log = store.create(&partition("a")).unwrap();
    for _ in 0..3 {
        // Nothing shows that the thread sleeps; it does half a second after the last commit.
        thread::sleep(std::time::Duration::from_millis(700));
        let appended = append(&store, log.as_ref(), &batch(1, 100, 5));
        block_on(store.wait(appended.ticket, Durability::Written)).unwrap();
        block_on(log.wait_past(appended.last_offset, Isolation::ReadUncommitted));
    }
}

/// However early that was: the thread may not have begun to look for work when the first records are written.
#[test]
fn what_was_written_before_the_thread_slept_is_flushed() {
    for seed in 0..400 {
        let options = Options { drive: Drive::Threads, ..history::options() };
        let store = history::open_with(&CrashDisk::new(seed), options).unwrap();
        let log = store.create(&partition("a")).unwrap();
        let mut last = Offset(-1);
        for _ in 0..=seed % 4 {
            let appended = append(&store, log.as_ref(), &batch(1, 100, 5));
            block_on(store.wait(appended.ticket, Durability::Written)).unwrap();
            last = appended.last_offset;
        }
        block_on(log.wait_past(last, Isolation::ReadUncommitted));
    }
}

/// What nobody waits for becomes durable and readable all the same.
#[test]
fn what_nobody_waits_for_is_committed() {
    for commit_by in [CommitBy::Waiters, CommitBy::Thread] {
        let home = tempfile::tempdir().unwrap();
        let options = Options { commit_by, ..Options::default() };
        let store = SegmentStore::open(&World::real(), home.path().join("data"), options).unwrap();
        let log = store.create(&partition("a")).unwrap();
        for _ in 0..3 {
            let appended = append(&store, log.as_ref(), &batch(1, 100, 5));
            block_on(log.wait_past(appended.last_offset, Isolation::ReadUncommitted));
        }
        assert_eq!(log.bounds().high_watermark.0, 3);
    }
}
