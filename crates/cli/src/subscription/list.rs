//! `keyway subscription list`.

use crate::{
    failure::Failure,
    http::Http,
    output::{Output, Table, cell, counts, duration, json_line, print},
};
use clap::Args;
use serde_json::Value;
use std::io::{IsTerminal, stdout};

/// Show all subscriptions with their lag
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
        let answer = self.http.get("/api/v1/subscriptions").await?;
        match self.output {
            Output::Json => {
                let all = answer["subscriptions"].as_array().into_iter().flatten();
                print(&all.map(json_line).collect::<String>())
            }
            Output::Text => print(&table(&answer).text_for(stdout().is_terminal())),
        }
    }
}

/// A line for each subscription of an answer to `GET /api/v1/subscriptions`.
pub(super) fn table(answer: &Value) -> Table {
    let mut table =
        Table::new(&["TOPIC", "SUBSCRIPTION", "TYPE", "CONSUMERS", "LAG", "OLDEST", "IN FLIGHT", "BLOCKED"]);
    for one in answer["subscriptions"].as_array().into_iter().flatten() {
        table.row(vec![
            cell(&one["topic"]),
            cell(&one["subscription"]),
            cell(&one["type"]),
            cell(&one["consumers_connected"]),
            cell(&one["lag_messages"]),
            duration(&one["lag_ms"]),
            cell(&one["inflight_messages"]),
            counts(&one["blocked"]),
        ]);
    }
    table
}
