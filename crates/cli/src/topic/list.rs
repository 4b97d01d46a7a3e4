//! `keyway topic list`.

use crate::{
    client::{Client, Connect, MissingTopics, TopicInfo},
    failure::Failure,
    output::{Output, json_line, print},
};
use clap::Args;
use std::io::{IsTerminal, stdout};

/// Show the topics and their number of partitions
#[derive(Args)]
pub(super) struct List {
    /// Two columns, or one JSON object per line with topic and partitions
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    connect: Connect,
}

#[derive(serde::Serialize)]
struct Line<'a> {
    topic: &'a str,
    partitions: usize,
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client::connect(&self.connect, MissingTopics::Refuse).await?;
        let topics = client.topics().await?;
        let line = |topic: &TopicInfo| {
            json_line(&Line { topic: topic.name.as_str(), partitions: topic.partitions.len() })
        };
        match self.output {
            Output::Json => print(&topics.iter().map(line).collect::<String>()),
            Output::Text => print(&columns(&topics)),
        }
    }
}

fn columns(topics: &[TopicInfo]) -> String {
    let width = topics.iter().map(|topic| topic.name.as_str().len()).max().unwrap_or(0).max("TOPIC".len());
    let mut text = String::new();
    // Pipes get data only.
    if stdout().is_terminal() {
        text += &format!("{:width$}  PARTITIONS\n", "TOPIC");
    }
    for topic in topics {
        text += &format!("{:width$}  {}\n", topic.name.as_str(), topic.partitions.len());
    }
    text
}
