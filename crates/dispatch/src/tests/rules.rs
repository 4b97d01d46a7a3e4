//! The rules one by one, as a user meets them.

use super::model::{key_hash, key_text};
use crate::*;
use bytes::Bytes;
use keyway_record::{KeyHash, Offset};

/// A dispatcher with a log behind it whose fetches are answered at once.
struct Bench {
    dispatcher: Dispatcher,
    now: u64,
    log: Vec<&'static str>,
    /// Deliveries since the last look: (consumer, offset, attempt).
    seen: Vec<(u64, i64, u32)>,
    tokens: std::collections::BTreeMap<i64, Token>,
    other: Vec<Output>,
    fetch: Option<Offset>,
}

impl Bench {
    fn new(mode: Mode) -> Self {
        Self::with(Config::new(mode))
    }

    fn with(config: Config) -> Self {
        Self {
            dispatcher: Dispatcher::new(config, OwnerEpoch::FIRST),
            now: 1_000_000,
            log: vec![],
            seen: vec![],
            tokens: Default::default(),
            other: vec![],
            fetch: None,
        }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut out = vec![];
            self.dispatcher.step(Millis(self.now), input, &mut out);
            self.dispatcher.check();
            for output in out {
                match output {
                    Output::Deliver { consumer, offset, token, attempt } => {
                        self.seen.push((consumer.0, offset.0, attempt));
                        self.tokens.insert(offset.0, token);
                    }
                    Output::Fetch { from, .. } => self.fetch = Some(from),
                    Output::Reread { key, from, to, records_max } => {
                        inputs.push(self.reread(key, from, to, records_max));
                    }
                    Output::Persist | Output::CursorMoved(_) => {}
                    other => self.other.push(other),
                }
            }
            if let Some(from) = self.fetch.filter(|from| from.0 < self.log.len() as i64) {
                self.fetch = None;
                let arrival = |(at, key): (usize, &&'static str)| Arrival {
                    offset: Offset(at as i64),
                    key: KeyHash::of(key.as_bytes()),
                    key_text: Some(Bytes::from_static(key.as_bytes())),
                    size: 1,
                };
                let records = self.log.iter().enumerate().skip(from.0 as usize).map(arrival).collect();
                inputs.push(Input::Records { base: from, end: Offset(self.log.len() as i64), records });
            }
        }
    }

    fn reread(&self, key: KeyHash, from: Offset, to: Offset, records_max: u32) -> Input {
        let range = from.0 as usize..to.0 as usize;
        let of_key = range.filter(|&at| KeyHash::of(self.log[at].as_bytes()) == key);
        let records = of_key.take(records_max as usize).map(|at| Arrival {
            offset: Offset(at as i64),
            key,
            key_text: Some(Bytes::from_static(self.log[at].as_bytes())),
            size: 1,
        });
        let records: Vec<Arrival> = records.collect();
        let full = records.len() == records_max as usize;
        let end = records.last().filter(|_| full).map_or(to, |last| last.offset.next());
        Input::Reread { key, base: from, end, records }
    }

    fn publish(&mut self, keys: &[&'static str]) {
        self.log.extend(keys);
        self.step(Input::Tick);
    }

    fn join(&mut self, consumer: u64, filters: &[&'static str]) {
        self.join_with(consumer, filters, Config::CREDIT_DEFAULT);
    }

    fn join_with(&mut self, consumer: u64, filters: &[&'static str], credit: u32) {
        let filters = filters.iter().map(|pattern| Bytes::from_static(pattern.as_bytes())).collect();
        let consumer = ConsumerId(consumer);
        self.step(Input::Join(Join {
            consumer,
            name_hash: consumer.0,
            filters,
            credit,
            in_flight_per_key: 1,
        }));
    }

    fn join_per_key(&mut self, consumer: u64, in_flight_per_key: u32) {
        let (consumer, name_hash) = (ConsumerId(consumer), consumer);
        let credit = Config::CREDIT_DEFAULT;
        self.step(Input::Join(Join { consumer, name_hash, filters: vec![], credit, in_flight_per_key }));
    }

    fn gone(&mut self, consumer: u64) {
        self.step(Input::Gone { consumer: ConsumerId(consumer) });
    }

    fn leave(&mut self, consumer: u64) {
        self.step(Input::Leave { consumer: ConsumerId(consumer), deadline: None });
    }

    fn ack(&mut self, offset: i64) {
        self.step(Input::Ack { offset: Offset(offset), token: Some(self.tokens[&offset]) });
    }

    fn nack(&mut self, offset: i64) {
        self.nack_after(offset, None);
    }

    fn nack_after(&mut self, offset: i64, delay_ms: Option<u64>) {
        let token = Some(self.tokens[&offset]);
        let reason = Some("no stock".to_owned());
        self.step(Input::Nack { offset: Offset(offset), token, delay_ms, reason });
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        self.step(Input::Tick);
    }

    /// Deliveries since the last look.
    fn seen(&mut self) -> Vec<(u64, i64, u32)> {
        std::mem::take(&mut self.seen)
    }

    fn offsets(&mut self) -> Vec<i64> {
        self.seen().into_iter().map(|(_, offset, _)| offset).collect()
    }

    fn cursor(&self) -> i64 {
        self.dispatcher.stats().cursor.0
    }
}

#[test]
fn a_key_has_one_message_in_flight_and_keeps_its_consumer() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.join(2, &[]);
    bench.publish(&["payment", "payment", "shipping", "payment", "invoice"]);
    assert_eq!(bench.offsets().len(), 3, "one of each key");
    let holder = |bench: &Bench| bench.dispatcher.owner_of(b"payment");
    let first = holder(&bench);
    bench.ack(0);
    assert_eq!(bench.seen(), [(first.unwrap().0, 1, 1)]);
    bench.ack(1);
    assert_eq!(bench.seen(), [(first.unwrap().0, 3, 1)]);
    assert_eq!(bench.cursor(), 2);
}

#[test]
fn shared_deals_out_strictly() {
    let mut bench = Bench::new(Mode::Shared);
    (1..=3).for_each(|consumer| bench.join(consumer, &[]));
    for _ in 0..36 {
        bench.publish(&["same"]);
    }
    let seen = bench.seen();
    for consumer in 1..=3 {
        let mine: Vec<i64> =
            seen.iter().filter(|(to, ..)| *to == consumer).map(|&(_, offset, _)| offset).collect();
        assert_eq!(mine.len(), 12);
        assert!(mine.windows(2).all(|pair| pair[1] - pair[0] == 3), "every third");
    }
}

#[test]
fn shared_redelivers_at_once_when_a_consumer_is_lost() {
    let mut bench = Bench::new(Mode::Shared);
    bench.join(1, &[]);
    bench.publish(&["a", "b", "c"]);
    bench.join(2, &[]);
    assert_eq!(bench.offsets(), [0, 1, 2]);
    bench.gone(1);
    assert_eq!(bench.seen(), [(2, 0, 2), (2, 1, 2), (2, 2, 2)]);
}

#[test]
fn exclusive_is_for_one_and_not_for_ever() {
    let mut bench = Bench::new(Mode::Exclusive);
    bench.join(1, &[]);
    bench.publish(&["a", "b", "c"]);
    bench.join(2, &[]);
    let refusal = Refusal::Exclusive { holder: ConsumerId(1) };
    assert_eq!(bench.other, [Output::Refused { consumer: ConsumerId(2), refusal }]);
    assert_eq!(bench.seen(), [(1, 0, 1), (1, 1, 1), (1, 2, 1)]);
    bench.ack(1);
    bench.gone(1);
    bench.join(1, &[]);
    assert_eq!(bench.seen(), [(1, 0, 2), (1, 2, 2)], "the oldest unacked first");
    bench.gone(1);
    bench.join(2, &[]);
    assert_eq!(bench.other.len(), 2, "a moment ago still counts");
    bench.wait(3_000);
    bench.join(2, &[]);
    assert_eq!(bench.seen(), [(2, 0, 3), (2, 2, 3)]);
}

#[test]
fn failover_promotes_the_next_in_line() {
    let mut bench = Bench::new(Mode::Failover);
    (1..=3).for_each(|consumer| bench.join(consumer, &[]));
    bench.publish(&["a", "b"]);
    assert_eq!(bench.seen(), [(1, 0, 1), (1, 1, 1)]);
    bench.gone(1);
    assert_eq!(bench.seen(), [(2, 0, 2), (2, 1, 2)]);
    bench.join(1, &[]);
    bench.publish(&["c"]);
    assert_eq!(bench.seen(), [(2, 2, 1)], "who comes back queues up");
    // A graceful leaver finishes first, so that the order holds.
    bench.leave(2);
    bench.publish(&["d"]);
    assert_eq!(bench.seen(), []);
    (0..3).for_each(|offset| bench.ack(offset));
    assert_eq!(bench.seen(), [(3, 3, 1)]);
    assert_eq!(bench.other, [Output::Drained { consumer: ConsumerId(2) }]);
}

#[test]
fn a_nack_waits_its_time_and_only_its_key_waits_with_it() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "a", "b", "b"]);
    assert_eq!(bench.offsets(), [0, 2]);
    bench.nack(0);
    bench.ack(2);
    assert_eq!(bench.offsets(), [3]);
    bench.wait(999);
    assert_eq!(bench.offsets(), []);
    bench.wait(1);
    assert_eq!(bench.seen(), [(1, 0, 2)]);
    bench.nack(0);
    bench.wait(1_999);
    assert_eq!(bench.offsets(), [], "the second wait is twice as long");
    bench.wait(1);
    assert_eq!(bench.offsets(), [0]);
    bench.nack_after(0, Some(1));
    bench.wait(3_999);
    assert_eq!(bench.offsets(), [], "a consumer's delay only lengthens");
    bench.wait(1);
    assert_eq!(bench.offsets(), [0]);
    bench.nack_after(0, Some(3_600_000));
    bench.wait(60_000);
    assert_eq!(bench.offsets(), [0], "and no longer than the policy allows");
}

