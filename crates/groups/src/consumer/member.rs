//! One member under the consumer protocol.

use super::{holding::Holding, stored::StoredConsumer, subscription::Subscription};
use crate::{
    assignor::Assignor,
    ids::{InstanceId, Millis},
    message::Protocol,
};
use std::sync::Arc;

/// A member; its id is the key it is kept under.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) rack_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    /// The assignor that the member asks for.
    pub(crate) assignor: Option<Assignor>,
    pub(crate) subscription: Subscription,
    /// Set while the member speaks the classic protocol.
    pub(crate) classic: Option<Classic>,
    pub(crate) holding: Holding,
    pub(crate) due: Deadlines,
}

/// What a member of a consumer group is that speaks the classic protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Classic {
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
}

/// When a member is expelled for what it did not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadlines {
    /// Be heard of.
    pub(crate) session: Millis,
    /// Give up what the group took.
    pub(crate) revoke: Option<Millis>,
    /// Join again, of a classic member that was told to.
    pub(crate) join: Option<Millis>,
    /// Ask for the assignment, of a classic member that joined.
    pub(crate) sync: Option<Millis>,
}

impl Member {
    /// Whether both would be stored alike.
    pub(crate) fn says_same(&self, other: &Self) -> bool {
        StoredConsumer::of(self) == StoredConsumer::of(other)
    }
}

impl Deadlines {
    pub(crate) fn new(session: Millis) -> Self {
        Self { session, revoke: None, join: None, sync: None }
    }

    /// The first of them.
    pub(crate) fn next(&self) -> Millis {
        [self.revoke, self.join, self.sync].into_iter().flatten().fold(self.session, Millis::min)
    }
}
