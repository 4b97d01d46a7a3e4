//! `keyway user list`.

use super::Data;
use crate::{failure::Failure, output::print};
use clap::Args;

/// List the users, and by what each can log in
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    data: Data,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let opened = self.data.open()?;
        let users = opened.users.list();
        opened.close()?;
        let line =
            |(name, mechanisms): (String, Vec<&str>)| format!("{name}\tPLAIN {}\n", mechanisms.join(" "));
        print(&users.into_iter().map(line).collect::<String>())
    }
}
