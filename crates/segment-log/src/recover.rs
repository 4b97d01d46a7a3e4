//! Opening a data folder: the manifest, then the write-ahead log from its checkpoint on. Segments are not looked at.

use crate::{
    OnDamage, OpenError, Options,
    checkpoint::Checkpointer,
    commit::Committer,
    engine::Engine,
    epoch::Tail,
    manifest::{Manifest, ManifestWriteError, PartitionState},
    partition::{Log, SegmentEntry},
    segment,
    wal::{
        self, Wal,
        block::StoreId,
        entry::{Entry, LogId},
    },
    write_behind::Pass,
};
use keyway_log::{epochs::EpochStart, producers::ProducerStates, transactions::Transactions};
use keyway_record::{LeaderEpoch, Offset, RecordBatch, Timestamp, TopicPartition};
use keyway_runtime::{Disk, FolderLock, LOCK_FILE, OpenMode, World};
use std::{
    collections::BTreeMap,
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A store that has read everything back and may begin.
pub(crate) fn open(
    world: &World,
    folder: PathBuf,
    options: Options,
) -> Result<(Arc<Engine>, Box<dyn FolderLock>), OpenError> {
    let disk = &world.disk;
    disk.create_folder(&folder).map_err(OpenError::io("create", &folder))?;
    let lock = lock(disk.as_ref(), &folder)?;
    let (manifest, wal) = match Manifest::read(disk.as_ref(), &folder)? {
        Some(manifest) => {
            let wal = Wal::open(
                disk.clone(),
                folder.join(wal::FOLDER),
                manifest.store_id,
                options.wal_file_bytes,
                manifest.position,
            )?;
            (manifest, wal)
        }
        None => create(world, &folder, &options)?,
    };
    // Found is not yet durable: the process before may have been killed between making something and syncing it.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    for made_in in parent.into_iter().chain([folder.as_path(), &folder.join(wal::FOLDER)]) {
        disk.sync_folder(made_in).map_err(OpenError::io("sync", made_in))?;
    }
    let committer = Committer::new(wal);
    // Before anything is written: a failed write is told to those who were there.
    let volume = disk.volume(&folder).map_err(OpenError::io("open", &folder))?;
    let checkpointer = Checkpointer::new(manifest.store_id, manifest.generation, manifest.position, volume);
    let (disk, clock) = (disk.clone(), world.clock.clone());
    let engine = Engine::new(disk, clock, folder, options, committer, checkpointer, manifest.next_log);
    let engine = Arc::new(engine);
    Recovery::begin(engine.clone(), manifest)?.replay()?;
    engine.check_space();
    Ok((engine, lock))
}

fn lock(disk: &dyn Disk, folder: &Path) -> Result<Box<dyn FolderLock>, OpenError> {
    disk.lock_folder(folder).map_err(|error| {
        if error.kind() != io::ErrorKind::WouldBlock {
            return OpenError::io("lock", folder)(error);
        }
        let holder = disk.open(&folder.join(LOCK_FILE), OpenMode::Existing).and_then(|file| {
            let mut text = vec![0; 20];
            let count = file.read_at(&mut text, 0)?;
            Ok(String::from_utf8_lossy(&text[..count]).trim().parse().ok())
        });
        OpenError::Locked { folder: folder.into(), holder: holder.ok().flatten() }
    })
}

