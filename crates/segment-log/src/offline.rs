//! Logs whose segments cannot be written or flushed: each is offline alone, and nothing that was acknowledged is lost.
//!
//! An offline log takes nothing in and serves what it has. What no segment has of it is in memory, and checkpoints log it
//! again behind their place in the write-ahead log, so that they go on and what others wrote can be forgotten.
//!
//! A segment that failed to be flushed is never flushed again: the operating system may have marked what it could not
//! write as clean. What was written to it since it was flushed last is read back from the write-ahead log (so it is at
//! most what that holds) and goes to a file of its own once the disk takes it.

use crate::{
    Failure,
    checkpoint::Checkpointer,
    engine::Engine,
    partition::{Log, SegmentEntry},
    wal::entry::Entry,
    write_behind::{Pass, Unsynced},
};
use keyway_record::{Offset, RecordBatch};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

/// Why a log takes nothing in.
pub(crate) struct Offline {
    pub(crate) reason: String,
    /// Files that could not be flushed. No other file may be written under their names before they are gone.
    stale: Vec<PathBuf>,
}

impl Log {
    pub(crate) fn is_offline(&self) -> bool {
        self.state().offline.is_some()
    }

    /// Takes nothing in from now on. `false` if it did not before.
    pub(crate) fn set_offline(&self, action: &str, error: &io::Error) -> bool {
        let reason = format!("{action} failed: {error}");
        let mut state = self.state();
        if let Some(offline) = &mut state.offline {
            offline.reason = reason;
            return false;
        }
        if state.deleted {
            return false;
        }
        state.offline = Some(Offline { reason, stale: Vec::new() });
        drop(state);
        self.engine.counters.offline.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            partition = %self.partition, folder = %self.folder().display(), action, %error,
            "offline: nothing is lost, what was acknowledged is in the write-ahead log; look at the disk and the rights of the folder; it is tried again every second and goes on by itself"
        );
        true
    }

    fn set_online(self: &Arc<Self>) {
        let mut state = self.state();
        if state.offline.take().is_none() {
            return;
        }
        let end = state.high_watermark;
        drop(state);
        self.engine.counters.offline.fetch_sub(1, Ordering::Relaxed);
        // While it was offline, nobody could forget its batches.
        self.engine.arena().oldest.push_back((self.clone(), end));
        tracing::info!(partition = %self.partition, "online: its segments can be written again");
    }

    /// Offsets that only files have which could not be flushed: from the first of them to what is in memory.
    fn begin_take_back(&self) -> Option<(Offset, Offset)> {
        let mut state = self.state();
        let from = state.segments.iter().find(|entry| !entry.is_durable())?.durable_next;
        let before = state.unwritten_bytes(state.end);
        // From here on nobody forgets any of it.
        state.written = from;
        let until = state.tail.front().map_or(state.end, |front| front.base_offset());
        let unwritten = state.unwritten_bytes(state.end) - before;
        drop(state);
        self.engine.staging.change(|levels| levels.unwritten += unwritten);
        Some((from, until))
    }

    /// Has `batches`, which memory lacks, in memory, and gives up all that segments have beside what was flushed.
    fn end_take_back(&self, batches: Vec<RecordBatch>) {
        let mut state = self.state();
        if state.deleted {
            return;
        }
        let mut taken = 0;
        for batch in batches {
            taken += state.put_back(batch);
        }
        state.settle_written();
        let first = state.segments.iter().position(|entry| !entry.is_durable());
        let gone = first.map_or(Vec::new(), |first| state.segments.split_off(first));
        let mut stale = Vec::new();
        for entry in &gone {
            match entry.durable_part() {
                Some(part) => {
                    stale.push(part.segment.sidecar_path());
                    state.segments.push(part);
                }
                None => stale.extend([entry.segment.path.clone(), entry.segment.sidecar_path()]),
            }
        }
        if let Some(offline) = &mut state.offline {
            offline.stale.extend(stale);
        }
        drop(state);
        gone.iter().for_each(|entry| self.engine.files.close(&entry.segment));
        self.engine.staging.change(|levels| {
            levels.unwritten += taken;
            levels.memory += taken;
        });
    }

    /// Removes files that could not be flushed; readers that have one open go on with it.
    fn remove_stale(&self) -> io::Result<()> {
        let stale = match &self.state().offline {
            Some(offline) => offline.stale.clone(),
            None => return Ok(()),
        };
        for path in &stale {
            match self.engine.disk.remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if let Some(offline) = &mut self.state().offline {
            offline.stale.clear();
        }
        Ok(())
    }

    /// What no segment has, of what is durable.
    fn kept(&self) -> Vec<RecordBatch> {
        let state = self.state();
        state.unwritten().take_while(|batch| batch.next_offset() <= state.high_watermark).cloned().collect()
    }
}

