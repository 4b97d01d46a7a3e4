//! Who a command is to a broker that is secured, and whom it trusts. Secrets come from files and variables and never from
//! options, which everybody on the machine can see.

use crate::{failure::Failure, secret};
use clap::Args;
use std::path::PathBuf;

/// The variable that a password may stand in.
const PASSWORD: &str = "KEYWAY_PASSWORD";

/// Who a command is said to be.
#[derive(Args, Clone, Default)]
pub(crate) struct Credentials {
    /// User to log in as; the password is in the variable KEYWAY_PASSWORD or in --password-file
    #[arg(long, value_name = "NAME", env = "KEYWAY_USER")]
    pub(crate) user: Option<String>,

    /// Read the user's password from this file; a line break at its end does not count
    #[arg(long, value_name = "FILE", env = "KEYWAY_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// Log in with the token in this file (OAUTHBEARER) instead
    #[arg(long, value_name = "FILE", env = "KEYWAY_TOKEN_FILE", conflicts_with = "user")]
    pub(crate) token_file: Option<PathBuf>,

    /// Use TLS, and trust the certificates in this PEM file alone
    #[arg(long, value_name = "FILE", env = "KEYWAY_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,
}

/// Who a command is.
#[derive(PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nobody in particular.
    None,
    /// A user with its password.
    User { name: String, password: String },
    /// Whoever the token is for.
    Token(String),
}

impl Credentials {
    /// Reads the secrets.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        let Some(name) = self.user.clone() else {
            let token = self.token_file.as_deref().map(secret::of_file).transpose()?;
            return Ok(token.map_or(Identity::None, Identity::Token));
        };
        let password = match (&self.password_file, std::env::var(PASSWORD)) {
            (Some(path), _) => secret::of_file(path)?,
            (None, Ok(password)) => password,
            (None, Err(_)) => {
                return Err(Failure::Usage(format!(
                    "--user needs a password, in the variable {PASSWORD} or in a file named by --password-file"
                )));
            }
        };
        Ok(Identity::User { name, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let alice = Credentials {
            user: Some("alice".to_owned()),
            password_file: Some(file.clone()),
            ..Credentials::default()
        };
        assert!(matches!(alice.identity(), Err(Failure::Usage(line)) if line.contains("cannot read")));
        std::fs::write(&file, "se cret\n").unwrap();
        let known = Identity::User { name: "alice".to_owned(), password: "se cret".to_owned() };
        assert!(alice.identity().unwrap() == known);
        let bearer = Credentials { token_file: Some(file), ..Credentials::default() };
        assert!(bearer.identity().unwrap() == Identity::Token("se cret".to_owned()));
        assert!(Credentials::default().identity().unwrap() == Identity::None);
    }
}
