//! Random histories against a model of a few lines.

use super::{EPOCH, Home, batch, batch_of, durable, partition};
use crate::{Bounds, LogStore, PartitionLog, ReadLimit};
use keyway_record::{Offset, RecordBatch, Timestamp, TopicPartition};
use std::{collections::BTreeMap, sync::Arc};

/// Where the seeds of a run begin; each failure names its own, and this variable repeats it alone.
const SEED_VARIABLE: &str = "KEYWAY_CONTRACT_SEED";

/// A partition as it should be.
#[derive(Default)]
struct Model {
    batches: Vec<RecordBatch>,
    start: i64,
    end: i64,
    next_sequence: i32,
}

/// xorshift64*: random enough, and the same on every machine.
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// Any order of operations gives what the model says.
pub fn random_histories_follow_the_model(home: &Home) {
    for_seeds(30, |seed| run(seed, home, 0));
}

/// The same with closing, dropping and opening in between, after everything was waited for.
pub fn random_histories_survive_reopening(home: &Home) {
    // All seeds live in one folder, so that each one finds what the one before left, and deletes it.
    for_seeds(15, |seed| run(seed, home, 30));
}

fn for_seeds(count: u64, run: impl Fn(u64)) {
    let alone = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a number"));
    for seed in alone.map_or(0..count, |seed| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = outcome {
            eprintln!("seed {seed} failed; {SEED_VARIABLE}={seed} repeats it");
            std::panic::resume_unwind(panic);
        }
    }
}

fn run(seed: u64, home: &Home, reopen_every: u64) {
    let mut random = Random::new(seed);
    let mut models: BTreeMap<TopicPartition, Model> = BTreeMap::new();
    let mut store = home();
    for left in store.list() {
        store.delete(&left).unwrap();
    }
    for _ in 0..300 {
        let target = partition(["a", "b", "c"][random.below(3) as usize]);
        let Some(model) = models.get_mut(&target) else {
            store.create(&target).unwrap();
            models.insert(target, Model::default());
            continue;
        };
        let log = store.open(&target).unwrap();
        match random.below(20) {
            0 if random.below(3) == 0 => {
                store.delete(&target).unwrap();
                models.remove(&target);
            }
            0 | 1 => {
                settle(store.as_ref(), &target);
                let before = random.below(model.end as u64 + 3) as i64;
                durable(store.as_ref(), log.trim(Offset(before)).unwrap());
                model.start = model.start.max(before.min(model.end));
            }
            2..=5 => {
                settle(store.as_ref(), &target);
                check(model, &log, &mut random);
            }
            6 if reopen_every > 0 && random.below(reopen_every / 10) == 0 => {
                // Another partition may carry the last entry, so each one is settled.
                models.keys().for_each(|each| settle(store.as_ref(), each));
                if random.below(2) == 0 {
                    store.close().unwrap();
                }
                drop((log, store));
                store = home();
                let expected: Vec<_> = models.keys().cloned().collect();
                assert_eq!(store.list(), expected);
                for (each, model) in &models {
                    check(model, &store.open(each).unwrap(), &mut random);
                }
            }
            _ => append(model, &log, store.as_ref(), &mut random),
        }
    }
}

fn append(model: &mut Model, log: &Arc<dyn PartitionLog>, store: &dyn LogStore, random: &mut Random) {
    let count = random.below(4) as usize + 1;
    let sent = if random.below(2) == 0 {
        batch(count, random.below(3_000) as usize, random.below(1_000) as i64)
    } else {
        let sent = batch_of(5, 0, model.next_sequence, count);
        model.next_sequence += count as i32;
        sent
    };
    let appended = super::append(store, log.as_ref(), &sent);
    assert_eq!(appended.base_offset, Offset(model.end));
    assert!(!appended.duplicate);
    model.end += count as i64;
    model.batches.push(sent.placed(appended.base_offset, EPOCH));
    if sent.producer_id().0 >= 0 && random.below(4) == 0 {
        let again = log.append(&sent).unwrap();
        assert_eq!((again.base_offset, again.duplicate), (appended.base_offset, true));
    }
}

/// Waits for everything that was done so far.
fn settle(store: &dyn LogStore, target: &TopicPartition) {
    let log = store.open(target).unwrap();
    // A trim to the start changes nothing and gives a ticket later than all before.
    durable(store, log.trim(Offset(0)).unwrap());
}

fn check(model: &Model, log: &Arc<dyn PartitionLog>, random: &mut Random) {
    let bounds =
        Bounds { start: Offset(model.start), high_watermark: Offset(model.end), end: Offset(model.end) };
    assert_eq!(log.bounds(), bounds);
    let from = model.start + random.below((model.end - model.start) as u64 + 1) as i64;
    let bytes_max = random.below(20_000) as usize;
    let slice = log.read(Offset(from), ReadLimit::bytes(bytes_max)).unwrap();
    let mut left = bytes_max;
    let mut expected: Vec<&RecordBatch> = Vec::new();
    for batch in model.batches.iter().filter(|batch| batch.next_offset() > Offset(from)) {
        let len = batch.bytes().len();
        if len > left && !expected.is_empty() {
            break;
        }
        left = left.saturating_sub(len);
        expected.push(batch);
    }
    let read: Vec<RecordBatch> = slice.batches().collect();
    assert_eq!(read.iter().collect::<Vec<_>>(), expected, "from {from}, at most {bytes_max} bytes");
    assert_eq!(slice.next, expected.last().map_or(Offset(from), |batch| batch.next_offset()));
    let time = Timestamp(random.below(1_100) as i64);
    let readable = model.batches.iter().filter(|batch| batch.next_offset() > Offset(model.start));
    let found = readable.filter(|batch| batch.max_timestamp() >= time).map(RecordBatch::base_offset).next();
    assert_eq!(log.find(time).unwrap(), found.map(|base| base.max(Offset(model.start))));
}
