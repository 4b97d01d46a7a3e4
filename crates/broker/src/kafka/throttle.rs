//! How a request is charged, and its client held back: the answer says for how long and goes out at once, and the
//! connection reads nothing until then (KIP-219). Clients that know this wait by themselves; others are made to.

use super::call::Call;
use crate::{access::Caller, node::Node, quotas::Mute};
use keyway_access::quota::QuotaKind;
use std::sync::Arc;

/// Whoever a request is charged to, for answers that come later.
pub(super) struct Account {
    node: Arc<Node>,
    caller: Arc<Caller>,
    client_id: String,
    mute: Mute,
}

/// A wait, and the quota that asks for it.
#[derive(Clone, Copy)]
struct Wait {
    ms: u64,
    kind: QuotaKind,
}

impl Account {
    /// `None` where nobody has a quota.
    pub(super) fn of(call: &Call<'_>) -> Option<Self> {
        call.node.quotas.any().then(|| Self {
            node: call.node.clone(),
            caller: call.caller.clone(),
            client_id: call.client_id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned()),
            mute: call.mute.clone(),
        })
    }

    /// Charges a produce request, and holds its connection back. A request that gets no answer is charged no time.
    pub(super) fn produced(&self, bytes: usize, is_answered: bool) -> i32 {
        let by_bytes = self.charge(QuotaKind::ProducerByteRate, bytes as f64);
        let by_time = is_answered.then(|| self.time());
        self.hold(by_bytes, by_time)
    }

    /// Charges a fetch response of so many bytes, and holds its connection back. If that is for any time, the response
    /// must not go out: an empty one does, and its bytes cost nothing.
    pub(super) fn fetched(&self, bytes: usize) -> i32 {
        let by_bytes = self.charge(QuotaKind::ConsumerByteRate, bytes as f64);
        let held_ms = self.hold(by_bytes, Some(self.time()));
        if held_ms > 0 {
            let quotas = &self.node.quotas;
            quotas.refund(QuotaKind::ConsumerByteRate, &self.caller, &self.client_id, bytes as f64);
        }
        held_ms
    }

    /// Bytes that a fetch may bring without being held back in any case.
    pub(super) fn fetch_bytes_max(&self) -> Option<usize> {
        let burst = self.node.quotas.burst(QuotaKind::ConsumerByteRate, &self.caller, &self.client_id);
        burst.map(|bytes| bytes as usize)
    }

    /// Charges `count` partitions that come or go. With `strict`, who used up the quota is refused.
    pub(super) fn mutated(&self, count: usize, strict: bool) -> Result<u64, u64> {
        let (kind, count) = (QuotaKind::ControllerMutationRate, count as f64);
        if strict {
            return self.node.quotas.charge_strictly(kind, &self.caller, &self.client_id, count).map(|()| 0);
        }
        Ok(self.charge(kind, count).ms)
    }

    /// Holds the connection back for what its requests cost, and for `mutation_ms`.
    pub(super) fn answered(&self, mutation_ms: u64) -> i32 {
        self.hold(Wait { ms: mutation_ms, kind: QuotaKind::ControllerMutationRate }, Some(self.time()))
    }

    /// Charges the time in which a request held a thread. It is known once the answer is made, so it is waited for at the
    /// next one.
    pub(super) fn ran(&self, thread_us: u64) {
        // Percents of a thread's second.
        self.charge(QuotaKind::RequestPercentage, thread_us as f64 / 1e4);
    }

    fn time(&self) -> Wait {
        self.charge(QuotaKind::RequestPercentage, 0.0)
    }

    fn charge(&self, kind: QuotaKind, amount: f64) -> Wait {
        Wait { ms: self.node.quotas.charge(kind, &self.caller, &self.client_id, amount), kind }
    }

    /// The longer wait is the one that is waited for.
    fn hold(&self, first: Wait, second: Option<Wait>) -> i32 {
        let longer = second.filter(|second| second.ms >= first.ms).unwrap_or(first);
        if longer.ms == 0 {
            return 0;
        }
        self.node.quotas.throttled(longer.kind, longer.ms);
        self.mute.until(self.node.world.clock.now().plus(longer.ms));
        i32::try_from(longer.ms).unwrap_or(i32::MAX)
    }
}
