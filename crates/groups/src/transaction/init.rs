//! `InitProducerId`: a producer begins, or goes on after an error, and everyone before it is fenced.

use super::{Producer, State, Transaction};
use keyway_record::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};

/// What has to be made durable for a producer that begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Init {
    /// The producer of this state may begin.
    Begin(Transaction),
    /// The transaction of the producer before is aborted first. Complete it, and ask again.
    Abort(Transaction),
}

impl Transaction {
    /// A producer begins. One that says who it was (`expected`, KIP-360) goes on if nobody else began since; a stranger is
    /// fenced and changes nothing. `fresh` is a new producer id if [`Transaction::is_exhausted`].
    pub fn init(
        &self,
        expected: Option<Producer>,
        timeout_ms: i32,
        fresh: Option<ProducerId>,
        now: Timestamp,
    ) -> Result<Init, ErrorCode> {
        // Whoever lost the answer gets it again, if nothing was done with it since.
        let is_repeat = expected.is_some() && expected == self.previous && self.state != State::Ongoing;
        if expected.is_some_and(|expected| expected != self.producer) && !is_repeat {
            return Err(ErrorCode::ProducerFenced);
        }
        match self.state {
            State::Prepared(_) => return Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing => {
                return Ok(Init::Abort(self.give_up(fresh, now)));
            }
            State::Empty | State::Completed(_) => {}
        }
        let producer = match (is_repeat, self.is_exhausted()) {
            (true, _) => self.producer,
            (false, false) => self.bumped(),
            (false, true) => {
                let id = self.next_id(fresh).expect("its epochs are used up");
                Producer { id, epoch: ProducerEpoch(0) }
            }
        };
        let begun = self.step(State::Empty, now);
        Ok(Init::Begin(Self { producer, previous: expected, timeout_ms, started: None, ..begun }))
    }

    /// The same producer at its next epoch.
    pub(super) fn bumped(&self) -> Producer {
        Producer { epoch: ProducerEpoch(self.producer.epoch.0.saturating_add(1)), ..self.producer }
    }
}
