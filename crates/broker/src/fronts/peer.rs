//! Who is at the other end of one connection, and what was proved on it.
//!
//! **Invariant:** one login is checked at a time, and each that fails makes the next one on the connection wait longer, also
//! if its call is given up meanwhile.

use super::{
    credentials::{Credentials, Refused},
    proof::{Grounds, Proof, wall_ms},
};
use crate::{
    access::Caller,
    listeners::Endpoint,
    node::Node,
    sasl::{Mechanism, SaslSettings},
};
use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use keyway_access::Principal;
use keyway_runtime::Millis;
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use subtle::ConstantTimeEq;

/// Logins that one connection remembers: a client has one, a proxy those of its clients.
const REMEMBERED_MAX: usize = 16;

/// Longest wait after a failed login, whatever failed before it.
const FAILED_WAIT_MAX: Duration = Duration::from_secs(5);

/// One connection's client.
pub(crate) struct Peer {
    endpoint: Arc<Endpoint>,
    /// Whom calls without a login come from.
    caller: Arc<Caller>,
    remembered: Mutex<VecDeque<Remembered>>,
    /// Held while a login is checked.
    turn: tokio::sync::Mutex<Turn>,
}

/// What the logins so far mean for the next one.
#[derive(Default)]
struct Turn {
    /// How many have failed since the last that did not.
    failed: u32,
    /// The next one is not checked before.
    until: Millis,
}

/// A header that was right.
struct Remembered {
    hash: [u8; 32],
    proof: Arc<Proof>,
}

/// A login that was refused, for the audit log.
struct Failure {
    mechanism: &'static str,
    /// Who it said it was.
    claimed: Principal,
    /// What the client is told.
    refused: Refused,
    /// What the log says.
    reason: String,
}

impl Failure {
    fn new(mechanism: Mechanism, claimed: Principal, refused: Refused) -> Self {
        let reason = refused.to_string();
        Self { mechanism: mechanism.name(), claimed, refused, reason }
    }

    /// Of somebody who did not say who it is.
    fn of_nobody(refused: Refused) -> Self {
        let reason = refused.to_string();
        Self { mechanism: "none", claimed: Principal::anonymous(), refused, reason }
    }
}

