//! One connection's login: what a client may send before it, and how long it counts.
//!
//! 1. ApiVersions at most once, then SaslHandshake, which names the mechanism.
//! 2. Messages of the mechanism in SaslAuthenticate, or after SaslHandshake version 0 as bare bytes with their length.
//! 3. Every other request, for as long as the session lasts. A further SaslHandshake begins the login again (KIP-368): the
//!    same user by the same mechanism, at most once a second.
//!
//! **Invariant:** no request is handled before a login but the three of them.

use super::{
    Mechanism, SaslSettings,
    exchange::{Exchange, Refusal, Step},
};
use crate::{
    access::Caller,
    kafka::{self, Reply, handshake},
    listeners::Endpoint,
    node::Node,
    quotas::Mute,
};
use bytes::{BufMut, Bytes, BytesMut};
use keyway_access::Principal;
use keyway_kafka_wire::{ApiKey, RequestHeader};
use keyway_record::ErrorCode;
use keyway_runtime::Millis;
use std::sync::Arc;

/// Least time between two logins of a connection.
const AGAIN_AFTER_MS: u64 = 1_000;

/// The login of one connection.
pub(crate) struct Login {
    endpoint: Arc<Endpoint>,
    caller: Arc<Caller>,
    state: State,
    /// When the session ends.
    expires: Option<Millis>,
    /// When the client began to log in again.
    began_again: Option<Millis>,
}

enum State {
    /// The client may ask for versions, once, or begin.
    Fresh { asked_versions: bool },
    /// A mechanism is agreed on.
    Open { mechanism: Mechanism, exchange: Exchange, framing: Framing, again: bool },
    /// The client wants to log in again by another mechanism, which its next message is told.
    OtherMechanism { asked: String, mechanism: Mechanism },
    /// The client is who the caller says it is.
    Done { mechanism: Mechanism },
    /// Nothing more is taken.
    Failed,
}

/// How the mechanism's messages come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Bare,
    Requests,
}

impl Login {
    /// Of a connection that has said nothing yet.
    pub(crate) fn new(endpoint: Arc<Endpoint>, caller: Arc<Caller>) -> Self {
        let state = State::Fresh { asked_versions: false };
        Self { endpoint, caller, state, expires: None, began_again: None }
    }

    /// Whom requests come from now.
    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Whether the client may send requests.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Takes the connection's next frame.
    pub(crate) async fn handle(&mut self, node: &Arc<Node>, mute: &Mute, frame: Bytes) -> Reply {
        match self.state {
            State::Done { mechanism } => self.request(node, mute, mechanism, frame).await,
            State::Fresh { .. } => self.beginning(node, mute, frame, None).await,
            State::Open { framing: Framing::Bare, .. } => {
                let answer = self.message(node, &frame).await;
                match answer {
                    Ok((answer, _)) => Reply::Now(vec![prefixed(&answer)]),
                    Err(refusal) => {
                        self.fail(node, &refusal).await;
                        Reply::Close(refusal.reason)
                    }
                }
            }
            State::Open { framing: Framing::Requests, .. } | State::OtherMechanism { .. } => {
                self.authenticate(node, frame).await
            }
            State::Failed => Reply::Close("the login has failed".to_owned()),
        }
    }

    /// A request of a client that has logged in.
    async fn request(&mut self, node: &Arc<Node>, mute: &Mute, mechanism: Mechanism, frame: Bytes) -> Reply {
        let now = node.world.clock.now();
        if frame.first_chunk() == Some(&ApiKey::SaslHandshake.code().to_be_bytes())
            && self.began_again.is_none_or(|before| now >= before.plus(AGAIN_AFTER_MS))
        {
            self.began_again = Some(now);
            return self.beginning(node, mute, frame, Some(mechanism)).await;
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return Reply::Close("its session has ended, and it did not log in again".to_owned());
        }
        kafka::handle(node, &self.caller, mute, frame).await
    }

