//! One partition of a topic: its log and the epoch under which this broker leads it.

use keyway_log::{AppendError, Appended, PartitionLog};
use keyway_record::{LeaderEpoch, RecordBatch, TopicPartition};
use std::sync::Arc;

/// A partition that this broker leads.
pub(crate) struct Partition {
    pub(crate) id: TopicPartition,
    pub(crate) log: Arc<dyn PartitionLog>,
    pub(crate) leader_epoch: LeaderEpoch,
}

impl Partition {
    pub(crate) fn new(id: TopicPartition, log: Arc<dyn PartitionLog>) -> Self {
        // Consumers see only what is durable, so no start of this broker takes back a record that anyone has read.
        Self { id, log, leader_epoch: LeaderEpoch(0) }
    }

    /// Gives a validated batch its place; see [`PartitionLog::append`].
    pub(crate) fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError> {
        self.log.append(batch, self.leader_epoch)
    }
}
