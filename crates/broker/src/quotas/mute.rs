//! How a connection is held back: its answer goes out at once, its next request waits.

use keyway_runtime::Millis;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Until when no further request of a connection is read. Shared by the connection and by the requests that it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mute {
    until_ms: Arc<AtomicU64>,
}

impl Mute {
    /// Holds the connection back until `until` at least.
    pub(crate) fn until(&self, until: Millis) {
        self.until_ms.fetch_max(until.0, Relaxed);
    }

    /// Until when the connection is held back; `None` if it never was.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        match self.until_ms.load(Relaxed) {
            0 => None,
            until_ms => Some(Millis(until_ms)),
        }
    }
}
