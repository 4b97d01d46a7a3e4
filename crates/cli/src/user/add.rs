//! `keyway user add`.

use super::{Data, failure};
use crate::{
    failure::{Failure, note},
    secret,
};
use clap::Args;
use std::path::PathBuf;

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
        let password = match &self.password_file {
            Some(path) => secret::of_file(path)?,
            None => secret::of_stdin(&self.name)?,
        };
        let opened = self.data.open()?;
        let set = opened.users.set_password(&self.name, &password).await.map_err(failure);
        opened.close()?;
        set?;
        note(&format!("{} can log in from the next start of the broker on", self.name));
        Ok(())
    }
}
