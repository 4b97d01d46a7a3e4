//! `keyway dlq`: dead letters, which subscriptions gave up. One file per verb.

mod list;
mod settle;
mod show;

use crate::failure::Failure;
use clap::{Args, Subcommand};

/// Look at dead letters, give them back to their topics, or give them up
#[derive(Args)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Replay(settle::Replay),
    Purge(settle::Purge),
}

impl Dlq {
    /// Does what the verb says.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(list) => list.run().await,
            Verb::Show(show) => show.run().await,
            Verb::Replay(replay) => replay.run().await,
            Verb::Purge(purge) => purge.run().await,
        }
    }
}
