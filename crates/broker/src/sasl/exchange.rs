//! The messages of one login, by whichever mechanism.

use super::{Mechanism, SaslSettings};
use crate::{node::Node, users::NAME_BYTES_MAX};
use keyway_access::{
    BearerLogin, ClientFirst, PlainLogin, Principal, ScramExchange, ScramMechanism, bearer_refusal,
    is_bearer_end,
};
use std::fmt::Write;

/// Random bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// How far a login is.
pub(super) enum Exchange {
    Plain,
    ScramFirst(ScramMechanism),
    ScramLast(Box<ScramExchange>),
    Bearer,
    /// The client's token is refused, and it has to say that it knows (RFC 7628).
    BearerRefused,
    /// It has succeeded or failed.
    Over,
}

/// What follows from a message of the client.
pub(super) enum Step {
    /// The client goes on after this.
    Challenge(Vec<u8>),
    /// The client is who it says it is, until `expires_ms` of the wall clock if that is given; this is the last message
    /// to it.
    Done { principal: Principal, answer: Vec<u8>, expires_ms: Option<u64> },
    /// The client is not let in. It answers this, and is told then.
    Refused(Vec<u8>, Refusal),
}

/// Why a login failed.
pub(super) struct Refusal {
    /// What the client is told; `None` for that its credentials are wrong, and no more.
    pub(super) message: Option<String>,
    /// What the log says.
    pub(super) reason: String,
    /// Who it said it was.
    pub(super) user: Option<String>,
}

impl Exchange {
    pub(super) fn new(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Scram(mechanism) => Self::ScramFirst(mechanism),
            Mechanism::OauthBearer => Self::Bearer,
        }
    }

    /// Whether the client's login has failed, and it has still to say that it knows.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::BearerRefused)
    }

    /// Takes the client's next message.
    pub(super) async fn step(
        &mut self,
        node: &Node,
        settings: &SaslSettings,
        message: &[u8],
    ) -> Result<Step, Refusal> {
        match std::mem::replace(self, Self::Over) {
            Self::Plain => plain(node, settings, message).await,
            Self::ScramFirst(mechanism) => {
                let first = ClientFirst::parse(message).map_err(|error| Refusal {
                    message: None,
                    reason: error.to_string(),
                    user: None,
                })?;
                check_name(&first.user)?;
                let credential = node.users.scram(&first.user, mechanism);
                let (exchange, answer) = ScramExchange::begin(first, credential, &nonce(node));
                *self = Self::ScramLast(Box::new(exchange));
                Ok(Step::Challenge(answer))
            }
            Self::ScramLast(exchange) => match exchange.finish(message) {
                Ok(answer) => {
                    let principal = Principal::user(exchange.user());
                    Ok(Step::Done { principal, answer, expires_ms: None })
                }
                Err(error) => Err(Refusal {
                    message: None,
                    reason: error.to_string(),
                    user: Some(exchange.user().to_owned()),
                }),
            },
            Self::Bearer => {
                let step = bearer(node, settings, message)?;
                if matches!(step, Step::Refused(..)) {
                    *self = Self::BearerRefused;
                }
                Ok(step)
            }
            Self::BearerRefused => {
                *self = Self::BearerRefused;
                let reason = match is_bearer_end(message) {
                    true => "its token was refused",
                    false => "its token was refused, and it sends something else than the end of the login",
                };
                Err(Refusal {
                    message: Some(bearer_refusal().to_owned()),
                    reason: reason.to_owned(),
                    user: None,
                })
            }
            Self::Over => Err(Refusal { message: None, reason: "the login is over".to_owned(), user: None }),
        }
    }
}

async fn plain(node: &Node, settings: &SaslSettings, message: &[u8]) -> Result<Step, Refusal> {
    let login = PlainLogin::parse(message).map_err(|error| Refusal {
        message: Some(error.to_string()),
        reason: error.to_string(),
        user: None,
    })?;
    let PlainLogin { user, password } = login;
    check_name(user)?;
    if settings.has_plain_user(user, password) || node.users.password_fits(user, password).await {
        let principal = Principal::user(user);
        return Ok(Step::Done { principal, answer: Vec::new(), expires_ms: None });
    }
    Err(Refusal {
        message: Some("Authentication failed: Invalid username or password".to_owned()),
        reason: "the password is wrong, or there is no such user".to_owned(),
        user: Some(user.to_owned()),
    })
}

fn bearer(node: &Node, settings: &SaslSettings, message: &[u8]) -> Result<Step, Refusal> {
    let refusal = |reason: String| Refusal { message: None, reason, user: None };
    let login = BearerLogin::parse(message).map_err(|error| refusal(error.to_string()))?;
    let tokens = settings.tokens().expect("a listener with OAUTHBEARER checks tokens");
    let now_ms = u64::try_from(node.world.clock.wall_ms()).unwrap_or(0);
    let verified = match tokens.verify(login.token, now_ms) {
        Ok(verified) => verified,
        Err(error) => return Ok(Step::Refused(bearer_refusal().into(), refusal(error.to_string()))),
    };
    let (principal, expires_ms) = (verified.principal, Some(verified.expires_ms));
    match login.authorization {
        Some(name) if name != principal.name() => {
            let message = format!(
                "Authentication failed: Client requested an authorization id ({name}) that is different from the token's principal name ({})",
                principal.name()
            );
            let user = Some(principal.name().to_owned());
            Err(Refusal { message: Some(message.clone()), reason: message, user })
        }
        _ => Ok(Step::Done { principal, answer: Vec::new(), expires_ms }),
    }
}

/// A name that nobody can have is not written into the log.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let reason = format!("the name has {} bytes; {NAME_BYTES_MAX} are the limit", name.len());
    Err(Refusal { message: None, reason, user: None })
}

fn nonce(node: &Node) -> String {
    let random: [u8; NONCE_BYTES] = node.world.entropy.bytes();
    random.iter().fold(String::with_capacity(2 * NONCE_BYTES), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes text");
        text
    })
}
