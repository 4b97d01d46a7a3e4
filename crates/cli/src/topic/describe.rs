//! `keyway topic describe`.

use crate::{
    client::{Client, Connect, MissingTopics},
    failure::Failure,
    output::{Output, json_line, print},
};
use clap::Args;
use keyway_record::TopicName;

/// Show a topic's partitions, the offsets that they hold, and what its acknowledgements survive
#[derive(Args)]
pub(super) struct Describe {
    /// Topic to describe
    #[arg(value_parser = TopicName::new)]
    name: TopicName,

    /// A table, or one JSON object with topic, durability (fsync or os) and partitions: partition, first_offset, next_offset, leader_epoch
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(serde::Serialize)]
struct Description<'a> {
    topic: &'a str,
    durability: &'static str,
    partitions: Vec<Partition>,
}

#[derive(serde::Serialize)]
struct Partition {
    partition: i32,
    first_offset: i64,
    next_offset: i64,
    /// It moved on with each start after which records that were read may be missing.
    leader_epoch: Option<i32>,
}

impl Describe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client::connect(&self.connect, MissingTopics::Refuse).await?;
        let topic = client.topic(&self.name).await?;
        let bounds = client.bounds(&topic).await?;
        let leader_epochs = client.leader_epochs(&topic).await?;
        let partition = |(partition, offsets): (i32, std::ops::Range<i64>)| Partition {
            partition,
            first_offset: offsets.start,
            next_offset: offsets.end,
            leader_epoch: leader_epochs.get(&partition).copied().flatten(),
        };
        let description = Description {
            topic: topic.name.as_str(),
            durability: if client.flush_interval_messages(&topic).await? == 1 { "fsync" } else { "os" },
            partitions: bounds.into_iter().map(partition).collect(),
        };
        match self.output {
            Output::Json => print(&json_line(&description)),
            Output::Text => print(&description.table()),
        }
    }
}

impl Description<'_> {
    fn table(&self) -> String {
        let mut text =
            format!("PARTITION  {:>12}  {:>12}  {:>12}\n", "FIRST OFFSET", "NEXT OFFSET", "LEADER EPOCH");
        for Partition { partition, first_offset, next_offset, leader_epoch } in &self.partitions {
            let epoch = leader_epoch.map_or_else(|| "unknown".to_owned(), |epoch| epoch.to_string());
            text += &format!("{partition:>9}  {first_offset:>12}  {next_offset:>12}  {epoch:>12}\n");
        }
        text += match self.durability {
            "fsync" => "durability fsync: acks=all is answered once the records are on the disk\n",
            _ => "durability os: a power cut takes the newest records, acknowledged or not\n",
        };
        text
    }
}
