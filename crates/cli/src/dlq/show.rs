//! `keyway dlq show`.

use crate::{
    failure::Failure,
    http::{Http, encoded},
    output::{Output, Table, cell, elements, json_line, print},
};
use clap::Args;
use keyway_record::TopicName;
use serde_json::Value;

/// Letters asked for at a time.
const PAGE: u64 = 200;

/// Show dead letters, oldest first: where each came from, why, and the message itself
#[derive(Args)]
pub(super) struct Show {
    /// Dead-letter topic, as `keyway dlq list` names it
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,

    /// Letters of this key alone
    #[arg(long)]
    key: Option<String>,

    /// Most letters
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,

    /// A table, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    http: Http,
}

impl Show {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut left = self.limit;
        let mut table = table();
        // What each answer leaves, as stacks of parts to look at; `None` for the whole topic.
        let mut parts: Vec<Option<Value>> = vec![None];
        while let Some(part) = parts.pop() {
            if left == 0 {
                break;
            }
            let answer = self.http.get(&self.path(part.as_ref(), left.min(PAGE))).await?;
            let letters = elements(&answer["dead_letters"]);
            left = left.saturating_sub(letters.len() as u64);
            match self.output {
                Output::Json => print(&letters.iter().map(json_line).collect::<String>())?,
                Output::Text => letters.iter().for_each(|letter| table.row(row(letter))),
            }
            parts.extend(elements(&answer["rest"]).iter().rev().cloned().map(Some));
        }
        if self.output == Output::Text { print(&table.text()) } else { Ok(()) }
    }

    fn path(&self, part: Option<&Value>, limit: u64) -> String {
        let mut path = format!("/api/v1/dead-letters/{}?limit={limit}", encoded(self.topic.as_str()));
        if let Some(key) = &self.key {
            path += &format!("&key={}", encoded(key));
        }
        if let Some(part) = part {
            path += &format!("&partition={}&from={}&end={}", part["partition"], part["from"], part["end"]);
        }
        path
    }
}

fn table() -> Table {
    Table::new(&["PARTITION", "OFFSET", "FROM", "KEY", "ATTEMPTS", "REASON", "VALUE"])
}

fn row(letter: &Value) -> Vec<String> {
    let from = match letter["original_topic"].as_str() {
        Some(topic) => {
            let place = (cell(&letter["original_partition"]), cell(&letter["original_offset"]));
            format!("{topic} {}:{} {}", place.0, place.1, cell(&letter["original_subscription"]))
        }
        None => "-".to_owned(),
    };
    vec![
        cell(&letter["partition"]),
        cell(&letter["offset"]),
        from,
        text(letter, "key"),
        cell(&letter["attempts"]),
        cell(&letter["reason"]),
        text(letter, "value"),
    ]
}

/// A key or value, shortened; what is no text as base64.
fn text(letter: &Value, field: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let whole = match letter.get(field) {
        Some(text) => cell(text),
        None => cell(&letter[format!("{field}_base64")]),
    };
    if whole.chars().count() <= SHOWN_MAX {
        return whole;
    }
    whole.chars().take(SHOWN_MAX - 1).chain(['…']).collect()
}
