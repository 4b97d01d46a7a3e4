//! `keyway subscription keys`.

use super::Target;
use crate::{
    failure::Failure,
    http::encoded,
    output::{Output, Table, cell, duration, elements, json_line, print},
};
use clap::{Args, ValueEnum};
use serde_json::Value;

/// Show the keys that have messages: who holds them, how much waits, and what for
#[derive(Args)]
pub(super) struct Keys {
    #[command(flatten)]
    target: Target,

    /// Which keys come first
    #[arg(long, value_enum, default_value_t = Order::Backlog)]
    order: Order,

    /// Most keys
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,

    /// This key alone; exit code 3 if nothing of it waits or is in flight
    #[arg(long, conflicts_with_all = ["order", "limit"])]
    key: Option<String>,

    /// A table, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    /// Most messages a second
    Rate,
    /// Most messages that wait
    Backlog,
    /// Oldest message
    Age,
}

impl Keys {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { target, order, limit, key, output } = self;
        let keys = match key {
            Some(key) => vec![target.http.get(&target.path(&format!("/key?key={}", encoded(&key)))).await?],
            None => {
                let order = match order {
                    Order::Rate => "rate",
                    Order::Backlog => "backlog",
                    Order::Age => "age",
                };
                let path = target.path(&format!("/keys?order={order}&limit={limit}"));
                elements(&target.http.get(&path).await?["keys"]).to_vec()
            }
        };
        match output {
            Output::Json => print(&keys.iter().map(json_line).collect::<String>()),
            Output::Text => print(&table(&keys).text()),
        }
    }
}

/// A line for each key.
pub(super) fn table(keys: &[Value]) -> Table {
    let mut table = Table::new(&[
        "KEY",
        "PARTITION",
        "HOLDER",
        "WAITING",
        "IN FLIGHT",
        "ATTEMPTS",
        "BLOCKED",
        "OLDEST",
        "OFFSET",
        "PER SECOND",
    ]);
    for key in keys {
        table.row(vec![
            cell(&key["key"]),
            cell(&key["partition"]),
            cell(&key["holder"]),
            cell(&key["waiting"]),
            cell(&key["in_flight"]),
            cell(&key["attempts"]),
            cell(&key["blocked"]),
            duration(&key["age_ms"]),
            cell(&key["oldest_offset"]),
            format!("{:.1}", key["rate_per_s"].as_f64().unwrap_or(0.0)),
        ]);
    }
    table
}
