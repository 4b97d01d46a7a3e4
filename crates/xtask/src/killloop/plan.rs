//! What befalls the broker, from one seed.

use std::time::Duration;

use crate::random::Random;

/// How the broker goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// `kill -9`.
    Kill,
    /// SIGTERM: it has to leave by itself, and well.
    Terminate,
    /// SIGSTOP for a while, then `kill -9`: clients wait before they see it gone.
    Freeze { for_ms: u64 },
}

/// One cycle: how long the broker lives, how it dies, and after how long its next starts die before they are done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cycle {
    pub(super) alive: Duration,
    pub(super) death: Death,
    pub(super) recoveries_killed_after: Vec<Duration>,
}

/// The next cycle.
pub(super) fn next_cycle(random: &mut Random) -> Cycle {
    const ALIVE_MIN_MS: u64 = 5;
    const ALIVE_MAX_MS: u64 = 1_500;
    const FREEZE_MAX_MS: u64 = 400;
    const RECOVERY_KILLS_MAX: usize = 3;
    /// A start takes 5 to 20 ms: most of these end one before it answers.
    const RECOVERY_MAX_US: u64 = 25_000;
    let alive = Duration::from_millis(ALIVE_MIN_MS + random.below(ALIVE_MAX_MS - ALIVE_MIN_MS));
    let death = match random.below(10) {
        0..7 => Death::Kill,
        7..9 => Death::Terminate,
        _ => Death::Freeze { for_ms: 1 + random.below(FREEZE_MAX_MS) },
    };
    let mut recoveries_killed_after = Vec::new();
    while recoveries_killed_after.len() < RECOVERY_KILLS_MAX && random.below(4) == 0 {
        recoveries_killed_after.push(Duration::from_micros(random.below(RECOVERY_MAX_US)));
    }
    Cycle { alive, death, recoveries_killed_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let cycles = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| next_cycle(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(cycles(7), cycles(7));
        assert_ne!(cycles(7), cycles(8));
    }

    #[test]
    fn deaths_have_their_shares() {
        let mut random = Random::new(1);
        let cycles: Vec<Cycle> = (0..1_000).map(|_| next_cycle(&mut random)).collect();
        let share = |is: fn(&Cycle) -> bool| cycles.iter().filter(|cycle| is(cycle)).count();
        assert!((650..750).contains(&share(|cycle| cycle.death == Death::Kill)));
        assert!((150..250).contains(&share(|cycle| cycle.death == Death::Terminate)));
        assert!((200..300).contains(&share(|cycle| !cycle.recoveries_killed_after.is_empty())));
        assert!(cycles.iter().all(|cycle| (5..1_500).contains(&cycle.alive.as_millis())));
    }
}
