//! `keyway topic`: the topics themselves. One file per verb.

mod create;
mod delete;
mod describe;
mod list;

use crate::failure::Failure;
use clap::{Args, Subcommand, ValueEnum};
use std::io::{self, Write};

/// List, create, describe and delete topics
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
}

/// Columns for people, or one JSON object per line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Topic {
    /// Does what the verb says.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(list) => list.run().await,
            Verb::Create(create) => create.run().await,
            Verb::Describe(describe) => describe.run().await,
            Verb::Delete(delete) => delete.run().await,
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::of_stdout(&error))
}

fn json_line(value: &impl serde::Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("plain structs of text and numbers");
    line.push('\n');
    line
}
