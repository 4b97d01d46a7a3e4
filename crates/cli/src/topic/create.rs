//! `keyway topic create`.

use crate::{
    client::{Client, Connect, Created, MissingTopics},
    failure::Failure,
};
use clap::Args;
use keyway_record::TopicName;

/// Create a topic
#[derive(Args)]
pub(super) struct Create {
    /// Name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'
    #[arg(value_parser = TopicName::new)]
    name: TopicName,

    /// Number of partitions; the default is the broker's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Succeed and change nothing if the topic is there already
    #[arg(long)]
    if_not_exists: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client::connect(&self.connect, MissingTopics::Refuse).await?;
        match client.create_topic(&self.name, self.partitions).await? {
            Created::Existed if !self.if_not_exists => {
                let name = &self.name;
                Err(Failure::Failed(format!("topic '{name}' exists already; --if-not-exists accepts that")))
            }
            Created::New | Created::Existed => Ok(()),
        }
    }
}