#[test]
fn jitter_lengthens_by_its_share_at_most_and_repeats() {
    let waits = |seed| {
        let mut config = Config::new(Mode::Shared);
        (config.seed, config.failure.jitter_percent) = (seed, 10);
        let mut bench = Bench::with(config);
        bench.join(1, &[]);
        bench.publish(&["a"; 20]);
        (0..20).for_each(|offset| bench.nack(offset));
        let due = |bench: &Bench| {
            bench.dispatcher.timers.iter().map(|&(at, _)| at.0 - bench.now).collect::<Vec<_>>()
        };
        due(&bench)
    };
    assert!(waits(1).iter().all(|wait| (1_000..=1_100).contains(wait)));
    assert!(waits(1).first() != waits(1).last(), "it spreads");
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

/// Fails a message until it is used up.
fn use_up(bench: &mut Bench, offset: i64) {
    for _ in 0..6 {
        bench.nack(offset);
        bench.wait(60_000);
    }
}

#[test]
fn a_used_up_message_blocks_its_key_until_the_policy_says_otherwise() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "a", "b"]);
    bench.ack(2);
    use_up(&mut bench, 0);
    assert_eq!(bench.seen().len(), 2 + 5, "one delivery and five redeliveries");
    let blocked = Output::Blocked { offset: Offset(0), attempts: 6, cause: Cause::Nack };
    assert_eq!(std::mem::take(&mut bench.other), [blocked]);
    assert_eq!(bench.dispatcher.stats().blocked.by(Reason::Poison), 1);
    bench.publish(&["b", "a"]);
    assert_eq!(bench.offsets(), [3], "other keys go on");
    let policy = FailurePolicy { poison: Poison::DeadLetter, ..FailurePolicy::default() };
    bench.step(Input::SetPolicy(policy));
    let reason = Some("no stock".to_owned());
    let letter = Output::DeadLetter { offset: Offset(0), attempts: 6, cause: Cause::Nack, reason };
    assert_eq!(bench.other, std::slice::from_ref(&letter));
    bench.other.clear();
    bench.step(Input::SideDone { offset: Offset(0), ok: false });
    assert_eq!(bench.offsets(), [], "not done before it is written");
    bench.wait(1_000);
    assert_eq!(bench.other, [letter]);
    bench.step(Input::SideDone { offset: Offset(0), ok: true });
    assert_eq!(bench.offsets(), [1], "the key goes on");
}

