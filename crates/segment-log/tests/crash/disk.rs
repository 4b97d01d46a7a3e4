//! A disk in memory that keeps apart what is durable and what is not, and that crashes or fails at a chosen operation.
//!
//! After a power cut each write that was not synced is there, is torn, or is not, whatever came after it; each creation,
//! rename and removal in a folder that was not synced happened or did not. After a kill everything is there, and still
//! not durable.

use keyway_log::contract::random::Random;
use keyway_runtime::{Disk, File, FolderLock, OpenMode, Space, Volume};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// What devices write as one.
const SECTOR: usize = 512;

#[derive(Clone)]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    operations: u64,
    fault: Option<Fault>,
    crashed: bool,
    /// The operation under way is the one that the plan names.
    at_fault: bool,
    /// What the fault hit.
    hit: Option<Hit>,
    random: Random,
    life: u64,
    space: Option<Space>,
    /// Bytes that files may have in all, and how many of them others have.
    capacity: Option<(usize, usize)>,
    /// Writes to what lies in here fail.
    broken: Option<PathBuf>,
    /// Flushes of what lies in here fail, and lose what they should have made durable.
    unsyncable: Option<PathBuf>,
    /// The disk can be flushed as a whole.
    has_volume: bool,
    /// A flush of the whole tells that something failed, the flush of a file does not.
    forgets_failures: bool,
    counts: Counts,
    /// The disk as it was at each operation since this was asked for.
    forks: Option<Vec<State>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Default)]
struct Inode {
    current: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

/// What was asked of the disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    pub written_bytes: u64,
    pub syncs: u64,
    /// Reads of record batches in segments.
    pub segment_reads: u64,
}

