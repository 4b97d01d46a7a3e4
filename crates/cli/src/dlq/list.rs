//! `keyway dlq list`.

use crate::{
    failure::Failure,
    http::Http,
    output::{Output, Table, cell, elements},
};
use clap::Args;
use serde_json::Value;

/// Show the dead-letter topics, how many letters wait in each, and whose they are
#[derive(Args)]
pub(super) struct List {
    /// Columns, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    http: Http,
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let answer = self.http.get("/api/v1/dead-letters").await?;
        self.output.print_list(elements(&answer["dead_letter_topics"]), table)
    }
}

/// A line for each dead-letter topic.
fn table(topics: &[Value]) -> Table {
    let mut table = Table::new(&["DEAD-LETTER TOPIC", "WAITING", "SUBSCRIPTIONS"]);
    for topic in topics {
        let claims: Vec<String> = elements(&topic["subscriptions"])
            .iter()
            .map(|claim| format!("{} of {}", cell(&claim["subscription"]), cell(&claim["topic"])))
            .collect();
        let claims = if claims.is_empty() { "-".to_owned() } else { claims.join(", ") };
        table.row(vec![cell(&topic["dead_letter_topic"]), cell(&topic["waiting"]), claims]);
    }
    table
}
