//! How evenly consumers share the slots, and what moves when one joins or leaves.

use crate::placement::mix;
use crate::*;

/// A Key-Shared dispatcher with so many slots and consumers.
fn joined(slots: u32, consumers: u64) -> Dispatcher {
    let config = Config { slots, ..Config::new(Mode::KeyShared) };
    let mut dispatcher = Dispatcher::new(config, OwnerEpoch::FIRST);
    (0..consumers).for_each(|consumer| join(&mut dispatcher, consumer));
    dispatcher
}

fn join(dispatcher: &mut Dispatcher, consumer: u64) {
    let (name_hash, consumer) = (mix(consumer + 1), ConsumerId(consumer));
    let join = Join { consumer, name_hash, filters: vec![], credit: 1, in_flight_per_key: 1 };
    dispatcher.step(Millis(0), Input::Join(join), &mut Vec::new());
}

fn owners(dispatcher: &Dispatcher) -> Vec<u32> {
    dispatcher.placement.slots.iter().take(dispatcher.config.slots as usize).map(|slot| slot.owner).collect()
}

#[test]
fn shares_are_even_and_a_change_of_members_moves_one_share() {
    println!("consumers slots max/mean join leave ideal");
    let cases: [(u64, u32); 4] = [(10, 4_096), (100, 4_096), (100, 16_384), (1_000, 16_384)];
    for (consumers, slots) in cases {
        let mut dispatcher = joined(slots, consumers);
        let before = owners(&dispatcher);
        let loads = dispatcher.stats().consumers;
        let most = loads.iter().map(|consumer| consumer.slots).max().expect("there are consumers");
        let mean = f64::from(slots) / consumers as f64;
        let max_over_mean = f64::from(most) / mean;
        let share = |moved: usize| moved as f64 / f64::from(slots);
        let moved = |now: &[u32]| before.iter().zip(now).filter(|(before, now)| before != now).count();

        join(&mut dispatcher, consumers);
        let joined = share(moved(&owners(&dispatcher)));
        dispatcher.step(
            Millis(0),
            Input::Leave { consumer: ConsumerId(consumers), deadline: None },
            &mut Vec::new(),
        );
        assert_eq!(owners(&dispatcher), before, "who comes and goes leaves no trace");
        dispatcher.step(Millis(0), Input::Leave { consumer: ConsumerId(0), deadline: None }, &mut Vec::new());
        let left = share(moved(&owners(&dispatcher)));

        let ideal = 1.0 / consumers as f64;
        println!("{consumers} {slots} {max_over_mean:.3} {joined:.4} {left:.4} {ideal:.4}");
        assert!(max_over_mean <= 1.1);
        // The bound itself moves with the number of members: those at it give or take a slot, the coarser the more.
        assert!((0.8 * ideal..1.8 * ideal).contains(&joined), "a join moves about its share, not {joined}");
        assert!((0.8 * ideal..1.8 * ideal).contains(&left), "a leave moves about its share, not {left}");
    }
}
