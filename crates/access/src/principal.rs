//! Who a client is.

use std::{fmt, str::FromStr};

/// A user, as Kafka writes it: `User:alice`. The name may be anything, colons and spaces included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Principal {
    name: String,
}

/// The only type of principal that Kafka's own authorizer knows.
const TYPE: &str = "User";

/// Why a text is no principal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrincipalError {
    /// It is not of the form `User:NAME`.
    #[error("{text:?} is no principal; write it as User:NAME")]
    Form {
        /// The text.
        text: String,
    },
}

impl Principal {
    /// The user of this name.
    pub fn user(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Whoever did not say who it is: `User:ANONYMOUS`.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The name, without its type.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TYPE}:{}", self.name)
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        match text.split_once(':') {
            Some((TYPE, name)) if !name.is_empty() => Ok(Self::user(name)),
            _ => Err(PrincipalError::Form { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_a_type_and_a_name() {
        let principal: Principal = "User:CN=a,O=b:c".parse().unwrap();
        assert_eq!(principal.name(), "CN=a,O=b:c");
        assert_eq!(principal.to_string(), "User:CN=a,O=b:c");
        for text in ["alice", "Group:a", "User:", "", "user:a"] {
            assert!(text.parse::<Principal>().is_err(), "{text}");
        }
    }
}
