//! A random workload, and what a store may look like after a crash: some prefix of what was done, with everything in it
//! that somebody was told is durable.

use super::{
    disk::CrashDisk,
    readers::{Readers, check_epochs},
};
use keyway_log::{
    AppendError, Bounds, Durability, LogStore, Ticket,
    contract::{EPOCH, WakeCount, batch, batch_of, partition, random::Random, read_all},
};
use keyway_record::{LeaderEpoch, Offset, RecordBatch, TopicPartition};
use keyway_runtime::{RealClock, RealNetwork, World};
use keyway_segment_log::{Drive, DurableBy, OpenError, Options, SegmentStore};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, task::Context};

/// Everything happens within a few dozen operations.
pub(crate) fn options() -> Options {
    Options {
        arena_bytes_max: 12_000,
        staging_bytes_max: 8_000,
        commit_bytes_max: 4_000,
        bypass_bytes_min: 1_500,
        wal_file_bytes: 16 << 10,
        checkpoint_bytes: 40_000,
        wal_bytes_max: 80_000,
        segment_bytes: 6_000,
        open_files_max: 2,
        drive: Drive::Steps,
        ..Options::default()
    }
}

pub(crate) fn folder() -> PathBuf {
    "/data".into()
}

pub(crate) fn open(disk: &CrashDisk) -> Result<SegmentStore, OpenError> {
    open_with(disk, options())
}

pub(crate) fn open_with(disk: &CrashDisk, options: Options) -> Result<SegmentStore, OpenError> {
    struct Fixed;
    impl keyway_runtime::Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }
    let world = World {
        clock: Arc::new(RealClock::new()),
        disk: Arc::new(disk.clone()),
        network: Arc::new(RealNetwork),
        entropy: Arc::new(Fixed),
    };
    SegmentStore::open(&world, folder(), options)
}

/// What the disk does with segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Segments {
    Work,
    /// Now and then some of them cannot be written or flushed.
    Fail,
}

/// One thing that was done. Each takes one ticket.
#[derive(Clone, Debug)]
enum Effect {
    /// A partition, and which of its lives that begins.
    Create(TopicPartition, u64),
    Delete(TopicPartition),
    Append(TopicPartition, RecordBatch),
    Trim(TopicPartition, Offset),
}

/// A partition as it should be.
#[derive(Clone, Default)]
struct Expected {
    incarnation: u64,
    start: Offset,
    end: Offset,
    batches: Vec<RecordBatch>,
    /// The idempotent producer's last batch.
    last_numbered: Option<RecordBatch>,
}

type Partitions = BTreeMap<TopicPartition, Expected>;

/// What is known of a store over all its lives.
#[derive(Clone, Default)]
pub(crate) struct History {
    /// As it was when the store was opened last.
    before: Partitions,
    /// What was done since: the ticket of `effects[i]` is `i + 1`.
    effects: Vec<Effect>,
    /// How many of them somebody was told are durable.
    durable: usize,
    /// Producers' next sequence numbers, by partition. A new life of a partition begins with 0.
    sequences: BTreeMap<TopicPartition, i32>,
    /// How many partitions were created.
    incarnations: u64,
    /// Readers see what is not flushed.
    exposed: bool,
    readers: Readers,
    ending: Ending,
    /// The leader epoch of the life before, if anybody knows it.
    epoch: Option<LeaderEpoch>,
}

/// How the life before ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Ending {
    /// In the middle, or by a close or a start that failed and may have come far enough.
    #[default]
    Unknown,
    Crash,
    Close,
}

impl Effect {
    fn apply(&self, partitions: &mut Partitions) {
        match self {
            Self::Create(target, incarnation) => {
                let expected = Expected { incarnation: *incarnation, ..Expected::default() };
                partitions.insert(target.clone(), expected);
            }
            Self::Delete(target) => _ = partitions.remove(target),
            Self::Append(target, batch) => {
                let expected = partitions.get_mut(target).unwrap();
                expected.end = batch.next_offset();
                expected.batches.push(batch.clone());
                if batch.producer_id().0 >= 0 {
                    expected.last_numbered = Some(batch.clone());
                }
            }
            Self::Trim(target, start) => {
                let expected = partitions.get_mut(target).unwrap();
                expected.start = expected.start.max(*start);
            }
        }
    }
}

impl History {
    /// Of a store that is opened with these options.
    pub(crate) fn of(options: &Options) -> Self {
        Self { exposed: options.durable_by == DurableBy::Os, ..Self::default() }
    }

    /// Closes the store.
    pub(crate) fn close(&mut self, store: &SegmentStore) {
        self.ending = if store.close().is_ok() { Ending::Close } else { Ending::Unknown };
        self.note_durable(store);
    }

