//! `keyway subscription list`.

use crate::{
    failure::Failure,
    http::Http,
    output::{Output, Table, cell, counts, duration, elements},
};
use clap::Args;
use serde_json::Value;

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
        self.output.print_list(elements(&answer["subscriptions"]), table)
    }
}

/// A line for each subscription.
pub(super) fn table(subscriptions: &[Value]) -> Table {
    let mut table =
        Table::new(&["TOPIC", "SUBSCRIPTION", "TYPE", "CONSUMERS", "LAG", "OLDEST", "IN FLIGHT", "BLOCKED"]);
    for one in subscriptions {
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
