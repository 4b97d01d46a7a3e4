//! The `authorization` header: what a call says of who sends it.

use crate::users::NAME_BYTES_MAX;
use axum::http::HeaderValue;
use base64::{Engine, prelude::BASE64_STANDARD};

/// What a header claims.
#[derive(PartialEq, Eq)]
pub(super) enum Credentials {
    /// A user and its password, as `PLAIN` has them.
    Password { name: String, password: String },
    /// A text that says itself whom it is for.
    Token(String),
}

/// Why a call is not let in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// There is no header.
    #[error(
        "this port wants a login with each call: the header authorization with Basic, Bearer NAME:PASSWORD or Bearer TOKEN"
    )]
    Missing,
    /// The header is none of those that are understood.
    #[error("the authorization header is neither Basic, Bearer NAME:PASSWORD nor Bearer TOKEN")]
    Form,
    /// What the header has cannot be used on this port.
    #[error("this port takes no logins by {mechanism}; sasl.enabled.mechanisms says which it takes")]
    Mechanism { mechanism: &'static str },
    /// Nobody has this name and this password.
    #[error("the password is wrong, or there is no such user")]
    Wrong,
    /// The token was signed by nobody known, has expired, or is for others; which of it is not told.
    #[error("the token is not taken; get a new one")]
    Token,
}

impl Credentials {
    /// Reads a header.
    pub(super) fn read(header: &HeaderValue) -> Result<Self, Refused> {
        let text = std::str::from_utf8(header.as_bytes()).map_err(|_| Refused::Form)?;
        let (scheme, value) = text.trim().split_once(' ').ok_or(Refused::Form)?;
        let value = value.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let pair = BASE64_STANDARD.decode(value).map_err(|_| Refused::Form)?;
                Self::of_pair(&String::from_utf8(pair).map_err(|_| Refused::Form)?)
            }
            // No token has a colon: its parts are base64 with dots between them.
            "bearer" if value.contains(':') => Self::of_pair(value),
            "bearer" if !value.is_empty() => Ok(Self::Token(value.to_owned())),
            _ => Err(Refused::Form),
        }
    }

    fn of_pair(pair: &str) -> Result<Self, Refused> {
        let (name, password) = pair.split_once(':').ok_or(Refused::Form)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || password.is_empty() {
            return Err(Refused::Form);
        }
        Ok(Self::Password { name: name.to_owned(), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Option<Credentials> {
        Credentials::read(&HeaderValue::from_str(header).unwrap()).ok()
    }

    #[test]
    fn headers_have_passwords_or_tokens() {
        let pair = |name: &str, password: &str| {
            Some(Credentials::Password { name: name.to_owned(), password: password.to_owned() })
        };
        assert!(read("Basic YWxpY2U6YTpi") == pair("alice", "a:b"));
        assert!(read("bearer  alice:secret") == pair("alice", "secret"));
        assert!(read("Bearer jos\u{e9}:p\u{e4}ss") == pair("jos\u{e9}", "p\u{e4}ss"));
        assert!(read("Bearer a.b.c") == Some(Credentials::Token("a.b.c".to_owned())));
        let long = format!("Bearer {}:x", "n".repeat(NAME_BYTES_MAX + 1));
        for header in [
            "",
            "Basic",
            "Basic !",
            "Basic YWxpY2U=",
            "Bearer",
            "Bearer :x",
            "Bearer x:",
            "Digest a:b",
            &long,
        ] {
            assert!(read(header).is_none(), "{header}");
        }
    }
}
