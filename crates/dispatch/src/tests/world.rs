//! A small hostile world around one dispatcher: workers that crash, come back, go slow, answer late or twice; a log with
//! gaps and retention; a persister that lags; an owner that dies and recovers from whatever was durable.

use super::model::{Model, Place, Stage, key_hash, key_text};
use crate::mutant::Mutant;
use crate::placement::mix;
use crate::*;
use bytes::Bytes;
use keyway_record::{KeyHash, Offset};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5eed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

/// A delivery in a worker's hands.
#[derive(Clone, Copy, Debug)]
struct Held {
    offset: Offset,
    token: Token,
}

/// A worker process with a stream.
#[derive(Debug)]
struct Worker {
    name: u64,
    inbox: VecDeque<Held>,
    slow: bool,
}

/// What happened how often, to see that the histories are worth their time.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) delivered: u64,
    pub(crate) redelivered: u64,
    pub(crate) drained: u64,
    pub(crate) replaced: u64,
    pub(crate) refused: u64,
    pub(crate) skipped: u64,
    pub(crate) dropped: u64,
    pub(crate) blocked: u64,
    pub(crate) lost: u64,
    pub(crate) dead_letters: u64,
    pub(crate) late_acks: u64,
    pub(crate) stale_acks: u64,
    pub(crate) expired: u64,
    pub(crate) recovered: u64,
    pub(crate) revoked: u64,
    pub(crate) spilled: u64,
    pub(crate) braked: u64,
    pub(crate) parked: u64,
    pub(crate) unparked: u64,
}

impl Tally {
    pub(crate) fn fields(&mut self) -> [&mut u64; 20] {
        let Self { steps, delivered, redelivered, drained, replaced, refused, skipped, .. } = self;
        let Self { dropped, blocked, lost, dead_letters, late_acks, stale_acks, expired, recovered, .. } =
            self;
        let Self { revoked, spilled, braked, parked, unparked, .. } = self;
        [
            steps,
            delivered,
            redelivered,
            drained,
            replaced,
            refused,
            skipped,
            dropped,
            blocked,
            lost,
            dead_letters,
            late_acks,
            stale_acks,
            expired,
            recovered,
            revoked,
            spilled,
            braked,
            parked,
            unparked,
        ]
    }

    pub(crate) fn add(&mut self, mut other: Self) {
        self.fields().into_iter().zip(other.fields()).for_each(|(sum, more)| *sum += *more);
    }

