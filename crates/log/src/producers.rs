//! What a partition remembers of its idempotent producers: enough to answer a retry with the offsets of the
//! first try, and to refuse a gap or a producer that was replaced.
//!
//! Rules (Kafka 4.3, KIP-98; per producer id, in this order):
//! 1. A batch with the epoch and exactly the sequence range of one of the last [`BATCHES_KEPT`] is a duplicate.
//! 2. A lower epoch than the known one is refused. A higher one starts at sequence 0.
//! 3. Otherwise the first sequence follows the last one; after `i32::MAX` comes 0.
//! 4. An unknown producer may start anywhere: retention or expiry may have taken what came before.
//!
//! Control batches (transaction markers) carry no sequence and move only the epoch.
//!
//! The encoded state, big-endian; a checkpoint that stores it adds its own checksum:
//!
//! | part | type |
//! |---|---|
//! | version, 1 | u8 |
//! | number of producers | u32 |
//! | per producer, by ascending id: producer id | i64 |
//! | – epoch | i16 |
//! | – offset of its last record | i64 |
//! | – time of its last append, ms | i64 |
//! | – number of batches, 0 to 5 | u8 |
//! | – per batch, oldest first: base sequence | i32 |
//! | – – records - 1 | i32 |
//! | – – base offset | i64 |
//! | – – max timestamp, ms | i64 |

use crate::transactions::Transactions;
use bytes::BufMut;
use keyway_record::{ErrorCode, Offset, ProducerEpoch, ProducerId, RecordBatch, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// Batches remembered per producer: what Kafka's clients keep in flight at most.
pub const BATCHES_KEPT: usize = 5;

/// Producers remembered per partition, which bounds the state to about 1 MiB. Past it the producer that wrote
/// longest ago is forgotten: it may go on, only a retry of its last batches would be stored twice.
pub const PRODUCERS_MAX: usize = 4096;

/// How long a silent producer is remembered by default: Kafka's `producer.id.expiration.ms`, 1 day.
pub const EXPIRATION_MS_DEFAULT: i64 = 24 * 60 * 60 * 1000;

const VERSION: u8 = 1;
const PRODUCER_LEN_MIN: usize = 8 + 2 + 8 + 8 + 1;

/// The producers of one partition. The owner calls [`ProducerStates::check`] and, on
/// [`Verdict::Append`], [`ProducerStates::record`] under one lock; replay calls `record` alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerStates {
    expiration_ms: i64,
    producers: BTreeMap<ProducerId, Producer>,
    /// Last offset of each producer: who wrote longest ago comes first.
    by_last_offset: BTreeMap<Offset, ProducerId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Producer {
    epoch: ProducerEpoch,
    last_offset: Offset,
    appended_at: Timestamp,
    /// The last batches of `epoch`, oldest first.
    batches: VecDeque<KeptBatch>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct KeptBatch {
    base_sequence: i32,
    last_offset_delta: i32,
    base_offset: Offset,
    max_timestamp: Timestamp,
}

/// A producer as people look at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// Who.
    pub id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Sequence number of its last record; `None` if it only wrote a marker in this epoch.
    pub last_sequence: Option<i32>,
    /// When it wrote last, by the wall clock.
    pub appended_at: Timestamp,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// What to do with a batch that wants to be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Append it, then call [`ProducerStates::record`].
    Append,
    /// It is in the log: answer as for the first try, once that one is durable, and append nothing.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Max timestamp it was stored with.
        max_timestamp: Timestamp,
    },
    /// Refuse it; nothing changes.
    Reject(ProducerError),
}

/// Why a producer's batch was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProducerError {
    /// A batch before this one is missing, or this one is a duplicate that is no longer remembered.
    #[error("producer {producer_id}: sequence {found} came where {expected} is next")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The sequence that would be next.
        expected: i32,
        /// The batch's first sequence.
        found: i32,
    },
    /// A newer life of the producer has written.
    #[error("producer {producer_id}: epoch {found} is older than {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The batch's epoch.
        found: ProducerEpoch,
    },
    /// A producer id without a valid epoch and sequence.
    #[error("producer {producer_id}: epoch {epoch} with sequence {sequence} is not valid")]
    Malformed {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: ProducerEpoch,
        /// The batch's first sequence.
        sequence: i32,
    },
}

/// Why bytes are not an encoded [`ProducerStates`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProducerStatesError {
    /// The bytes end too early.
    #[error("the producer states are cut short")]
    Truncated,
    /// Bytes follow the last producer.
    #[error("{bytes} bytes follow the producer states")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A version this code does not know.
    #[error("producer states of version {version} are not supported")]
    Version {
        /// The stated version.
        version: u8,
    },
    /// Values that no partition can reach.
    #[error("the state of producer number {index} contradicts itself or its neighbours")]
    Contradiction {
        /// Place of the producer, from 0.
        index: usize,
    },
}

