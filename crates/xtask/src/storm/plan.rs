//! What a storm does, from one seed.

use std::time::Duration;

use crate::random::Random;

/// Something that befalls workers or the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A worker's connection breaks, and everything that it holds is lost.
    Kill,
    /// A worker closes its consumer and goes.
    Leave,
    /// `kill -9` of the broker, and a new start.
    Crash,
    /// SIGTERM to the broker, and a new start.
    Stop,
}

/// The next event, and how long to wait for it.
pub(super) fn next_event(random: &mut Random) -> (Duration, Event) {
    const PAUSE_MAX_MS: u64 = 500;
    let pause = Duration::from_millis(random.below(PAUSE_MAX_MS));
    let event = match random.below(100) {
        0..3 => Event::Crash,
        3..5 => Event::Stop,
        5..35 => Event::Leave,
        _ => Event::Kill,
    };
    (pause, event)
}

/// A worker that went comes back after this: within its grace or long after it, under its name or as somebody new.
pub(super) fn comeback(random: &mut Random) -> (Duration, bool) {
    const AWAY_MAX_MS: u64 = 6_000;
    (Duration::from_millis(random.below(AWAY_MAX_MS)), random.below(3) > 0)
}

/// What a worker does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Acknowledges it after this time, and takes others meanwhile.
    Ack { after_ms: u64 },
    /// Refuses it after this time.
    Nack { after_ms: u64, delay_ms: u64 },
    /// Never answers it.
    Withhold,
}

/// The same for the same message, whoever gets it. One that failed twice is processed, so that failures never use it up.
pub(super) fn fate(seed: u64, offset: u64, delivered_before: usize, withheld_per_mille: u64) -> Fate {
    const FAILURES_MAX: usize = 2;
    /// Long enough that kills and departures meet messages in hand.
    const WORK_MAX_MS: u64 = 300;
    let mut random = Random::new(seed ^ offset.rotate_left(17) ^ (delivered_before as u64) << 56);
    let after_ms = if random.below(4) == 0 { random.below(WORK_MAX_MS) } else { 0 };
    if delivered_before >= FAILURES_MAX {
        return Fate::Ack { after_ms };
    }
    if random.below(1_000) < withheld_per_mille {
        return Fate::Withhold;
    }
    match random.below(100) {
        0..3 => Fate::Nack { after_ms, delay_ms: random.below(1_500) },
        _ => Fate::Ack { after_ms },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let events = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| next_event(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(events(7), events(7));
        assert_ne!(events(7), events(8));
        assert_eq!(fate(7, 3, 0, 1), fate(7, 3, 0, 1));
    }

    #[test]
    fn a_message_fails_twice_at_most() {
        assert!((0..10_000).all(|offset| matches!(fate(7, offset, 2, 500), Fate::Ack { .. })));
        let fates: Vec<Fate> = (0..10_000).map(|offset| fate(7, offset, 0, 10)).collect();
        let withheld = fates.iter().filter(|fate| **fate == Fate::Withhold).count();
        assert!((50..200).contains(&withheld), "{withheld}");
    }
}
