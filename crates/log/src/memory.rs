//! The memory log: the contract without a disk, for tests and the simulation. Everything is durable at once.

use crate::{
    AppendError, Appended, Bounds, BoxFuture, Cleaned, Durability, Isolation, LogConfig, LogStore,
    PartitionLog, ReadError, ReadLimit, Slice, StoreError, Ticket,
    compaction::{KEYS_MAX, Kept, KeyOffsets, Tombstones},
    epochs::{EpochEnd, Epochs},
    producers::{ActiveProducer, ProducerStates, Verdict},
    transactions::Transactions,
    waiters::{Place, Waiters},
};
use keyway_record::{LeaderEpoch, Offset, ProducerId, RecordBatch, Timestamp, TopicPartition};
use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Partitions in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    partitions: Mutex<BTreeMap<TopicPartition, Arc<MemoryPartition>>>,
}

#[derive(Debug, Default)]
struct Shared {
    leader_epoch: LeaderEpoch,
    last_ticket: AtomicU64,
    closed: AtomicBool,
}

#[derive(Debug)]
struct MemoryPartition {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    batches: VecDeque<RecordBatch>,
    start: Offset,
    /// End and high watermark: what is appended is durable.
    end: Offset,
    epochs: Epochs,
    producers: ProducerStates,
    transactions: Transactions,
    waiters: Waiters<Offset>,
    last_ticket: Ticket,
    deleted: bool,
    config: LogConfig,
    /// Everything before it was compacted.
    compacted: Offset,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose records have this epoch, as if it had been cut before.
    #[must_use]
    pub fn in_epoch(leader_epoch: LeaderEpoch) -> Self {
        let shared = Shared { leader_epoch, ..Shared::default() };
        Self { shared: Arc::new(shared), ..Self::default() }
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<MemoryPartition>>> {
        self.partitions.lock().expect("no panic under the lock")
    }
}

impl LogStore for MemoryStore {
    fn create(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        let mut partitions = self.partitions();
        if self.shared.is_closed() {
            return Err(StoreError::Closed);
        }
        if partitions.contains_key(partition) {
            return Err(StoreError::Exists { partition: partition.clone() });
        }
        let log = Arc::new(MemoryPartition::new(self.shared.clone()));
        partitions.insert(partition.clone(), log.clone());
        Ok(log)
    }

