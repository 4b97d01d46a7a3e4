//! When a connection has said nothing for too long: `connections.max.idle.ms`.

use crate::node::Node;
use keyway_runtime::{BoxFuture, Millis};

/// The timer of one connection. A request only notes the time; the timer is set anew when it fires.
pub(crate) struct Idle {
    heard: Millis,
    timer: Option<(Millis, BoxFuture<'static, ()>)>,
}

impl Idle {
    /// A connection that was just accepted.
    pub(crate) fn new(node: &Node) -> Self {
        Self { heard: node.world.clock.now(), timer: None }
    }

    /// The client has sent a request, or was sent an answer.
    pub(crate) fn heard(&mut self, node: &Node) {
        self.heard = node.world.clock.now();
    }

    /// Returns once nothing was heard for so long as the setting allows; never if it allows any time. Cancel-safe.
    pub(crate) async fn over(&mut self, node: &Node) {
        loop {
            let Ok(idle_ms) = u64::try_from(node.settings.now().connection_idle_ms_max) else {
                return std::future::pending().await;
            };
            let deadline = self.heard.plus(idle_ms);
            if node.world.clock.now() >= deadline {
                return;
            }
            // One that fires early is set again; one that would fire late is not waited for.
            let fires = self.timer.as_ref().map(|(at, _)| *at);
            if fires.is_none_or(|at| at > deadline) {
                self.timer = Some((deadline, node.world.clock.sleep_until(deadline)));
            }
            let (_, timer) = self.timer.as_mut().expect("just set");
            timer.await;
            self.timer = None;
        }
    }
}
