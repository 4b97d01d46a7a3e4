//! Quotas on the Danube protocol, which has no word for a throttle time: what is over the quota is taken, and its answer
//! or the next delivery waits. Who goes on sending beside answers that wait is refused with a status that every client
//! answers by trying again, and told when.

use super::request_memory::Held;
use crate::{access::Caller, node::Node};
use keyway_access::quota::QuotaKind;
use keyway_runtime::BoxFuture;
use std::sync::Arc;
use tonic::{Extensions, Status, metadata::MetadataValue};

/// Longest wait of one answer or delivery: clients take a call that takes much longer for lost.
const HELD_MS_MAX: u64 = 5_000;

/// Says when to try again, ms; gRPC's own name for it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// One client whose bytes are counted. Its client id is the name of its producer or consumer.
pub(super) struct Account {
    node: Arc<Node>,
    caller: Arc<Caller>,
    name: String,
    kind: QuotaKind,
}

impl Account {
    /// `None` where nobody has a quota of this kind.
    pub(super) fn of(node: &Arc<Node>, kind: QuotaKind, extensions: &Extensions, name: &str) -> Option<Self> {
        node.quotas.has(kind).then(|| Self::new(node, kind, extensions, name))
    }

    /// One that outlives its call: quotas may be set later.
    pub(super) fn new(node: &Arc<Node>, kind: QuotaKind, extensions: &Extensions, name: &str) -> Self {
        let caller = extensions.get::<Arc<Caller>>().expect("every request has a caller").clone();
        Self { node: node.clone(), caller, name: name.to_owned(), kind }
    }

    /// Refuses a client that owes more than an answer can wait for.
    pub(super) fn admit(&self) -> Result<(), Status> {
        let wait_ms = self.charge(0);
        if wait_ms <= HELD_MS_MAX {
            return Ok(());
        }
        self.node.quotas.throttled(self.kind, wait_ms);
        let quota = self.kind.name();
        let text = format!("the {quota} of {:?} is used up; try again in {wait_ms} ms", self.name);
        let mut status = Status::resource_exhausted(text);
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from(wait_ms));
        Err(status)
    }

    /// Waits for what `bytes` cost. The request's memory is free meanwhile.
    pub(super) async fn pay(&self, bytes: usize, held: Option<&Held>) {
        if let Some(held) = held {
            held.release();
        }
        if let Some(pause) = self.pause(bytes) {
            pause.await;
        }
    }

    /// What `bytes` cost, as a wait; `None` within the quota.
    pub(super) fn pause(&self, bytes: usize) -> Option<BoxFuture<'static, ()>> {
        let wait_ms = self.charge(bytes).min(HELD_MS_MAX);
        if wait_ms == 0 {
            return None;
        }
        self.node.quotas.throttled(self.kind, wait_ms);
        let clock = &self.node.world.clock;
        Some(clock.sleep_until(clock.now().plus(wait_ms)))
    }

    fn charge(&self, bytes: usize) -> u64 {
        self.node.quotas.charge(self.kind, &self.caller, &self.name, bytes as f64)
    }
}
