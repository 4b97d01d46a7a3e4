//! The segment files that are open: at most so many, and with what indexes may take; the one used longest ago is closed first.

use crate::{
    segment::{IndexMemory, Segment},
    wal::entry::LogId,
};
use keyway_record::Offset;
use keyway_runtime::{Disk, File, OpenMode};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

pub(crate) struct OpenFiles {
    disk: Arc<dyn Disk>,
    max: usize,
    memory: Arc<IndexMemory>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    files: BTreeMap<(LogId, Offset, u64), HeldFile>,
    uses: u64,
}

struct HeldFile {
    file: Arc<dyn File>,
    segment: Arc<Segment>,
    last_use: u64,
}

impl OpenFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, max: usize, memory: Arc<IndexMemory>) -> Self {
        Self { disk, max: max.max(1), memory, held: Mutex::default() }
    }

    /// The segment's file, opened if it is not.
    pub(crate) fn open(&self, segment: &Arc<Segment>, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let key = (segment.log, segment.base, segment.revision);
        if let Some(file) = self.held().use_file(key) {
            return Ok(file);
        }
        let file = self.disk.open(&segment.path, mode)?;
        segment.load_sidecar(self.disk.as_ref())?;
        let mut held = self.held();
        held.uses += 1;
        let last_use = held.uses;
        held.files.insert(key, HeldFile { file: file.clone(), segment: segment.clone(), last_use });
        let closed = if held.files.len() > self.max { held.take_oldest(|_| true) } else { None };
        drop(held);
        if let Some(closed) = closed {
            closed.segment.forget_index();
        }
        self.forget_indexes(segment);
        Ok(file)
    }

    /// Closes what gives memory back, until the indexes have room; not the segment that is about to be used.
    fn forget_indexes(&self, used: &Arc<Segment>) {
        let gives_back =
            |one: &Arc<Segment>| one.is_sealed() && one.index_bytes() > 0 && !Arc::ptr_eq(one, used);
        while self.memory.is_over() {
            let Some(closed) = self.held().take_oldest(gives_back) else { return };
            closed.segment.forget_index();
        }
    }

    /// Closes the file of a segment that is given up.
    pub(crate) fn close(&self, segment: &Segment) {
        self.held().files.remove(&(segment.log, segment.base, segment.revision));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic under the lock")
    }
}

impl Held {
    fn use_file(&mut self, key: (LogId, Offset, u64)) -> Option<Arc<dyn File>> {
        self.uses += 1;
        let held = self.files.get_mut(&key)?;
        held.last_use = self.uses;
        Some(held.file.clone())
    }

    fn take_oldest(&mut self, of: impl Fn(&Arc<Segment>) -> bool) -> Option<HeldFile> {
        let files = self.files.iter().filter(|(_, held)| of(&held.segment));
        let (key, _) = files.min_by_key(|(_, held)| held.last_use)?;
        let key = *key;
        self.files.remove(&key)
    }
}
