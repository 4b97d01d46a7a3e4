//! `keyway topic list`.

use crate::{
    client::{Client, Connect, MissingTopics},
    failure::Failure,
    output::{Output, Table},
};
use clap::Args;

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
        let lines: Vec<Line> = topics
            .iter()
            .map(|topic| Line { topic: topic.name.as_str(), partitions: topic.partitions.len() })
            .collect();
        self.output.print_list(&lines, table)
    }
}

/// A row for each topic.
fn table(lines: &[Line]) -> Table {
    let mut table = Table::new(&["TOPIC", "PARTITIONS"]);
    for line in lines {
        table.row(vec![line.topic.to_owned(), line.partitions.to_string()]);
    }
    table
}
