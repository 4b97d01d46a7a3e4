//! Writes beside the subscription's topic that are under way: a few at a time, the rest in line.

use super::{side_message::SideMessage, side_topic::SideTopicError};
use keyway_record::Offset;
use std::{collections::VecDeque, future::Future};
use tokio::task::JoinSet;

/// Writes at a time: enough to share flushes, few enough that their records in memory do not count.
const WRITES_MAX: usize = 64;

/// One subscription's writes.
pub(super) struct SideWrites {
    running: JoinSet<SideWritten>,
    waiting: VecDeque<SideMessage>,
}

/// How a write went.
pub(super) struct SideWritten {
    pub(super) offset: Offset,
    pub(super) outcome: Result<(), SideTopicError>,
}

impl SideWrites {
    pub(super) fn new() -> Self {
        Self { running: JoinSet::new(), waiting: VecDeque::new() }
    }

    /// Takes a message in; [`SideWrites::next_to_write`] says when it is its turn.
    pub(super) fn push(&mut self, message: SideMessage) {
        self.waiting.push_back(message);
    }

    /// A message whose write can begin now.
    pub(super) fn next_to_write(&mut self) -> Option<SideMessage> {
        if self.running.len() < WRITES_MAX { self.waiting.pop_front() } else { None }
    }

    pub(super) fn begin(&mut self, write: impl Future<Output = SideWritten> + Send + 'static) {
        self.running.spawn(write);
    }

    /// The next write that ends; never, if none is under way.
    pub(super) async fn written(&mut self) -> SideWritten {
        match self.running.join_next().await {
            Some(written) => written.expect("a write beside does not panic"),
            None => std::future::pending().await,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// After a seek nobody waits for those in line.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}
