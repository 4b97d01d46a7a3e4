//! The messages of one login, by whichever mechanism.

use super::{Mechanism, SaslSettings};
use crate::{node::Node, users::NAME_BYTES_MAX};
use keyway_access::{ClientFirst, PlainLogin, Principal, ScramExchange, ScramMechanism};
use std::fmt::Write;

/// Random bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// How far a login is.
pub(super) enum Exchange {
    Plain,
    ScramFirst(ScramMechanism),
    ScramLast(Box<ScramExchange>),
    /// It has succeeded or failed.
    Over,
}

/// What follows from a message of the client.
pub(super) enum Step {
    /// The client goes on after this.
    Challenge(Vec<u8>),
    /// The client is who it says it is; this is the last message to it.
    Done(Principal, Vec<u8>),
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
        }
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
                Ok(answer) => Ok(Step::Done(Principal::user(exchange.user()), answer)),
                Err(error) => Err(Refusal {
                    message: None,
                    reason: error.to_string(),
                    user: Some(exchange.user().to_owned()),
                }),
            },
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
    if settings.plain_users.password_fits(user, password) || node.users.password_fits(user, password).await {
        return Ok(Step::Done(Principal::user(user), Vec::new()));
    }
    Err(Refusal {
        message: Some("Authentication failed: Invalid username or password".to_owned()),
        reason: "the password is wrong, or there is no such user".to_owned(),
        user: Some(user.to_owned()),
    })
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
