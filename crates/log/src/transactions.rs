//! The transactions of one partition, as its readers need them: where the first one begins that is not decided, and which
//! were aborted.
//!
//! A transaction is open in a partition from its producer's first transactional batch to the marker. Who reads committed
//! records only (KIP-98) reads up to the last stable offset, before which every outcome is known, and leaves out what
//! [`Transactions::aborted`] names.
//!
//! The encoded state, big-endian; a checkpoint that stores it adds its own checksum:
//!
//! | part | type |
//! |---|---|
//! | version, 1 | u8 |
//! | number of open transactions | u32 |
//! | per transaction, by ascending producer id: producer id, first offset | i64, i64 |
//! | number of aborted transactions | u32 |
//! | per transaction, by ascending last offset: producer id, first offset, last offset | i64, i64, i64 |

use bytes::BufMut;
use keyway_record::{Offset, Outcome, ProducerId, RecordBatch};
use std::collections::{BTreeMap, VecDeque};

const VERSION: u8 = 1;
const OPEN_LEN: usize = 16;
const ABORTED_LEN: usize = 24;

/// The transactions of one partition. Cheap where there are none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transactions {
    /// First offset of each producer's open transaction.
    open: BTreeMap<ProducerId, Offset>,
    /// The same the other way round: the first open transaction bounds what is stable.
    by_first: BTreeMap<Offset, ProducerId>,
    /// Ended by markers that readers may not see yet, in the order of the markers.
    ending: VecDeque<Ending>,
    /// By last offset.
    aborted: VecDeque<Aborted>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ending {
    first: Offset,
    marker: Offset,
}

/// A transaction that does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Aborted {
    /// Whose.
    pub producer_id: ProducerId,
    /// Offset of its first record in the partition.
    pub first: Offset,
    /// Offset of its marker.
    pub last: Offset,
}

impl Aborted {
    /// Whether the records of `batch` are of this transaction.
    #[must_use]
    pub fn holds(&self, batch: &RecordBatch) -> bool {
        let is_its =
            batch.is_transactional() && !batch.is_control() && batch.producer_id() == self.producer_id;
        is_its && (self.first..self.last).contains(&batch.base_offset())
    }
}

/// Why bytes are not encoded [`Transactions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransactionsError {
    /// The bytes end too early.
    #[error("the transactions are cut short")]
    Truncated,
    /// Bytes follow the last transaction.
    #[error("{bytes} bytes follow the transactions")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A version this code does not know.
    #[error("transactions of version {version} are not supported")]
    Version {
        /// The stated version.
        version: u8,
    },
    /// Values that no partition can reach.
    #[error("the transactions contradict each other")]
    Contradiction,
}

impl Transactions {
    /// Notes `batch`, which the log has placed at its base offset. Offsets ascend.
    pub fn record(&mut self, batch: &RecordBatch) {
        if !batch.is_transactional() {
            return;
        }
        let (producer_id, first) = (batch.producer_id(), batch.base_offset());
        if !batch.is_control() {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.open.entry(producer_id) {
                entry.insert(first);
                self.by_first.insert(first, producer_id);
            }
            return;
        }
        let Some(outcome) = batch.outcome() else { return };
        // A marker for nothing: its transaction wrote nothing here, or it is written again after a crash.
        let Some(first) = self.open.remove(&producer_id) else { return };
        self.by_first.remove(&first);
        let marker = batch.last_offset();
        self.ending.push_back(Ending { first, marker });
        if outcome == Outcome::Abort {
            self.aborted.push_back(Aborted { producer_id, first, last: marker });
        }
    }

    /// Notes how far readers see: the markers before `high_watermark` count.
    pub fn settle(&mut self, high_watermark: Offset) {
        while self.ending.front().is_some_and(|ending| ending.marker < high_watermark) {
            self.ending.pop_front();
        }
    }

    /// The last stable offset: everything before it is decided, and readers see how. At most `high_watermark`.
    #[must_use]
    pub fn stable_end(&self, high_watermark: Offset) -> Offset {
        let open = self.by_first.first_key_value().map(|(first, _)| *first);
        let ending = self.ending.iter().filter(|ending| ending.marker >= high_watermark);
        let ending = ending.map(|ending| ending.first).min();
        [open, ending].into_iter().flatten().fold(high_watermark, Offset::min)
    }