    /// ApiVersions or SaslHandshake; `before` is the mechanism that the client logged in by before.
    async fn beginning(
        &mut self,
        node: &Arc<Node>,
        mute: &Mute,
        frame: Bytes,
        before: Option<Mechanism>,
    ) -> Reply {
        let api = frame.first_chunk().map(|code| i16::from_be_bytes(*code));
        match api {
            Some(api) if api == ApiKey::ApiVersions.code() => {
                let State::Fresh { asked_versions: asked_versions @ false } = &mut self.state else {
                    return Reply::Close("it asks for versions twice before its login".to_owned());
                };
                // A version that is not spoken is answered with those that are, and asked again.
                *asked_versions = RequestHeader::decode(frame.clone()).is_ok();
                kafka::handle(node, &self.caller, mute, frame).await
            }
            Some(api) if api == ApiKey::SaslHandshake.code() => self.handshake(node, frame, before).await,
            _ => Reply::Close("its first request is no login; the listener wants one (SASL)".to_owned()),
        }
    }

    async fn handshake(&mut self, node: &Arc<Node>, frame: Bytes, before: Option<Mechanism>) -> Reply {
        let request = match handshake::Handshake::read(frame) {
            Ok(request) => request,
            Err(reason) => return Reply::Close(reason),
        };
        node.traffic.kafka_request(ApiKey::SaslHandshake);
        let names = || self.settings().mechanisms.iter().map(|one| one.name().to_owned()).collect();
        let asked = request.mechanism().to_owned();
        let mechanism = Mechanism::named(&asked).filter(|one| self.settings().mechanisms.contains(one));
        let Some(mechanism) = mechanism else {
            let answer = request.answer(ErrorCode::UnsupportedSaslMechanism, names());
            let reason = format!("the mechanism {asked:?} is not enabled");
            self.fail(node, &Refusal { message: None, reason: reason.clone(), user: None }).await;
            return last(answer, reason);
        };
        let answer = request.answer(ErrorCode::None, names());
        self.state = match before {
            Some(before) if before != mechanism => State::OtherMechanism { asked, mechanism: before },
            _ => State::Open {
                mechanism,
                exchange: Exchange::new(mechanism),
                framing: if request.is_bare() { Framing::Bare } else { Framing::Requests },
                again: before.is_some(),
            },
        };
        answer.map_or_else(Reply::Close, |frame| Reply::Now(vec![frame]))
    }

    /// A message of the mechanism inside of SaslAuthenticate.
    async fn authenticate(&mut self, node: &Arc<Node>, frame: Bytes) -> Reply {
        let request = match handshake::Authenticate::read(frame) {
            Ok(request) => request,
            Err(reason) => {
                let refusal = Refusal { message: None, reason, user: None };
                self.fail(node, &refusal).await;
                return Reply::Close(refusal.reason);
            }
        };
        node.traffic.kafka_request(ApiKey::SaslAuthenticate);
        let again = matches!(self.state, State::Open { again: true, .. } | State::OtherMechanism { .. });
        let (mechanism, stepped) = match &self.state {
            State::OtherMechanism { asked, mechanism } => {
                let message = format!(
                    "SASL mechanism '{asked}' requested by client is not supported for re-authentication of mechanism '{}'",
                    mechanism.name()
                );
                let refusal = Refusal { message: Some(message.clone()), reason: message, user: None };
                (*mechanism, Err(refusal))
            }
            State::Open { mechanism, .. } => (*mechanism, self.message(node, request.message()).await),
            _ => unreachable!("only an open login has messages"),
        };
        match stepped {
            Ok((answer, session_ms)) => {
                let answer = request.answer(answer, session_ms);
                answer.map_or_else(Reply::Close, |frame| Reply::Now(vec![frame]))
            }
            Err(refusal) => {
                self.fail(node, &refusal).await;
                let when = if again { "re-authentication" } else { "authentication" };
                let message = refusal.message.unwrap_or_else(|| {
                    format!(
                        "Authentication failed during {when} due to invalid credentials with SASL mechanism {}",
                        mechanism.name()
                    )
                });
                last(request.refused(message), refusal.reason)
            }
        }
    }