impl SegmentEntry {
    /// The segment as far as it was flushed: closed, since what follows in its file may be anything.
    fn durable_part(&self) -> Option<Self> {
        if self.durable_len == 0 {
            return None;
        }
        Some(Self {
            segment: Arc::new(self.segment.closed_part()),
            next: self.durable_next,
            len: self.durable_len,
            ..self.clone()
        })
    }
}

impl Checkpointer {
    /// Takes a log offline whose files could not be made durable: what only they have is in memory again afterwards.
    pub(crate) fn take_back(&mut self, log: &Arc<Log>, error: &io::Error) -> Result<(), Failure> {
        let engine = &log.engine;
        log.set_offline("flushing a segment", error);
        let Some((from, until)) = log.begin_take_back() else { return Ok(()) };
        let mut batches = std::collections::BTreeMap::new();
        if from < until {
            let written = engine.committer().wal.written_since(self.position());
            let read = written.each(|entry| match entry {
                Entry::Data { log: id, batch } | Entry::Kept { log: id, batch }
                    if id == log.id && from <= batch.base_offset() && batch.base_offset() < until =>
                {
                    // A copy, or whole blocks would stay in memory.
                    let batch = batch.placed(batch.base_offset(), batch.leader_epoch());
                    batches.insert(batch.base_offset(), batch);
                }
                _ => {}
            });
            read.map_err(|error| {
                Failure::new("reading back what could not be flushed", &io::Error::other(error))
            })?;
        }
        log.end_take_back(batches.into_values().collect());
        self.unsynced.segments.retain(|_, pending| pending.log.id != log.id);
        Ok(())
    }

    /// Tries again what could not be written, in files that are flushed at once.
    pub(crate) fn retry_offline(&mut self, engine: &Engine) -> Result<(), Failure> {
        if engine.counters.offline.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        for log in engine.logs().iter().filter(|log| log.is_offline()) {
            let mut unsynced = Unsynced::default();
            let written = log
                .remove_stale()
                .and_then(|()| log.write_chunks(Pass::Behind(Offset(i64::MAX)), &mut unsynced));
            match written {
                Ok(()) => {
                    let failed = self.sync_each(engine, &unsynced)?;
                    match failed.into_iter().next() {
                        None => log.set_online(),
                        Some((_, error)) => self.take_back(log, &error)?,
                    }
                }
                Err(error) => {
                    // Some of it may have been written, and is flushed with the next checkpoint.
                    self.unsynced.append(unsynced);
                    log.set_offline("writing a segment", &error);
                }
            }
        }
        engine.count_held();
        Ok(())
    }

    /// Logs again what no segment has of logs that are offline.
    pub(crate) fn keep_offline(&mut self, engine: &Engine) -> Result<u64, Failure> {
        let mut kept_bytes = 0;
        for log in engine.logs().iter().filter(|log| log.is_offline()) {
            let batches = log.kept();
            kept_bytes += batches.iter().map(|batch| batch.bytes().len() as u64).sum::<u64>();
            engine.log_again(log, batches)?;
        }
        if kept_bytes > 0 {
            engine.flush_again()?;
        }
        engine.count_held();
        Ok(kept_bytes)
    }
}

impl Engine {
    /// Counts what is in memory because its log is offline.
    pub(crate) fn count_held(&self) {
        if self.counters.offline.load(Ordering::Relaxed) == 0 && self.staging.levels().held == 0 {
            return;
        }
        let offline = self.logs().into_iter().filter(|log| log.is_offline());
        let held = offline.map(|log| {
            let state = log.state();
            state.unwritten_bytes(state.end)
        });
        let held = held.sum();
        self.staging.change(|levels| levels.held = held);
    }
}