#[test]
fn in_one_order_nothing_passes_a_blocked_message() {
    for mode in [Mode::Exclusive, Mode::Shared] {
        let mut bench = Bench::new(mode);
        bench.join(1, &[]);
        bench.publish(&["a", "b"]);
        use_up(&mut bench, 0);
        bench.seen();
        bench.publish(&["c"]);
        bench.wait(120_000);
        assert!(bench.offsets().iter().all(|&offset| offset == 1), "only what was out before: {mode:?}");
        bench.step(Input::SetPolicy(FailurePolicy { poison: Poison::Drop, ..FailurePolicy::default() }));
        assert!(bench.offsets().contains(&2));
    }
}

#[test]
fn the_last_worker_loses_nothing_and_a_stale_ack_changes_nothing() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "a", "a"]);
    let old = bench.tokens[&0];
    bench.gone(1);
    bench.wait(2_999);
    bench.step(Input::Resume { consumer: ConsumerId(1) });
    bench.ack(0);
    assert_eq!(bench.offsets(), [0, 1], "back in time, its delivery still counts");
    bench.gone(1);
    bench.wait(3_000);
    assert_eq!(bench.dispatcher.stats().consumers, []);
    bench.join(2, &[]);
    assert_eq!(bench.seen(), [(2, 1, 2)]);
    bench.step(Input::Ack { offset: Offset(1), token: Some(old) });
    assert_eq!((bench.cursor(), bench.dispatcher.stats().counters.stale_acks), (1, 1));
    bench.ack(1);
    assert_eq!(bench.seen(), [(2, 2, 1)]);
}