    fn delete(&self, partition: &TopicPartition) -> Result<(), StoreError> {
        let mut partitions = self.partitions();
        if self.shared.is_closed() {
            return Err(StoreError::Closed);
        }
        let unknown = || StoreError::Unknown { partition: partition.clone() };
        let log = partitions.remove(partition).ok_or_else(unknown)?;
        drop(partitions);
        log.delete().into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn list(&self) -> Vec<TopicPartition> {
        self.partitions().keys().cloned().collect()
    }

    fn open(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        match self.partitions().get(partition) {
            Some(log) => Ok(log.clone()),
            None => Err(StoreError::Unknown { partition: partition.clone() }),
        }
    }

    fn wait(&self, _: Ticket, _: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn clean(&self, now: Timestamp) -> Result<Cleaned, StoreError> {
        if self.shared.is_closed() {
            return Err(StoreError::Closed);
        }
        let mut cleaned = Cleaned::default();
        for log in self.partitions().values() {
            let mut state = log.state();
            cleaned.trimmed_partitions += u64::from(state.retain(now));
            if let Some(bytes) = state.compact(now) {
                cleaned.compacted_partitions += 1;
                cleaned.compacted_bytes += bytes;
            }
        }
        Ok(cleaned)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.shared.closed.store(true, Ordering::SeqCst);
        let partitions = self.partitions();
        let wakers: Vec<Waker> = partitions.values().flat_map(|log| log.state().waiters.take_all()).collect();
        drop(partitions);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn next_ticket(&self) -> Ticket {
        Ticket(self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl MemoryPartition {
    fn new(shared: Arc<Shared>) -> Self {
        let mut epochs = Epochs::new();
        epochs.note(shared.leader_epoch, Offset::ZERO).expect("the first epoch follows none");
        let state = State {
            shared,
            epochs,
            batches: VecDeque::new(),
            start: Offset::ZERO,
            end: Offset::ZERO,
            producers: ProducerStates::default(),
            transactions: Transactions::default(),
            waiters: Waiters::new(),
            last_ticket: Ticket::default(),
            deleted: false,
            config: LogConfig::default(),
            compacted: Offset::ZERO,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    fn delete(&self) -> Vec<Waker> {
        let mut state = self.state();
        state.deleted = true;
        state.batches = VecDeque::new();
        state.waiters.take_all()
    }

    /// The state, if it may still change.
    fn open_state(&self) -> Result<MutexGuard<'_, State>, AppendError> {
        let state = self.state();
        if state.deleted {
            return Err(AppendError::Deleted);
        }
        if state.shared.is_closed() {
            return Err(AppendError::Closed);
        }
        Ok(state)
    }
}

impl PartitionLog for MemoryPartition {
    fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError> {
        let mut state = self.open_state()?;
        match state.producers.check(batch) {
            Verdict::Append => {}
            Verdict::Duplicate { base_offset, last_offset, .. } => {
                return Ok(Appended { base_offset, last_offset, ticket: state.last_ticket, duplicate: true });
            }
            Verdict::Reject(error) => return Err(error.into()),
        }
        let placed = batch.placed(state.end, state.shared.leader_epoch);
        let (base_offset, last_offset) = (placed.base_offset(), placed.last_offset());
        // Without a clock of its own the store takes the records' time for the time of the append.
        state.producers.record(&placed, placed.max_timestamp());
        state.transactions.record(&placed);
        state.end = placed.next_offset();
        let end = state.end;
        state.transactions.settle(end);
        state.batches.push_back(placed);
        state.last_ticket = state.shared.next_ticket();
        let ticket = state.last_ticket;
        let wakers = state.waiters.take_below(end);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(Appended { base_offset, last_offset, ticket, duplicate: false })
    }

    fn read(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError> {
        let state = self.state();
        if state.deleted {
            return Err(ReadError::Deleted);
        }
        if from < state.start || from > state.end {
            return Err(ReadError::OutOfRange {
                offset: from,
                start: state.start,
                high_watermark: state.end,
            });
        }
        let mut slice = Slice { next: from, ..Slice::default() };
        let mut bytes_left = limit.bytes_max;
        let until = state.readable_end(limit.isolation);
        let first = state.batches.partition_point(|batch| batch.next_offset() <= from);
        for batch in state.batches.iter().skip(first) {
            let len = batch.bytes().len();
            if batch.base_offset() >= until || len > bytes_left && !slice.is_empty() {
                break;
            }
            bytes_left = bytes_left.saturating_sub(len);
            slice.pieces.push(batch.bytes().clone());
            slice.next = batch.next_offset();
        }
        if limit.isolation == Isolation::ReadCommitted {
            slice.aborted = state.transactions.aborted(from, slice.next).collect();
        }
        Ok(slice)
    }

    fn bounds(&self) -> Bounds {
        let state = self.state();
        Bounds { start: state.start, high_watermark: state.end, end: state.end }
    }

    fn last_stable(&self) -> Offset {
        self.state().readable_end(Isolation::ReadCommitted)
    }

    fn open_transaction(&self, producer_id: ProducerId) -> Option<Offset> {
        self.state().transactions.open_since(producer_id)
    }

    fn size_bytes(&self) -> u64 {
        self.state().batches.iter().map(|batch| batch.bytes().len() as u64).sum()
    }

    fn producers(&self) -> Vec<ActiveProducer> {
        let state = self.state();
        state.producers.active(&state.transactions).collect()
    }

    fn wait_past(&self, offset: Offset, isolation: Isolation) -> BoxFuture<'static, ()> {
        Box::pin(WaitPast { state: self.state.clone(), offset, isolation, place: Place::default() })
    }

    fn find(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        let state = self.state();
        if state.deleted {
            return Err(ReadError::Deleted);
        }
        let found = state.batches.iter().find(|batch| batch.max_timestamp() >= time);
        Ok(found.map(|batch| batch.base_offset().max(state.start)))
    }

    fn trim(&self, before: Offset) -> Result<Ticket, AppendError> {
        let mut state = self.open_state()?;
        state.trim(before);
        state.last_ticket = state.shared.next_ticket();
        Ok(state.last_ticket)
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.state().shared.leader_epoch
    }

    fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.state().epochs.epoch_of(offset)
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let state = self.state();
        state.epochs.end_of(epoch, state.end)
    }

    fn configure(&self, config: LogConfig) {
        let mut state = self.state();
        state.config = config;
        if let Some(expiration_ms) = config.producer_expiration_ms {
            state.producers.expire_after(expiration_ms);
        }
    }
}

impl State {
    fn readable_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.end,
            Isolation::ReadCommitted => self.transactions.stable_end(self.end).max(self.start),
        }
    }

    fn trim(&mut self, before: Offset) {
        self.start = before.min(self.end).max(self.start);
        let start = self.start;
        self.epochs.trim(start);
        self.transactions.trim(start);
        while self.batches.front().is_some_and(|batch| batch.next_offset() <= start) {
            self.batches.pop_front();
        }
    }

    /// Gives up what is too old or too much; whether that was anything.
    fn retain(&mut self, now: Timestamp) -> bool {
        let start = self.start;
        let mut bytes: u64 = self.batches.iter().map(|batch| batch.bytes().len() as u64).sum();
        while let Some(oldest) = self.batches.front() {
            let expired = self.config.expires(oldest.max_timestamp(), now);
            bytes -= oldest.bytes().len() as u64;
            let surplus = self.config.retention_bytes.is_some_and(|kept| bytes >= kept);
            if !(expired || surplus) {
                break;
            }
            self.trim(oldest.next_offset());
        }
        self.start > start
    }

    /// Compacts all but the newest batch, if that is due; the bytes that went.
    fn compact(&mut self, now: Timestamp) -> Option<u64> {
        let compaction = self.config.compaction?;
        let bytes = |batch: &RecordBatch| batch.bytes().len() as u64;
        let newest = self.batches.back()?.base_offset();
        let stable_end = self.readable_end(Isolation::ReadCommitted);
        let (clean, rest): (Vec<_>, Vec<_>) =
            self.batches.iter().partition(|batch| batch.base_offset() < self.compacted);
        let allowed = |batch: &&&RecordBatch| {
            batch.base_offset() < newest
                && batch.next_offset() <= stable_end
                && compaction.allows(batch.max_timestamp(), now)
        };
        let dirty: Vec<&RecordBatch> = rest.iter().take_while(allowed).copied().collect();
        let clean_bytes = clean.iter().copied().map(bytes).sum();
        let dirty_bytes = dirty.iter().copied().map(bytes).sum();
        let oldest = dirty.first()?.max_timestamp();
        if !compaction.is_due(clean_bytes, dirty_bytes, oldest, now) {
            return None;
        }
        let mut keys = KeyOffsets::new(KEYS_MAX);
        let noted = dirty
            .iter()
            .take_while(|batch| self.transactions.is_aborted(batch) || keys.note(batch).unwrap_or(false));
        let until = noted.last()?.next_offset();
        let tombstones = Tombstones { now, retention_ms: compaction.delete_retention_ms };
        let mut kept = VecDeque::with_capacity(self.batches.len());
        let before: u64 = self.batches.iter().map(bytes).sum();
        for batch in &self.batches {
            if batch.base_offset() >= until {
                kept.push_back(batch.clone());
                continue;
            }
            let is_last = || self.producers.has_last(batch.last_offset());
            match keys.compact(batch, self.transactions.is_aborted(batch), tombstones, is_last) {
                Ok(Kept::Part(part)) => kept.push_back(part),
                Ok(Kept::Nothing) => {}
                // What cannot be read is kept as it is.
                Ok(Kept::Whole) | Err(_) => kept.push_back(batch.clone()),
            }
        }
        self.batches = kept;
        self.compacted = until;
        Some(before - self.batches.iter().map(bytes).sum::<u64>())
    }
}

struct WaitPast {
    state: Arc<Mutex<State>>,
    offset: Offset,
    isolation: Isolation,
    place: Place<Offset>,
}

impl Future for WaitPast {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { state, offset, isolation, place } = self.get_mut();
        let mut state = state.lock().expect("no panic under the lock");
        if state.readable_end(*isolation) > *offset || state.deleted || state.shared.is_closed() {
            return Poll::Ready(());
        }
        // What is stable moves only with what is readable at all.
        let number = state.end.max(*offset);
        state.waiters.leave(place);
        state.waiters.wait(place, number, context.waker());
        Poll::Pending
    }
}

impl Drop for WaitPast {
    fn drop(&mut self) {
        self.state.lock().expect("no panic under the lock").waiters.leave(&mut self.place);
    }
}
