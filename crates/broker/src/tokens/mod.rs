//! Bearer tokens: JSON web tokens that an issuer has signed, checked by its keys.
//!
//! Signatures are ring's, which TLS has anyway; the form around them is small. The common library for it would bring a
//! second provider of cryptography, and read the clock by itself.

mod algorithm;
mod claims;
mod fetch;
mod jws;
mod key;
mod key_set;
mod refresh;
mod settings;
mod source;
#[cfg(test)]
mod tests;

pub use fetch::FetcherError;
pub use key::KeyError;
pub use key_set::KeySetError;
pub(crate) use refresh::watch;
pub use settings::TokenSettingsError;
pub(crate) use settings::{ALLOWED_URLS, TokenSettings};
pub use source::SourceError;

use key_set::KeySet;
use keyway_access::Principal;
use source::Source;
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::Notify;

/// Characters of a token's own words that a message quotes.
const QUOTED_CHARS: usize = 100;

/// Who checks tokens, as one listener has it.
pub(crate) struct Tokens {
    settings: TokenSettings,
    keys: RwLock<Arc<KeySet>>,
    /// Why the keys could not be read the last time, so that it is told once.
    refused: Mutex<Option<String>>,
    /// A token came whose key is unknown.
    wanted: Notify,
}

/// What a token stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verified {
    /// Who bears it.
    pub(crate) principal: Principal,
    /// Until when, milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

/// Why a token is not taken. For the log: whoever sent it is told no more than that it is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token has {bytes} bytes; {most} are the limit")]
    Long { bytes: usize, most: usize },
    #[error("it is no signed JSON web token: {reason}")]
    Form { reason: &'static str },
    #[error("the token's header has extensions that must be understood (crit), and none is")]
    Critical,
    #[error("the token's alg is {asked:?}, which is not taken")]
    Algorithm { asked: String },
    #[error("the keys have not been read yet")]
    Unread,
    #[error("no key fits a token with alg {algorithm} and kid {id}")]
    NoKey { algorithm: String, id: String },
    #[error("the token's signature is not that of any key that fits")]
    Signature,
    #[error("the token has no {claim}")]
    Missing { claim: String },
    #[error("the token's {claim} is not {expected}")]
    Type { claim: String, expected: &'static str },
    #[error("the token expired {ago_ms} ms ago")]
    Expired { ago_ms: u64 },
    #[error("the token is good in {in_ms} ms only (nbf)")]
    NotYet { in_ms: u64 },
    #[error("the token's issuer is {found}, and not that of sasl.oauthbearer.expected.issuer")]
    Issuer { found: String },
    #[error("the token is for {found:?}, and sasl.oauthbearer.expected.audience has none of them")]
    Audience { found: String },
}

impl Tokens {
    /// Reads the keys of a file; refuses what no token could be checked by. Those of a URL are fetched by [`watch`].
    pub(crate) fn new(settings: TokenSettings) -> Result<Self, TokenSettingsError> {
        let keys = match &settings.source {
            Source::File(path) => source::read_file(path)?,
            Source::Url(_) => KeySet::default(),
        };
        let keys = RwLock::new(Arc::new(keys));
        Ok(Self { settings, keys, refused: Mutex::default(), wanted: Notify::new() })
    }

    /// Whom `token` stands for at this time of the wall clock.
    pub(crate) fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Verified, TokenError> {
        let keys = self.keys.read().expect("no panic while keys are set").clone();
        let payload = jws::payload(token, &keys).inspect_err(|error| {
            if matches!(error, TokenError::NoKey { .. }) {
                self.wanted.notify_one();
            }
        })?;
        self.settings.expected.check(&payload, now_unix_ms)
    }
}

/// The beginning of a text that somebody unknown has sent.
fn shortened(text: &str) -> String {
    text.chars().take(QUOTED_CHARS).collect()
}
