//! A store in memory that refuses what goes to dead-letter topics a few times.

use keyway_log::{
    AppendError, Appended, Bounds, Cleaned, Durability, Isolation, LogConfig, LogStore, MemoryStore,
    PartitionLog, ReadError, ReadLimit, Slice, StoreError, Ticket, epochs::EpochEnd,
    producers::ActiveProducer,
};
use keyway_record::{LeaderEpoch, Offset, ProducerId, RecordBatch, Timestamp, TopicPartition};
use keyway_runtime::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Refuses each of so many calls, one after another.
#[derive(Clone)]
pub(super) struct Refusals(Arc<AtomicU32>);

pub(super) struct FlakyStore {
    inner: MemoryStore,
    refusals: Refusals,
}

struct FlakyLog {
    inner: Arc<dyn PartitionLog>,
    refusals: Refusals,
}

impl Refusals {
    pub(super) fn left(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn refuses(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl FlakyStore {
    pub(super) fn new(refusals: u32) -> (Arc<Self>, Refusals) {
        let refusals = Refusals(Arc::new(AtomicU32::new(refusals)));
        (Arc::new(Self { inner: MemoryStore::new(), refusals: refusals.clone() }), refusals)
    }

    fn wrap(&self, partition: &TopicPartition, inner: Arc<dyn PartitionLog>) -> Arc<dyn PartitionLog> {
        if !partition.topic.as_str().ends_with(".dlq") {
            return inner;
        }
        Arc::new(FlakyLog { inner, refusals: self.refusals.clone() })
    }
}

impl LogStore for FlakyStore {
    fn create(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        if partition.topic.as_str().ends_with(".dlq") && self.refusals.refuses() {
            return Err(StoreError::Closed);
        }
        Ok(self.wrap(partition, self.inner.create(partition)?))
    }

    fn delete(&self, partition: &TopicPartition) -> Result<(), StoreError> {
        self.inner.delete(partition)
    }

    fn list(&self) -> Vec<TopicPartition> {
        self.inner.list()
    }

    fn open(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        Ok(self.wrap(partition, self.inner.open(partition)?))
    }

    fn wait(&self, ticket: Ticket, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        self.inner.wait(ticket, durability)
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        self.inner.room()
    }

    fn clean(&self, now: Timestamp) -> Result<Cleaned, StoreError> {
        self.inner.clean(now)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

impl PartitionLog for FlakyLog {
    fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError> {
        if self.refusals.refuses() {
            return Err(AppendError::Closed);
        }
        self.inner.append(batch)
    }

    fn read(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError> {
        self.inner.read(from, limit)
    }

    fn bounds(&self) -> Bounds {
        self.inner.bounds()
    }

    fn wait_past(&self, offset: Offset, isolation: Isolation) -> BoxFuture<'static, ()> {
        self.inner.wait_past(offset, isolation)
    }

    fn find(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        self.inner.find(time)
    }

    fn trim(&self, before: Offset) -> Result<Ticket, AppendError> {
        self.inner.trim(before)
    }

    fn last_stable(&self) -> Offset {
        self.inner.last_stable()
    }

    fn open_transaction(&self, producer_id: ProducerId) -> Option<Offset> {
        self.inner.open_transaction(producer_id)
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn producers(&self) -> Vec<ActiveProducer> {
        self.inner.producers()
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.inner.leader_epoch()
    }

    fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.inner.epoch_of(offset)
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.inner.epoch_end(epoch)
    }

    fn configure(&self, config: LogConfig) {
        self.inner.configure(config);
    }
}