impl ProducerStates {
    /// No producers; those silent for `expiration_ms` will be forgotten.
    #[must_use]
    pub fn new(expiration_ms: i64) -> Self {
        Self { expiration_ms, producers: BTreeMap::new(), by_last_offset: BTreeMap::new() }
    }

    /// Those silent for `expiration_ms` will be forgotten, from the next record on.
    pub fn expire_after(&mut self, expiration_ms: i64) {
        self.expiration_ms = expiration_ms;
    }

    /// Whether `batch`, not yet placed, may be appended next.
    #[must_use]
    pub fn check(&self, batch: &RecordBatch) -> Verdict {
        let producer_id = batch.producer_id();
        if producer_id == ProducerId::NONE {
            return Verdict::Append;
        }
        let (epoch, sequence) = (batch.producer_epoch(), batch.base_sequence());
        let numbered = sequence >= 0 || batch.is_control();
        if producer_id < ProducerId(0) || epoch < ProducerEpoch(0) || !numbered {
            return Verdict::Reject(ProducerError::Malformed { producer_id, epoch, sequence });
        }
        let Some(producer) = self.producers.get(&producer_id) else { return Verdict::Append };
        if epoch < producer.epoch {
            let current = producer.epoch;
            return Verdict::Reject(ProducerError::InvalidProducerEpoch {
                producer_id,
                current,
                found: epoch,
            });
        }
        if batch.is_control() {
            return Verdict::Append;
        }
        let mut expected = 0;
        if epoch == producer.epoch {
            let range = (sequence, batch.last_offset_delta());
            let first_try = producer.batches.iter().find(|b| (b.base_sequence, b.last_offset_delta) == range);
            if let Some(first_try) = first_try {
                return Verdict::Duplicate {
                    base_offset: first_try.base_offset,
                    last_offset: first_try.last_offset(),
                    max_timestamp: first_try.max_timestamp,
                };
            }
            expected = producer.batches.back().map_or(0, KeptBatch::next_sequence);
        }
        if sequence == expected {
            Verdict::Append
        } else {
            Verdict::Reject(ProducerError::OutOfOrderSequence { producer_id, expected, found: sequence })
        }
    }

    /// Remembers `batch`, which the log has placed at its base offset at time `now`.
    ///
    /// On replay `now` is the time of the replay. The log is believed: sequences are not checked again. Offsets
    /// must ascend, so a replay starts where the state it builds on ends.
    pub fn record(&mut self, batch: &RecordBatch, now: Timestamp) {
        let id = batch.producer_id();
        if id == ProducerId::NONE {
            return;
        }
        let appended = KeptBatch {
            base_sequence: batch.base_sequence(),
            last_offset_delta: batch.last_offset_delta(),
            base_offset: batch.base_offset(),
            max_timestamp: batch.max_timestamp(),
        };
        let newest = self.by_last_offset.last_key_value().map(|(offset, _)| *offset);
        assert!(newest < Some(appended.base_offset), "batches are recorded in the order of their offsets");
        let epoch = batch.producer_epoch();
        let new = Producer { epoch, last_offset: Offset(-1), appended_at: now, batches: VecDeque::new() };
        let producer = self.producers.entry(id).or_insert(new);
        self.by_last_offset.remove(&producer.last_offset);
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        if !batch.is_control() {
            if producer.batches.len() == BATCHES_KEPT {
                producer.batches.pop_front();
            }
            producer.batches.push_back(appended);
        }
        producer.appended_at = now;
        producer.last_offset = appended.last_offset();
        self.by_last_offset.insert(producer.last_offset, id);
        if self.producers.len() > PRODUCERS_MAX {
            self.expire(now);
        }
        if self.producers.len() > PRODUCERS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the producers that were silent for the expiration time. Cheap when there are none; call it
    /// now and then.
    pub fn expire(&mut self, now: Timestamp) {
        // Offsets order producers by their last append, so the first one that is not due ends the walk.
        while let Some((_, id)) = self.by_last_offset.first_key_value() {
            let silent_ms = now.0.saturating_sub(self.producers[id].appended_at.0);
            if silent_ms < self.expiration_ms {
                break;
            }
            self.forget_oldest();
        }
    }

    /// Whether the batch that ends with `offset` is the last one of a producer.
    #[must_use]
    pub fn has_last(&self, offset: Offset) -> bool {
        self.by_last_offset.contains_key(&offset)
    }

    /// The producers by ascending id; the owner knows their transactions.
    pub fn active<'a>(&'a self, transactions: &'a Transactions) -> impl Iterator<Item = ActiveProducer> + 'a {
        self.producers.iter().map(|(id, producer)| ActiveProducer {
            id: *id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map(KeptBatch::last_sequence),
            appended_at: producer.appended_at,
            transaction_start: transactions.open_since(*id),
        })
    }

    /// Number of producers remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// The whole state as the table above says.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(5 + self.producers.len() * (PRODUCER_LEN_MIN + 24 * BATCHES_KEPT));
        out.put_u8(VERSION);
        out.put_u32(u32::try_from(self.producers.len()).expect("bounded by PRODUCERS_MAX"));
        for (id, producer) in &self.producers {
            out.put_i64(id.0);
            out.put_i16(producer.epoch.0);
            out.put_i64(producer.last_offset.0);
            out.put_i64(producer.appended_at.0);
            out.put_u8(u8::try_from(producer.batches.len()).expect("bounded by BATCHES_KEPT"));
            for batch in &producer.batches {
                out.put_i32(batch.base_sequence);
                out.put_i32(batch.last_offset_delta);
                out.put_i64(batch.base_offset.0);
                out.put_i64(batch.max_timestamp.0);
            }
        }
        out
    }

