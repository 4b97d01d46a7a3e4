//! One partition of a topic: its log, and the epoch under which this broker leads it.

use keyway_log::{AppendError, Appended, PartitionLog};
use keyway_record::{LeaderEpoch, ProducerId, RecordBatch, TopicPartition};
use std::sync::Arc;

/// A partition that this broker leads.
pub(crate) struct Partition {
    pub(crate) id: TopicPartition,
    pub(crate) log: Arc<dyn PartitionLog>,
}

impl Partition {
    pub(crate) fn new(id: TopicPartition, log: Arc<dyn PartitionLog>) -> Self {
        Self { id, log }
    }

    /// The epoch under which this broker leads it: its log's, since nobody else ever does.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.log.leader_epoch()
    }

    /// Whether its log remembers the producer. Looks at all that it remembers.
    pub(crate) fn knows_producer(&self, id: ProducerId) -> bool {
        self.log.producers().iter().any(|producer| producer.id == id)
    }

    /// Gives a validated batch its place; see [`PartitionLog::append`].
    pub(crate) fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError> {
        self.log.append(batch)
    }
}
