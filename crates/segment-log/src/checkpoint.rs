//! Checkpoints: after one, recovery need not read the write-ahead log before it.
//!
//! 1. Note where the write-ahead log ends, S. All that follows may be ahead of S; replay skips what is there already.
//! 2. Note each log's end and producer states, then commit until these are durable: a manifest must not know a batch
//!    that a crash can take back, or a producer's retry would be answered with offsets that do not exist.
//! 3. Write the batches before those ends to the segments, and make segments and folders durable.
//! 4. Commit what was deleted or trimmed meanwhile, since its records may be missing from the segments.
//! 5. Write the manifest over the older one. Only then files of the write-ahead log before S are used again, and
//!    only then files that nothing refers to are removed.

use crate::{
    DurableBy, Failure,
    engine::{Engine, Failed},
    manifest::{Manifest, ManifestWriteError, PartitionState, SegmentState},
    partition::Log,
    segment::Segment,
    wal::{Position, block::StoreId},
    write_behind::{Pass, Pending, Unsynced},
};
use keyway_log::epochs::EpochStart;
use keyway_record::{Offset, Timestamp};
use keyway_runtime::{OpenMode, Volume};
use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

pub(crate) struct Checkpointer {
    store_id: StoreId,
    generation: u64,
    /// Where the write-ahead log begins that recovery would need.
    position: Position,
    pub(crate) unsynced: Unsynced,
    /// What the manifest calls garbage and is not removed yet.
    pub(crate) removals: VecDeque<String>,
    volume: Option<Box<dyn Volume>>,
}

/// Files that are flushed one by one; above it the whole file system is flushed at once. Measured: 32 files take 4 to
/// 8 ms, a file system with 512 dirty files takes 4 ms where one by one they take 65 to 100.
pub(crate) const SYNCS_MAX: usize = 32;

/// A log as it was at step 2.
struct Snapshot {
    log: Arc<Log>,
    end: Offset,
    epochs: Vec<EpochStart>,
    producers: Vec<u8>,
    transactions: Vec<u8>,
    /// Up to where the manifest knows its segments, once it does.
    known: Offset,
}