#[test]
fn filters_choose_and_the_order_of_a_deployment_loses_nothing() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &["payment", "invoice"]);
    bench.publish(&["payment", "shipping", "invoice"]);
    assert_eq!(bench.offsets(), [0, 2]);
    assert_eq!(std::mem::take(&mut bench.other), [Output::Skipped { offset: Offset(1) }]);
    bench.join(2, &["ship*", "return"]);
    bench.publish(&["shipping", "return", "payment"]);
    assert_eq!(bench.seen(), [(2, 3, 1), (2, 4, 1)]);
    bench.ack(3);
    // A new version of worker 2 comes half a minute later.
    bench.leave(2);
    bench.ack(4);
    bench.publish(&["shipping"]);
    bench.wait(29_000);
    assert!(bench.other.iter().all(|output| !matches!(output, Output::Skipped { .. })), "{:?}", bench.other);
    bench.seen();
    bench.join(3, &["ship*"]);
    assert_eq!(bench.seen(), [(3, 6, 1)]);
    bench.other.clear();
    bench.gone(3);
    bench.publish(&["shipping"]);
    bench.wait(3_000);
    bench.wait(59_999);
    assert_eq!(bench.other, []);
    bench.wait(1);
    let skipped = [6, 7].map(|offset| Output::Skipped { offset: Offset(offset) });
    assert_eq!(bench.other, skipped, "nobody came for a minute");
}

#[test]
fn retention_takes_nothing_out_of_a_workers_hands() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "a", "b", "a"]);
    bench.step(Input::LogStart { to: Offset(2) });
    assert_eq!((bench.cursor(), bench.offsets()), (0, vec![0, 2]));
    bench.ack(0);
    assert_eq!((bench.cursor(), bench.offsets()), (2, vec![3]));
    assert_eq!(bench.other, [Output::Lost { offset: Offset(1) }]);
}

#[test]
fn a_restart_keeps_what_is_done_and_every_keys_order() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "b", "a", "b", "c"]);
    bench.ack(1);
    bench.ack(4);
    bench.nack(0);
    let snapshot = Snapshot::decode(&bench.dispatcher.snapshot().encode()).unwrap();
    let epoch = snapshot.epoch.next();
    bench.dispatcher = Dispatcher::recover(Config::new(Mode::KeyShared), &snapshot, epoch);
    (bench.fetch, bench.seen) = (None, vec![]);
    let old = bench.tokens[&3];
    bench.join(1, &[]);
    assert_eq!(bench.seen(), [(1, 3, 1)], "b goes on, a still waits");
    bench.step(Input::Ack { offset: Offset(3), token: Some(old) });
    assert_eq!(bench.dispatcher.stats().in_flight, 1, "a token of the former owner is no token");
    bench.wait(1_000);
    assert_eq!(bench.seen(), [(1, 0, 2)], "attempts are remembered");
}