    /// The aborted transactions that have records in `from..until`, by last offset.
    pub fn aborted(&self, from: Offset, until: Offset) -> impl Iterator<Item = Aborted> + '_ {
        let start = self.aborted.partition_point(|aborted| aborted.last < from);
        self.aborted.range(start..).copied().filter(move |aborted| aborted.first < until)
    }

    /// Whether the records of `batch`, all decided, do not count.
    #[must_use]
    pub fn is_aborted(&self, batch: &RecordBatch) -> bool {
        let (base, next) = (batch.base_offset(), batch.next_offset());
        batch.is_transactional() && self.aborted(base, next).any(|aborted| aborted.holds(batch))
    }

    /// First offset of the producer's open transaction.
    #[must_use]
    pub fn open_since(&self, producer_id: ProducerId) -> Option<Offset> {
        self.open.get(&producer_id).copied()
    }

    /// Forgets what lies before `start`. Open transactions stay open.
    pub fn trim(&mut self, start: Offset) {
        while self.aborted.front().is_some_and(|aborted| aborted.last < start) {
            self.aborted.pop_front();
        }
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.aborted.is_empty()
    }

    /// The whole state as the table above says, of a log whose end readers see.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.open.len() * OPEN_LEN + self.aborted.len() * ABORTED_LEN);
        out.put_u8(VERSION);
        out.put_u32(u32::try_from(self.open.len()).expect("as many as producers"));
        for (id, first) in &self.open {
            out.put_i64(id.0);
            out.put_i64(first.0);
        }
        out.put_u32(u32::try_from(self.aborted.len()).expect("fewer than batches in memory"));
        for Aborted { producer_id, first, last } in &self.aborted {
            out.put_i64(producer_id.0);
            out.put_i64(first.0);
            out.put_i64(last.0);
        }
        out
    }

    /// The state of [`Transactions::encode`]'s bytes.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, TransactionsError> {
        let rest = &mut bytes;
        match u8::from_be_bytes(take(rest)?) {
            VERSION => {}
            version => return Err(TransactionsError::Version { version }),
        }
        let mut transactions = Self::default();
        for _ in 0..take_count(rest, OPEN_LEN)? {
            let (id, first) = (ProducerId(take_i64(rest)?), Offset(take_i64(rest)?));
            let ascends = transactions.open.last_key_value().is_none_or(|(last, _)| *last < id);
            transactions.open.insert(id, first);
            let is_only = transactions.by_first.insert(first, id).is_none();
            if id.0 < 0 || first.0 < 0 || !ascends || !is_only {
                return Err(TransactionsError::Contradiction);
            }
        }
        for _ in 0..take_count(rest, ABORTED_LEN)? {
            let producer_id = ProducerId(take_i64(rest)?);
            let aborted =
                Aborted { producer_id, first: Offset(take_i64(rest)?), last: Offset(take_i64(rest)?) };
            let ascends = transactions.aborted.back().is_none_or(|before| before.last < aborted.last);
            if producer_id.0 < 0 || aborted.first.0 < 0 || aborted.first >= aborted.last || !ascends {
                return Err(TransactionsError::Contradiction);
            }
            transactions.aborted.push_back(aborted);
        }
        match rest.len() {
            0 => Ok(transactions),
            bytes => Err(TransactionsError::Trailing { bytes }),
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TransactionsError> {
    let (head, tail) = rest.split_first_chunk().ok_or(TransactionsError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

fn take_i64(rest: &mut &[u8]) -> Result<i64, TransactionsError> {
    take(rest).map(i64::from_be_bytes)
}

/// A count of elements of `len` bytes, which must be there.
fn take_count(rest: &mut &[u8], len: usize) -> Result<usize, TransactionsError> {
    let count = u32::from_be_bytes(take(rest)?) as usize;
    if count > rest.len() / len { Err(TransactionsError::Truncated) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::random::Random;
    use keyway_record::{LeaderEpoch, ProducerEpoch, Record, Timestamp, batch::BatchBuilder};

    fn records(id: i64, count: usize, offset: i64) -> RecordBatch {
        let mut batch = BatchBuilder::new(Timestamp(5));
        (0..count).for_each(|_| batch.push(Timestamp(5), Record::default()));
        let batch = batch.build_transactional(ProducerId(id), ProducerEpoch(0), 0);
        batch.placed(Offset(offset), LeaderEpoch(0))
    }

    fn marker(id: i64, outcome: Outcome, offset: i64) -> RecordBatch {
        let marker = RecordBatch::marker(ProducerId(id), ProducerEpoch(0), outcome, 0, Timestamp(5));
        marker.placed(Offset(offset), LeaderEpoch(0))
    }

    /// Whose an offset is, and the outcome with the marker's offset once there is one.
    type Owner = (i64, Option<(Outcome, i64)>);

    /// Every offset's owner, if it has one.
    #[derive(Default)]
    struct Naive {
        owners: Vec<Option<Owner>>,
    }

    impl Naive {
        fn stable_end(&self, high_watermark: i64) -> i64 {
            let undecided = |owner: &Option<Owner>| {
                owner.is_some_and(|(_, end)| end.is_none_or(|(_, marker)| marker >= high_watermark))
            };
            let first = self.owners.iter().position(undecided).map_or(i64::MAX, |first| first as i64);
            first.min(high_watermark)
        }

        /// The aborted transactions, each with the offsets of its records.
        fn aborted(&self) -> BTreeMap<(i64, i64), Vec<i64>> {
            let mut aborted: BTreeMap<_, Vec<i64>> = BTreeMap::new();
            for (offset, owner) in self.owners.iter().enumerate() {
                if let Some((id, Some((Outcome::Abort, marker)))) = owner {
                    aborted.entry((*marker, *id)).or_default().push(offset as i64);
                }
            }
            aborted
        }
    }

    #[test]
    fn random_histories_follow_the_naive_model() {
        for seed in 0..1_000 {
            let mut random = Random::new(seed);
            let (mut log, mut naive) = (Transactions::default(), Naive::default());
            let (mut high_watermark, mut start) = (0, 0);
            for _ in 0..60 {
                let (id, end) = (random.below(4) as i64, naive.owners.len() as i64);
                match random.below(8) {
                    0 | 1 => {
                        let outcome = if random.below(2) == 0 { Outcome::Abort } else { Outcome::Commit };
                        log.record(&marker(id, outcome, end));
                        let own = naive.owners.iter_mut().flatten();
                        own.filter(|(owner, ended)| *owner == id && ended.is_none())
                            .for_each(|(_, ended)| *ended = Some((outcome, end)));
                        naive.owners.push(None);
                    }
                    2 => naive.owners.push(None),
                    3 => {
                        start += random.below((high_watermark - start) as u64 + 1) as i64;
                        log.trim(Offset(start));
                    }
                    4 => log = settled(Transactions::decode(&log.encode()).unwrap(), &log),
                    _ => {
                        let count = 1 + random.below(3) as usize;
                        log.record(&records(id, count, end));
                        naive.owners.extend((0..count).map(|_| Some((id, None))));
                    }
                }
                let end = naive.owners.len() as i64;
                high_watermark += random.below((end - high_watermark) as u64 + 1) as i64;
                log.settle(Offset(high_watermark));
                let stable = log.stable_end(Offset(high_watermark));
                assert_eq!(stable.0, naive.stable_end(high_watermark), "seed {seed}");
                let aborted = naive.aborted();
                for from in start..end {
                    let until = from + 1 + random.below((end - from) as u64) as i64;
                    let found: Vec<_> = log
                        .aborted(Offset(from), Offset(until))
                        .map(|aborted| (aborted.last.0, aborted.producer_id.0))
                        .collect();
                    let expected =
                        aborted.iter().filter(|((marker, _), records)| *marker >= from && records[0] < until);
                    assert_eq!(found, expected.map(|(key, _)| *key).collect::<Vec<_>>(), "seed {seed}");
                }
                for (offset, owner) in naive.owners.iter().enumerate() {
                    if let Some((id, Some((outcome, _)))) = owner {
                        let is_aborted = log.is_aborted(&records(*id, 1, offset as i64));
                        let kept = aborted.keys().any(|(last, _)| *last >= start);
                        assert!(
                            is_aborted == (*outcome == Outcome::Abort) || !kept || (offset as i64) < start
                        );
                    }
                }
                for id in 0..4 {
                    let open = naive.owners.iter().position(|owner| *owner == Some((id, None)));
                    assert_eq!(log.open_since(ProducerId(id)).map(|first| first.0 as usize), open);
                }
            }
        }
    }

    /// What a restart leaves out, because then readers see everything, put back for the model's sake.
    fn settled(mut decoded: Transactions, before: &Transactions) -> Transactions {
        decoded.ending.clone_from(&before.ending);
        assert_eq!(&decoded, before);
        decoded
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut log = Transactions::default();
        log.record(&records(7, 2, 0));
        log.record(&records(8, 2, 2));
        log.record(&marker(7, Outcome::Abort, 4));
        let bytes = log.encode();
        for len in 0..bytes.len() {
            assert!(Transactions::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Transactions::decode(&longer), Err(TransactionsError::Trailing { bytes: 1 }));
    }
}