/// Makes a new store. The manifest comes last: a folder without one has never acknowledged anything.
fn create(world: &World, folder: &Path, options: &Options) -> Result<(Manifest, Wal), OpenError> {
    let disk = &world.disk;
    let wal_folder = folder.join(wal::FOLDER);
    match wal::holds_blocks(disk.as_ref(), &wal_folder) {
        Ok(false) => {}
        Ok(true) => return Err(OpenError::NoManifest { folder: folder.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(OpenError::io("read", &wal_folder)(error)),
    }
    let store_id = StoreId(world.entropy.bytes());
    let wal = Wal::create(disk.clone(), wal_folder.clone(), store_id, options.wal_file_bytes)
        .map_err(OpenError::io("create", &wal_folder))?;
    disk.create_folder(&folder.join(segment::FOLDER)).map_err(OpenError::io("create", folder))?;
    // The manifest names what must be there when it is.
    disk.sync_folder(folder).map_err(OpenError::io("sync", folder))?;
    let manifest = Manifest {
        store_id,
        generation: 1,
        position: wal.position(),
        next_log: LogId(0),
        leader_epoch: LeaderEpoch(0),
        exposed: false,
        partitions: Vec::new(),
        garbage: Vec::new(),
    };
    let written = manifest.write(disk.as_ref(), folder).map_err(ManifestWriteError::into_io);
    written.map_err(OpenError::io("write the manifest in", folder))?;
    Ok((manifest, wal))
}

struct Recovery {
    engine: Arc<Engine>,
    manifest: Manifest,
    logs: BTreeMap<LogId, Arc<Log>>,
    now: Timestamp,
}

impl Recovery {
    /// The partitions as the manifest knows them.
    fn begin(engine: Arc<Engine>, manifest: Manifest) -> Result<Self, OpenError> {
        let now = Timestamp(engine.clock.wall_ms());
        let mut logs = BTreeMap::new();
        for state in &manifest.partitions {
            logs.insert(state.log, restore(&engine, state)?);
        }
        if !manifest.garbage.is_empty() {
            engine.arena().garbage.clone_from(&manifest.garbage);
            engine.demand(|duties| duties.checkpoint = true);
        }
        Ok(Self { engine, manifest, logs, now })
    }

    fn replay(mut self) -> Result<(), OpenError> {
        let engine = self.engine.clone();
        let mut committer = engine.committer();
        let damage = committer.wal.replay(|entry| self.apply(entry))?;
        match (damage, engine.options.on_damage) {
            (None, _) => self.begin_life(Tail::Kept)?,
            (Some(damage), OnDamage::Refuse) => return Err(committer.wal.unreadable(damage)),
            (Some(damage), OnDamage::Cut) => {
                self.begin_life(Tail::Cut)?;
                committer.wal.cut(&damage)?;
            }
        }
        committer.wal.settle()?;
        let wal_bytes = committer.wal.live_bytes();
        drop(committer);
        for log in self.logs.values() {
            let mut state = log.state();
            state.settle_written();
            if !state.is_whole() {
                let (written, end) = (state.written, state.end);
                let reason = format!("records of {} between {written} and {end} are missing", log.partition);
                return Err(OpenError::Corrupt { path: engine.folder.clone(), position: 0, reason });
            }
            state.segments.iter().rev().skip(1).for_each(|entry| entry.segment.seal());
        }
        self.begin_epoch()?;
        let logs = self.logs.into_values().map(|log| (log.partition.clone(), log));
        engine.partitions().logs = logs.collect();
        engine.count_damaged();
        let levels = engine.staging.change(|levels| levels.wal = wal_bytes);
        engine.demand_for(&levels, false);
        Ok(())
    }

    /// Moves the store's epoch on if it must, and has checkpoints follow what was written for that.
    fn begin_life(&mut self, tail: Tail) -> Result<(), OpenError> {
        let engine = &self.engine;
        self.manifest.begin_life(engine.options.durable_by, tail, engine.disk.as_ref(), &engine.folder)?;
        engine.checkpointer().note_generation(self.manifest.generation);
        engine.partitions().leader_epoch = self.manifest.leader_epoch;
        Ok(())
    }

    /// Lets every log go on in the store's epoch.
    fn begin_epoch(&self) -> Result<(), OpenError> {
        let leader_epoch = self.manifest.leader_epoch;
        for log in self.logs.values() {
            let mut state = log.state();
            let end = state.end;
            let noted = state.epochs.note(leader_epoch, end);
            noted.map_err(|error| contradiction(&self.engine, &log.partition, "epochs", error))?;
        }
        Ok(())
    }

    fn apply(&mut self, entry: Entry) -> Result<(), String> {
        let id = entry.log();
        let next_log = self.engine.partitions().next_log;
        if let Entry::Create { partition, .. } = entry {
            if id >= next_log {
                let expiration_ms = self.engine.options.producer_expiration_ms;
                let producers = ProducerStates::new(expiration_ms);
                self.logs.insert(id, Arc::new(Log::new(id, partition, self.engine.clone(), producers)));
                self.engine.partitions().next_log = LogId(id.0 + 1);
            }
            return Ok(());
        }
        let Some(log) = self.logs.get(&id).cloned() else {
            // The manifest is newer than this entry: it knows that the log was deleted later.
            return if id < next_log { Ok(()) } else { Err(format!("log {id} was never created")) };
        };
        match entry {
            Entry::Create { .. } => unreachable!("handled above"),
            Entry::Data { batch, .. } => self.append(&log, &batch),
            Entry::Kept { batch, .. } => self.put_back(&log, &batch),
            Entry::Reference { segments, batches, .. } => {
                let (freed, replaced) = log.state().follow_reference(&log, &segments, &batches, self.now)?;
                self.engine.free(freed);
                self.engine.discard_segments(&replaced);
                // A trim may have given up a segment for the part of it that the manifest states.
                self.engine.keep_segments(&log.state().segments);
                Ok(())
            }
            Entry::Delete { .. } => {
                self.logs.remove(&id);
                let freed = log.state().give_up();
                self.engine.free(freed);
                self.engine.discard_folder(&log);
                Ok(())
            }
            Entry::Trim { start, .. } => {
                let mut state = log.state();
                if start > state.high_watermark {
                    return Err(format!(
                        "log {id} was trimmed to {start} and ends at {}",
                        state.high_watermark
                    ));
                }
                let start = start.max(state.start);
                let (freed, dropped) = state.trim(start);
                drop(state);
                self.engine.free(freed);
                self.engine.discard_segments(&dropped);
                Ok(())
            }
        }
    }

    fn append(&self, log: &Arc<Log>, batch: &RecordBatch) -> Result<(), String> {
        let mut state = log.state();
        if batch.base_offset() > state.end {
            let (base, end) = (batch.base_offset(), state.end);
            return Err(format!("log {} goes on at {base} and ends at {end}", log.id));
        }
        // A copy: what was read is a whole block, and must not stay in memory for the sake of one batch.
        let batch = batch.placed(batch.base_offset(), batch.leader_epoch());
        let (len, next) = (batch.bytes().len(), batch.next_offset());
        if !state.restore(batch, self.now).map_err(|error| format!("log {}: {error}", log.id))? {
            return Ok(());
        }
        drop(state);
        self.note_unwritten(log, next, len)
    }

    /// Takes in a batch that was logged again because no segment has it.
    fn put_back(&self, log: &Arc<Log>, batch: &RecordBatch) -> Result<(), String> {
        let next = batch.next_offset();
        let mut state = log.state();
        if next > state.end {
            return Err(format!("log {} has a batch up to {next} again and ends at {}", log.id, state.end));
        }
        let len = state.put_back(batch.placed(batch.base_offset(), batch.leader_epoch()));
        drop(state);
        if len == 0 { Ok(()) } else { self.note_unwritten(log, next, len) }
    }

    fn note_unwritten(&self, log: &Arc<Log>, next: Offset, len: usize) -> Result<(), String> {
        let newly_dirty = !std::mem::replace(&mut log.state().dirty, true);
        let mut arena = self.engine.arena();
        arena.oldest.push_back((log.clone(), next));
        if newly_dirty {
            arena.dirty.push(log.clone());
        }
        drop(arena);
        let levels = self.engine.staging.change(|levels| {
            levels.memory += len;
            levels.unwritten += len;
        });
        if levels.unwritten > self.engine.options.arena_bytes_max {
            let mut checkpointer = self.engine.checkpointer();
            checkpointer
                .write_behind(&self.engine, Pass::Replay)
                .map_err(|error| format!("a segment cannot be written: {error}"))?;
            self.engine.forget_oldest();
        }
        Ok(())
    }
}

/// What the manifest says of a partition cannot be.
fn contradiction(engine: &Engine, partition: &TopicPartition, what: &str, error: impl Display) -> OpenError {
    let reason = format!("the manifest's {what} of {partition}: {error}");
    OpenError::Corrupt { path: engine.folder.clone(), position: 0, reason }
}

fn restore(engine: &Arc<Engine>, stored: &PartitionState) -> Result<Arc<Log>, OpenError> {
    let expiration_ms = engine.options.producer_expiration_ms;
    let producers = if stored.producers.is_empty() {
        Ok(ProducerStates::new(expiration_ms))
    } else {
        ProducerStates::decode(&stored.producers, expiration_ms)
    };
    let partition = &stored.partition;
    let producers = producers.map_err(|error| contradiction(engine, partition, "producers", error))?;
    let transactions = if stored.transactions.is_empty() {
        Transactions::default()
    } else {
        Transactions::decode(&stored.transactions)
            .map_err(|error| contradiction(engine, partition, "transactions", error))?
    };
    let log = Log::new(stored.log, partition.clone(), engine.clone(), producers);
    let mut state = log.state();
    state.start = stored.start;
    state.end = stored.next;
    state.high_watermark = stored.next;
    state.written = stored.written;
    state.logged = stored.written;
    state.compacted = stored.compacted;
    state.transactions = transactions;
    for EpochStart { epoch, start } in &stored.epochs {
        let noted = state.epochs.note(*epoch, *start);
        noted.map_err(|error| contradiction(engine, partition, "epochs", error))?;
    }
    // Of what a later trim than the one here gave up, the epochs are stated still.
    state.epochs.trim(stored.start);
    for segment in &stored.segments {
        let restored = Arc::new(log.new_segment(segment.base, segment.revision));
        state.segments.push(SegmentEntry::restored(restored, segment));
    }
    for of_one in stored.damages.chunk_by(|(segment, _), (other, _)| segment == other) {
        if let Some(entry) = state.segments.get(of_one[0].0 as usize) {
            entry.segment.set_damages(of_one.iter().map(|(_, damage)| *damage).collect());
        }
    }
    drop(state);
    Ok(Arc::new(log))
}
