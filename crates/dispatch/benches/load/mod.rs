//! A driver that keeps one dispatcher at a steady number of live messages, for the benchmark and for the test of its
//! memory. What it prepares (records, answers) it prepares outside the dispatcher's time.

use bytes::Bytes;
use keyway_dispatch::{
    Arrival, Config, ConsumerId, Dispatcher, Input, Join, Millis, Mode, Output, OwnerEpoch, Token,
};
use keyway_record::{KeyHash, Offset};
use stats_alloc::{Region, StatsAlloc};
use std::alloc::System;
use std::collections::VecDeque;

/// How messages choose their keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Each of so many is as likely as any other.
    Uniform(u64),
    /// Of so many, the n-th most frequent is taken in proportion to n^-0.99.
    Zipf(u64),
    /// No key twice.
    Distinct,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) keys: Keys,
    pub(crate) consumers: u64,
    /// Unanswered messages of one consumer.
    pub(crate) credit: u32,
    /// Messages in memory.
    pub(crate) live_max: u32,
    /// Filter patterns of all consumers together.
    pub(crate) patterns: u64,
}

/// A dispatcher at work.
pub(crate) struct Load {
    pub(crate) dispatcher: Dispatcher,
    /// Messages answered.
    pub(crate) done: u64,
    shape: Shape,
    random: Random,
    zipf: Option<Zipf>,
    in_flight: VecDeque<(Offset, Token)>,
    fetch: Option<(Offset, u32)>,
    inputs: Vec<Input>,
    out: Vec<Output>,
    now: u64,
}

/// Answers prepared at once: what a busy owner finds waiting.
const ANSWERS: usize = 64;

/// A distinct key for every message.
pub(crate) const fn distinct(name: &'static str, consumers: u64, credit: u32, live_max: u32) -> Shape {
    Shape { name, mode: Mode::KeyShared, keys: Keys::Distinct, consumers, credit, live_max, patterns: 0 }
}

impl Load {
    /// A dispatcher that is filled, nothing answered, and the bytes that filling it took.
    pub(crate) fn filled(shape: Shape, allocator: &StatsAlloc<System>) -> (Self, usize) {
        let mut load = Self::new(shape);
        let region = Region::new(allocator);
        while load.prepare_records() {
            load.feed();
            load.obey_and_forget();
        }
        let change = region.change();
        (load, change.bytes_allocated - change.bytes_deallocated)
    }

    /// Consumers have joined; nothing was read.
    pub(crate) fn new(shape: Shape) -> Self {
        let mut config = Config::new(shape.mode);
        config.slots = if shape.consumers > 200 { 16_384 } else { config.slots };
        config.live_max = shape.live_max;
        config.ready_min = shape.live_max;
        config.span_max = (shape.live_max * 8).clamp(1 << 20, 1 << 24);
        let mut dispatcher = Dispatcher::new(config, OwnerEpoch::FIRST);
        let mut out = Vec::new();
        for consumer in 0..shape.consumers {
            let each = shape.patterns / shape.consumers;
            let filters = (consumer * each..(consumer + 1) * each).map(|nth| pattern(nth).into()).collect();
            let join = Join {
                consumer: ConsumerId(consumer),
                name_hash: consumer,
                filters,
                credit: shape.credit,
                in_flight_per_key: 1,
            };
            dispatcher.step(Millis(0), Input::Join(join), &mut out);
        }
        let zipf = if let Keys::Zipf(keys) = shape.keys { Some(Zipf::new(keys)) } else { None };
        let mut load = Self {
            dispatcher,
            done: 0,
            shape,
            random: Random(1),
            zipf,
            in_flight: VecDeque::new(),
            fetch: None,
            inputs: Vec::new(),
            out,
            now: 0,
        };
        load.obey();
        load
    }

    /// Prepares what is to be fed next.
    pub(crate) fn prepare(&mut self) {
        self.prepare_records();
        self.prepare_answers();
    }

    /// Answers the fetch; whether there was one.
    pub(crate) fn prepare_records(&mut self) -> bool {
        let Some((from, count)) = self.fetch.take() else { return false };
        let records = self.records(from, count);
        self.inputs.push(Input::Records { base: from, end: from.plus(i64::from(count)), records });
        true
    }

    /// Acks nearly, not quite, in the order of delivery; whether there were any.
    pub(crate) fn prepare_answers(&mut self) -> bool {
        let count = ANSWERS.min(self.in_flight.len());
        for _ in 0..count {
            let at = (self.random.next() as usize % ANSWERS).min(self.in_flight.len() - 1);
            let (offset, token) = self.in_flight.swap_remove_front(at).expect("the place is inside");
            self.inputs.push(Input::Ack { offset, token: Some(token) });
            self.done += 1;
        }
        count > 0
    }