impl Checkpointer {
    pub(crate) fn new(
        store_id: StoreId,
        generation: u64,
        position: Position,
        volume: Option<Box<dyn Volume>>,
    ) -> Self {
        Self {
            store_id,
            generation,
            position,
            unsynced: Unsynced::default(),
            removals: VecDeque::new(),
            volume,
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// A start has written manifests of its own, up to this generation.
    pub(crate) fn note_generation(&mut self, generation: u64) {
        assert!(self.generation <= generation, "generations ascend");
        self.generation = generation;
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Moves everything durable to the segments. Not durable there before the next checkpoint.
    pub(crate) fn write_behind(&mut self, engine: &Engine, pass: Pass) -> io::Result<()> {
        let dirty = std::mem::take(&mut engine.arena().dirty);
        let mut failed = None;
        for log in dirty {
            log.state().dirty = false;
            if let Err(error) = log.write_behind(pass, &mut self.unsynced) {
                log.state().dirty = true;
                engine.arena().dirty.push(log);
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Has the index of a segment that was sealed made durable by the next checkpoint.
    pub(crate) fn note_sidecar(&mut self, segment: &Segment) {
        self.unsynced.folders.extend(segment.path.parent().map(Path::to_path_buf));
        self.unsynced.sidecars.insert(segment.sidecar_path());
    }

    /// Moves what is durable of one log to its segments.
    pub(crate) fn write_log(&mut self, log: &Arc<Log>) -> io::Result<()> {
        log.write_behind(Pass::Behind(Offset(i64::MAX)), &mut self.unsynced)
    }

    pub(crate) fn checkpoint(&mut self, engine: &Engine) -> Result<(), Failed> {
        self.retry_offline(engine).map_err(Failed::Stop)?;
        let (position, written) = {
            let committer = engine.committer();
            (committer.wal.position(), committer.wal.written())
        };
        let (next_log, leader_epoch, mut snapshots) = {
            let partitions = engine.partitions();
            let now = Timestamp(engine.clock.wall_ms());
            let snapshots: Vec<_> = partitions.logs.values().map(|log| Snapshot::take(log, now)).collect();
            (partitions.next_log, partitions.leader_epoch, snapshots)
        };
        engine.commit_all().map_err(Failed::Stop)?;

        let mut garbage: Vec<_> = self.removals.drain(..).collect();
        garbage.append(&mut engine.arena().garbage);
        if let Err(error) = self.write_segments(&snapshots) {
            engine.arena().garbage.extend(garbage);
            // One log that cannot be written must not keep the others in memory.
            _ = self.write_behind(engine, Pass::Behind(Offset(i64::MAX)));
            return Err(Failed::Retry(error));
        }
        self.sync(engine).map_err(Failed::Stop)?;
        let kept_bytes = self.keep_offline(engine).map_err(Failed::Stop)?;
        let partitions: Vec<_> = snapshots.iter_mut().filter_map(Snapshot::take_state).collect();
        // Once closed, the last commit here is the last one of all, and readers see nothing that it does not flush.
        let exposed = engine.options.durable_by == DurableBy::Os && !engine.staging.is_closed();
        engine.commit_all().map_err(Failed::Stop)?;

        let (store_id, generation) = (self.store_id, self.generation + 1);
        let manifest =
            Manifest { store_id, generation, position, next_log, leader_epoch, exposed, partitions, garbage };
        let mut manifest_written = manifest.write(engine.disk.as_ref(), &engine.folder);
        if manifest_written.as_ref().is_err_and(ManifestWriteError::is_for_space) && engine.release_reserve()
        {
            manifest_written = manifest.write(engine.disk.as_ref(), &engine.folder);
        }
        if let Err(error) = manifest_written {
            // The manifest before is untouched, and nothing was flushed that may now be thought to be durable.
            if error.is_for_space() {
                engine.arena().garbage.extend(manifest.garbage);
                return Err(Failed::Retry(error.into_io()));
            }
            return Err(Failed::Stop(Failure::new("writing the manifest", &error.into_io())));
        }
        self.generation = generation;
        self.position = position;
        for Snapshot { log, known, .. } in &snapshots {
            let mut state = log.state();
            state.logged = state.logged.max(*known);
        }
        let mut committer = engine.committer();
        // What was logged again asks for no checkpoint of its own, which would log it again.
        committer.wal.recycle(position, written + kept_bytes);
        let live_bytes = committer.wal.live_bytes();
        engine.staging.change(|levels| levels.wal = live_bytes);
        drop(committer);
        engine.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.removals = manifest.garbage.into();
        if !self.removals.is_empty() {
            engine.demand(|duties| duties.remove = true);
        }
        Ok(())
    }

    fn write_segments(&mut self, snapshots: &[Snapshot]) -> io::Result<()> {
        snapshots
            .iter()
            .try_for_each(|each| each.log.write_behind(Pass::Behind(each.end), &mut self.unsynced))
    }

    /// Makes durable what was written. Logs of which that fails are offline afterwards.
    fn sync(&mut self, engine: &Engine) -> Result<(), Failure> {
        let unsynced = std::mem::take(&mut self.unsynced);
        let (bytes, begun) = (unsynced.bytes(), engine.clock.now_us());
        let volume = self.volume.as_ref().filter(|_| unsynced.segments.len() > SYNCS_MAX);
        let of_all = volume.map(|volume| volume.sync_all());
        if let Some(Ok(())) = of_all {
            engine.note_second_write(bytes, engine.clock.now_us().saturating_sub(begun));
            unsynced.set_durable(|_| true);
            return Ok(());
        }
        let failed = self.sync_each(engine, &unsynced)?;
        engine.note_second_write(bytes, engine.clock.now_us().saturating_sub(begun));
        if let (Some(Err(error)), true) = (of_all, failed.is_empty()) {
            return Err(Failure::new(
                "flushing the file system, and no file tells that it was the one,",
                &error,
            ));
        }
        failed.iter().try_for_each(|(log, error)| self.take_back(log, error))
    }

    /// Makes durable what was written, one file after the other; returns the logs of which something could not be.
    pub(crate) fn sync_each(
        &self,
        engine: &Engine,
        unsynced: &Unsynced,
    ) -> Result<Vec<(Arc<Log>, io::Error)>, Failure> {
        let mut failed: Vec<(Arc<Log>, io::Error)> = Vec::new();
        for Pending { log, segment, file } in unsynced.segments.values() {
            let synced = match file {
                Some(file) => file.sync(),
                None => engine.files.open(segment, OpenMode::Existing).and_then(|file| file.sync()),
            };
            if let Err(error) = synced {
                failed.push((log.clone(), error));
            }
        }
        let mut folders = unsynced.folders.clone();
        for path in &unsynced.sidecars {
            let opened = match engine.disk.open(path, OpenMode::Existing) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened,
            };
            if let Err(error) = opened.and_then(|file| file.sync()) {
                tracing::warn!(path = %path.display(), %error, "an index could not be flushed; it is removed, and made when it is needed");
                engine.disk.remove(path).map_err(|error| Failure::new("removing an index", &error))?;
                folders.extend(path.parent().map(Path::to_path_buf));
            }
        }
        for folder in &folders {
            let error = match engine.disk.sync_folder(folder) {
                Ok(()) => continue,
                // It was removed, with all that was to be durable in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => error,
            };
            // Of a log that is deleted meanwhile, nothing has to be durable.
            match engine.logs().into_iter().find(|log| log.folder() == *folder) {
                Some(log) => failed.push((log, error)),
                None if unsynced.segments.values().any(|pending| pending.log.folder() == *folder) => {}
                None => return Err(Failure::new("flushing a folder", &error)),
            }
        }
        unsynced.set_durable(|log| failed.iter().all(|(other, _)| other.id != log.id));
        Ok(failed)
    }
}

impl Snapshot {
    fn take(log: &Arc<Log>, now: Timestamp) -> Self {
        let mut state = log.state();
        state.producers.expire(now);
        let producers = if state.producers.is_empty() { Vec::new() } else { state.producers.encode() };
        let transactions =
            if state.transactions.is_empty() { Vec::new() } else { state.transactions.encode() };
        let epochs = state.epochs.starts().collect();
        Self { log: log.clone(), end: state.end, epochs, producers, transactions, known: Offset::ZERO }
    }

    /// The log as the manifest states it; `None` if it is deleted.
    fn take_state(&mut self) -> Option<PartitionState> {
        let Self { log, end, epochs, producers, transactions, known } = self;
        let (state, end) = (log.state(), *end);
        if state.deleted {
            return None;
        }
        let segments = state.segments.iter().map(|entry| {
            assert!(entry.is_durable(), "a manifest states what the device has");
            SegmentState::of(entry)
        });
        let damages = state.segments.iter().zip(0..).filter(|(entry, _)| entry.segment.is_damaged());
        let damages = damages.flat_map(|(entry, index)| {
            entry.segment.damages().into_iter().map(move |damage| (index, damage))
        });
        *known = if state.offline.is_some() { state.written.min(end) } else { end };
        Some(PartitionState {
            log: log.id,
            partition: log.partition.clone(),
            // A later trim may have gone past the snapshot; replay repeats it.
            start: state.start.min(end),
            next: end,
            written: *known,
            compacted: state.compacted,
            segments: segments.collect(),
            epochs: std::mem::take(epochs),
            damages: damages.collect(),
            producers: std::mem::take(producers),
            transactions: std::mem::take(transactions),
        })
    }
}