    /// The state of [`ProducerStates::encode`]'s bytes.
    pub fn decode(mut bytes: &[u8], expiration_ms: i64) -> Result<Self, ProducerStatesError> {
        let rest = &mut bytes;
        match u8::from_be_bytes(take(rest)?) {
            VERSION => {}
            version => return Err(ProducerStatesError::Version { version }),
        }
        let count = u32::from_be_bytes(take(rest)?) as usize;
        if count > rest.len() / PRODUCER_LEN_MIN {
            return Err(ProducerStatesError::Truncated);
        }
        let mut states = Self::new(expiration_ms);
        for index in 0..count {
            let (id, producer) = Producer::decode(rest)?;
            let ascends = states.producers.last_key_value().is_none_or(|(last, _)| *last < id);
            let offset_is_its_own = states.by_last_offset.insert(producer.last_offset, id).is_none();
            if id < ProducerId(0) || !ascends || !offset_is_its_own || !producer.is_consistent() {
                return Err(ProducerStatesError::Contradiction { index });
            }
            states.producers.insert(id, producer);
        }
        while states.producers.len() > PRODUCERS_MAX {
            states.forget_oldest();
        }
        match rest.len() {
            0 => Ok(states),
            bytes => Err(ProducerStatesError::Trailing { bytes }),
        }
    }

    fn forget_oldest(&mut self) {
        let (_, id) = self.by_last_offset.pop_first().expect("someone is remembered");
        assert!(self.producers.remove(&id).is_some(), "the index names producers that are remembered");
    }
}

impl Default for ProducerStates {
    fn default() -> Self {
        Self::new(EXPIRATION_MS_DEFAULT)
    }
}

impl ProducerError {
    /// What Kafka's clients are told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::Malformed { .. } => ErrorCode::InvalidRecord,
        }
    }
}

impl Producer {
    fn decode(rest: &mut &[u8]) -> Result<(ProducerId, Self), ProducerStatesError> {
        let id = ProducerId(i64::from_be_bytes(take(rest)?));
        let epoch = ProducerEpoch(i16::from_be_bytes(take(rest)?));
        let last_offset = Offset(i64::from_be_bytes(take(rest)?));
        let appended_at = Timestamp(i64::from_be_bytes(take(rest)?));
        let count = u8::from_be_bytes(take(rest)?);
        let mut batches = VecDeque::new();
        for _ in 0..count {
            batches.push_back(KeptBatch {
                base_sequence: i32::from_be_bytes(take(rest)?),
                last_offset_delta: i32::from_be_bytes(take(rest)?),
                base_offset: Offset(i64::from_be_bytes(take(rest)?)),
                max_timestamp: Timestamp(i64::from_be_bytes(take(rest)?)),
            });
        }
        Ok((id, Self { epoch, last_offset, appended_at, batches }))
    }

    fn is_consistent(&self) -> bool {
        let mut after = Some(0);
        for batch in &self.batches {
            let legal = batch.base_sequence >= 0 && batch.last_offset_delta >= 0;
            let ascends = after.is_some_and(|after| batch.base_offset.0 >= after);
            if !legal || !ascends {
                return false;
            }
            after = batch.base_offset.0.checked_add(i64::from(batch.last_offset_delta) + 1);
        }
        let covers = after.is_some_and(|after| self.last_offset.0 >= after - 1);
        self.epoch.0 >= 0 && self.last_offset.0 >= 0 && covers && self.batches.len() <= BATCHES_KEPT
    }
}

impl KeptBatch {
    fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    fn last_sequence(&self) -> i32 {
        self.sequence_at(self.last_offset_delta.into())
    }

    fn next_sequence(&self) -> i32 {
        self.sequence_at(i64::from(self.last_offset_delta) + 1)
    }

    /// Sequences count from 0 to `i32::MAX` and start over, inside a batch too.
    fn sequence_at(&self, delta: i64) -> i32 {
        let sequence = (i64::from(self.base_sequence) + delta) % (1 << 31);
        i32::try_from(sequence).expect("the rest of a division by 2^31")
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ProducerStatesError> {
    let (head, tail) = rest.split_first_chunk().ok_or(ProducerStatesError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests;
