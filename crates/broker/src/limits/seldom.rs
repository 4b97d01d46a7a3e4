//! Warnings that strangers can bring about as often as they like.

use keyway_runtime::Millis;
use std::sync::Mutex;

/// How long no further warning of the same kind is written, ms. What happens meanwhile is counted.
const SILENCE_MS: u64 = 60_000;

/// One kind of warning.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Until when nothing is written; `None` before the first time.
    silent_until: Option<Millis>,
    untold: u64,
}

impl Seldom {
    /// It has happened. How often since the last warning, this time included, if there is to be one now.
    pub(crate) fn happened(&self, now: Millis) -> Option<u64> {
        let mut state = self.state.lock().expect("no panic while warnings are counted");
        state.untold += 1;
        if state.silent_until.is_some_and(|until| now < until) {
            return None;
        }
        state.silent_until = Some(now.plus(SILENCE_MS));
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_how_many_there_were() {
        let seldom = Seldom::default();
        assert_eq!(seldom.happened(Millis(5)), Some(1));
        for at in 6..1_000 {
            assert_eq!(seldom.happened(Millis(at)), None);
        }
        assert_eq!(seldom.happened(Millis(5 + SILENCE_MS - 1)), None);
        assert_eq!(seldom.happened(Millis(5 + SILENCE_MS)), Some(994 + 2));
        assert_eq!(seldom.happened(Millis(5 + SILENCE_MS)), None);
    }
}
