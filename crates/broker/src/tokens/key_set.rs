//! A set of keys (JWKS, RFC 7517).

use super::key::{Jwk, Key, KeyError};
use serde::Deserialize;

/// Largest set, bytes. Identity providers publish a handful of keys of 2 KiB.
pub(super) const SET_BYTES_MAX: usize = 256 * 1024;

/// Most keys of a set: a token without a key id is tried with each that fits.
const KEYS_MAX: usize = 64;

/// Where a set comes from decides what may be in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    File,
    /// What others can read, too, has no secrets.
    Url,
}

/// The keys of a set that can be used.
#[derive(Default)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
    /// What it was read from.
    pub(super) text: Vec<u8>,
    /// What was left out, for people.
    pub(super) ignored: Vec<String>,
}

/// Why a set of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is too large.
    #[error("it has more than {SET_BYTES_MAX} bytes, the limit of a JWKS")]
    Long,
    /// It is no JSON of a set.
    #[error("it is no JWKS: {reason}")]
    Form {
        /// What is wrong.
        reason: String,
    },
    /// There are too many keys.
    #[error("it has {count} keys; {KEYS_MAX} are the limit")]
    Many {
        /// How many.
        count: usize,
    },
    /// None of the keys can be used.
    #[error("it has no key that tokens can be checked by{}", left_out(.ignored))]
    None {
        /// Why each of them cannot.
        ignored: Vec<String>,
    },
}

fn left_out(ignored: &[String]) -> String {
    if ignored.is_empty() { String::new() } else { format!(": {}", ignored.join("; ")) }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. As RFC 7517 wants, keys that are not understood are left out; at least one is needed.
    pub(super) fn read(text: &[u8], origin: Origin) -> Result<Self, KeySetError> {
        if text.len() > SET_BYTES_MAX {
            return Err(KeySetError::Long);
        }
        let Jwks { keys } = serde_json::from_slice(text).map_err(|error| KeySetError::Form {
            // What serde_json quotes of it may be a secret.
            reason: format!(
                "{:?} error in line {}, column {}; expected {{\"keys\":[…]}}",
                error.classify(),
                error.line(),
                error.column()
            ),
        })?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::Many { count: keys.len() });
        }
        let mut set = Self { text: text.to_owned(), ..Self::default() };
        for (index, value) in keys.into_iter().enumerate() {
            match key(value, origin) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.ignored.push(format!("key {}: {reason}", index + 1)),
            }
        }
        if set.keys.is_empty() {
            return Err(KeySetError::None { ignored: set.ignored });
        }
        Ok(set)
    }

    /// Whether whoever reads the set could make tokens.
    pub(super) fn has_secret(&self) -> bool {
        self.keys.iter().any(Key::is_secret)
    }
}

fn key(value: serde_json::Value, origin: Origin) -> Result<Key, String> {
    let jwk: Jwk =
        serde_json::from_value(value).map_err(|_| "its members are not those of a key".to_owned())?;
    let key = Key::read(jwk).map_err(|error: KeyError| error.to_string())?;
    if key.is_secret() && origin == Origin::Url {
        return Err("a shared secret is taken from a file only".to_owned());
    }
    Ok(key)
}