impl Peer {
    /// A client of this listener; `caller` is who it is before it logs in.
    pub(crate) fn new(endpoint: Arc<Endpoint>, caller: Caller) -> Self {
        Self {
            endpoint,
            caller: Arc::new(caller),
            remembered: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Whether calls have to carry a login.
    pub(crate) fn wants_login(&self) -> bool {
        self.endpoint.sasl.is_some()
    }

    /// Whom a call comes from that carries no login, where it needs none.
    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// What a call with these headers proves; `None` where nothing has to be proved.
    pub(crate) async fn proof(
        &self,
        node: &Node,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Proof>>, Refused> {
        if !self.wants_login() {
            return Ok(None);
        }
        self.prove(node, headers.get(AUTHORIZATION)).await.map(Some)
    }

    /// What this header proves on a port that wants logins.
    pub(crate) async fn prove(
        &self,
        node: &Node,
        header: Option<&HeaderValue>,
    ) -> Result<Arc<Proof>, Refused> {
        let settings = self.endpoint.sasl.as_ref().expect("the port wants logins");
        let hash = header.map(|header| <[u8; 32]>::from(Sha256::digest(header.as_bytes())));
        let known = || hash.and_then(|hash| self.recall(node, &hash));
        if let Some(proof) = known() {
            return Ok(proof);
        }
        let mut turn = self.turn.lock().await;
        // While this call waited another one may have proved the same.
        if let Some(proof) = known() {
            return Ok(proof);
        }
        let clock = &node.world.clock;
        clock.sleep_until(turn.until).await;
        // It counts as failed until it has not: whoever does not wait for the answer waits for the next one.
        turn.failed = turn.failed.saturating_add(1);
        let wait = settings.failed_delay().saturating_mul(turn.failed).min(FAILED_WAIT_MAX);
        let wait_ms = u64::try_from(wait.as_millis()).expect("the longest wait is short");
        turn.until = clock.now().plus(wait_ms);
        let checked = match (header, hash) {
            (Some(header), Some(hash)) => {
                self.check(node, settings, header).await.map(|checked| (hash, checked))
            }
            _ => Err(Failure::of_nobody(Refused::Missing)),
        };
        match checked {
            Ok((hash, (mechanism, proof))) => {
                *turn = Turn::default();
                let proof = Arc::new(proof);
                if self.remember(hash, proof.clone()) {
                    self.endpoint.logins.succeeded(&node.audit, proof.caller(), mechanism);
                }
                Ok(proof)
            }
            Err(Failure { mechanism, claimed, refused, reason }) => {
                let claimed = Caller { principal: claimed, ..Caller::clone(&self.caller) };
                self.endpoint.logins.failed(&node.audit, &claimed, mechanism, &reason);
                turn.until = clock.now().plus(wait_ms);
                clock.sleep_until(turn.until).await;
                Err(refused)
            }
        }
    }

    /// Checks a header that is not known.
    async fn check(
        &self,
        node: &Node,
        settings: &SaslSettings,
        header: &HeaderValue,
    ) -> Result<(&'static str, Proof), Failure> {
        match Credentials::read(header).map_err(Failure::of_nobody)? {
            Credentials::Password { name, password } => {
                let mechanism = Mechanism::Plain;
                let refused = |refused| Failure::new(mechanism, Principal::user(name.clone()), refused);
                if !settings.takes(mechanism) {
                    return Err(refused(Refused::Mechanism { mechanism: mechanism.name() }));
                }
                let grounds = password_grounds(node, settings, &name, &password).await;
                let grounds = grounds.ok_or_else(|| refused(Refused::Wrong))?;
                let caller = Caller { principal: Principal::user(name), ..Caller::clone(&self.caller) };
                let proof = Proof::new(node, caller, grounds, settings.session_ms(mechanism));
                Ok((mechanism.name(), proof))
            }
            Credentials::Token(token) => {
                let mechanism = Mechanism::OauthBearer;
                let refused = |refused| Failure::new(mechanism, Principal::anonymous(), refused);
                let tokens = settings.tokens();
                let tokens =
                    tokens.ok_or_else(|| refused(Refused::Mechanism { mechanism: mechanism.name() }))?;
                let verified = tokens
                    .verify(&token, wall_ms(node))
                    .map_err(|error| Failure { reason: error.to_string(), ..refused(Refused::Token) })?;
                let session_ms = settings.session_ms(mechanism);
                Ok((mechanism.name(), Proof::of_token(node, &self.caller, verified, session_ms)))
            }
        }
    }

    /// What a header has proved before, if that still holds.
    fn recall(&self, node: &Node, hash: &[u8; 32]) -> Option<Arc<Proof>> {
        let remembered = self.remembered();
        let same = remembered.iter().find(|one| bool::from(one.hash.ct_eq(hash)))?;
        same.proof.is_fresh(node).then(|| same.proof.clone())
    }

    /// Remembers what a header proved; says whether it is one that was not remembered.
    fn remember(&self, hash: [u8; 32], proof: Arc<Proof>) -> bool {
        let mut remembered = self.remembered();
        let known = remembered.len();
        remembered.retain(|one| one.hash != hash);
        let is_new = remembered.len() == known;
        if remembered.len() == REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back(Remembered { hash, proof });
        is_new
    }

    fn remembered(&self) -> MutexGuard<'_, VecDeque<Remembered>> {
        self.remembered.lock().expect("no panic while proofs are remembered")
    }
}

/// What the password of a user rests on; `None` if it is not the user's.
async fn password_grounds(
    node: &Node,
    settings: &SaslSettings,
    name: &str,
    password: &str,
) -> Option<Grounds> {
    if settings.has_plain_user(name, password) {
        return Some(Grounds::Setting);
    }
    let seen = node.users.state();
    let credentials = node.users.proved(name, password).await?;
    Some(Grounds::User { credentials, seen: seen.into() })
}