/// Found by seed 14202: what waited when the owner died came before older messages that did not.
#[test]
fn after_a_restart_too_the_oldest_goes_first() {
    let mut bench = Bench::new(Mode::Exclusive);
    bench.join(1, &[]);
    bench.publish(&["a", "b", "c"]);
    bench.nack(2);
    let snapshot = bench.dispatcher.snapshot();
    bench.dispatcher = Dispatcher::recover(Config::new(Mode::Exclusive), &snapshot, snapshot.epoch.next());
    (bench.fetch, bench.seen) = (None, vec![]);
    bench.join_with(1, &[], 0);
    bench.wait(1_000);
    bench.step(Input::SetCredit { consumer: ConsumerId(1), credit: 5 });
    assert_eq!(bench.seen(), [(1, 0, 1), (1, 1, 1), (1, 2, 2)]);
}

/// Found by seed 32067: a new owner went on remembering failures of messages that the log had dropped.
#[test]
fn failures_of_lost_messages_are_forgotten() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "b"]);
    bench.nack(1);
    let snapshot = bench.dispatcher.snapshot();
    assert_eq!(snapshot.retries.len(), 1);
    let mut new = Dispatcher::recover(Config::new(Mode::KeyShared), &snapshot, snapshot.epoch.next());
    new.step(Millis(bench.now), Input::LogStart { to: Offset(2) }, &mut vec![]);
    assert_eq!(new.snapshot().retries, []);
}

#[test]
fn one_stuck_key_and_one_worker_that_never_acks_hold_up_nobody_else() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join_with(1, &["stuck*"], 4);
    bench.join_with(2, &["key-*"], 4);
    bench.publish(&["stuck-1", "stuck-2", "stuck-3", "stuck-4", "stuck-5", "stuck-1"]);
    for _ in 0..1_000 {
        bench.publish(&["key-a", "key-b", "stuck-1"]);
    }
    let mut acked = 0;
    loop {
        let mine: Vec<_> = bench.seen().into_iter().filter(|&(consumer, ..)| consumer == 2).collect();
        if mine.is_empty() {
            break;
        }
        for (_, offset, _) in mine {
            bench.ack(offset);
            acked += 1;
        }
    }
    assert_eq!(acked, 2_000);
}

#[test]
fn a_huge_gap_is_one_step_or_two() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    let end = Offset(1 << 50);
    bench.step(Input::LogStart { to: Offset(1 << 49) });
    assert_eq!(bench.cursor(), 1 << 49);
    bench.step(Input::Records { base: Offset(0), end: Offset(1 << 49), records: vec![] });
    let record = Arrival { offset: end, key: key_hash(1), key_text: Some(key_text(1)), size: 1 };
    bench.step(Input::Records { base: Offset(1 << 49), end: end.next(), records: vec![record] });
    assert_eq!(bench.offsets(), [end.0]);
}