    /// Feeds what was prepared: the dispatcher's work and nothing else.
    #[inline(never)]
    pub(crate) fn feed(&mut self) {
        self.now += 1;
        self.dispatcher.step_all(Millis(self.now / 8), &mut self.inputs, &mut self.out);
    }

    /// [`Self::feed`] under a name of its own, for a counter of instructions to look for.
    #[inline(never)]
    pub(crate) fn feed_counted(&mut self) {
        self.feed();
        std::hint::black_box(&self.dispatcher);
    }

    /// Takes note of what the dispatcher wants done.
    pub(crate) fn obey(&mut self) {
        for output in self.out.drain(..) {
            match output {
                Output::Deliver { offset, token, .. } => self.in_flight.push_back((offset, token)),
                Output::Fetch { from, records_max, .. } => self.fetch = Some((from, records_max)),
                _ => {}
            }
        }
    }

    /// [`Self::obey`] that forgets the deliveries and lets the driver's buffers go: what is allocated is the dispatcher's.
    pub(crate) fn obey_and_forget(&mut self) {
        self.obey();
        (self.in_flight, self.inputs, self.out) = (VecDeque::new(), Vec::new(), Vec::new());
    }

    /// Prepares, feeds, obeys.
    pub(crate) fn turn(&mut self) {
        self.prepare();
        self.feed();
        self.obey();
    }

    /// Records as an owner reads them: all keys are parts of one buffer.
    fn records(&mut self, from: Offset, count: u32) -> Vec<Arrival> {
        let (mut texts, mut ends) = (Vec::new(), Vec::new());
        for nth in 0..u64::from(count) {
            let key = self.key(from.0 as u64 + nth);
            texts.extend_from_slice(key_text(key, self.shape.patterns).as_bytes());
            ends.push(texts.len());
        }
        let (texts, mut start) = (Bytes::from(texts), 0);
        let records = (0..).zip(ends).map(|(nth, end)| {
            let text = texts.slice(start..end);
            start = end;
            Arrival { offset: from.plus(nth), key: KeyHash::of(&text), key_text: Some(text), size: 100 }
        });
        records.collect()
    }

    fn key(&mut self, offset: u64) -> u64 {
        let random = self.random.next();
        match (self.shape.keys, &self.zipf) {
            (Keys::Uniform(keys), _) => random % keys,
            (Keys::Zipf(_), Some(zipf)) => zipf.pick(random),
            _ => offset,
        }
    }
}

/// 40 % prefix, 20 % whole key, 10 % suffix, 30 % with an inner part.
pub(crate) fn pattern(nth: u64) -> String {
    match nth % 10 {
        0..4 => format!("tenant-{nth}-*"),
        4..6 => format!("order-{nth}"),
        6 => format!("*-device-{nth}"),
        7..9 => format!("eu-*-{nth}-?"),
        _ => format!("*region{nth}*"),
    }
}

/// A key that one of so many patterns wants.
fn key_text(nth: u64, patterns: u64) -> String {
    if patterns == 0 {
        return format!("key-{nth:012}");
    }
    let wanted = nth % patterns;
    match wanted % 10 {
        0..4 => format!("tenant-{wanted}-{nth}"),
        4..6 => format!("order-{wanted}"),
        6 => format!("{nth}-device-{wanted}"),
        7..9 => format!("eu-{nth}-{wanted}-1"),
        _ => format!("{nth}region{wanted}x"),
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0 >> 33
    }
}

/// Zipf's distribution by the approximation of Gray et al., "Quickly generating billion-record synthetic databases"
/// (SIGMOD 1994): no table, so that the caches are the dispatcher's.
struct Zipf {
    keys: f64,
    alpha: f64,
    eta: f64,
    zeta: f64,
}

impl Zipf {
    const THETA: f64 = 0.99;

    fn new(keys: u64) -> Self {
        let zeta: f64 = (1..=keys).map(|nth| (nth as f64).powf(-Self::THETA)).sum();
        let zeta_two = 1.0 + 0.5f64.powf(Self::THETA);
        let keys = keys as f64;
        let eta = (1.0 - (2.0 / keys).powf(1.0 - Self::THETA)) / (1.0 - zeta_two / zeta);
        Self { keys, alpha: 1.0 / (1.0 - Self::THETA), eta, zeta }
    }

    fn pick(&self, random: u64) -> u64 {
        let share = random as f64 / (1u64 << 31) as f64;
        let scaled = share * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(Self::THETA) {
            return 1;
        }
        (self.keys * (self.eta * share - self.eta + 1.0).powf(self.alpha)) as u64
    }
}
