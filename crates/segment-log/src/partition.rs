//! One partition: what is in memory of it, and how appends, trims and waits go.

mod handle;
mod segment_entry;

use crate::{
    engine::Engine,
    offline::Offline,
    segment::Segment,
    staging::Staged,
    wal::entry::{Entry, LogId},
};
use keyway_log::{
    AppendError, Appended, Isolation, LogConfig, Ticket,
    epochs::{Epochs, EpochsError},
    producers::{ProducerStates, Verdict},
    transactions::Transactions,
    waiters::Waiters,
};
use keyway_record::{LeaderEpoch, Offset, ProducerId, RecordBatch, Timestamp, TopicPartition};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

pub(crate) use handle::Handle;
pub(crate) use segment_entry::SegmentEntry;

pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) partition: TopicPartition,
    pub(crate) engine: Arc<Engine>,
    /// Bytes of its batches in staging, counted under staging's lock.
    pub(crate) staged_bytes: AtomicUsize,
    state: Mutex<State>,
}

/// ```text
///   start        tail's front     written       high watermark       end
///     |  segments    |  segments and  |  memory and  |  memory, staged |
///     |              |  memory        |  durable     |                 |
/// ```
pub(crate) struct State {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) high_watermark: Offset,
    /// Everything before this offset is in the segments, or was trimmed. What went there straight is, before it is durable
    /// as a whole: then this is past the high watermark.
    pub(crate) written: Offset,
    /// What recovery would know of the segments, from the manifest and references, ends with this offset.
    pub(crate) logged: Offset,
    /// The newest batches: all from `written` on, and what of the others still is in memory.
    pub(crate) tail: VecDeque<RecordBatch>,
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) epochs: Epochs,
    pub(crate) producers: ProducerStates,
    pub(crate) transactions: Transactions,
    pub(crate) last_ticket: Ticket,
    pub(crate) deleted: bool,
    /// Why the log's files could not be written or flushed the last time.
    pub(crate) offline: Option<Offline>,
    pub(crate) config: LogConfig,
    /// Everything before it was compacted, so offsets may be missing.
    pub(crate) compacted: Offset,
    /// No compaction is tried before this time: the last one met a batch that it could not read.
    pub(crate) uncompacted_until: Timestamp,
    /// The log is in the list of those to be written behind.
    pub(crate) dirty: bool,
    waiters: Waiters<Offset>,
}

/// What can be forgotten of a log.
pub(crate) enum Evicted {
    Freed(Freed),
    /// Not in a segment yet.
    Later,
    /// Not before the log is back.
    Offline,
}

/// Bytes of memory that came free.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Freed {
    pub(crate) memory: usize,
    /// The part of it that was not yet in a segment.
    pub(crate) unwritten: usize,
}

