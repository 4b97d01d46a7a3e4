//! SASL OAUTHBEARER: a bearer token as a message (RFC 7628).
//!
//! | part | bytes |
//! |---|---|
//! | header | `n,` or `y,`, then `a=NAME` or nothing, then `,` |
//! | separator | `01` |
//! | pairs | `key=value` and `01`, each; `auth` has `Bearer TOKEN`, others are the client's own |
//! | end | `01` |

/// What separates the parts of a message; alone, the client's answer to a refusal.
const SEPARATOR: char = '\u{1}';

/// What a client sends.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerLogin<'a> {
    /// The token.
    pub token: &'a str,
    /// As whom the client wants to act, if it says so.
    pub authorization: Option<String>,
}

/// Why a message is no login.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BearerError {
    /// It has not the form of one.
    #[error("Invalid OAUTHBEARER client first message")]
    Form,
    /// There is no token, or two.
    #[error("Invalid OAUTHBEARER client first message: 'auth' not specified")]
    NoAuth,
    /// The token has not the form of one.
    #[error("Invalid OAUTHBEARER client first message: invalid 'auth' format")]
    Auth,
}

/// The client's answer to a refusal: it has nothing more to say.
#[must_use]
pub fn is_bearer_end(message: &[u8]) -> bool {
    message == [SEPARATOR as u8]
}

/// What a refused client is sent, which it answers before the login has failed.
#[must_use]
pub fn bearer_refusal() -> &'static str {
    "{\"status\":\"invalid_token\"}"
}

impl<'a> BearerLogin<'a> {
    /// Reads a message.
    pub fn parse(message: &'a [u8]) -> Result<Self, BearerError> {
        let text = str::from_utf8(message).map_err(|_| BearerError::Form)?;
        let (header, rest) = text.split_once(SEPARATOR).ok_or(BearerError::Form)?;
        let authorization = authorization(header).ok_or(BearerError::Form)?;
        let pairs = rest.strip_suffix(SEPARATOR).ok_or(BearerError::Form)?;
        let mut auth = None;
        // Each pair ends with a separator, and so do all of them.
        for pair in pairs.split_inclusive(SEPARATOR) {
            let pair = pair.strip_suffix(SEPARATOR).ok_or(BearerError::Form)?;
            let (key, value) = pair.split_once('=').ok_or(BearerError::Form)?;
            if !is_key(key) || !is_value(value) {
                return Err(BearerError::Form);
            }
            if key == "auth" && auth.replace(value).is_some() {
                return Err(BearerError::NoAuth);
            }
        }
        let token = token(auth.ok_or(BearerError::NoAuth)?).ok_or(BearerError::Auth)?;
        Ok(Self { token, authorization })
    }
}

/// Whom the header names; `None` if it is no header.
fn authorization(header: &str) -> Option<Option<String>> {
    let named = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"))?.strip_suffix(',')?;
    if named.is_empty() {
        return Some(None);
    }
    let name = named.strip_prefix("a=").filter(|name| !name.is_empty())?;
    let escapes = name.matches("=2C").count() + name.matches("=3D").count();
    let bare = name.bytes().all(|byte| matches!(byte, 1..=127) && byte != b',');
    if !bare || name.matches('=').count() != escapes {
        return None;
    }
    Some(Some(name.replace("=2C", ",").replace("=3D", "=")))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| matches!(byte, b'!'..=b'~' | b' ' | b'\t' | b'\r' | b'\n'))
}