    /// The store could not be opened.
    pub(crate) fn note_failed_start(&mut self) {
        if self.ending == Ending::Close {
            self.ending = Ending::Unknown;
        }
    }

    /// How many readers lost something that they had read.
    pub(crate) fn lost(&self) -> u64 {
        self.readers.lost()
    }

    /// Does `count` random things. Stops early once the store has ended.
    pub(crate) fn run(&mut self, store: &SegmentStore, random: &mut Random, count: usize) {
        for _ in 0..count {
            if !self.act(store, random) {
                return;
            }
            self.note_durable(store);
        }
    }

    /// As [`History::run`]; hands each disk as an operation found it to `visit`, with what may be found there.
    pub(crate) fn run_forking(
        &mut self,
        disk: &CrashDisk,
        store: &SegmentStore,
        random: &mut Random,
        count: usize,
        segments: Segments,
        mut visit: impl FnMut(CrashDisk, Self),
    ) {
        disk.keep_forks();
        (self.ending, self.epoch) = (Ending::Crash, Some(EPOCH));
        for _ in 0..count {
            if segments == Segments::Fail && random.below(20) == 0 {
                disk.fail_at_random(random);
            }
            let durable = self.durable;
            assert!(self.act(store, random), "nothing fails here");
            for fork in disk.take_forks() {
                // Whoever waited was told after the operations before, and the effects may all be there.
                visit(fork, Self { durable, ..self.clone() });
            }
            self.note_durable(store);
        }
    }

    /// Asks which effects are durable, as those who wait for them do.
    pub(crate) fn note_durable(&mut self, store: &SegmentStore) {
        let (_, waker) = WakeCount::new();
        while self.durable < self.effects.len() {
            let ticket = Ticket(self.durable as u64 + 1);
            let mut wait = store.wait(ticket, Durability::Durable);
            match wait.as_mut().poll(&mut Context::from_waker(&waker)) {
                std::task::Poll::Ready(Ok(())) => self.durable += 1,
                _ => return,
            }
        }
    }

    /// `false` if the store takes nothing in any more.
    fn act(&mut self, store: &SegmentStore, random: &mut Random) -> bool {
        let target = partition(["a", "b", "c"][random.below(3) as usize]);
        let done = match (store.open(&target), random.below(16)) {
            (Err(_), _) => match store.create(&target) {
                Ok(_) => {
                    self.sequences.insert(target.clone(), 0);
                    self.incarnations += 1;
                    Some(Effect::Create(target, self.incarnations))
                }
                Err(_) => return false,
            },
            (Ok(_), 0) if random.below(2) == 0 => match store.delete(&target) {
                Ok(()) => Some(Effect::Delete(target)),
                Err(_) => return false,
            },
            (Ok(log), 0 | 1) => {
                let bounds = log.bounds();
                let before = Offset(random.below(bounds.end.0 as u64 + 2) as i64);
                match log.trim(before) {
                    Ok(_) => Some(Effect::Trim(target, before.min(bounds.high_watermark))),
                    Err(_) => return false,
                }
            }
            (Ok(_), 2..=6) => {
                store.step();
                None
            }
            (Ok(_), 7) if random.below(4) == 0 => {
                _ = store.checkpoint();
                None
            }
            (Ok(log), _) => {
                let count = random.below(3) as usize + 1;
                let sent = if random.below(2) == 0 {
                    batch(count, random.below(1_500) as usize, random.below(100) as i64)
                } else {
                    batch_of(5, 0, self.sequences[&target], count)
                };
                match log.append(&sent) {
                    Ok(appended) => {
                        assert!(!appended.duplicate);
                        assert_eq!(appended.ticket, Ticket(self.effects.len() as u64 + 1));
                        if sent.producer_id().0 >= 0 {
                            *self.sequences.get_mut(&target).unwrap() += count as i32;
                        }
                        Some(Effect::Append(target, sent.placed(appended.base_offset, log.leader_epoch())))
                    }
                    Err(AppendError::Full | AppendError::Offline { .. }) => {
                        store.step();
                        None
                    }
                    Err(AppendError::Closed) => return false,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        self.effects.extend(done);
        true
    }

    /// Checks a store that was opened again, and goes on from what it has.
    pub(crate) fn check(&mut self, store: &SegmentStore) {
        let mut seen = self.before.clone();
        self.effects[..self.durable].iter().for_each(|effect| effect.apply(&mut seen));
        let certain = if self.exposed && self.ending != Ending::Close { 0 } else { self.durable };
        let mut expected = self.before.clone();
        self.effects[..certain].iter().for_each(|effect| effect.apply(&mut expected));
        let mut found = None;
        let mut later = self.effects[certain..].iter();
        loop {
            if matches(&expected, store) {
                found = Some(expected.clone());
                // Trims may change nothing; the longest prefix serves as well as the shortest.
            }
            match later.next() {
                Some(effect) => effect.apply(&mut expected),
                None => break,
            }
        }
        let Some(found) = found else {
            panic!(
                "after {certain} durable effects of {:#?} the store has {:#?}",
                self.effects.iter().map(Effect::summary).collect::<Vec<_>>(),
                store
                    .list()
                    .iter()
                    .map(|each| (each.to_string(), store.open(each).unwrap().bounds()))
                    .collect::<Vec<_>>(),
            );
        };
        for (target, expected) in &found {
            expected.check_producer(store, target);
            let next = expected
                .last_numbered
                .as_ref()
                .map_or(0, |batch| batch.base_sequence() + batch.record_count() as i32);
            self.sequences.insert(target.clone(), next);
        }
        self.check_epochs(store, &seen, &found);
        self.before = found;
        self.effects.clear();
        self.durable = 0;
        self.ending = Ending::Crash;
    }

    /// Checks what the store tells those who read what was `seen` before it was opened and now has what was `found`.
    fn check_epochs(&mut self, store: &SegmentStore, seen: &Partitions, found: &Partitions) {
        for (target, seen) in seen {
            self.readers.see(target, seen.incarnation, &seen.batches);
        }
        let mut epochs = Vec::new();
        for (target, found) in found {
            let log = store.open(target).unwrap();
            epochs.push(log.leader_epoch());
            check_epochs(log.as_ref(), &found.readable().collect::<Vec<_>>());
            self.readers.check(target, found.incarnation, log.as_ref(), true);
        }
        assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]), "the store has one epoch");
        let before = std::mem::replace(&mut self.epoch, epochs.first().copied());
        let (Some(before), Some(epoch)) = (before, self.epoch) else { return };
        let moved = epoch.0 - before.0;
        let as_expected = match self.ending {
            // Whatever it was, nobody has seen what it took.
            _ if !self.exposed => epoch == EPOCH,
            Ending::Close => moved == 0,
            Ending::Crash => moved > 0,
            Ending::Unknown => moved >= 0,
        };
        assert!(as_expected, "from epoch {before} to {epoch} after {:?}", self.ending);
    }

