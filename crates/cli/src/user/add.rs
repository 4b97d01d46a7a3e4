//! `keyway user add`.

use super::{Data, failure};
use crate::failure::{Failure, note};
use clap::Args;
use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

/// Longest password, bytes.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Make a user, or change its password, which is read from stdin or a file
#[derive(Args)]
pub(super) struct Add {
    /// The user's name
    name: String,

    /// Read the password from this file instead of stdin; a line break at its end does not count
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    data: Data,
}

impl Add {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let password = self.password()?;
        let opened = self.data.open()?;
        let set = opened.users.set_password(&self.name, &password).await.map_err(failure);
        opened.close()?;
        set?;
        note(&format!("{} can log in from the next start of the broker on", self.name));
        Ok(())
    }

    /// Never an argument: those can be seen by everybody on the machine.
    fn password(&self) -> Result<String, Failure> {
        let unreadable = |error: io::Error| Failure::Usage(format!("cannot read the password: {error}"));
        let mut text = String::new();
        match &self.password_file {
            Some(path) => {
                let file = File::open(path).map_err(unreadable)?;
                file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
            }
            None if io::stdin().is_terminal() => {
                note(&format!("the password of {}, and Enter (it can be seen):", self.name));
                io::stdin().read_line(&mut text).map_err(unreadable)?;
            }
            None => {
                let stdin = io::stdin().lock();
                stdin.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
            }
        }
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}
