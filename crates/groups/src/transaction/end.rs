//! How a transaction ends: asked for by its producer, by its timeout, or by the next producer.

use super::{Marker, Outcome, Producer, State, Transaction, Version};
use crate::ids::GroupId;
use keyway_record::{ErrorCode, ProducerId, Timestamp, TopicPartition};

/// The answer to a producer that ends its transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The outcome is decided once this is durable.
    Prepare(Transaction),
    /// It had ended so already; the answer was lost.
    Already(Producer),
}

impl Transaction {
    /// The producer ends its transaction. `fresh` is a new producer id if [`Transaction::is_exhausted`].
    pub fn end(
        &self,
        producer: Producer,
        outcome: Outcome,
        version: Version,
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Result<End, ErrorCode> {
        match version {
            Version::V1 => self.end_v1(producer, outcome, now),
            Version::V2 => self.end_v2(producer, outcome, fresh, now),
        }
    }

    fn end_v1(&self, producer: Producer, outcome: Outcome, now: Timestamp) -> Result<End, ErrorCode> {
        self.check_producer(producer)?;
        match self.state {
            State::Ongoing => Ok(End::Prepare(self.prepared(outcome, Version::V1, None, now))),
            State::Completed(decided) if decided == outcome => Ok(End::Already(self.producer)),
            State::Prepared(decided) if decided == outcome => Err(ErrorCode::ConcurrentTransactions),
            State::Empty | State::Completed(_) | State::Prepared(_) => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// The epoch tells a repeated request from the next one: an end has moved it on, or has given a new id.
    fn end_v2(
        &self,
        producer: Producer,
        outcome: Outcome,
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Result<End, ErrorCode> {
        let is_repeat = self.previous == Some(producer);
        if producer.id != self.producer.id && !is_repeat {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let is_current = producer == self.producer;
        let may_ask = match self.state {
            State::Empty | State::Ongoing => is_current,
            State::Prepared(_) => is_repeat,
            State::Completed(_) => is_current || is_repeat,
        };
        if !may_ask {
            return Err(ErrorCode::ProducerFenced);
        }
        let prepared = || Ok(End::Prepare(self.prepared(outcome, Version::V2, fresh, now)));
        match (self.state, outcome) {
            (State::Ongoing, _) => prepared(),
            (State::Prepared(decided), _) if decided == outcome => Err(ErrorCode::ConcurrentTransactions),
            (State::Completed(decided), _) if is_repeat && decided == outcome => {
                Ok(End::Already(self.producer))
            }
            // A producer that cannot tell whether anything was added aborts to be safe.
            (State::Empty, Outcome::Abort) => prepared(),
            (State::Completed(_), Outcome::Abort) if !is_repeat => prepared(),
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// The state in which the outcome is decided.
    pub(super) fn prepared(
        &self,
        outcome: Outcome,
        version: Version,
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Self {
        let mut after = self.step(State::Prepared(outcome), now);
        // A transaction of nothing begins as it ends.
        after.started = if self.state == State::Ongoing { self.started } else { Some(now) };
        if version == Version::V2 {
            after.next_id = self.next_id(fresh);
            after.previous = Some(self.producer);
            after.producer = self.bumped();
        }
        after
    }

    /// What the partitions and groups are told, while the outcome is decided and not everywhere known.
    #[must_use]
    pub fn marker(&self) -> Option<Marker> {
        match self.state {
            State::Prepared(outcome) => Some(Marker { producer: self.producer, outcome }),
            State::Empty | State::Ongoing | State::Completed(_) => None,
        }
    }

    /// The partition has its marker, or is gone.
    pub fn partition_marked(&mut self, partition: &TopicPartition) {
        assert!(self.marker().is_some(), "markers are written once the outcome is decided");
        self.partitions.remove(partition);
    }

    /// The group was told.
    pub fn group_told(&mut self, group: &GroupId) {
        assert!(self.marker().is_some(), "groups are told once the outcome is decided");
        self.groups.remove(group);
    }

    /// The state after all markers; `None` while some are missing, or if none are asked for.
    #[must_use]
    pub fn completed(&self, now: Timestamp) -> Option<Self> {
        let State::Prepared(outcome) = self.state else { return None };
        if !self.partitions.is_empty() || !self.groups.is_empty() {
            return None;
        }
        let producer = self.next_producer();
        Some(Self { producer, next_id: None, ..self.step(State::Completed(outcome), now) })
    }

    /// Whether the transaction has lasted longer than its timeout.
    #[must_use]
    pub fn is_timed_out(&self, now: Timestamp) -> bool {
        let started = self.started.filter(|_| self.state == State::Ongoing);
        started.is_some_and(|started| now.0.saturating_sub(started.0) > i64::from(self.timeout_ms))
    }

    /// The coordinator ends the transaction, and its producer has to begin anew. `fresh` as for [`Transaction::end`].
    #[must_use]
    pub fn give_up(&self, fresh: Option<ProducerId>, now: Timestamp) -> Self {
        self.prepared(Outcome::Abort, Version::V2, fresh, now)
    }
}
