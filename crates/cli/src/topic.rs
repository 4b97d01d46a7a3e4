//! `keyway topic`: the topics themselves. One file per verb.

mod create;
mod damaged;
mod delete;
mod describe;
mod list;

use crate::failure::Failure;
use clap::{Args, Subcommand};

/// List, create, describe and delete topics, and show what is damaged of them
#[derive(Args)]
pub(crate) struct Topic {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Create(create::Create),
    Describe(describe::Describe),
    Delete(delete::Delete),
    Damaged(damaged::Damaged),
}

impl Topic {
    /// Does what the verb says.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(list) => list.run().await,
            Verb::Create(create) => create.run().await,
            Verb::Describe(describe) => describe.run().await,
            Verb::Delete(delete) => delete.run().await,
            Verb::Damaged(damaged) => damaged.run().await,
        }
    }
}
