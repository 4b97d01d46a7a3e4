//! How often and for how long clients were held back.

use keyway_access::quota::QuotaKind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts by kind of quota.
#[derive(Default)]
pub(super) struct Figures {
    kinds: [OfKind; QuotaKind::ALL.len()],
}

#[derive(Default)]
struct OfKind {
    times: AtomicU64,
    wait_ms: AtomicU64,
}

/// The counts of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KindFigures {
    /// Requests, messages or connections that were held back.
    pub(crate) times: u64,
    /// For how long, together.
    pub(crate) wait_ms: u64,
}

impl Figures {
    pub(super) fn throttled(&self, kind: QuotaKind, wait_ms: u64) {
        let of_kind = &self.kinds[kind as usize];
        of_kind.times.fetch_add(1, Relaxed);
        of_kind.wait_ms.fetch_add(wait_ms, Relaxed);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (QuotaKind, KindFigures)> {
        let figures =
            |of: &OfKind| KindFigures { times: of.times.load(Relaxed), wait_ms: of.wait_ms.load(Relaxed) };
        QuotaKind::ALL.into_iter().zip(self.kinds.iter().map(figures))
    }
}