fn token(auth: &str) -> Option<&str> {
    let (scheme, token) = auth.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~+/.".contains(&byte);
    let fits = scheme.eq_ignore_ascii_case("bearer") && !body.is_empty() && body.bytes().all(is_part);
    fits.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn parsed(message: &str) -> Result<(String, Option<String>), BearerError> {
        BearerLogin::parse(message.as_bytes()).map(|login| (login.token.to_owned(), login.authorization))
    }

    /// The grammar of RFC 7628 and RFC 5801, as one expression.
    fn naive(message: &str) -> Option<(String, Option<String>)> {
        let whole = Regex::new(
            "^[ny],(?:a=(?P<name>(?:[\\x01-\\x7F--[=,\\x01]]|=2C|=3D)+))?,\\x01(?P<pairs>(?:[A-Za-z]+=[\\x21-\\x7E \\t\\r\\n]+\\x01)*)\\x01$",
        )
        .unwrap();
        let found = whole.captures(message)?;
        let pairs: Vec<&str> = found["pairs"].split('\u{1}').collect();
        let auths: Vec<&str> = pairs.iter().filter_map(|pair| pair.strip_prefix("auth=")).collect();
        let bearer = Regex::new("^(?i:bearer) +(?P<token>[-_~+/.a-zA-Z0-9]+=*)$").unwrap();
        let [auth] = auths[..] else { return None };
        let token = bearer.captures(auth)?["token"].to_owned();
        let name = found.name("name").map(|name| name.as_str().replace("=2C", ",").replace("=3D", "="));
        Some((token, name))
    }

    #[test]
    fn the_messages_of_clients_are_read() {
        let token = "a.b-_~+/c==";
        for (message, authorization) in [
            (format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"), None),
            (format!("n,a=al=2Cice=3D2C,\u{1}auth=bearer   {token}\u{1}\u{1}"), Some("al,ice=2C".to_owned())),
            (
                format!("y,,\u{1}host=broker\u{1}port=9092\u{1}auth=BEARER {token}\u{1}traceId=1\u{1}\u{1}"),
                None,
            ),
        ] {
            assert_eq!(parsed(&message), Ok((token.to_owned(), authorization)), "{message:?}");
        }
    }

    #[test]
    fn what_is_no_login_is_refused() {
        for (message, error) in [
            ("", BearerError::Form),
            ("\u{1}", BearerError::Form),
            ("n,,\u{1}\u{1}", BearerError::NoAuth),
            ("n,,\u{1}auth=Bearer a\u{1}", BearerError::Form),
            ("n,,\u{1}auth=Bearer a\u{1}\u{1}\u{1}", BearerError::Form),
            ("p=tls-unique,,\u{1}auth=Bearer a\u{1}\u{1}", BearerError::Form),
            ("n,b=alice,\u{1}auth=Bearer a\u{1}\u{1}", BearerError::Form),
            ("n,a=al=2cice,\u{1}auth=Bearer a\u{1}\u{1}", BearerError::Form),
            ("n,,\u{1}au th=Bearer a\u{1}\u{1}", BearerError::Form),
            ("n,,\u{1}auth=Bearer a\u{1}auth=Bearer b\u{1}\u{1}", BearerError::NoAuth),
            ("n,,\u{1}auth=Basic a\u{1}\u{1}", BearerError::Auth),
            ("n,,\u{1}auth=Bearer a b\u{1}\u{1}", BearerError::Auth),
            ("n,,\u{1}auth=Bearer ==\u{1}\u{1}", BearerError::Auth),
        ] {
            assert_eq!(parsed(message), Err(error), "{message:?}");
        }
        assert!(BearerLogin::parse(b"n,,\x01auth=Bearer \xFF\x01\x01").is_err());
        assert!(is_bearer_end(b"\x01") && !is_bearer_end(b"\x01\x01") && !is_bearer_end(b""));
    }

    proptest! {
        /// Pieces of messages in any order are read as the grammar says.
        #[test]
        fn any_message_is_read_as_by_the_grammar(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "n", "y", ",", "a=", "alice", "=2C", "=3D", "=", "\u{1}", "\u{1}", "auth=Bearer tok",
                "auth=Bearer tok\u{1}", "n,,\u{1}", "\u{1}\u{1}", "key=v", "bearer", " ", "\t", "é", "\u{7f}", "~.+/",
            ]), 0..9)
        ) {
            let message = pieces.concat();
            prop_assert_eq!(parsed(&message).ok(), naive(&message), "{:?}", message);
        }
    }
}