impl Log {
    /// A log without records; it takes none before it has an epoch.
    pub(crate) fn new(
        id: LogId,
        partition: TopicPartition,
        engine: Arc<Engine>,
        producers: ProducerStates,
    ) -> Self {
        let state = State {
            start: Offset::ZERO,
            end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            written: Offset::ZERO,
            logged: Offset::ZERO,
            tail: VecDeque::new(),
            segments: Vec::new(),
            epochs: Epochs::new(),
            producers,
            transactions: Transactions::default(),
            last_ticket: Ticket::default(),
            deleted: false,
            offline: None,
            config: LogConfig::default(),
            compacted: Offset::ZERO,
            uncompacted_until: Timestamp::NONE,
            dirty: false,
            waiters: Waiters::new(),
        };
        Self { id, partition, engine, staged_bytes: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// How large a segment of this log may be.
    pub(crate) fn segment_bytes(&self, state: &State) -> u64 {
        state.config.segment_bytes.unwrap_or(self.engine.options.segment_bytes)
    }

    /// A segment of this log that may be written to.
    pub(crate) fn new_segment(&self, base: Offset, revision: u64) -> Segment {
        Segment::new(self.id, base, revision, &self.folder(), &self.engine.index_memory)
    }

    /// The partition's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.engine.segments_folder().join(crate::segment::folder_name(&self.partition, self.id))
    }

    /// Moves the high watermark after a commit, and adds whom that wakes to `wakers`. `true` if the log was not known to have something to write behind.
    pub(crate) fn commit(&self, high_watermark: Offset, wakers: &mut Vec<Waker>) -> bool {
        let mut state = self.state();
        if state.deleted {
            return false;
        }
        assert!(state.high_watermark <= high_watermark && high_watermark <= state.end);
        state.high_watermark = high_watermark;
        state.transactions.settle(high_watermark);
        wakers.extend(state.waiters.take_below(high_watermark));
        let newly_dirty = !state.dirty && state.written < high_watermark;
        state.dirty |= newly_dirty;
        newly_dirty
    }

    /// Gives up everything; the entry that makes it durable is staged in the same moment, so that nothing comes after it.
    pub(crate) fn delete(self: &Arc<Self>) -> Option<Freed> {
        let mut state = self.state();
        let entry = Entry::Delete { log: self.id };
        self.engine.staging.push_control(Staged { entry, log: self.clone() })?;
        let freed = state.give_up();
        if state.offline.take().is_some() {
            self.engine.counters.offline.fetch_sub(1, Ordering::Relaxed);
        }
        let segments = std::mem::take(&mut state.segments);
        let wakers = state.waiters.take_all();
        drop(state);
        segments.iter().for_each(|entry| self.engine.files.close(&entry.segment));
        wakers.into_iter().for_each(Waker::wake);
        Some(freed)
    }

    /// Wakes everyone who waits, for good.
    pub(crate) fn wake_all(&self) {
        let wakers = self.state().waiters.take_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Forgets batches before `next`, all of which must be in the segments.
    pub(crate) fn evict(&self, next: Offset) -> Evicted {
        let mut state = self.state();
        if state.tail.is_empty() || next <= state.written {
            return Evicted::Freed(state.evict(next));
        }
        if state.offline.is_some() { Evicted::Offline } else { Evicted::Later }
    }

    fn append(self: &Arc<Self>, batch: &RecordBatch) -> Result<Appended, AppendError> {
        let mut state = self.state();
        if state.deleted {
            return Err(AppendError::Deleted);
        }
        match state.producers.check(batch) {
            Verdict::Append => {}
            Verdict::Duplicate { base_offset, last_offset, .. } => {
                return Ok(Appended { base_offset, last_offset, ticket: state.last_ticket, duplicate: true });
            }
            Verdict::Reject(error) => return Err(error.into()),
        }
        if let Some(offline) = &state.offline {
            return Err(AppendError::Offline { reason: offline.reason.clone() });
        }
        let memory = self.engine.staging.claim(batch.bytes().len(), self.partition.topic.is_internal())?;
        let placed = batch.placed_in(memory, state.end, state.leader_epoch());
        let (base_offset, last_offset) = (placed.base_offset(), placed.last_offset());
        assert!(base_offset == state.end, "offsets are dense");
        let entry = Entry::Data { log: self.id, batch: placed.clone() };
        let staged = Staged { entry, log: self.clone() };
        let ticket = self.engine.staging.push_data(staged, placed.bytes().len())?;
        if placed.producer_id() != ProducerId::NONE {
            state.producers.record(&placed, Timestamp(self.engine.clock.wall_ms()));
        }
        state.transactions.record(&placed);
        state.end = placed.next_offset();
        state.tail.push_back(placed);
        state.last_ticket = ticket;
        Ok(Appended { base_offset, last_offset, ticket, duplicate: false })
    }

    pub(crate) fn trim(self: &Arc<Self>, before: Offset) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        if state.deleted {
            return Err(AppendError::Deleted);
        }
        let start = before.min(state.high_watermark).max(state.start);
        let entry = Entry::Trim { log: self.id, start };
        let staged = Staged { entry, log: self.clone() };
        let ticket = self.engine.staging.push_control(staged).ok_or(AppendError::Closed)?;
        state.last_ticket = ticket;
        let (freed, dropped) = state.trim(start);
        drop(state);
        self.engine.free(freed);
        self.engine.discard_segments(&dropped);
        Ok(ticket)
    }
}

impl State {
    /// The epoch of what is appended now; every log that is not being recovered has one.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.epochs.current().expect("a log begins with its store's epoch")
    }

