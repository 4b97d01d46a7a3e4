//! `keyway dlq list`.

use crate::{
    failure::Failure,
    http::Http,
    output::{Output, Table, cell, json_line, print},
};
use clap::Args;
use std::io::{IsTerminal, stdout};

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
        let topics = answer["dead_letter_topics"].as_array().map_or(&[][..], Vec::as_slice);
        if self.output == Output::Json {
            return print(&topics.iter().map(json_line).collect::<String>());
        }
        let mut table = Table::new(&["DEAD-LETTER TOPIC", "WAITING", "SUBSCRIPTIONS"]);
        for topic in topics {
            let claims = topic["subscriptions"].as_array().into_iter().flatten();
            let claims: Vec<String> = claims
                .map(|claim| format!("{} of {}", cell(&claim["subscription"]), cell(&claim["topic"])))
                .collect();
            let claims = if claims.is_empty() { "-".to_owned() } else { claims.join(", ") };
            table.row(vec![cell(&topic["dead_letter_topic"]), cell(&topic["waiting"]), claims]);
        }
        print(&table.text_for(stdout().is_terminal()))
    }
}
