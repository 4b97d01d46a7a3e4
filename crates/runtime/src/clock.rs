//! Time: a monotonic one for timers, the wall clock for timestamps.

use crate::BoxFuture;
use keyway_record::Millis;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Monotonic time, since an arbitrary start.
    fn now(&self) -> Millis;

    /// As [`Clock::now`] in microseconds, to measure what is shorter than a millisecond.
    fn now_us(&self) -> u64 {
        self.now().0.saturating_mul(1_000)
    }

    /// Wall-clock time, milliseconds since the Unix epoch; may jump.
    fn wall_ms(&self) -> i64;

    /// Resolves once [`Clock::now`] has reached `deadline`.
    fn sleep_until(&self, deadline: Millis) -> BoxFuture<'static, ()>;
}

/// The machine's clocks; sleeping needs a tokio runtime.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock that starts at 0 now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> Millis {
        Millis(self.start.elapsed().as_millis() as u64)
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        since.as_millis() as i64
    }

    fn sleep_until(&self, deadline: Millis) -> BoxFuture<'static, ()> {
        // One more millisecond, so that `now` has reached the deadline after truncation.
        let at = self.start + Duration::from_millis(deadline.0.saturating_add(1).min(1 << 50));
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}