#[test]
fn limits_refuse_by_name() {
    let mut bench = Bench::with(Config { consumers_max: 2, patterns_max: 2, ..Config::new(Mode::KeyShared) });
    bench.join(1, &["a", "b"]);
    bench.join(2, &["c"]);
    bench.join(3, &["a", "b"]);
    bench.join(4, &[]);
    let refused: Vec<String> = bench
        .other
        .iter()
        .map(|output| match output {
            Output::Refused { consumer, refusal } => format!("{consumer}: {refusal}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        refused,
        [
            "2: the subscription's key filters would exceed 2 patterns",
            "4: the subscription has 2 consumers, which is the limit"
        ]
    );
    let long = Bytes::from(vec![b'x'; 1_025]);
    bench.step(Input::SetFilters { consumer: ConsumerId(1), filters: vec![long] });
    let refusal = Refusal::PatternTooLong { len: 1_025, max: 1_024 };
    assert_eq!(bench.other.last(), Some(&Output::Refused { consumer: ConsumerId(1), refusal }));
}

#[test]
fn an_id_that_comes_with_another_name_is_another_consumer() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a"]);
    let join =
        Join { consumer: ConsumerId(1), name_hash: 99, filters: vec![], credit: 5, in_flight_per_key: 1 };
    bench.step(Input::Join(join));
    assert_eq!(bench.seen(), [(1, 0, 1), (1, 0, 2)]);
    assert_eq!(bench.dispatcher.stats().consumers.len(), 1);
}

/// Head of line: what is stuck leaves room for everything else, and comes out in order when it goes on.
#[test]
fn a_key_that_is_never_acked_takes_its_share_of_memory_and_no_more() {
    let mut bench = Bench::with(Config { live_max: 64, ready_min: 8, ..Config::new(Mode::KeyShared) });
    bench.join(1, &[]);
    for _ in 0..500 {
        bench.publish(&["stuck", "stuck", "stuck", "stuck", "a", "b", "c"]);
        let others = bench.offsets().into_iter().filter(|offset| offset % 7 > 3);
        others.collect::<Vec<_>>().into_iter().for_each(|offset| bench.ack(offset));
    }
    let stats = bench.dispatcher.stats();
    assert_eq!(stats.live_messages + stats.spilled_messages, 2_000, "all others are done");
    assert!(stats.live_messages <= 8 && stats.spilled_keys == 1, "an eighth of memory");
    let view = bench.dispatcher.key(KeyHash::of(b"stuck")).unwrap();
    assert!(view.spilled && view.first == Offset(0) && view.in_flight == 1);
    let expected = (0..500).flat_map(|round| (0..4).map(move |nth| round * 7 + nth));
    for offset in expected {
        bench.ack(offset);
        let next = if offset % 7 == 3 { offset + 4 } else { offset + 1 };
        assert_eq!(bench.offsets(), if next < 3_500 { vec![next] } else { vec![] });
    }
    assert_eq!((bench.cursor(), bench.dispatcher.stats().spilled_messages), (3_500, 0));
}

#[test]
fn a_run_goes_back_together_and_in_order() {
    for (per_key, at) in [1, 2, 5, 32].into_iter().flat_map(|k| (0..k.min(6)).map(move |at| (k, at))) {
        for expires in [false, true] {
            let mut bench = Bench::new(Mode::KeyShared);
            bench.join_per_key(1, per_key);
            bench.publish(&["a"; 40]);
            let run: Vec<i64> = (0..i64::from(per_key)).collect();
            assert_eq!(bench.offsets(), run, "{per_key} in flight");
            // Those after the failing one were acked, out of order; it makes no difference.
            (i64::from(at) + 1..i64::from(per_key)).rev().for_each(|offset| bench.ack(offset));
            (0..i64::from(at)).for_each(|offset| bench.ack(offset));
            bench.other.clear();
            bench.seen();
            if expires {
                bench.wait(30_000);
            } else {
                bench.nack(at.into());
            }
            let revokes = bench.other.iter().filter(|output| matches!(output, Output::Revoke { .. })).count();
            let alone = !expires && bench.dispatcher.stats().counters.revoked == 0;
            assert_eq!(revokes, usize::from(per_key > 1 && !alone), "{per_key} {at} {expires}");
            bench.wait(60_000);
            let again: Vec<i64> = bench.offsets();
            let expected: Vec<i64> = (at.into()..(at + per_key).into()).collect();
            assert_eq!(again, expected, "{per_key} {at} {expires}");
        }
    }
}

#[test]
fn keys_are_seen_by_backlog_age_and_reason() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join_with(1, &[], 2);
    bench.publish(&["old", "deep", "deep", "deep", "late"]);
    bench.nack(0);
    let hashes =
        |order| bench.dispatcher.keys(order, 2).into_iter().map(|view| view.hash).collect::<Vec<_>>();
    assert_eq!(hashes(KeyOrder::Age), [KeyHash::of(b"old"), KeyHash::of(b"deep")]);
    assert_eq!(hashes(KeyOrder::Backlog), [KeyHash::of(b"deep"), KeyHash::of(b"old")]);
    let old = bench.dispatcher.key(KeyHash::of(b"old")).unwrap();
    assert_eq!((old.blocked, old.attempts, old.owner), (Some(Reason::Backoff), 1, Some(ConsumerId(1))));
    let stats = bench.dispatcher.stats();
    assert_eq!(stats.oldest_blocked, [(Reason::Backoff, Offset(0))]);
}

