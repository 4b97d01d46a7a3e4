//! A store in a folder, and batches for it: what the examples have in common.

use bytes::Bytes;
use keyway_log::{AppendError, LogStore, PartitionLog, Ticket, contract::block_on};
use keyway_record::{
    PartitionId, Record, RecordBatch, Timestamp, TopicId, TopicName, TopicPartition, batch::BatchBuilder,
};
use keyway_runtime::World;
use keyway_segment_log::{Options, SegmentStore};
use std::path::Path;

pub(crate) fn open(folder: &Path, options: Options) -> SegmentStore {
    let store = SegmentStore::open(&World::real(), folder.join("data"), options);
    store.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn partition(index: usize) -> TopicPartition {
    let topic = TopicName::new("orders").expect("a legal name");
    TopicPartition { topic, topic_id: TopicId([1; 16]), partition: PartitionId(index as i32) }
}

pub(crate) fn batch(len: usize) -> RecordBatch {
    let mut builder = BatchBuilder::new(Timestamp(1));
    builder.push(Timestamp(1), Record { value: Some(Bytes::from(vec![7; len])), ..Record::default() });
    builder.build()
}

/// Appends, waiting for room if there is none.
pub(crate) fn append(store: &SegmentStore, log: &dyn PartitionLog, batch: &RecordBatch) -> Ticket {
    loop {
        match log.append(batch) {
            Ok(appended) => return appended.ticket,
            Err(AppendError::Full) => block_on(store.room()),
            Err(error) => panic!("{error}"),
        }
    }
}
