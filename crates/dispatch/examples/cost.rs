//! What one message costs the dispatcher: ingest, dispatch and ack on one core.
//!
//! Time is the thread's CPU time where the system tells it (Linux), so that a busy machine does not count, else wall
//! time. It includes the little that the loop around the dispatcher does: random numbers, queues of what is in flight.
//!
//! `cargo run --release -p keyway-dispatch --example cost` prints a line per case: how many messages are live at once,
//! how many keys they have, nanoseconds per message (the best and the median of the rounds).

#![allow(clippy::disallowed_methods)] // It measures; the crate itself knows no clock.

use keyway_dispatch::{
    Arrival, Config, ConsumerId, Dispatcher, FilterIndex, Input, Join, Millis, Mode, Output, OwnerEpoch,
    Token,
};
use keyway_record::{KeyHash, Offset};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages of one case.
const MESSAGES: i64 = 2_000_000;
const ROUNDS: usize = 5;

struct Case {
    name: &'static str,
    mode: Mode,
    /// Keys that the messages are spread over.
    keys: u64,
    consumers: u64,
    /// Unanswered messages of one consumer.
    credit: u32,
    live_max: u32,
}

fn main() {
    let keyed = Mode::KeyShared;
    let cases = [
        Case {
            name: "uniform, 8k live",
            mode: keyed,
            keys: 1 << 20,
            consumers: 16,
            credit: 256,
            live_max: 8_192,
        },
        Case {
            name: "uniform, 128k live",
            mode: keyed,
            keys: 1 << 20,
            consumers: 16,
            credit: 4_096,
            live_max: 131_072,
        },
        Case {
            name: "1,000 keys, 8k live",
            mode: keyed,
            keys: 1_000,
            consumers: 16,
            credit: 64,
            live_max: 8_192,
        },
        Case { name: "one key, 8k live", mode: keyed, keys: 1, consumers: 16, credit: 64, live_max: 8_192 },
        Case {
            name: "shared, 8k live",
            mode: Mode::Shared,
            keys: 1 << 20,
            consumers: 16,
            credit: 256,
            live_max: 8_192,
        },
        Case {
            name: "exclusive",
            mode: Mode::Exclusive,
            keys: 1 << 20,
            consumers: 1,
            credit: 4_096,
            live_max: 8_192,
        },
    ];
    println!("{:<22} {:>10} {:>10} {:>10} {:>10}", "case", "live", "live keys", "best ns", "median ns");
    for case in cases {
        let mut rounds: Vec<(Duration, u64, u64)> = (0..ROUNDS).map(|_| run(&case)).collect();
        rounds.sort();
        let ns = |round: usize| rounds[round].0.as_nanos() as f64 / MESSAGES as f64;
        let (_, live, keys) = rounds[0];
        println!("{:<22} {live:>10} {keys:>10} {:>10.0} {:>10.0}", case.name, ns(0), ns(ROUNDS / 2));
    }
    filters();
}

/// What one key costs the filter index: 10,000 patterns, 40 % prefix, 20 % whole key, 10 % suffix, 30 % with an inner part.
fn filters() {
    let pattern = |nth: u32| match nth % 10 {
        0..4 => format!("tenant-{nth}-*"),
        4..6 => format!("order-{nth}"),
        6 => format!("*-device-{nth}"),
        7..9 => format!("eu-*-{nth}-?"),
        _ => format!("*region{nth}*"),
    };
    let patterns: Vec<String> = (0..10_000).map(pattern).collect();
    let mut index = FilterIndex::new(patterns.iter().map(|pattern| pattern.as_bytes()).zip(0..));
    let keys: Vec<String> =
        (0..200_000).map(|nth: u32| format!("tenant-{}-order-{nth}", nth % 20_000)).collect();
    let mut groups = Vec::new();
    let (mut matched, start) = (0, cpu_time());
    for key in &keys {
        index.matches(key.as_bytes(), &mut groups);
        matched += groups.len();
    }
    if let Some((end, start)) = cpu_time().zip(start) {
        let ns = (end - start).as_nanos() as f64 / keys.len() as f64;
        println!("filter index, 10,000 patterns: {ns:.0} ns a key ({matched} matches)");
    }
}

/// Time spent for all messages, and how many messages and keys were live half-way.
fn run(case: &Case) -> (Duration, u64, u64) {
    let config = Config { live_max: case.live_max, ready_min: case.live_max, ..Config::new(case.mode) };
    let mut dispatcher = Dispatcher::new(config, OwnerEpoch::FIRST);
    let mut out = Vec::new();
    for consumer in 0..case.consumers {
        let join = Join {
            consumer: ConsumerId(consumer),
            name_hash: consumer,
            filters: vec![],
            credit: case.credit,
        };
        dispatcher.step(Millis(0), Input::Join(join), &mut out);
    }
    let mut random = 1u64;
    let mut next = move || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        random >> 33
    };
    let mut in_flight: VecDeque<(Offset, Token)> = VecDeque::new();
    let (mut done, mut halfway, mut now) = (0, (0, 0), 0);
    let mut fetch = None;
    let mut inputs = Vec::new();
    let start = (cpu_time(), Instant::now());
    while done < MESSAGES {
        for output in out.drain(..) {
            match output {
                Output::Deliver { offset, token, .. } => in_flight.push_back((offset, token)),
                Output::Fetch { from, records_max, .. } => fetch = Some((from, records_max)),
                _ => {}
            }
        }
        if let Some((from, count)) = fetch.take() {
            let arrival = |nth| {
                let key = KeyHash::of(&(next() % case.keys).to_le_bytes());
                Arrival { offset: from.plus(nth), key, key_text: None, size: 100 }
            };
            let records = (0..i64::from(count)).map(arrival).collect();
            inputs.push(Input::Records { base: from, end: from.plus(i64::from(count)), records });
        }
        // Answers come nearly, not quite, in the order of delivery, as many at once as a busy owner finds waiting.
        for _ in 0..64.min(in_flight.len()) {
            let at = (next() as usize % 64).min(in_flight.len() - 1);
            let (offset, token) = in_flight.swap_remove_front(at).expect("the place is inside");
            inputs.push(Input::Ack { offset, token: Some(token) });
            done += 1;
        }
        now += 1;
        for input in inputs.drain(..) {
            dispatcher.step(Millis(now / 8), input, &mut out);
        }
        if done >= MESSAGES / 2 && halfway == (0, 0) {
            let stats = dispatcher.stats();
            halfway = (stats.live_messages, stats.live_keys);
        }
    }
    let spent = cpu_time().zip(start.0).map_or(start.1.elapsed(), |(end, start)| end - start);
    (spent, halfway.0, halfway.1)
}

/// CPU time of this thread so far.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
