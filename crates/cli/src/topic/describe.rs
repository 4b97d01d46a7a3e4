//! `keyway topic describe`.

use crate::{
    client::{Client, Connect, MissingTopics},
    failure::Failure,
    output::{Output, json_line, print},
};
use clap::Args;
use keyway_record::TopicName;

/// Show a topic's partitions and the offsets that they hold
#[derive(Args)]
pub(super) struct Describe {
    /// Topic to describe
    #[arg(value_parser = TopicName::new)]
    name: TopicName,

    /// A table, or one JSON object with topic and partitions: partition, first_offset, next_offset
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(serde::Serialize)]
struct Description<'a> {
    topic: &'a str,
    partitions: Vec<Partition>,
}

#[derive(serde::Serialize)]
struct Partition {
    partition: i32,
    first_offset: i64,
    next_offset: i64,
}

impl Describe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client::connect(&self.connect, MissingTopics::Refuse).await?;
        let topic = client.topic(&self.name).await?;
        let bounds = client.bounds(&topic).await?;
        let partition = |(partition, offsets): (i32, std::ops::Range<i64>)| Partition {
            partition,
            first_offset: offsets.start,
            next_offset: offsets.end,
        };
        let description = Description {
            topic: topic.name.as_str(),
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
        let mut text = format!("PARTITION  {:>12}  {:>12}\n", "FIRST OFFSET", "NEXT OFFSET");
        for line in &self.partitions {
            text += &format!("{:>9}  {:>12}  {:>12}\n", line.partition, line.first_offset, line.next_offset);
        }
        text
    }
}
