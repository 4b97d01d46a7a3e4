//! Transaction markers: the control batches that say how a producer's open transaction in a partition ends.
//!
//! A marker is a batch of one record, with the transactional and the control bit set and without a sequence.
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | version, 0 | i16 | | version, 0 | i16 |
//! | type: 0 abort, 1 commit | i16 | | coordinator epoch | i32 |
//!
//! Source: Kafka's control records (KIP-98). Batches with control records of other types hold no marker.

use crate::{ProducerEpoch, ProducerId, Record, RecordBatch, RecordRef, Timestamp, batch::BatchBuilder};
use bytes::{BufMut, Bytes};

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything counts.
    Commit,
    /// Nothing counts.
    Abort,
}

impl RecordBatch {
    /// The marker of a producer's transaction; `coordinator_epoch` is the one of the coordinator that decided.
    #[must_use]
    pub fn marker(
        id: ProducerId,
        epoch: ProducerEpoch,
        outcome: Outcome,
        coordinator_epoch: i32,
        now: Timestamp,
    ) -> Self {
        let (mut key, mut value) = (Vec::with_capacity(4), Vec::with_capacity(6));
        key.put_i16(VERSION);
        key.put_i16(if outcome == Outcome::Commit { COMMIT } else { ABORT });
        value.put_i16(VERSION);
        value.put_i32(coordinator_epoch);
        let mut batch = BatchBuilder::new(now);
        batch.push(now, Record { key: Some(key.into()), value: Some(value.into()), ..Record::default() });
        batch.build_marker(id, epoch)
    }

    /// How the transaction of [`RecordBatch::producer_id`] ends here; `None` if the batch is no marker.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        if !self.is_control() {
            return None;
        }
        let section: Bytes = self.record_section();
        let record = RecordRef::take(&mut &section[..], 0).ok()?;
        let kind: [u8; 2] = record.key?.get(2..4)?.try_into().ok()?;
        match i16::from_be_bytes(kind) {
            ABORT => Some(Outcome::Abort),
            COMMIT => Some(Outcome::Commit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_says_how_it_ends_and_for_whom() {
        for outcome in [Outcome::Commit, Outcome::Abort] {
            let marker = RecordBatch::marker(ProducerId(7), ProducerEpoch(3), outcome, 9, Timestamp(5));
            let parsed = RecordBatch::parse(marker.bytes().clone()).unwrap();
            assert_eq!(parsed.outcome(), Some(outcome));
            assert!(parsed.is_control() && parsed.is_transactional());
            assert_eq!((parsed.producer_id(), parsed.producer_epoch()), (ProducerId(7), ProducerEpoch(3)));
            assert_eq!((parsed.base_sequence(), parsed.record_count()), (-1, 1));
        }
        let mut batch = BatchBuilder::new(Timestamp(5));
        batch
            .push(Timestamp(5), Record { key: Some(Bytes::from_static(&[0, 0, 0, 1])), ..Record::default() });
        assert_eq!(batch.build().outcome(), None, "a record of somebody's");
    }
}
