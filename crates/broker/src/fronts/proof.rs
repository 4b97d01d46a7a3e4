//! What was proved once, and how long it holds.

use crate::{access::Caller, node::Node, tokens::Verified, users};
use keyway_runtime::Millis;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How long a token is taken before its signature is checked again: keys may be withdrawn.
const TOKEN_AGAIN_MS: u64 = 60_000;

/// Who somebody is, and what that rests on.
pub(crate) struct Proof {
    caller: Arc<Caller>,
    grounds: Grounds,
    /// When its session is over, by `connections.max.reauth.ms`.
    ends: Option<Millis>,
}

/// What a proof rests on.
pub(super) enum Grounds {
    /// A password of the settings, which stay as they are.
    Setting,
    /// The password of a user who had these keys; `seen` is the state of all users in which it was found so.
    User { credentials: users::Credentials, seen: AtomicU64 },
    /// A token that is good until this time of the wall clock, and whose signature is checked `again` from then on.
    Token { expires_ms: u64, again: Millis },
}

/// Why a proof holds no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The user is gone, or has another password.
    #[error("the user is gone or its password has changed; log in again")]
    UserChanged,
    /// The token is too old.
    #[error("the token has expired; go on with a new one")]
    TokenExpired,
    /// The session has lasted as long as the settings allow.
    #[error("the session is as long as connections.max.reauth.ms allows; log in again")]
    SessionOver,
}

impl Proof {
    /// A proof whose session lasts for `session_ms`, if that is something.
    pub(super) fn new(node: &Node, caller: Caller, grounds: Grounds, session_ms: Option<u64>) -> Self {
        let ends = session_ms.map(|ms| node.world.clock.now().plus(ms));
        Self { caller: Arc::new(caller), grounds, ends }
    }

    /// The proof that a token gives to a client of the same address and listener as `caller`.
    pub(super) fn of_token(
        node: &Node,
        caller: &Caller,
        verified: Verified,
        session_ms: Option<u64>,
    ) -> Self {
        let Verified { principal, expires_ms } = verified;
        let again = node.world.clock.now().plus(TOKEN_AGAIN_MS);
        let caller = Caller { principal, ..caller.clone() };
        Self::new(node, caller, Grounds::Token { expires_ms, again }, session_ms)
    }

    /// Who it is.
    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Whether it is as good as on its first day.
    pub(super) fn is_fresh(&self, node: &Node) -> bool {
        let is_due = match self.grounds {
            Grounds::Token { again, .. } => node.world.clock.now() >= again,
            Grounds::Setting | Grounds::User { .. } => false,
        };
        !is_due && self.check(node).is_ok()
    }

    /// Whether what goes on because of it may go on.
    pub(crate) fn check(&self, node: &Node) -> Result<(), Ended> {
        if self.ends.is_some_and(|ends| node.world.clock.now() >= ends) {
            return Err(Ended::SessionOver);
        }
        match &self.grounds {
            Grounds::Setting => Ok(()),
            Grounds::User { credentials, seen } => {
                let state = node.users.state();
                if seen.load(Relaxed) == state {
                    return Ok(());
                }
                if !node.users.has(self.caller.principal.name(), credentials) {
                    return Err(Ended::UserChanged);
                }
                seen.store(state, Relaxed);
                Ok(())
            }
            Grounds::Token { expires_ms, .. } if wall_ms(node) < *expires_ms => Ok(()),
            Grounds::Token { .. } => Err(Ended::TokenExpired),
        }
    }
}

/// The time by which tokens expire, milliseconds since 1970.
pub(super) fn wall_ms(node: &Node) -> u64 {
    u64::try_from(node.world.clock.wall_ms()).unwrap_or(0)
}