    /// The answer to a message of the mechanism, and how long the session lasts, 0 for for ever or for not yet.
    async fn message(&mut self, node: &Arc<Node>, message: &[u8]) -> Result<(Vec<u8>, u64), Refusal> {
        let endpoint = self.endpoint.clone();
        let settings = endpoint.sasl.as_ref().expect("the listener wants a login");
        let State::Open { mechanism, exchange, again, .. } = &mut self.state else {
            unreachable!("only an open login has messages");
        };
        let (mechanism, again) = (*mechanism, *again);
        let (principal, answer, expires_ms) = match exchange.step(node, settings, message).await? {
            Step::Challenge(answer) => return Ok((answer, 0)),
            Step::Refused(answer, refusal) => {
                self.refuse(node, &refusal).await;
                return Ok((answer, 0));
            }
            Step::Done { principal, answer, expires_ms } => (principal, answer, expires_ms),
        };
        if again {
            self.check_same(&principal)?;
        }
        let wall_ms = u64::try_from(node.world.clock.wall_ms()).unwrap_or(0);
        // At least one: the client reads 0 as for ever.
        let credential_ms = expires_ms.map(|until_ms| until_ms.saturating_sub(wall_ms).max(1));
        let session_ms = settings.session_ms(mechanism).into_iter().chain(credential_ms).min();
        self.expires = session_ms.map(|ms| node.world.clock.now().plus(ms));
        self.caller = Arc::new(Caller { principal, ..Caller::clone(&self.caller) });
        self.state = State::Done { mechanism };
        self.endpoint.logins.succeeded(&node.audit, &self.caller, mechanism.name());
        Ok((answer, session_ms.unwrap_or(0)))
    }

    fn check_same(&self, principal: &Principal) -> Result<(), Refusal> {
        let before = &self.caller.principal;
        if before == principal {
            return Ok(());
        }
        // As Kafka writes it, with dots where principals have colons.
        let message = format!(
            "Cannot change principals during re-authentication from User.{}: User.{}",
            before.name(),
            principal.name()
        );
        let user = Some(principal.name().to_owned());
        Err(Refusal { message: Some(message.clone()), reason: message, user })
    }

    /// Ends the login.
    async fn fail(&mut self, node: &Node, refusal: &Refusal) {
        if !matches!(&self.state, State::Open { exchange, .. } if exchange.is_refused()) {
            self.refuse(node, refusal).await;
        }
        self.state = State::Failed;
    }

    /// Writes down that a login has failed; whoever guesses waits for each answer.
    async fn refuse(&mut self, node: &Node, refusal: &Refusal) {
        let mechanism = match &self.state {
            State::Open { mechanism, .. } | State::OtherMechanism { mechanism, .. } => mechanism.name(),
            _ => "none",
        };
        if let Some(user) = &refusal.user {
            let named = Caller { principal: Principal::user(user.clone()), ..Caller::clone(&self.caller) };
            self.caller = Arc::new(named);
        }
        self.endpoint.logins.failed(&node.audit, &self.caller, mechanism, &refusal.reason);
        let clock = &node.world.clock;
        let delay_ms = u64::try_from(self.settings().failed_delay().as_millis()).unwrap_or(u64::MAX);
        clock.sleep_until(clock.now().plus(delay_ms)).await;
    }

    fn settings(&self) -> &SaslSettings {
        self.endpoint.sasl.as_ref().expect("the listener wants a login")
    }
}

/// The answer, and the end of the connection after it.
fn last(answer: Result<Bytes, String>, reason: String) -> Reply {
    match answer {
        Ok(frame) => Reply::Last(vec![frame], reason),
        Err(error) => Reply::Close(error),
    }
}

fn prefixed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + message.len());
    out.put_u32(u32::try_from(message.len()).expect("messages of a login are short"));
    out.put_slice(message);
    out.freeze()
}
