use super::*;
use bytes::Bytes;
use keyway_record::{LeaderEpoch, Record, batch::BatchBuilder};

const SEEDS: u64 = 10_000;
const STEPS: usize = 60;

fn batch(id: i64, epoch: i16, sequence: i32, records: i32) -> RecordBatch {
    let mut builder = BatchBuilder::new(Timestamp(1_000));
    (0..records).for_each(|i| builder.push(Timestamp(1_000 + i64::from(i)), Record::default()));
    builder.build_for(ProducerId(id), ProducerEpoch(epoch), sequence)
}

/// A transaction marker: bits 4 and 5 of the attributes set, no sequence.
fn marker(id: i64, epoch: i16) -> RecordBatch {
    let mut bytes = batch(id, epoch, -1, 1).bytes().to_vec();
    bytes[22] |= 0b11_0000;
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    RecordBatch::parse(Bytes::from(bytes)).unwrap()
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| crc >> 1 ^ (0x82f6_3b78 * (crc & 1));
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// A partition that keeps every batch it ever took, and decides by looking through them.
#[derive(Default)]
struct Naive {
    log: Vec<Entry>,
    end: i64,
}

#[derive(Clone)]
struct Entry {
    id: i64,
    epoch: i16,
    sequence: i32,
    records: i32,
    base_offset: i64,
    at: i64,
    control: bool,
}

impl Naive {
    fn check(&self, b: &RecordBatch) -> Verdict {
        let (id, epoch) = (b.producer_id().0, b.producer_epoch().0);
        let own: Vec<&Entry> = self.log.iter().filter(|e| e.id == id).collect();
        let (Some(last), true) = (own.last(), id >= 0) else { return Verdict::Append };
        if epoch < last.epoch {
            let (current, found) = (ProducerEpoch(last.epoch), b.producer_epoch());
            let producer_id = b.producer_id();
            return Verdict::Reject(ProducerError::InvalidProducerEpoch { producer_id, current, found });
        }
        if b.is_control() {
            return Verdict::Append;
        }
        let same: Vec<&&Entry> = own.iter().filter(|e| e.epoch == epoch && !e.control).collect();
        let records = b.last_offset_delta() + 1;
        let kept = &same[same.len().saturating_sub(5)..];
        if let Some(e) = kept.iter().find(|e| (e.sequence, e.records) == (b.base_sequence(), records)) {
            return Verdict::Duplicate {
                base_offset: Offset(e.base_offset),
                last_offset: Offset(e.base_offset + i64::from(e.records) - 1),
                max_timestamp: b.max_timestamp(),
            };
        }
        let mut expected = same.last().map_or(0, |e| e.sequence);
        for _ in 0..same.last().map_or(0, |e| e.records) {
            expected = if expected == i32::MAX { 0 } else { expected + 1 };
        }
        if b.base_sequence() == expected {
            return Verdict::Append;
        }
        let (producer_id, found) = (b.producer_id(), b.base_sequence());
        Verdict::Reject(ProducerError::OutOfOrderSequence { producer_id, expected, found })
    }

    fn record(&mut self, b: &RecordBatch, now: i64) {
        self.log.push(Entry {
            id: b.producer_id().0,
            epoch: b.producer_epoch().0,
            sequence: b.base_sequence(),
            records: b.last_offset_delta() + 1,
            base_offset: b.base_offset().0,
            at: now,
            control: b.is_control(),
        });
    }

    fn expire(&mut self, now: i64, expiration_ms: i64) {
        let log = self.log.clone();
        self.log.retain(|e| log.iter().any(|other| other.id == e.id && now - other.at < expiration_ms));
    }
}

struct Dice(u64);

impl Dice {
    /// A number below `n` (splitmix64).
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }

    /// Mostly what a good producer sends next, otherwise retries, gaps, old epochs and strangers.
    fn batch(&mut self, naive: &Naive) -> RecordBatch {
        let id = self.below(4) as i64 - 1;
        let records = 1 + self.below(3) as i32;
        if id < 0 {
            return batch(-1, -1, -1, records);
        }
        let own: Vec<&Entry> = naive.log.iter().filter(|e| e.id == id).collect();
        let Some(last) = own.last() else {
            let start = [0, i32::MAX - self.below(6) as i32, self.below(100) as i32];
            return batch(id, self.below(3) as i16, start[self.below(3) as usize], records);
        };
        let next = (i64::from(last.sequence.max(-1)) + i64::from(last.records)) % (1 << 31);
        match self.below(10) {
            0 | 1 => {
                let retry = own[own.len() - 1 - self.below(own.len().min(8) as u64) as usize];
                batch(id, retry.epoch, retry.sequence.max(0), retry.records)
            }
            2 => batch(
                id,
                last.epoch,
                (next + self.below(4) as i64 - 1).clamp(0, i64::from(i32::MAX)) as i32,
                1,
            ),
            3 => batch(id, last.epoch + self.below(3) as i16 - 1, self.below(2) as i32, records),
            4 => marker(id, last.epoch + self.below(2) as i16),
            _ => batch(id, last.epoch, if last.control { 0 } else { next as i32 }, records),
        }
    }
}

