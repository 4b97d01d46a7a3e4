//! A bucket of tokens: what comes rarely and in bulk.

use super::Windows;

/// Tokens that come at the pace of the limit, at most those of all windows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    /// Below 0 when more was taken than there was.
    left: f64,
    /// `None` before the first use, when the bucket is full.
    since_ms: Option<u64>,
}

impl Tokens {
    /// Takes `value` tokens, be they there or not.
    pub(super) fn take(&mut self, windows: Windows, limit: f64, value: f64, now_ms: u64) {
        self.fill(windows, limit, now_ms);
        self.left = (self.left - value).min(most(windows, limit));
    }

    /// How long until none is owed; 0 if none is.
    pub(super) fn wait_ms(&mut self, windows: Windows, limit: f64, now_ms: u64) -> u64 {
        self.fill(windows, limit, now_ms);
        if self.left >= 0.0 {
            return 0;
        }
        (-self.left / limit * 1e3).round() as u64
    }

    /// Whether the bucket has filled up again since it was last used, so that it need not be remembered. A limit that was
    /// raised meanwhile only makes that sooner.
    pub(super) fn is_idle(&self, windows: Windows, now_ms: u64) -> bool {
        let wanted = if self.left < 0.0 { return false } else { windows.span_ms() };
        self.since_ms.is_none_or(|since_ms| now_ms.saturating_sub(since_ms) >= wanted)
    }

    fn fill(&mut self, windows: Windows, limit: f64, now_ms: u64) {
        let most = most(windows, limit);
        self.left = match self.since_ms {
            None => most,
            Some(since_ms) => (self.left + limit * now_ms.saturating_sub(since_ms) as f64 / 1e3).min(most),
        };
        self.since_ms = self.since_ms.max(Some(now_ms));
    }
}

/// What a full bucket holds.
fn most(windows: Windows, limit: f64) -> f64 {
    limit * windows.span_ms() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, window_ms: 1_000 };

    #[test]
    fn a_burst_is_paid_back_at_the_pace_of_the_limit() {
        let mut tokens = Tokens::default();
        tokens.take(WINDOWS, 5.0, 55.0, 1_000);
        assert_eq!(tokens.wait_ms(WINDOWS, 5.0, 1_000), 0, "a full bucket of 11 s");
        tokens.take(WINDOWS, 5.0, 60.0, 1_000);
        assert_eq!(tokens.wait_ms(WINDOWS, 5.0, 1_000), 12_000);
        assert_eq!(tokens.wait_ms(WINDOWS, 5.0, 7_000), 6_000);
        assert!(!tokens.is_idle(WINDOWS, 30_000), "it owed when it was last looked at");
        assert_eq!(tokens.wait_ms(WINDOWS, 5.0, 13_000), 0);
        assert!(!tokens.is_idle(WINDOWS, 23_999) && tokens.is_idle(WINDOWS, 24_000));
        tokens.take(WINDOWS, 5.0, 0.0, 1_000_000);
        assert_eq!(tokens.left, 55.0, "no more than a full bucket");
    }
}
