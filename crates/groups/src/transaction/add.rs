//! What takes part in a transaction.

use super::{Producer, State, Transaction, Version};
use crate::ids::GroupId;
use keyway_record::{ErrorCode, Timestamp, TopicPartition};

/// What a producer's transaction is about.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Records in these partitions.
    Partitions(&'a [TopicPartition]),
    /// Offsets of this group.
    Group(&'a GroupId),
}

impl Transaction {
    /// Adds a part; the first one starts the transaction. `None` if all of it takes part already.
    pub fn add(&self, producer: Producer, part: Part<'_>, now: Timestamp) -> Result<Option<Self>, ErrorCode> {
        self.check_producer(producer)?;
        let is_ongoing = match self.state {
            State::Prepared(_) => return Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing => true,
            State::Empty | State::Completed(_) => false,
        };
        if is_ongoing && self.has(part) {
            return Ok(None);
        }
        let mut after = self.step(State::Ongoing, now);
        match part {
            Part::Partitions(partitions) => after.partitions.extend(partitions.iter().cloned()),
            Part::Group(group) => after.groups.extend([group.clone()]),
        }
        if !is_ongoing {
            after.started = Some(now);
        }
        Ok(Some(after))
    }

    /// Whether `producer` may write to the part in its transaction.
    pub fn verify(&self, producer: Producer, part: Part<'_>) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        match self.state {
            State::Prepared(_) => Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing if self.has(part) => Ok(()),
            State::Ongoing | State::Empty | State::Completed(_) => Err(ErrorCode::TransactionAbortable),
        }
    }

    /// Lets `producer` write to the part: it must have been added, or is added now, as the version has it. `None` if
    /// nothing changes by that.
    pub fn write(
        &self,
        producer: Producer,
        part: Part<'_>,
        version: Version,
        now: Timestamp,
    ) -> Result<Option<Self>, ErrorCode> {
        match version {
            Version::V1 => self.verify(producer, part).map(|()| None),
            Version::V2 => self.add(producer, part, now),
        }
    }

    fn has(&self, part: Part<'_>) -> bool {
        match part {
            Part::Partitions(partitions) => {
                partitions.iter().all(|partition| self.partitions.contains(partition))
            }
            Part::Group(group) => self.groups.contains(group),
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
