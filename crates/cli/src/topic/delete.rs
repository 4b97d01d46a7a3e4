//! `keyway topic delete`.

use crate::{
    client::{Client, Connect, MissingTopics},
    failure::Failure,
};
use clap::Args;
use keyway_record::TopicName;

/// Delete a topic and its records
#[derive(Args)]
pub(super) struct Delete {
    /// Topic to delete
    #[arg(value_parser = TopicName::new)]
    name: TopicName,

    /// Really; nothing brings the records back
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Delete {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let name = &self.name;
        if !self.yes {
            return Err(Failure::Usage(format!(
                "deleting topic '{name}' deletes all its records for good; add --yes to do it"
            )));
        }
        Client::connect(&self.connect, MissingTopics::Refuse).await?.delete_topic(name).await
    }
}
