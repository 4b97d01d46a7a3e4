//! Random histories against a naive model, planted bugs, and the rules one by one.
//!
//! `KEYWAY_SEED=17` repeats one history and prints it; `KEYWAY_SEEDS=1000000` runs that many.

mod filters;
mod model;
mod placement;
mod rules;
mod world;

use crate::mutant::Mutant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Inject, Tally, World};

const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number, not {text:?}")))
}

#[test]
fn random_histories_follow_the_rules() {
    let seeds = match (number("KEYWAY_SEED"), number("KEYWAY_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let mut tally = Tally::default();
    let many = seeds.end - seeds.start >= SEEDS;
    for seed in seeds {
        let history = || {
            let mut world = World::new(seed, None);
            world.trace = number("KEYWAY_SEED").is_some();
            world.run();
            tally.add(world.tally);
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(history)) {
            eprintln!("repeat: KEYWAY_SEED={seed} cargo test -p keyway-dispatch random_histories");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{tally:?}");
    let rare = tally.fields().into_iter().min().copied();
    assert!(!many || rare > Some(50), "everything happens often: {tally:?}");
}

/// A join, a leave, a change of filters, a loss, a crash and an expiry, at every moment of some histories.
#[test]
fn whatever_happens_may_happen_at_any_moment() {
    const EVENTS: usize = 40;
    for seed in 0..16 {
        for at in 0..EVENTS {
            for inject in Inject::ALL {
                let history = || World::new(1_000_000 + seed, None).run_with(inject, at, EVENTS);
                if let Err(panic) = catch_unwind(AssertUnwindSafe(history)) {
                    eprintln!("history {seed} with {inject:?} before its event {at}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// The suite itself is tested: each planted bug fails some history.
#[test]
fn every_planted_bug_is_caught() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let first = Mutant::ALL.map(|mutant| {
        let fails =
            |&seed: &u64| catch_unwind(AssertUnwindSafe(|| World::new(seed, Some(mutant)).run())).is_err();
        (mutant, (0..1_000).find(fails))
    });
    std::panic::set_hook(hook);
    println!("first failing seed of each planted bug: {first:?}");
    let missed: Vec<_> = first.iter().filter(|(_, seed)| seed.is_none()).collect();
    assert!(missed.is_empty(), "the histories miss {missed:?}");
}
