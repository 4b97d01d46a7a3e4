//! Many keys, many consumers, many patterns: what a change of filters costs at once, and where keys end up.

use crate::*;
use bytes::Bytes;
use keyway_record::{KeyHash, Offset};
use std::collections::BTreeMap;

/// Ready keys that one step may place anew.
const SWEEP_KEYS: usize = 4_096;
const KEYS: i64 = 20_000;

fn join(
    dispatcher: &mut Dispatcher,
    consumer: u64,
    filter: Option<&str>,
    credit: u32,
    out: &mut Vec<Output>,
) {
    let filters = filter.iter().map(|filter| Bytes::copy_from_slice(filter.as_bytes())).collect();
    let join =
        Join { consumer: ConsumerId(consumer), name_hash: consumer, filters, credit, in_flight_per_key: 1 };
    dispatcher.step(Millis(0), Input::Join(join), out);
}

fn key(nth: i64) -> String {
    format!("{}-{nth}", if nth % 2 == 0 { "even" } else { "odd" })
}

fn read_all(dispatcher: &mut Dispatcher) {
    let record = |nth| {
        let text = key(nth);
        let key_text = Some(Bytes::copy_from_slice(text.as_bytes()));
        Arrival { offset: Offset(nth), key: KeyHash::of(text.as_bytes()), key_text, size: 1 }
    };
    while dispatcher.window.next_read() < KEYS {
        let base = dispatcher.window.next_read();
        let end = KEYS.min(base + 4_096);
        let records = (base..end).map(record).collect();
        let input = Input::Records { base: Offset(base), end: Offset(end), records };
        dispatcher.step(Millis(0), input, &mut Vec::new());
    }
}

/// Keys whose place is that of the newest filters, in the slab.
fn placed(dispatcher: &Dispatcher) -> usize {
    let version = dispatcher.placement.version;
    (0..dispatcher.live.keys.places() as u32)
        .filter(|&key| dispatcher.live.keys[key].version == version)
        .count()
}

#[test]
fn a_join_with_filters_places_a_few_keys_at_a_time_anew_and_in_the_end_all() {
    let config = Config { ready_min: KEYS as u32, ..Config::new(Mode::KeyShared) };
    let mut dispatcher = Dispatcher::new(config, OwnerEpoch::FIRST);
    join(&mut dispatcher, 1, None, 0, &mut Vec::new());
    join(&mut dispatcher, 2, Some("even-*"), 0, &mut Vec::new());
    read_all(&mut dispatcher);
    dispatcher.check();
    assert_eq!((placed(&dispatcher), dispatcher.ready()), (KEYS as usize, KEYS as usize));

    // The third takes what it gets; the first leaves in the middle, with what waited for it still where it was.
    let mut out = Vec::new();
    join(&mut dispatcher, 3, Some("odd-*"), u32::MAX, &mut out);
    let mut steps = 0;
    loop {
        let before = placed(&dispatcher);
        assert!(steps > 0 || before <= SWEEP_KEYS, "{before} keys were placed anew at once");
        dispatcher.check();
        if dispatcher.next_deadline() != Some(Millis(0)) {
            break;
        }
        match steps {
            2 => {
                dispatcher.step(Millis(0), Input::Leave { consumer: ConsumerId(1), deadline: None }, &mut out)
            }
            _ => dispatcher.step(Millis(0), Input::Tick, &mut out),
        }
        assert!(placed(&dispatcher) <= before + SWEEP_KEYS || steps == 2);
        steps += 1;
    }
    assert!(steps >= 4, "{KEYS} keys take some steps, not {steps}");

    let delivered = out.iter().filter_map(|output| match output {
        Output::Deliver { offset, consumer, .. } => Some((offset.0, consumer.0)),
        _ => None,
    });
    let delivered: BTreeMap<i64, u64> = delivered.collect();
    let expected = (0..KEYS).filter(|nth| nth % 2 == 1).map(|nth| (nth, 3));
    assert_eq!(delivered, expected.collect(), "who alone wants the odd keys has them all, and no other");
    assert_eq!(dispatcher.owner_of(key(0).as_bytes()), Some(ConsumerId(2)));
}
