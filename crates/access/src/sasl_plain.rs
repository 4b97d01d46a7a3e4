//! SASL PLAIN: a name and a password as they are (RFC 4616).

/// What a client sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlainLogin<'a> {
    /// Who wants to log in.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
}

/// Why a message is no login, in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlainError {
    /// There are more or fewer than three parts.
    #[error("Invalid SASL/PLAIN response: expected 3 tokens, got {0}")]
    Tokens(usize),
    /// The message is not UTF-8.
    #[error("Invalid SASL/PLAIN response: it is not UTF-8")]
    Encoding,
    /// There is no name.
    #[error("Authentication failed: username not specified")]
    NoUser,
    /// There is no password.
    #[error("Authentication failed: password not specified")]
    NoPassword,
    /// The user logs in for somebody else.
    #[error("Authentication failed: Client requested an authorization id that is different from username")]
    OtherUser,
}

impl<'a> PlainLogin<'a> {
    /// Reads `for whom NUL user NUL password`.
    pub fn parse(message: &'a [u8]) -> Result<Self, PlainError> {
        let text = str::from_utf8(message).map_err(|_| PlainError::Encoding)?;
        let parts: Vec<&str> = text.splitn(5, '\0').collect();
        let [authorization, user, password] = parts[..] else {
            return Err(PlainError::Tokens(parts.len()));
        };
        match (user, password) {
            ("", _) => Err(PlainError::NoUser),
            (_, "") => Err(PlainError::NoPassword),
            _ if !authorization.is_empty() && authorization != user => Err(PlainError::OtherUser),
            (user, password) => Ok(Self { user, password }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts_are_a_login() {
        for message in [&b"\0alice\0secret"[..], b"alice\0alice\0secret"] {
            let login = PlainLogin::parse(message).ok().unwrap();
            assert_eq!((login.user, login.password), ("alice", "secret"));
        }
        for (message, error) in [
            (&b"alice\0secret"[..], PlainError::Tokens(2)),
            (b"\0a\0b\0c", PlainError::Tokens(4)),
            (b"", PlainError::Tokens(1)),
            (b"\0\0secret", PlainError::NoUser),
            (b"\0alice\0", PlainError::NoPassword),
            (b"bob\0alice\0secret", PlainError::OtherUser),
            (b"\0\xff\0x", PlainError::Encoding),
        ] {
            assert_eq!(PlainLogin::parse(message).err(), Some(error), "{message:?}");
        }
    }
}
