//! The transactions of one transactional id (KIP-98), as the coordinator keeps them.
//!
//! ```text
//!            a partition or group is added              the producer ends it, or a timeout, or fencing
//!   Empty ─────────────────────────────────► Ongoing ────────────────────────────────────► Prepared(outcome)
//!     ▲                                       ▲                                                 │
//!     │ a producer begins anew                │ added                                           │ all markers written
//!     └───────────────────── Completed(outcome) ◄───────────────────────────────────────────────'
//! ```
//!
//! Every operation looks at the state and answers with the next one, or with Kafka's error. The owner makes a state
//! durable before it acts on it: once [`State::Prepared`] is durable the outcome is decided, and whoever finds it writes
//! the markers that are missing. Operations of one id come one after the other.
//!
//! Two generations of clients meet here. With [`Version::V1`] the producer says what takes part, and keeps its epoch. With
//! [`Version::V2`] (KIP-890) a write adds its partition by itself, and each end gives the producer its next epoch, so that
//! nothing of an ended transaction can come in late.

mod add;
mod end;
mod init;
mod stored;
#[cfg(test)]
mod tests;

pub use add::Part;
pub use end::End;
pub use init::Init;

use crate::ids::{GroupId, TransactionalId};
pub use keyway_record::Outcome;
use keyway_record::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeSet;

/// The last epoch that a producer is given: one more is left to fence it with.
const EPOCH_LAST: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// A producer at one of its epochs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Producer {
    /// Who it is.
    pub id: ProducerId,
    /// Which of those that had the id.
    pub epoch: ProducerEpoch,
}

/// Which rules a client follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Partitions are added before they are written to; the epoch stays.
    V1,
    /// Writing adds; each end moves the epoch on.
    V2,
}

/// Where a transaction stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The producer has an epoch and has done nothing with it.
    Empty,
    /// Something was added.
    Ongoing,
    /// The outcome is decided; markers are being written.
    Prepared(Outcome),
    /// All markers are written.
    Completed(Outcome),
}

/// What a marker says in each partition that took part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// Whose records it is about; the epoch may be newer than theirs, and is the oldest that may write from here on.
    pub producer: Producer,
    /// What becomes of them.
    pub outcome: Outcome,
}

/// One transactional id: its producer, and the transaction that the producer is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    producer: Producer,
    /// The producer that became this one: a client that lost the answer asks again as it was.
    previous: Option<Producer>,
    /// Who the producer is once the transaction is completed, if its epochs are used up.
    next_id: Option<ProducerId>,
    timeout_ms: i32,
    state: State,
    partitions: BTreeSet<TopicPartition>,
    groups: BTreeSet<GroupId>,
    /// When the first partition or group was added, to the transaction under way or else to the last one.
    started: Option<Timestamp>,
    updated: Timestamp,
}

impl Transaction {
    /// A transactional id that nobody has used before, with the first epoch of a fresh producer id.
    #[must_use]
    pub fn new(id: ProducerId, timeout_ms: i32, now: Timestamp) -> Self {
        Self {
            producer: Producer { id, epoch: ProducerEpoch(0) },
            previous: None,
            next_id: None,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started: None,
            updated: now,
        }
    }

    /// The producer that may use the transactional id.
    #[must_use]
    pub fn producer(&self) -> Producer {
        self.producer
    }

    /// The producer that may use the transactional id once the transaction under way is completed.
    #[must_use]
    pub fn next_producer(&self) -> Producer {
        let first = |id| Producer { id, epoch: ProducerEpoch(0) };
        self.next_id.map_or(self.producer, first)
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Time after which an ongoing transaction is aborted, ms.
    #[must_use]
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// When the first partition or group was added, by the wall clock, to the transaction under way or else to the one
    /// that its producer completed last.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// When the last step was taken, by the wall clock.
    #[must_use]
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// The partitions that take part and have no marker yet.
    #[must_use]
    pub fn partitions(&self) -> &BTreeSet<TopicPartition> {
        &self.partitions
    }

    /// The groups whose offsets take part and were not yet told.
    #[must_use]
    pub fn groups(&self) -> &BTreeSet<GroupId> {
        &self.groups
    }

    /// Whether the next epoch would be one too many. Then [`Transaction::init`] and [`Transaction::end`] want a fresh
    /// producer id.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.producer.epoch >= EPOCH_LAST
    }

    /// Whether nobody has used the transactional id for `age_ms`, so that it may be forgotten: Kafka's
    /// `transactional.id.expiration.ms`.
    #[must_use]
    pub fn is_expired(&self, age_ms: i64, now: Timestamp) -> bool {
        let rests = matches!(self.state, State::Empty | State::Completed(_));
        rests && now.0.saturating_sub(self.updated.0) >= age_ms
    }

    /// The state after this one, as far as all steps are alike.
    fn step(&self, state: State, now: Timestamp) -> Self {
        // Clocks may go back; the time of the last step does not.
        Self { state, updated: now.max(self.updated), ..self.clone() }
    }

    /// The producer id that comes next, if this one has no epoch left.
    fn next_id(&self, fresh: Option<ProducerId>) -> Option<ProducerId> {
        self.is_exhausted()
            .then(|| fresh.expect("whoever steps a transaction without epochs brings a fresh id"))
    }
}

impl State {
    /// Every state, in the order of their stored numbers.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::Prepared(Outcome::Commit),
        Self::Prepared(Outcome::Abort),
        Self::Completed(Outcome::Commit),
        Self::Completed(Outcome::Abort),
    ];

    /// Kafka's name of the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::Prepared(Outcome::Commit) => "PrepareCommit",
            Self::Prepared(Outcome::Abort) => "PrepareAbort",
            Self::Completed(Outcome::Commit) => "CompleteCommit",
            Self::Completed(Outcome::Abort) => "CompleteAbort",
        }
    }
}