    /// Checks that those who lost something are told so still.
    pub(crate) fn check_readers(&mut self, store: &SegmentStore) {
        for (target, expected) in self.now() {
            let log = store.open(&target).unwrap();
            self.readers.check(&target, expected.incarnation, log.as_ref(), false);
        }
    }

    /// Everything that was done, durable or not.
    fn now(&self) -> Partitions {
        let mut now = self.before.clone();
        self.effects.iter().for_each(|effect| effect.apply(&mut now));
        now
    }
}

impl Effect {
    fn summary(&self) -> String {
        match self {
            Self::Append(target, batch) => {
                format!("append {target} {}..{}", batch.base_offset(), batch.next_offset())
            }
            Self::Create(target, _) => format!("create {target}"),
            Self::Delete(target) => format!("delete {target}"),
            Self::Trim(target, start) => format!("trim {target} {start}"),
        }
    }
}

/// Two states may agree in their bounds and differ in their records: a deleted partition was created again.
fn matches(expected: &Partitions, store: &SegmentStore) -> bool {
    let bounds = |each: &Expected| Bounds { start: each.start, high_watermark: each.end, end: each.end };
    let same = |(target, each): (&TopicPartition, &Expected)| {
        let log = store.open(target).unwrap();
        log.bounds() == bounds(each) && read_all(log.as_ref(), each.start).iter().eq(each.readable())
    };
    store.list().iter().eq(expected.keys()) && expected.iter().all(same)
}

impl Expected {
    fn readable(&self) -> impl Iterator<Item = &RecordBatch> {
        self.batches.iter().filter(|batch| batch.next_offset() > self.start)
    }

    fn check_producer(&self, store: &SegmentStore, target: &TopicPartition) {
        let log = store.open(target).unwrap();
        let Some(last) = &self.last_numbered else { return };
        let again = log.append(last).unwrap();
        assert_eq!((again.base_offset, again.duplicate), (last.base_offset(), true), "{target}: a retry");
        let gap = batch_of(5, 0, last.base_sequence() + last.record_count() as i32 + 3, 1);
        assert!(matches!(log.append(&gap), Err(AppendError::OutOfOrderSequence { .. })), "{target}: a gap");
    }
}
