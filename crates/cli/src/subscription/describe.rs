//! `keyway subscription describe`.

use super::Target;
use crate::{
    failure::Failure,
    output::{Output, Table, cell, counts, duration, elements, json_line, print},
};
use clap::Args;
use serde_json::Value;

/// Show a subscription: position, lag, what waits for what, consumers with their share and ack latency
#[derive(Args)]
pub(super) struct Describe {
    #[command(flatten)]
    target: Target,

    /// Tables, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Describe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let answer = self.target.http.get(&self.target.path("")).await?;
        match self.output {
            Output::Json => print(&json_line(&answer)),
            Output::Text => print(&text(&answer)),
        }
    }
}

/// Everything about one subscription.
pub(super) fn text(one: &Value) -> String {
    let policy = &one["policy"];
    let facts = [
        ("topic", cell(&one["topic"])),
        ("subscription", cell(&one["subscription"])),
        ("type", cell(&one["type"])),
        ("lag", format!("{} messages, oldest {}", cell(&one["lag_messages"]), duration(&one["lag_ms"]))),
        ("in flight", cell(&one["inflight_messages"])),
        ("keys", format!("{} live, {} parked", cell(&one["live_keys"]), cell(&one["parked_keys"]))),
        ("blocked", counts(&one["blocked"])),
        ("failures", failures(policy)),
        ("dead letters", cell(&one["dead_letter_topic"])),
    ];
    let mut text: String = facts.into_iter().map(|(name, fact)| format!("{name:<13} {fact}\n")).collect();
    for error in partitions(one).filter_map(|partition| partition["dead_letter_error"].as_str()) {
        text += &format!("{:<13} dead letters cannot be written: {error}\n", "warning");
    }
    if partitions(one).any(|partition| partition["flood_brake"] == true) {
        text += &format!(
            "{:<13} almost all messages fail, so they are kept and tried again; look at the workers\n",
            "warning"
        );
    }
    for alarm in partitions(one).flat_map(|partition| elements(&partition["alarms"])) {
        text += &format!("{:<13} {}\n", "warning", cell(&alarm["text"]));
    }
    text.push('\n');
    text += &partition_table(one).text();
    text.push('\n');
    text + &consumer_table(one).text()
}

fn failures(policy: &Value) -> String {
    format!(
        "after {} redeliveries {}; ack timeout {}, backoff {} from {} to {}",
        cell(&policy["max_redelivery_count"]),
        cell(&policy["poison_policy"]),
        duration(&policy["ack_timeout_ms"]),
        cell(&policy["backoff_strategy"]),
        duration(&policy["base_redelivery_delay_ms"]),
        duration(&policy["max_redelivery_delay_ms"]),
    )
}

fn partitions(one: &Value) -> impl Iterator<Item = &Value> {
    elements(&one["partition_views"]).iter()
}

fn partition_table(one: &Value) -> Table {
    let mut table =
        Table::new(&["PARTITION", "CURSOR", "END", "LAG", "OLDEST", "IN FLIGHT", "KEYS", "BLOCKED"]);
    for partition in partitions(one) {
        table.row(vec![
            cell(&partition["partition"]),
            cell(&partition["cursor"]),
            cell(&partition["end"]),
            cell(&partition["lag_messages"]),
            duration(&partition["lag_ms"]),
            cell(&partition["inflight_messages"]),
            cell(&partition["live_keys"]),
            counts(&partition["blocked"]),
        ]);
    }
    table
}

fn consumer_table(one: &Value) -> Table {
    let mut table = Table::new(&[
        "CONSUMER",
        "PARTITION",
        "STATE",
        "SHARE",
        "HOLDS",
        "CREDIT",
        "ACKED",
        "FAILED",
        "ACK P50",
        "ACK P99",
        "FILTERS",
    ]);
    for partition in partitions(one) {
        for consumer in elements(&partition["consumers"]) {
            let failed = consumer["nacked"].as_u64().unwrap_or(0) + consumer["expired"].as_u64().unwrap_or(0);
            let state = match (consumer["connected"] == true, consumer["active"] == true) {
                (false, _) => "away",
                (true, true) => "active",
                (true, false) => "connected",
            };
            let filters = elements(&consumer["filters"]).iter().map(cell).collect::<Vec<_>>();
            let latency = |field: &str| match consumer["ack_latency"]["count"].as_u64() {
                Some(1..) => duration(&consumer["ack_latency"][field]),
                _ => "-".to_owned(),
            };
            table.row(vec![
                cell(&consumer["name"]),
                cell(&partition["partition"]),
                state.to_owned(),
                format!("{:.0} %", consumer["share"].as_f64().unwrap_or(0.0) * 100.0),
                cell(&consumer["in_flight"]),
                cell(&consumer["credit"]),
                cell(&consumer["acked"]),
                failed.to_string(),
                latency("p50_ms"),
                latency("p99_ms"),
                if filters.is_empty() { "-".to_owned() } else { filters.join(" ") },
            ]);
        }
    }
    table
}
