//! Whether a stream may go on: it outlives the call that its client was let in with.

use super::{consumer::permits_consumer, permits::Permits};
use crate::{access::Caller, fronts::Proof, node::Node, subscription::Subscription};
use keyway_runtime::BoxFuture;
use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};
use tonic::{Extensions, Status};

/// How often it is looked at: so long at most a stream outlives its login, or the rules that allowed it.
const LOOK_EVERY_MS: u64 = 5_000;

/// What a stream rests on.
pub(super) struct Standing {
    node: Arc<Node>,
    caller: Arc<Caller>,
    /// `None` where nobody logs in.
    proof: Option<Arc<Proof>>,
    subscription: Arc<Subscription>,
    next: BoxFuture<'static, ()>,
}

impl Standing {
    /// Of a stream whose call has these extensions; `None` where there are neither logins nor rules.
    pub(super) fn of(
        node: &Arc<Node>,
        extensions: &Extensions,
        subscription: &Arc<Subscription>,
    ) -> Option<Self> {
        let proof = extensions.get::<Arc<Proof>>().cloned();
        if proof.is_none() && !node.access.is_enforced() {
            return None;
        }
        let caller = extensions.get::<Arc<Caller>>().expect("every request has a caller").clone();
        let (node, subscription) = (node.clone(), subscription.clone());
        Some(Self { next: next(&node), node, caller, proof, subscription })
    }

    /// Ready when the stream may not go on.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        loop {
            ready!(self.next.as_mut().poll(context));
            if let Err(status) = self.look() {
                return Poll::Ready(status);
            }
            self.next = next(&self.node);
        }
    }

    fn look(&self) -> Result<(), Status> {
        if let Some(Err(ended)) = self.proof.as_ref().map(|proof| proof.check(&self.node)) {
            // Clients open the stream again after this, with a new token if they have one; the old one is refused then.
            return Err(Status::unavailable(ended.to_string()));
        }
        permits_consumer(&self.node, &Permits::of_caller(&self.node, self.caller.clone()), &self.subscription)
    }
}

fn next(node: &Node) -> BoxFuture<'static, ()> {
    let clock = &node.world.clock;
    clock.sleep_until(clock.now().plus(LOOK_EVERY_MS))
}
