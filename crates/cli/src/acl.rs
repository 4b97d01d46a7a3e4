//! `keyway acl`: who may do what. One file per verb.

mod add;
mod explain;
mod list;
mod place;
mod remove;
mod words;

use crate::failure::Failure;
use clap::{Args, Subcommand};

const AFTER_HELP: &str = "\
The words are those of Kafka's kafka-acls; a subscription of Danube is a group,
and a Danube topic has the rules of its Kafka topic. A rule that denies goes
before every rule that allows. Rules are kept in a running broker, or with
--data in the folder of one that does not run, as the first ones are:

  keyway acl add --data /var/lib/keyway --principal User:admin --operation ALL --cluster
  keyway acl add --principal User:alice --operation READ --topic orders- \\
    --resource-pattern-type prefixed
  keyway acl add --principal User:alice --operation READ --subscription workers
  keyway acl explain --principal User:alice --operation READ --topic orders-eu";

/// List, add and remove access rules, and explain what they come to
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Acl {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Add(add::Add),
    Remove(remove::Remove),
    Explain(explain::Explain),
}

impl Acl {
    /// Does what the verb says.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(list) => list.run().await,
            Verb::Add(add) => add.run().await,
            Verb::Remove(remove) => remove.run().await,
            Verb::Explain(explain) => explain.run().await,
        }
    }
}
