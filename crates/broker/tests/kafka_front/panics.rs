//! A bug ends the connection that met it and nothing else.

use crate::{
    broker::TestBroker,
    requests::{append, batch, create_topic, fetch, values},
};
use keyway_broker::Config;
use keyway_kafka_wire::messages::Request;
use keyway_log::{
    AppendError, Appended, Bounds, BoxFuture, Cleaned, Durability, Isolation, LogConfig, LogStore,
    MemoryStore, PartitionLog, ReadError, ReadLimit, Slice, StoreError, Ticket, epochs::EpochEnd,
    producers::ActiveProducer,
};
use keyway_record::{LeaderEpoch, Offset, ProducerId, RecordBatch, Timestamp, TopicPartition};
use std::sync::Arc;

/// A memory log with a bug: reading from this offset on panics.
const BUG_AT: Offset = Offset(13);

struct Store(MemoryStore);

struct Log(Arc<dyn PartitionLog>);

impl LogStore for Store {
    fn create(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        Ok(Arc::new(Log(self.0.create(partition)?)))
    }

    fn delete(&self, partition: &TopicPartition) -> Result<(), StoreError> {
        self.0.delete(partition)
    }

    fn list(&self) -> Vec<TopicPartition> {
        self.0.list()
    }

    fn open(&self, partition: &TopicPartition) -> Result<Arc<dyn PartitionLog>, StoreError> {
        Ok(Arc::new(Log(self.0.open(partition)?)))
    }

    fn wait(&self, ticket: Ticket, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        self.0.wait(ticket, durability)
    }

    fn room(&self) -> BoxFuture<'static, ()> {
        self.0.room()
    }

    fn clean(&self, now: Timestamp) -> Result<Cleaned, StoreError> {
        self.0.clean(now)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.0.close()
    }
}

impl PartitionLog for Log {
    fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError> {
        self.0.append(batch)
    }

    fn read(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError> {
        assert!(from != BUG_AT, "the bug of this test");
        self.0.read(from, limit)
    }

    fn bounds(&self) -> Bounds {
        self.0.bounds()
    }

    fn wait_past(&self, offset: Offset, isolation: Isolation) -> BoxFuture<'static, ()> {
        self.0.wait_past(offset, isolation)
    }

    fn find(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        self.0.find(time)
    }

    fn trim(&self, before: Offset) -> Result<Ticket, AppendError> {
        self.0.trim(before)
    }

    fn last_stable(&self) -> Offset {
        self.0.last_stable()
    }

    fn open_transaction(&self, producer_id: ProducerId) -> Option<Offset> {
        self.0.open_transaction(producer_id)
    }

    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn producers(&self) -> Vec<ActiveProducer> {
        self.0.producers()
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.0.leader_epoch()
    }

    fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.0.epoch_of(offset)
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.0.epoch_end(epoch)
    }

    fn configure(&self, config: LogConfig) {
        self.0.configure(config);
    }
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let broker = TestBroker::on(Arc::new(Store(MemoryStore::new())), Config::default()).await;
    let (mut unlucky, mut other) = (broker.connect().await, broker.connect().await);
    create_topic(&mut other, "orders", 1).await;
    append(&mut other, "orders", 0, &batch(&["a"; 20]).build()).await.unwrap();
    unlucky.send(&Request::Fetch(fetch("orders", 0, BUG_AT.0)), 12).await;
    assert_eq!(unlucky.frame().await, None);
    assert_eq!(values(&mut other, "orders", 0, 0).await.len(), 20);
    assert_eq!(append(&mut broker.connect().await, "orders", 0, &batch(&["b"]).build()).await, Ok(20));
    broker.shutdown().await;
}