    fn count(&mut self, output: &Output) {
        match output {
            Output::Deliver { attempt, .. } => {
                self.delivered += 1;
                self.redelivered += u64::from(*attempt > 1);
            }
            Output::DeadLetter { .. } => self.dead_letters += 1,
            Output::Dropped { .. } => self.dropped += 1,
            Output::Park { .. } => self.parked += 1,
            Output::Skipped { .. } => self.skipped += 1,
            Output::Lost { .. } => self.lost += 1,
            Output::Blocked { .. } => self.blocked += 1,
            Output::Drained { .. } => self.drained += 1,
            Output::Replaced { .. } => self.replaced += 1,
            Output::Refused { .. } => self.refused += 1,
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    DeadLetter,
    Park,
}

/// Something that may happen at any moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inject {
    Join,
    Leave,
    Filters,
    Lose,
    /// Of the owner, when all that it asked for was written.
    Crash,
    Expire,
}

impl Inject {
    pub(crate) const ALL: [Self; 6] =
        [Self::Join, Self::Leave, Self::Filters, Self::Lose, Self::Crash, Self::Expire];
}

pub(crate) struct World {
    random: Random,
    /// Joins, graceful leaves and acks only.
    gentle: bool,
    config: Config,
    now: Millis,
    log: Vec<Option<u8>>,
    /// First offset that the log still has, whatever the owner was told.
    log_start: i64,
    keys: u64,
    dispatcher: Dispatcher,
    model: Model,
    mutant: Option<Mutant>,
    workers: BTreeMap<ConsumerId, Worker>,
    /// Deliveries of streams that are gone, in processes that do not know.
    zombies: Vec<Held>,
    fetch: Option<(Offset, u32)>,
    reread: Option<(KeyHash, Offset, Offset, u32)>,
    /// One that a seek replaced.
    stale_fetch: Option<Offset>,
    /// With what they are for.
    side_writes: Vec<(Offset, Side)>,
    /// What is parked, by the offsets of the log.
    park_topic: BTreeMap<i64, u8>,
    /// Keys whose parked messages were asked for.
    unparks: Vec<KeyHash>,
    /// Snapshots on their way to the disk, then the last that arrived.
    unwritten: VecDeque<Vec<u8>>,
    durable: Option<Vec<u8>>,
    epoch: OwnerEpoch,
    /// What ended well, whatever any owner remembers.
    ended: BTreeSet<i64>,
    delivered: BTreeMap<i64, u32>,
    names: u64,
    /// Messages of a key that consumers take.
    per_key: u32,
    /// What some worker has processed to the end.
    processed: BTreeSet<i64>,
    out: Vec<Output>,
    /// What happened how often.
    pub(crate) tally: Tally,
    /// Prints the history.
    pub(crate) trace: bool,
}

/// Parking has the most ways to go wrong, and only keyed histories park.
const POISONS: [Poison; 6] =
    [Poison::Block, Poison::DeadLetter, Poison::Drop, Poison::Park, Poison::Park, Poison::Park];

const BRAKES: [Option<FloodBrake>; 3] = [
    None,
    Some(FloodBrake { outcomes: 3, used_up_percent: 60 }),
    Some(FloodBrake { outcomes: 6, used_up_percent: 50 }),
];

const KINDS: [Mode; 6] =
    [Mode::KeyShared, Mode::KeyShared, Mode::KeyShared, Mode::Shared, Mode::Exclusive, Mode::Failover];

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(seed);
        let gentle = random.one_in(4);
        let mut config = Config::new(random.pick(&KINDS));
        config.slots = random.pick(&[1, 8, 16]);
        config.slots_max_percent = random.pick(&[None, Some(100), Some(110), Some(150)]);
        config.live_max = random.pick(&[1, 4, 16, 64]);
        config.span_max = random.pick(&[8, 32, 200]);
        config.ready_min = random.pick(&[0, 4, 1_000]);
        config.fetch_records_max = random.pick(&[1, 5, 50]);
        config.persist_ms = 100;
        config.persist_completions = random.pick(&[1, 5, 1_000]);
        config.reconnect_grace_ms = 300;
        config.filter_grace_ms = random.pick(&[0, 400, 2_000]);
        config.unmatched =
            random.pick(&[Unmatched::Skip, Unmatched::Skip, Unmatched::Hold, Unmatched::DeadLetter]);
        config.failure = FailurePolicy {
            max_redelivery_count: random.pick(&[0, 1, 1, 2, 4]),
            ack_timeout_ms: if gentle { 1 << 40 } else { 1_000 },
            base_redelivery_delay_ms: random.pick(&[0, 50, 200]),
            max_redelivery_delay_ms: 800,
            backoff: random.pick(&[Backoff::Fixed, Backoff::Exponential]),
            jitter_percent: 0,
            poison: random.pick(&POISONS),
            disconnects: random.pick(&[Disconnects::Count, Disconnects::Ignore]),
            flood_brake: random.pick(&BRAKES),
        };
        if config.failure.poison == Poison::Park {
            config.failure.max_redelivery_count = random.pick(&[0, 0, 1]);
        }
        let epoch = OwnerEpoch::FIRST;
        let mut world = Self {
            gentle,
            now: Millis(10_000),
            log: vec![],
            log_start: 0,
            keys: random.pick(&[1, 3, 12, 200]),
            dispatcher: Dispatcher::new(config.clone(), epoch),
            model: Model::new(config.clone(), epoch),
            mutant,
            workers: BTreeMap::new(),
            zombies: vec![],
            fetch: None,
            reread: None,
            stale_fetch: None,
            side_writes: vec![],
            park_topic: BTreeMap::new(),
            unparks: vec![],
            unwritten: VecDeque::new(),
            durable: None,
            epoch,
            ended: BTreeSet::new(),
            delivered: BTreeMap::new(),
            names: 1 + random.below(5),
            per_key: random.pick(&[1, 1, 1, 2, 5, 32]),
            processed: BTreeSet::new(),
            out: vec![],
            tally: Tally::default(),
            trace: false,
            config,
            random,
        };
        world.dispatcher.mutant = mutant;
        world
    }

    /// A whole history, then calm until everything is done.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.random.below(240) {
            self.act();
        }
        self.calm();
        self.tally_answers();
    }

    /// A short history with one event put in between, then calm.
    pub(crate) fn run_with(&mut self, inject: Inject, at: usize, events: usize) {
        for event in 0..events {
            if event == at {
                self.inject(inject);
            }
            self.act();
        }
        self.calm();
    }

    fn inject(&mut self, inject: Inject) {
        let first = self.workers.keys().next().copied();
        match (inject, first) {
            (Inject::Join, _) => self.join(777, ConsumerId(777), vec![], 3),
            (Inject::Leave, Some(consumer)) => self.step(Input::Leave { consumer, deadline: None }),
            (Inject::Filters, Some(consumer)) => {
                let filters = vec![Bytes::from_static(b"key-0*")];
                self.step(Input::SetFilters { consumer, filters });
            }
            (Inject::Lose, Some(consumer)) if !self.gentle => self.step(Input::Gone { consumer }),
            (Inject::Crash, _) if !self.gentle => {
                self.unwritten.drain(..).for_each(|bytes| self.durable = Some(bytes));
                self.restart();
            }
            (Inject::Expire, _) if !self.gentle => {
                self.now = self.now.plus(1_200);
                self.step(Input::Tick);
            }
            _ => {}
        }
    }

    fn tally_answers(&mut self) {
        let Counters { late_acks, stale_acks, expired, .. } = self.dispatcher.stats().counters;
        self.tally.late_acks += late_acks;
        self.tally.stale_acks += stale_acks;
        self.tally.expired += expired;
    }

    fn act(&mut self) {
        match self.random.below(if self.gentle { 60 } else { 100 }) {
            0..8 => self.append(),
            8..10 => self.answer_reread(),
            10..20 => self.answer_fetch(),
            20..30 => self.pass_time(),
            30..50 => self.work(),
            50..55 => self.start_worker(),
            55..57 => self.leave(),
            57..60 => self.set_credit(),
            60..66 => self.lose_worker(),
            66..69 => self.resume(),
            69..74 => self.zombie_answers(),
            74..78 => self.stale_answer(),
            78..81 => self.set_filters(),
            81..83 => self.set_policy(),
            83..85 => self.cut_log(),
            85..89 => self.finish_side_write(),
            89..92 => self.answer_unpark(),
            92..95 => self.write_snapshot(),
            95..97 => self.restart(),
            97 => self.release(),
            98 => self.renew(),
            _ => self.seek(),
        }
    }

    fn append(&mut self) {
        for _ in 0..=self.random.below(8) {
            let gap = !self.gentle && self.random.one_in(10);
            let key = self.random.below(self.keys) as u8;
            self.log.push((!gap).then_some(key));
        }
    }

    fn answer_fetch(&mut self) {
        let Some((from, records_max)) = self.fetch else { return };
        let start = from.0 as usize;
        if start >= self.log.len() {
            return;
        }
        let end = start + 1 + self.random.below((self.log.len() - start) as u64) as usize;
        let mut records = vec![];
        let mut read = start;
        while read < end && records.len() < records_max as usize {
            if let Some(key) = self.log[read].filter(|_| read as i64 >= self.log_start) {
                let (offset, size) = (Offset(read as i64), self.random.below(1 << 19) as u32);
                records.push(Arrival { offset, key: key_hash(key), key_text: Some(key_text(key)), size });
            }
            read += 1;
        }
        self.fetch = None;
        self.step(Input::Records { base: from, end: Offset(read as i64), records });
    }

    fn answer_reread(&mut self) {
        let Some((key, from, to, records_max)) = self.reread else { return };
        let end = from.0 + 1 + self.random.below((to.0 - from.0) as u64) as i64;
        let mut records = vec![];
        let mut read = from.0;
        while read < end && records.len() < records_max as usize {
            let record = self.log[read as usize].filter(|&k| key_hash(k) == key && read >= self.log_start);
            if let Some(record) = record {
                records.push(Arrival {
                    offset: Offset(read),
                    key,
                    key_text: Some(key_text(record)),
                    size: 1,
                });
            }
            read += 1;
        }
        self.reread = None;
        self.step(Input::Reread { key, base: from, end: Offset(read), records });
    }

    fn pass_time(&mut self) {
        self.now = match self.random.below(4) {
            0 => self.now.plus(self.random.pick(&[1, 40, 350, 1_200])),
            1 => Millis(self.now.0.saturating_sub(self.random.below(50))),
            // Nothing expires in a gentle world.
            _ if self.gentle => self.now.plus(500),
            _ => self.dispatcher.next_deadline().unwrap_or(self.now),
        };
        self.step(Input::Tick);
    }

    fn some_worker(&mut self) -> Option<ConsumerId> {
        let workers: Vec<ConsumerId> = self.workers.keys().copied().collect();
        (!workers.is_empty()).then(|| self.random.pick(&workers))
    }

    fn work(&mut self) {
        let Some(consumer) = self.some_worker() else { return };
        let slow = self.workers[&consumer].slow && !self.random.one_in(5);
        if slow || self.workers[&consumer].inbox.is_empty() {
            return;
        }
        if self.random.one_in(if self.per_key > 1 { 2 } else { 6 }) {
            return self.ack_out_of_order(consumer);
        }
        let inbox = &mut self.workers.get_mut(&consumer).unwrap().inbox;
        let Held { offset, token } = inbox.pop_front().unwrap();
        self.process(consumer, offset);
        let token = Some(token).filter(|_| !self.random.one_in(6));
        match if self.gentle { 0 } else { self.random.below(12) } {
            // Its ack is lost.
            11 => _ = self.processed.insert(offset.0),
            6..11 => {
                let delay_ms = self.random.pick(&[None, None, Some(30), Some(300), Some(5_000)]);
                let reason = self.random.pick(&[None, Some("no stock".to_owned())]);
                self.step(Input::Nack { offset, token, delay_ms, reason });
            }
            _ => {
                self.processed.insert(offset.0);
                self.step(Input::Ack { offset, token });
            }
        }
    }

    /// A worker has processed all of a key up to here, and its acks come the other way round.
    fn ack_out_of_order(&mut self, consumer: ConsumerId) {
        let inbox = &self.workers[&consumer].inbox;
        let at = self.random.below(inbox.len() as u64) as usize;
        let Held { offset, token } = inbox[at];
        let key = self.log[offset.0 as usize];
        for nth in 0..=at {
            let before = self.workers[&consumer].inbox[nth].offset;
            if self.log[before.0 as usize] == key {
                self.process(consumer, before);
                self.processed.insert(before.0);
            }
        }
        self.workers.get_mut(&consumer).unwrap().inbox.remove(at);
        self.step(Input::Ack { offset, token: Some(token) });
    }

    /// A worker begins with a message. I2: all older ones of its key have come to an end before, or this is not the first
    /// time.
    fn process(&self, consumer: ConsumerId, offset: Offset) {
        let at = offset.0 as usize;
        // One that was given up and does not know is a zombie, and nobody can stop it.
        let member = self.model.find(consumer).is_some();
        if member && self.config.mode == Mode::KeyShared && !self.processed.contains(&offset.0) {
            for before in 0..at {
                let over = self.processed.contains(&(before as i64)) || self.ended.contains(&(before as i64));
                let over = over && !self.park_topic.contains_key(&(before as i64));
                assert!(over || self.log[before] != self.log[at], "{at} is processed before {before}");
            }
        }
    }

    fn filters(&mut self) -> Vec<Bytes> {
        let patterns =
            ["*", "key-0*", "key-1?", "*1", "key-2*", "?ey-*-", "key-0?*", "nothing", "*-1*", "key-11"];
        let count = self.random.pick(&[0, 0, 0, 1, 2]);
        (0..count).map(|_| Bytes::from_static(self.random.pick(&patterns).as_bytes())).collect()
    }

    /// A worker connects: a new one, one that was here before, or one whose old stream is still open.
    fn start_worker(&mut self) {
        let name = mix(self.random.below(self.names));
        let known = self.workers.values().any(|worker| worker.name == name);
        if self.gentle && known {
            return;
        }
        let id = if self.random.one_in(8) { mix(name) } else { name };
        let (filters, credit) = (self.filters(), self.random.pick(&[0, 1, 2, 2, 5, 64]));
        self.join(name, ConsumerId(id), filters, credit);
    }

    fn join(&mut self, name: u64, consumer: ConsumerId, filters: Vec<Bytes>, credit: u32) {
        self.step(Input::Join(Join {
            consumer,
            name_hash: name,
            filters,
            credit,
            in_flight_per_key: self.per_key,
        }));
        let refused = self.out.iter().any(|output| matches!(output, Output::Refused { .. }));
        if refused {
            return;
        }
        // What the step itself delivered belongs to the new stream.
        let fresh = self.workers.remove(&consumer).map(|worker| worker.inbox).unwrap_or_default();
        let stolen: Vec<ConsumerId> =
            self.workers.iter().filter(|(_, worker)| worker.name == name).map(|(&id, _)| id).collect();
        for id in stolen {
            self.zombies.extend(self.workers.remove(&id).unwrap().inbox);
        }
        let slow = self.random.one_in(4);
        let given = self.out.iter().filter_map(|output| match output {
            Output::Deliver { token, .. } => Some(*token),
            _ => None,
        });
        let given: Vec<Token> = given.collect();
        let (inbox, old): (VecDeque<Held>, Vec<Held>) = {
            let fits = |held: &Held| given.contains(&held.token) || self.gentle;
            (
                fresh.iter().copied().filter(fits).collect(),
                fresh.iter().copied().filter(|h| !fits(h)).collect(),
            )
        };
        self.zombies.extend(old);
        self.workers.insert(consumer, Worker { name, inbox, slow });
    }

    fn leave(&mut self) {
        if let Some(consumer) = self.some_worker() {
            let deadline = self.random.pick(&[None, None, Some(self.now.plus(200))]).filter(|_| !self.gentle);
            self.step(Input::Leave { consumer, deadline });
        }
    }

    fn set_credit(&mut self) {
        if let Some(consumer) = self.some_worker() {
            let credit = self.random.pick(&[0, 1, 3, 64]);
            self.step(Input::SetCredit { consumer, credit });
        }
    }

    fn lose_worker(&mut self) {
        if let Some(consumer) = self.some_worker() {
            if self.random.one_in(2) {
                let worker = self.workers.remove(&consumer).unwrap();
                self.zombies.extend(worker.inbox);
            }
            self.step(Input::Gone { consumer });
        }
    }

    fn resume(&mut self) {
        if let Some(consumer) = self.some_worker() {
            self.step(Input::Resume { consumer });
        }
    }

    fn zombie_answers(&mut self) {
        if self.zombies.is_empty() {
            return;
        }
        // It stays: the same answer may come again.
        let Held { offset, token } = self.random.pick(&self.zombies.clone());
        let input = if self.random.one_in(4) {
            Input::Nack { offset, token: Some(token), delay_ms: None, reason: None }
        } else {
            Input::Ack { offset, token: Some(token) }
        };
        self.step(input);
    }

    /// Answers that nobody asked for.
    fn stale_answer(&mut self) {
        let offset = Offset(self.random.below(self.log.len() as u64 + 5) as i64);
        let token = Some(Token::from_raw(self.random.below(1 << 44)));
        self.step(Input::Ack { offset, token });
    }

    fn set_filters(&mut self) {
        if let Some(consumer) = self.some_worker() {
            let filters = self.filters();
            self.step(Input::SetFilters { consumer, filters });
        }
    }

    fn set_policy(&mut self) {
        let policy = &mut self.config.failure;
        policy.poison =
            self.random.pick(&[Poison::Block, Poison::DeadLetter, Poison::Drop, Poison::Park, Poison::Park]);
        policy.max_redelivery_count += self.random.below(2) as u16;
        policy.ack_timeout_ms = self.random.pick(&[300, 1_000]);
        policy.flood_brake = self.random.pick(&BRAKES);
        self.step(Input::SetPolicy(self.config.failure.clone()));
    }

    fn cut_log(&mut self) {
        let to = Offset(self.random.below(self.log.len() as u64 + 1) as i64);
        self.log_start = self.log_start.max(to.0);
        self.step(Input::LogStart { to });
    }

    fn finish_side_write(&mut self) {
        if !self.side_writes.is_empty() {
            let at = self.random.below(self.side_writes.len() as u64) as usize;
            let (offset, side) = self.side_writes.swap_remove(at);
            let ok = !self.random.one_in(3);
            self.end_side_write(offset, side, ok);
        }
    }

    fn release(&mut self) {
        let key = key_hash(self.random.below(self.keys) as u8);
        let input = if self.random.one_in(2) { Input::ReleaseAll } else { Input::Release { key } };
        self.step(input);
    }

    /// A worker says that it is busy; or a zombie does.
    fn renew(&mut self) {
        let held = self.workers.values().flat_map(|worker| &worker.inbox).chain(&self.zombies);
        let held: Vec<Held> = held.copied().collect();
        if !held.is_empty() {
            let Held { offset, token } = self.random.pick(&held);
            self.step(Input::Renew { offset, token });
        }
    }

    fn seek(&mut self) {
        if self.random.one_in(3) {
            let to = Offset(self.random.below(self.log.len() as u64 + 1) as i64);
            self.stale_fetch = self.fetch.take().map(|(from, _)| from);
            self.reread = None;
            self.park_topic.clear();
            self.unparks.clear();
            self.side_writes.clear();
            self.step(Input::Seek { to });
        } else if let Some(base) =
            self.stale_fetch.filter(|&base| self.fetch.is_none_or(|(from, _)| from != base))
        {
            self.step(Input::Records { base, end: base.next(), records: vec![] });
        }
    }

    fn end_side_write(&mut self, offset: Offset, side: Side, ok: bool) {
        if side == Side::Park && ok {
            self.park_topic.extend(self.log[offset.0 as usize].map(|key| (offset.0, key)));
        }
        self.step(Input::SideDone { offset, ok });
    }

    /// A part of what is parked of a key, or nothing if there is nothing more.
    fn answer_unpark(&mut self) {
        let Some(hash) = self.unparks.pop() else { return };
        let most = 1 + self.random.below(4) as usize;
        let of_key = self.park_topic.iter().filter(|(_, key)| key_hash(**key) == hash).take(most);
        let arrival = |(&offset, &key): (&i64, &u8)| Arrival {
            offset: Offset(offset),
            key: key_hash(key),
            key_text: Some(key_text(key)),
            size: 1,
        };
        let parked = of_key.map(arrival).collect();
        self.step(Input::Unpark { key: hash, parked });
    }

    fn write_snapshot(&mut self) {
        if let Some(bytes) = self.unwritten.pop_front() {
            self.durable = Some(bytes);
        }
    }

    /// The owner dies with all streams; the next one begins with what was durable.
    fn restart(&mut self) {
        self.tally_answers();
        self.tally.recovered += u64::from(self.durable.is_some());
        self.epoch = self.epoch.next();
        for worker in std::mem::take(&mut self.workers).into_values() {
            self.zombies.extend(worker.inbox);
        }
        self.unwritten.clear();
        self.side_writes.clear();
        self.unparks.clear();
        (self.fetch, self.reread) = (None, None);
        let snapshot =
            self.durable.as_ref().map(|bytes| Snapshot::decode(bytes).expect("what was written is whole"));
        self.dispatcher = match &snapshot {
            Some(snapshot) => Dispatcher::recover(self.config.clone(), snapshot, self.epoch),
            None => Dispatcher::new(self.config.clone(), self.epoch),
        };
        self.dispatcher.mutant = self.mutant;
        // Parked messages of keys that are not, or that are not done, were written after the snapshot.
        let known = |offset: i64, key: u8| {
            snapshot.as_ref().is_some_and(|snapshot| {
                let done = offset < snapshot.cursor.0 || snapshot.done.iter().any(|d| d.contains(&offset));
                done && snapshot.parked.iter().any(|(hash, _)| *hash == key_hash(key))
            })
        };
        self.park_topic.retain(|&offset, &mut key| known(offset, key));
        self.model.restart(self.now, self.epoch, snapshot.as_ref(), &self.config, &self.log);
        if self.random.one_in(2) {
            self.start_worker();
        }
        self.step(Input::LogStart { to: Offset(self.log_start) });
    }

    fn step(&mut self, input: Input) {
        let mut out = vec![];
        self.dispatcher.step(self.now, input.clone(), &mut out);
        if self.trace {
            println!("{} {input:?}\n    {out:?}", self.now.0);
        }
        self.dispatcher.check();
        let stats = self.dispatcher.stats();
        let done_before: BTreeSet<i64> = self.model.done.clone();
        let spilled = self.dispatcher.spilled_offsets();
        self.tally.spilled += u64::from(!spilled.is_empty());
        self.model.step(self.now, &input, stats.next_read.0, spilled, &self.log, &out);
        self.ended.extend(self.model.done.difference(&done_before));
        self.compare(&stats);
        self.model.places = stats.consumers.iter().map(|consumer| consumer.consumer).collect();
        self.tally.braked += u64::from(stats.flood_brake);
        self.tally.steps += 1;
        for output in &out {
            self.tally.count(output);
            self.obey(output);
        }
        self.out = out;
    }

    fn compare(&self, stats: &Stats) {
        let in_flight = |place| matches!(place, Place::InFlight { .. });
        let read = self.model.messages.values().filter(|message| message.place != Place::Unread);
        let unparked = read.clone().filter(|message| message.unparked).count() as u64;
        assert_eq!(stats.live_messages + stats.spilled_messages + unparked, read.clone().count() as u64);
        assert_eq!(stats.in_flight, read.filter(|message| in_flight(message.place)).count() as u64);
        assert_eq!(stats.cursor.0, self.model.cursor(), "the cursor is the lowest offset that is not done");
        let (waiting, backoff) = (stats.blocked.sum(), stats.blocked.by(Reason::Backoff));
        let (keyed, read) = (self.config.mode == Mode::KeyShared, self.model.messages.values());
        let heads = if keyed { stats.live_keys } else { stats.live_messages };
        let held = read.filter(|message| message.place.holder().is_some());
        let in_flight = if keyed { held.map(|m| m.key).collect::<BTreeSet<_>>().len() } else { held.count() };
        assert_eq!(waiting + in_flight as u64, heads, "whatever waits has a reason: {:?}", stats.blocked);
        assert!(backoff == 0 || self.dispatcher.next_deadline().is_some());
    }

    fn obey(&mut self, output: &Output) {
        match *output {
            Output::Deliver { consumer, offset, token, .. } => {
                let held = Held { offset, token };
                *self.delivered.entry(offset.0).or_default() += 1;
                match self.workers.get_mut(&consumer) {
                    Some(worker) => worker.inbox.push_back(held),
                    None => {
                        let inbox = VecDeque::from([held]);
                        let name = self.model.members[self.model.find(consumer).unwrap()].name;
                        self.workers.insert(consumer, Worker { name, inbox, slow: false });
                    }
                }
            }
            Output::Revoke { consumer, key, token } => {
                self.tally.revoked += 1;
                let void = |held: &Held| {
                    held.token < token && self.log[held.offset.0 as usize].is_some_and(|k| key_hash(k) == key)
                };
                if let Some(worker) = self.workers.get_mut(&consumer) {
                    self.zombies.extend(worker.inbox.iter().copied().filter(void));
                    worker.inbox.retain(|held| !void(held));
                }
            }
            Output::Fetch { from, records_max, .. } => {
                assert!(self.fetch.is_none() && records_max > 0, "one fetch at a time");
                self.fetch = Some((from, records_max));
            }
            Output::Reread { key, from, to, records_max } => {
                assert!(self.reread.is_none() && records_max > 0 && from < to, "one at a time");
                self.reread = Some((key, from, to, records_max));
            }
            Output::Persist => self.persist(),
            Output::DeadLetter { offset, .. } => self.side_writes.push((offset, Side::DeadLetter)),
            Output::Park { offset, .. } => self.side_writes.push((offset, Side::Park)),
            Output::Unpark { key } => self.unparks.push(key),
            Output::Unparked { offset } => {
                self.tally.unparked += 1;
                assert!(self.park_topic.remove(&offset.0).is_some(), "{offset:?} was parked");
            }
            Output::Drained { consumer } | Output::Replaced { consumer } => {
                if let Some(worker) = self.workers.remove(&consumer) {
                    self.zombies.extend(worker.inbox);
                }
            }
            _ => {}
        }
    }

    fn persist(&mut self) {
        let snapshot = self.dispatcher.snapshot();
        let bytes = snapshot.encode();
        assert_eq!(Snapshot::decode(&bytes).as_ref(), Ok(&snapshot));
        let done: BTreeSet<i64> =
            (0..snapshot.cursor.0).chain(snapshot.done.iter().cloned().flatten()).collect();
        assert_eq!(done, self.model.done, "a snapshot's done offsets are the done offsets");
        if self.config.mode == Mode::KeyShared {
            let mut waiting = BTreeSet::new();
            for (offset, &key) in self.log.iter().enumerate() {
                let Some(key) = key.filter(|_| offset as i64 >= self.log_start) else { continue };
                let is_done = done.contains(&(offset as i64));
                assert!(!is_done || !waiting.contains(&key), "done offsets of a key are its oldest");
                if !is_done {
                    waiting.insert(key);
                }
            }
        }
        let parked = self.model.parked.iter().map(|(&key, &stage)| (key_hash(key), stage != Stage::Parked));
        let parked: BTreeMap<KeyHash, bool> = parked.collect();
        assert_eq!(BTreeMap::from_iter(snapshot.parked.iter().copied()), parked);
        let failed = self.model.messages.iter().filter(|(_, m)| m.failures > 0 && !m.unparked);
        let failed: Vec<_> =
            failed.map(|(&o, m)| (o, m.attempts, m.failures, m.cause, m.reason.clone())).collect();
        let retries = snapshot.retries.iter();
        let retries: Vec<_> =
            retries.map(|r| (r.offset.0, r.attempts, r.failures, r.cause, r.reason.clone())).collect();
        assert_eq!(retries, failed, "a snapshot remembers failures");
        self.unwritten.push_back(bytes);
    }

    /// No more faults: everything must come to an end, with no event but answers and the deadlines that were named.
    fn calm(&mut self) {
        if !self.gentle {
            self.config.failure.poison = Poison::Drop;
            self.step(Input::SetPolicy(self.config.failure.clone()));
        }
        let holder = self.model.members.iter().find(|member| !member.is_leaving());
        let holder_is_free = holder.is_none();
        let (name, consumer) = holder.map_or((9, ConsumerId(9)), |holder| (holder.name, holder.id));
        if !self.gentle {
            self.join(name, consumer, vec![], 3);
        } else if holder_is_free || self.config.mode == Mode::KeyShared {
            self.join(9, ConsumerId(9), vec![], 3);
        }
        self.step(Input::ReleaseAll);
        let credited: Vec<ConsumerId> = self.workers.keys().copied().collect();
        for consumer in credited {
            self.step(Input::SetCredit { consumer, credit: 2 });
        }
        for _ in 0..40 * (self.log.len() + 20) {
            let stats = self.dispatcher.stats();
            if stats.cursor.0 >= self.log.len() as i64 && stats.parked_keys == 0 {
                return self.assert_complete();
            }
            if self.fetch.is_some_and(|(from, _)| from.0 < self.log.len() as i64) {
                self.answer_fetch();
            } else if self.reread.is_some() {
                self.answer_reread();
            } else if let Some((offset, side)) = self.side_writes.pop() {
                self.end_side_write(offset, side, true);
            } else if !self.unparks.is_empty() {
                self.answer_unpark();
            } else if let Some((_, worker)) =
                self.workers.iter_mut().find(|(_, worker)| !worker.inbox.is_empty())
            {
                let Held { offset, token } = worker.inbox.pop_front().unwrap();
                self.step(Input::Ack { offset, token: Some(token) });
            } else {
                let deadline = self.dispatcher.next_deadline();
                self.now = deadline.unwrap_or_else(|| panic!("stalled: {:#?}", self.dispatcher.stats()));
                self.step(Input::Tick);
            }
        }
        panic!("no end: {:#?}", self.dispatcher.stats());
    }

    fn assert_complete(&self) {
        assert!(self.park_topic.is_empty(), "what was parked came back: {:?}", self.park_topic);
        for (offset, record) in self.log.iter().enumerate() {
            assert!(
                record.is_none() || self.ended.contains(&(offset as i64)),
                "{offset} was never processed"
            );
        }
        if self.gentle {
            let twice: Vec<_> = self.delivered.iter().filter(|&(_, &times)| times > 1).collect();
            assert!(twice.is_empty(), "joins and leaves alone delivered twice: {twice:?}");
        }
    }
}