#[test]
fn a_leaving_consumer_is_made_to_give_back_what_it_holds() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a"]);
    bench.join(2, &[]);
    bench.seen();
    let deadline = Some(Millis(bench.now + 5_000));
    bench.step(Input::Leave { consumer: ConsumerId(1), deadline });
    bench.wait(4_999);
    assert_eq!((bench.seen(), bench.other.len()), (vec![], 0));
    bench.wait(1);
    assert_eq!(bench.seen(), [(2, 0, 2)]);
    assert_eq!(bench.other, [Output::Drained { consumer: ConsumerId(1) }]);
    assert_eq!(bench.dispatcher.stats().counters.forced_revokes, 1);
}

#[test]
fn seek_goes_back_and_forth_and_voids_what_is_in_flight() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join(1, &[]);
    bench.publish(&["a", "b", "a"]);
    (0..3).for_each(|offset| bench.ack(offset));
    bench.publish(&["a"]);
    let old = bench.tokens[&3];
    bench.seen();
    bench.step(Input::Seek { to: Offset(0) });
    assert_eq!((bench.offsets(), bench.cursor()), (vec![0, 1], 0));
    bench.step(Input::Ack { offset: Offset(3), token: Some(old) });
    bench.step(Input::Seek { to: Offset(3) });
    assert_eq!((bench.offsets(), bench.cursor()), (vec![3], 3));
}

#[test]
fn a_broken_worker_does_not_move_a_topic_into_the_dead_letter_topic() {
    let failure =
        FailurePolicy { poison: Poison::DeadLetter, max_redelivery_count: 0, ..FailurePolicy::default() };
    let mut bench = Bench::with(Config { failure, ..Config::new(Mode::KeyShared) });
    let keys: Vec<&'static str> = (0..1_000).map(|nth| &*format!("key-{nth}").leak()).collect();
    bench.join(1, &[]);
    bench.publish(&keys);
    let mut letters = 0;
    for _ in 0..60 {
        bench.offsets().into_iter().for_each(|offset| bench.nack(offset));
        for output in std::mem::take(&mut bench.other) {
            if let Output::DeadLetter { offset, .. } = output {
                letters += 1;
                bench.step(Input::SideDone { offset, ok: true });
            }
        }
        bench.wait(100);
    }
    let stats = bench.dispatcher.stats();
    assert!(letters < 40 && stats.flood_brake, "{letters} of 1,000 messages");
    assert_eq!(stats.blocked.by(Reason::Backoff), 1_000 - letters, "the rest waits for its next try");
    // The worker is mended: what comes again is processed, and nothing else was lost.
    let mut acked = 0;
    for _ in 0..100 {
        bench.wait(60_000);
        for offset in bench.offsets() {
            bench.ack(offset);
            acked += 1;
        }
    }
    assert_eq!(acked + letters, 1_000);
    assert!(!bench.dispatcher.stats().flood_brake);
}

/// However deep a key is, every other one has its turn in between, and equal consumers have equal shares.
#[test]
fn every_key_and_every_consumer_has_its_turn() {
    let mut bench = Bench::new(Mode::KeyShared);
    bench.join_with(1, &[], 1);
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for _ in 0..20 {
        bench.publish(&["deep", "deep", "deep"]);
        bench.publish(&keys);
    }
    let mut last = std::collections::BTreeMap::new();
    for turn in 0..100 {
        let [(_, offset, _)] = bench.seen()[..] else { panic!("one at a time") };
        let key = bench.log[offset as usize];
        let waited = turn - last.insert(key, turn).unwrap_or(turn);
        assert!(waited <= 2 * keys.len(), "{key} waited {waited} turns");
        bench.ack(offset);
    }
    assert_eq!(last.len(), keys.len() + 1);

    let mut bench = Bench::new(Mode::KeyShared);
    (1..=4).for_each(|consumer| bench.join_with(consumer, &[], 1_000));
    let many: Vec<&'static str> = (0..800).map(|nth| &*format!("key-{nth}").leak()).collect();
    bench.publish(&many);
    let share = |consumer| bench.seen.iter().filter(|(to, ..)| *to == consumer).count() as f64;
    let shares: Vec<f64> = (1..=4).map(share).collect();
    let sum: f64 = shares.iter().sum();
    let jain = sum * sum / (4.0 * shares.iter().map(|share| share * share).sum::<f64>());
    assert!(sum as usize == 800 && jain > 0.95, "{shares:?}");
}