fn history(seed: u64) {
    let mut dice = Dice(seed);
    let (mut naive, mut states, mut now) = (Naive::default(), ProducerStates::new(1_000), 0);
    for _ in 0..STEPS {
        now += dice.below(40) as i64;
        let b = dice.batch(&naive);
        if b.producer_epoch().0 < 0 && b.producer_id() != ProducerId::NONE {
            assert!(matches!(states.check(&b), Verdict::Reject(ProducerError::Malformed { .. })));
            continue;
        }
        let verdict = states.check(&b);
        assert_eq!(verdict, naive.check(&b), "{b:?}");
        if verdict == Verdict::Append {
            let placed = b.placed(Offset(naive.end), LeaderEpoch(0));
            states.record(&placed, Timestamp(now));
            naive.record(&placed, now);
            naive.end = placed.next_offset().0;
        }
        if dice.below(8) == 0 {
            states.expire(Timestamp(now));
            naive.expire(now, 1_000);
        }
        if dice.below(8) == 0 {
            states = ProducerStates::decode(&states.encode(), 1_000).expect("own bytes");
        }
        let known: std::collections::BTreeSet<i64> =
            naive.log.iter().map(|e| e.id).filter(|id| *id >= 0).collect();
        assert_eq!(states.len(), known.len());
    }
}

#[test]
fn random_histories_agree_with_a_partition_that_forgets_nothing() {
    if let Some(seed) = std::env::var("KEYWAY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return history(seed);
    }
    for seed in 0..SEEDS {
        if std::panic::catch_unwind(|| history(seed)).is_err() {
            panic!("repeat with: KEYWAY_SEED={seed} cargo test -p keyway-log producers");
        }
    }
}

fn record(states: &mut ProducerStates, b: &RecordBatch, offset: i64) {
    assert_eq!(states.check(b), Verdict::Append);
    states.record(&b.placed(Offset(offset), LeaderEpoch(0)), Timestamp(0));
}

#[test]
fn a_retry_gets_the_first_offsets_until_five_batches_have_followed() {
    let mut states = ProducerStates::default();
    (0..5).for_each(|i| record(&mut states, &batch(7, 0, i * 2, 2), 100 + i64::from(i) * 2));
    let first = Verdict::Duplicate {
        base_offset: Offset(100),
        last_offset: Offset(101),
        max_timestamp: Timestamp(1_001),
    };
    assert_eq!(states.check(&batch(7, 0, 0, 2)), first);
    record(&mut states, &batch(7, 0, 10, 1), 110);
    let gone = states.check(&batch(7, 0, 0, 2));
    let Verdict::Reject(error) = gone else { panic!("{gone:?}") };
    assert_eq!(error.code(), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn sequences_wrap_inside_and_between_batches() {
    let mut states = ProducerStates::default();
    record(&mut states, &batch(7, 0, i32::MAX - 1, 2), 0);
    record(&mut states, &batch(7, 0, 0, 1), 2);
    record(&mut states, &batch(8, 0, i32::MAX, 3), 3);
    record(&mut states, &batch(8, 0, 2, 1), 6);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut states = ProducerStates::default();
    record(&mut states, &batch(7, 3, 0, 1), 0);
    assert!(matches!(states.check(&batch(7, 4, 1, 1)), Verdict::Reject(_)));
    record(&mut states, &batch(7, 4, 0, 1), 1);
    let Verdict::Reject(error) = states.check(&batch(7, 3, 1, 1)) else { panic!("fenced") };
    assert_eq!(error.code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn past_the_bound_the_one_that_wrote_longest_ago_is_forgotten() {
    let mut states = ProducerStates::default();
    let max = PRODUCERS_MAX as i64;
    (0..max).for_each(|id| record(&mut states, &batch(id, 0, 0, 1), id));
    record(&mut states, &batch(0, 0, 1, 1), max);
    record(&mut states, &batch(max, 0, 0, 1), max + 1);
    assert_eq!(states.len(), PRODUCERS_MAX);
    assert_eq!(states.check(&batch(1, 0, 77, 1)), Verdict::Append, "1 is forgotten");
    assert!(matches!(states.check(&batch(0, 0, 77, 1)), Verdict::Reject(_)), "0 wrote again");
}

#[test]
fn damaged_states_are_refused_or_at_least_consistent() {
    let mut states = ProducerStates::default();
    (0..4).for_each(|id| record(&mut states, &batch(id, 0, 0, 1), id * 10));
    record(&mut states, &batch(2, 0, 1, 2), 100);
    let bytes = states.encode();
    assert_eq!(ProducerStates::decode(&bytes, EXPIRATION_MS_DEFAULT), Ok(states));
    for len in 0..bytes.len() {
        assert!(ProducerStates::decode(&bytes[..len], 1).is_err(), "{len} bytes");
    }
    let mut dice = Dice(1);
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        (0..=dice.below(3))
            .for_each(|_| damaged[dice.below(bytes.len() as u64) as usize] = dice.below(256) as u8);
        if let Ok(states) = ProducerStates::decode(&damaged, 1) {
            assert_eq!(states.encode(), damaged, "what was read is what was written");
        }
    }
}

#[test]
fn another_expiration_holds_from_the_next_record_on() {
    let mut states = ProducerStates::default();
    states.record(&batch(1, 0, 0, 1).placed(Offset(0), LeaderEpoch(0)), Timestamp(0));
    states.record(&batch(2, 0, 0, 1).placed(Offset(1), LeaderEpoch(0)), Timestamp(600));
    states.expire(Timestamp(1_000));
    assert_eq!(states.len(), 2);
    states.expire_after(500);
    states.expire(Timestamp(1_000));
    assert_eq!(states.check(&batch(1, 0, 77, 1)), Verdict::Append, "1 is forgotten");
    assert!(matches!(states.check(&batch(2, 0, 77, 1)), Verdict::Reject(_)), "2 is not");
}