    /// Where readers stop.
    pub(crate) fn readable_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.transactions.stable_end(self.high_watermark).max(self.start),
        }
    }

    /// Moves the start, and gives up what lies wholly before it.
    pub(crate) fn trim(&mut self, start: Offset) -> (Freed, Vec<SegmentEntry>) {
        assert!(self.start <= start && start <= self.high_watermark);
        self.start = start;
        self.epochs.trim(start);
        self.transactions.trim(start);
        let mut freed = Freed::default();
        while self.tail.front().is_some_and(|batch| batch.next_offset() <= start) {
            let batch = self.tail.pop_front().expect("there is a front");
            let len = batch.bytes().len();
            freed.memory += len;
            if batch.next_offset() > self.written {
                freed.unwritten += len;
                self.written = batch.next_offset();
            }
        }
        let whole = self.segments.iter().take_while(|entry| entry.next <= start).count();
        (freed, self.segments.drain(..whole).collect())
    }

    /// Forgets batches before `next`, all of which are in the segments.
    pub(crate) fn evict(&mut self, next: Offset) -> Freed {
        let mut freed = Freed::default();
        while self.tail.front().is_some_and(|batch| batch.next_offset() <= next) {
            let batch = self.tail.pop_front().expect("there is a front");
            freed.memory += batch.bytes().len();
        }
        freed
    }

    /// Forgets all records, for good.
    pub(crate) fn give_up(&mut self) -> Freed {
        self.deleted = true;
        let memory = self.tail.iter().map(|batch| batch.bytes().len()).sum();
        let unwritten = self.unwritten_bytes(self.end);
        self.tail = VecDeque::new();
        Freed { memory, unwritten }
    }

    /// Batches in memory from `written` on.
    pub(crate) fn unwritten(&self) -> impl Iterator<Item = &RecordBatch> + Clone {
        let first = self.tail.partition_point(|batch| batch.base_offset() < self.written);
        self.tail.range(first..)
    }

    /// Bytes in memory from `written` on and before `until`.
    pub(crate) fn unwritten_bytes(&self, until: Offset) -> usize {
        let unwritten = self.unwritten().take_while(|batch| batch.next_offset() <= until);
        unwritten.map(|batch| batch.bytes().len()).sum()
    }

    /// Moves the place up to which segments have everything over whole batches that were trimmed before they were there.
    pub(crate) fn settle_written(&mut self) {
        let first = self.tail.iter().find(|batch| batch.base_offset() >= self.written);
        let next = first.map_or(self.end, |batch| batch.base_offset());
        if next <= self.start {
            self.written = self.written.max(next);
        }
    }

    /// Takes in a batch that is in no segment, though others behind it may be in memory; its bytes, 0 if it is there
    /// already or not wanted any more.
    pub(crate) fn put_back(&mut self, batch: RecordBatch) -> usize {
        let (base, len) = (batch.base_offset(), batch.bytes().len());
        let place = self.tail.partition_point(|held| held.base_offset() < base);
        let is_held = self.tail.get(place).is_some_and(|held| held.base_offset() == base);
        if is_held || base < self.written || batch.next_offset() <= self.start {
            return 0;
        }
        self.tail.insert(place, batch);
        len
    }

    /// Whether memory has everything that segments do not.
    pub(crate) fn is_whole(&self) -> bool {
        let mut next = self.written;
        let dense = self.unwritten().all(|batch| {
            let follows = batch.base_offset() == next;
            next = batch.next_offset();
            follows
        });
        dense && next == self.end
    }

    /// Takes in a batch that recovery found, durable as it is. `false` if it is there already.
    pub(crate) fn restore(&mut self, batch: RecordBatch, now: Timestamp) -> Result<bool, EpochsError> {
        if batch.base_offset() < self.end {
            return Ok(false);
        }
        assert!(batch.base_offset() == self.end, "the caller refuses gaps");
        self.follow(&batch, now)?;
        self.tail.push_back(batch);
        Ok(true)
    }

    /// Goes on behind a batch that recovery found.
    pub(crate) fn follow(&mut self, batch: &RecordBatch, now: Timestamp) -> Result<(), EpochsError> {
        self.epochs.note(batch.leader_epoch(), batch.base_offset())?;
        self.producers.record(batch, now);
        self.transactions.record(batch);
        self.end = batch.next_offset();
        self.high_watermark = self.end;
        self.transactions.settle(self.end);
        Ok(())
    }
}
