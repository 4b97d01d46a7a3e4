//! A clock that runs faster than the machine's, for what takes a minute.

use keyway_runtime::{BoxFuture, Clock, Millis, RealClock, World};
use std::sync::Arc;

struct FastClock {
    real: RealClock,
    times: u64,
}

/// This machine with time that goes so many times as fast; the wall clock is the real one.
pub(crate) fn world(times: u64) -> World {
    World { clock: Arc::new(FastClock { real: RealClock::new(), times }), ..World::real() }
}

impl Clock for FastClock {
    fn now(&self) -> Millis {
        Millis(self.real.now().0 * self.times)
    }

    fn wall_ms(&self) -> i64 {
        self.real.wall_ms()
    }

    fn sleep_until(&self, deadline: Millis) -> BoxFuture<'static, ()> {
        self.real.sleep_until(Millis(deadline.0.div_ceil(self.times)))
    }
}
