//! What takes part in a transaction.

use super::{Producer, State, Transaction};
use crate::ids::GroupId;
use keyway_record::{ErrorCode, Timestamp, TopicPartition};

impl Transaction {
    /// Adds partitions and a group; the first of them starts the transaction. `None` if all take part already.
    pub fn add(
        &self,
        producer: Producer,
        partitions: &[TopicPartition],
        group: Option<&GroupId>,
        now: Timestamp,
    ) -> Result<Option<Self>, ErrorCode> {
        self.check_producer(producer)?;
        let is_ongoing = match self.state {
            State::Prepared(_) => return Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing => true,
            State::Empty | State::Completed(_) => false,
        };
        let has_all = partitions.iter().all(|partition| self.partitions.contains(partition))
            && group.is_none_or(|group| self.groups.contains(group));
        if is_ongoing && has_all {
            return Ok(None);
        }
        let mut after = self.step(State::Ongoing, now);
        after.partitions.extend(partitions.iter().cloned());
        after.groups.extend(group.cloned());
        if !is_ongoing {
            after.started = Some(now);
        }
        Ok(Some(after))
    }

    /// Whether `producer` may write to the partition in its transaction.
    pub fn verify(&self, producer: Producer, partition: &TopicPartition) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        self.verify_part(self.partitions.contains(partition))
    }

    /// Whether `producer` may send offsets of the group in its transaction.
    pub fn verify_group(&self, producer: Producer, group: &GroupId) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        self.verify_part(self.groups.contains(group))
    }

    fn verify_part(&self, takes_part: bool) -> Result<(), ErrorCode> {
        match self.state {
            State::Prepared(_) => Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing if takes_part => Ok(()),
            State::Ongoing | State::Empty | State::Completed(_) => Err(ErrorCode::TransactionAbortable),
        }
    }

    pub(super) fn check_producer(&self, producer: Producer) -> Result<(), ErrorCode> {
        if producer.id != self.producer.id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if producer.epoch != self.producer.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(())
    }
}