/// What happens at an operation, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing works from this operation on.
    Crash(u64),
    /// This operation fails, and no other. A failed sync loses what it should have made durable.
    Error(u64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hit {
    pub operation: &'static str,
    pub path: PathBuf,
    /// What was told is that there is no space.
    pub is_full: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Kill,
    PowerCut,
}

impl CrashDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Folder)]);
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: root.clone(),
            durable_names: root,
            operations: 0,
            fault: None,
            crashed: false,
            at_fault: false,
            hit: None,
            random: Random::new(seed),
            life: 0,
            space: None,
            capacity: None,
            broken: None,
            unsyncable: None,
            has_volume: false,
            forgets_failures: false,
            counts: Counts::default(),
            forks: None,
        })))
    }

    /// Plans a fault, counted in operations from now.
    pub(crate) fn plan(&self, fault: Option<Fault>) {
        let mut state = self.state();
        let now = state.operations;
        state.fault = fault.map(|fault| match fault {
            Fault::Crash(at) => Fault::Crash(now + at),
            Fault::Error(at) => Fault::Error(now + at),
        });
        state.hit = None;
    }

    /// From now on keeps the disk as each operation finds it, and with the operation done in part.
    pub(crate) fn keep_forks(&self) {
        self.state().forks = Some(Vec::new());
    }

    /// What was kept since this was asked the last time.
    pub(crate) fn take_forks(&self) -> Vec<CrashDisk> {
        let forks = self.state().forks.as_mut().map(std::mem::take).unwrap_or_default();
        forks.into_iter().map(|fork| CrashDisk(Arc::new(Mutex::new(fork)))).collect()
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// What the disk says that it has left.
    pub(crate) fn set_free(&self, free: u64) {
        self.state().space = Some(Space { free, total: 16 << 20 });
    }

    /// The disk has so many bytes, of which others have some.
    pub(crate) fn set_capacity(&self, total: usize, of_others: usize) {
        self.state().capacity = Some((total, of_others));
    }

    /// What others may still take.
    pub(crate) fn free_bytes(&self) -> usize {
        self.state().free_bytes().unwrap_or(usize::MAX)
    }

    /// Writes to what lies in `folder` fail from now on.
    pub(crate) fn set_broken(&self, folder: Option<PathBuf>) {
        self.state().broken = folder;
    }

    /// Flushes of what lies in `folder` fail from now on.
    pub(crate) fn set_unsyncable(&self, folder: Option<PathBuf>) {
        self.state().unsyncable = folder;
    }

    /// The disk offers to be flushed as a whole.
    pub(crate) fn set_volume(&self, has_volume: bool) {
        self.state().has_volume = has_volume;
    }

    /// Only the flush of the whole disk tells of a failure from now on.
    pub(crate) fn forget_failures(&self) {
        self.state().forgets_failures = true;
    }

    /// A disk like this one, from now on apart from it.
    pub(crate) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().fork())))
    }

    /// Some segments cannot be written or flushed from now on, others can again.
    pub(crate) fn fail_at_random(&self, random: &mut Random) {
        let segments = PathBuf::from("/data/segments");
        let mut folders: Vec<_> =
            self.paths().into_iter().filter(|path| path.parent() == Some(&segments)).collect();
        folders.push(segments);
        let mut pick = || match random.below(3) {
            0 => Some(folders[random.below(folders.len() as u64) as usize].clone()),
            _ => None,
        };
        let (broken, unsyncable) = (pick(), pick());
        let mut state = self.state();
        (state.broken, state.unsyncable) = (broken, unsyncable);
    }

    /// Every file and what is in it.
    pub(crate) fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        let files = state.names.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.clone(), state.inodes[*inode].current.to_vec())),
            Node::Folder => None,
        });
        files.collect()
    }

    pub(crate) fn hit(&self) -> Option<Hit> {
        self.state().hit.clone()
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The machine or the process starts again.
    pub(crate) fn restart(&self, ending: Ending) {
        let mut state = self.state();
        state.crashed = false;
        state.fault = None;
        state.life += 1;
        if ending == Ending::PowerCut {
            state.lose_power();
        }
    }

    /// The bytes of a file, to be changed under the store's feet.
    pub(crate) fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let Some(Node::File(inode)) = state.names.get(path).copied() else { panic!("no file {path:?}") };
        change(Arc::make_mut(&mut state.inodes[inode].current));
        state.inodes[inode].durable = state.inodes[inode].current.clone();
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Counts an operation; `Err` if the plan says so. On a crash the operation may have happened in part.
    fn operation(&mut self, operation: &'static str, path: &Path, life: u64) -> io::Result<()> {
        self.at_fault = false;
        if self.crashed || life != self.life {
            return Err(io::Error::other("crashed"));
        }
        let now = self.operations;
        self.operations += 1;
        if self.forks.is_some() {
            let fork = self.fork();
            self.forks.get_or_insert_default().push(fork);
        }
        let planned = match self.fault {
            Some(Fault::Crash(at)) => at == now,
            Some(Fault::Error(at)) => at == now,
            None => false,
        };
        if !planned {
            return Ok(());
        }
        self.at_fault = true;
        self.crashed = matches!(self.fault, Some(Fault::Crash(_)));
        // A device that fails, or one that is full.
        let is_full = !self.crashed && operation != "sync" && self.random.below(2) == 0;
        self.hit = Some(Hit { operation, path: path.into(), is_full });
        Err(if is_full { io::ErrorKind::StorageFull.into() } else { io::Error::other("injected") })
    }

    fn fork(&mut self) -> Self {
        Self {
            inodes: self.inodes.clone(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            operations: 0,
            fault: None,
            crashed: false,
            at_fault: false,
            hit: None,
            random: Random::new(self.random.below(u64::MAX)),
            life: self.life,
            space: self.space,
            capacity: self.capacity,
            broken: self.broken.clone(),
            unsyncable: self.unsyncable.clone(),
            has_volume: self.has_volume,
            forgets_failures: self.forgets_failures,
            counts: Counts::default(),
            forks: None,
        }
    }

    /// What the files may still grow by.
    fn free_bytes(&self) -> Option<usize> {
        let (total, of_others) = self.capacity?;
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => Some(self.inodes[*inode].current.len()),
            Node::Folder => None,
        });
        Some(total.saturating_sub(of_others + files.sum::<usize>()))
    }

    fn has_room_for(&self, inode: usize, change: &Change) -> bool {
        let end = match change {
            Change::Write { at, bytes } => at + bytes.len(),
            Change::Truncate { len } => *len,
        };
        let growth = end.saturating_sub(self.inodes[inode].current.len());
        growth == 0 || self.free_bytes().is_none_or(|free| growth <= free)
    }

    fn apply(&mut self, inode: usize, change: Change) {
        // Of a crash at this very operation, half of the times some of it was done.
        if let Some(fork) = self.forks.as_mut().and_then(|forks| forks.last_mut())
            && fork.random.below(2) == 0
        {
            fork.apply(inode, change.clone());
        }
        let inode = &mut self.inodes[inode];
        change.apply(Arc::make_mut(&mut inode.current));
        inode.pending.push(change);
    }

    fn lose_power(&mut self) {
        for index in 0..self.inodes.len() {
            let pending = std::mem::take(&mut self.inodes[index].pending);
            for change in pending {
                if let Some(change) = self.survivor(change) {
                    change.apply(Arc::make_mut(&mut self.inodes[index].durable));
                }
            }
            self.inodes[index].current = self.inodes[index].durable.clone();
        }
        let paths: BTreeSet<PathBuf> = self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        let mut names = BTreeMap::new();
        for path in paths {
            let (before, after) = (self.durable_names.get(&path).copied(), self.names.get(&path).copied());
            let node = if before == after || self.random.below(2) == 0 { before } else { after };
            // What lies in a folder that is lost is lost with it.
            let has_parent = path.parent().is_none_or(|parent| names.contains_key(parent));
            if let (Some(node), true) = (node, has_parent) {
                names.insert(path, node);
            }
        }
        self.names = names.clone();
        self.durable_names = names;
    }

    fn survivor(&mut self, change: Change) -> Option<Change> {
        match (self.random.below(3), change) {
            (0, _) => None,
            (1, Change::Write { at, bytes }) => {
                // Some sectors of it, in any order: here a range.
                let sectors = bytes.len().div_ceil(SECTOR) as u64;
                let first = self.random.below(sectors.max(1)) as usize * SECTOR;
                let last =
                    (first + (1 + self.random.below(sectors.max(1)) as usize) * SECTOR).min(bytes.len());
                let first = if self.random.below(2) == 0 { 0 } else { first };
                Some(Change::Write { at: at + first, bytes: bytes[first..last].to_vec() })
            }
            (_, change) => Some(change),
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Truncate { len } => content.resize(*len, 0),
        }
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        if state.crashed {
            return Err(io::Error::other("crashed"));
        }
        let inode = match (state.names.get(path).copied(), mode) {
            (Some(Node::File(inode)), _) => inode,
            (None, OpenMode::Create) if state.names.contains_key(path.parent().unwrap()) => {
                let life = state.life;
                state.operation("open", path, life)?;
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.into(), Node::File(inode));
                inode
            }
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let life = state.life;
        drop(state);
        Ok(Arc::new(CrashFile { disk: self.clone(), inode, path: path.into(), life }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let missing = path.ancestors().any(|folder| !state.names.contains_key(folder));
        if missing {
            let life = state.life;
            state.operation("create_folder", path, life)?;
            for folder in path.ancestors() {
                state.names.entry(folder.into()).or_insert(Node::Folder);
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.names.contains_key(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operation("rename", to, life)?;
        let node = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.into(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operation("remove", path, life)?;
        state.names.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operation("remove_folder", path, life)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operation("sync_folder", folder, life)?;
        if !state.names.contains_key(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &PathBuf| path.parent() == Some(folder);
        let gone: Vec<PathBuf> = state
            .durable_names
            .keys()
            .filter(|path| inside(path) && !state.names.contains_key(*path))
            .cloned()
            .collect();
        for path in gone {
            state.durable_names.retain(|name, _| !name.starts_with(&path));
        }
        let now: Vec<_> =
            state.names.iter().filter(|(path, _)| inside(path)).map(|(p, n)| (p.clone(), *n)).collect();
        state.durable_names.extend(now);
        Ok(())
    }

    fn volume(&self, _: &Path) -> io::Result<Option<Box<dyn Volume>>> {
        struct All(CrashDisk);
        impl Volume for All {
            fn sync_all(&self) -> io::Result<()> {
                let mut state = self.0.state();
                let life = state.life;
                state.operation("sync_all", Path::new("/"), life)?;
                if state.unsyncable.is_some() {
                    return Err(io::Error::other("input/output error"));
                }
                for inode in &mut state.inodes {
                    for change in std::mem::take(&mut inode.pending) {
                        change.apply(Arc::make_mut(&mut inode.durable));
                    }
                }
                state.durable_names = state.names.clone();
                Ok(())
            }
        }
        Ok(self.state().has_volume.then(|| Box::new(All(self.clone())) as Box<dyn Volume>))
    }

    fn space(&self, _: &Path) -> io::Result<Option<Space>> {
        let state = self.state();
        let of_capacity = state.capacity.zip(state.free_bytes());
        let of_capacity =
            of_capacity.map(|((total, _), free)| Space { free: free as u64, total: total as u64 });
        Ok(of_capacity.or(state.space))
    }

    fn lock_folder(&self, _: &Path) -> io::Result<Box<dyn FolderLock>> {
        struct Lock;
        impl FolderLock for Lock {}
        Ok(Box::new(Lock))
    }
}

struct CrashFile {
    disk: CrashDisk,
    inode: usize,
    path: PathBuf,
    life: u64,
}

impl CrashFile {
    fn change(&self, operation: &'static str, change: Change) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.broken.as_ref().is_some_and(|broken| self.path.starts_with(broken)) {
            return Err(io::Error::other("input/output error"));
        }
        if !state.has_room_for(self.inode, &change) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let done = state.operation(operation, &self.path, self.life);
        if let Change::Write { bytes, .. } = &change {
            state.counts.written_bytes += bytes.len() as u64;
        }
        // What fails may have happened, in part or whole.
        if done.is_ok() || (state.at_fault && state.random.below(2) == 0) {
            state.apply(self.inode, change);
        }
        done
    }
}

impl File for CrashFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.counts.segment_reads += u64::from(self.path.extension().is_some_and(|it| it == "log"));
        let content = &state.inodes[self.inode].current;
        let at = usize::try_from(at).unwrap().min(content.len());
        let count = bytes.len().min(content.len() - at);
        bytes[..count].copy_from_slice(&content[at..at + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change("write", Change::Write { at: usize::try_from(at).unwrap(), bytes: bytes.to_vec() })
    }

    fn write_pieces_at(&self, pieces: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let bytes = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        self.change("write", Change::Write { at: usize::try_from(at).unwrap(), bytes })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.counts.syncs += 1;
        let refused = state.unsyncable.as_ref().is_some_and(|folder| self.path.starts_with(folder));
        let refused = refused && !state.forgets_failures;
        let done = state.operation("sync", &self.path, self.life);
        let done = if refused { done.and(Err(io::Error::other("input/output error"))) } else { done };
        let crashed = state.crashed || self.life != state.life;
        let inode = &mut state.inodes[self.inode];
        match &done {
            Ok(()) => {
                for change in std::mem::take(&mut inode.pending) {
                    change.apply(Arc::make_mut(&mut inode.durable));
                }
            }
            // The operating system marks what it could not write as clean.
            Err(_) if !crashed => inode.pending.clear(),
            Err(_) => {}
        }
        done
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change("truncate", Change::Truncate { len: usize::try_from(len).unwrap() })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].current.len() as u64)
    }
}
