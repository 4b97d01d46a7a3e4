//! `keyway subscription policy get` and `set`. The words are those of Danube's own tool.

use super::Target;
use crate::{
    failure::Failure,
    output::{Output, cell, json_line, print},
};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value};

/// Show or set what a subscription does with failures
#[derive(Args)]
pub(super) struct Policy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Get(Get),
    Set(Set),
}

/// Show the policy
#[derive(Args)]
struct Get {
    #[command(flatten)]
    target: Target,

    /// A line per field, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Change the policy, also before the subscription exists; what is not named stays as it is
#[derive(Args)]
struct Set {
    #[command(flatten)]
    target: Target,

    /// Redeliveries after failures; 0: the first failure uses a message up
    #[arg(long, value_name = "N")]
    max_redelivery_count: Option<u16>,

    /// How long a delivery may stay unanswered, ms
    #[arg(long, value_name = "MS")]
    ack_timeout_ms: Option<u64>,

    /// First wait before a redelivery, ms
    #[arg(long, value_name = "MS")]
    base_redelivery_delay_ms: Option<u64>,

    /// Longest wait before a redelivery, ms
    #[arg(long, value_name = "MS")]
    max_redelivery_delay_ms: Option<u64>,

    /// How the wait grows
    #[arg(long, value_name = "STRATEGY", value_parser = ["fixed", "exponential"])]
    backoff_strategy: Option<String>,

    /// Up to this share is added to a wait, percent
    #[arg(long, value_name = "PERCENT")]
    jitter_percent: Option<u8>,

    /// What happens to used-up messages: written to the dead-letter topic, their key parked, their key blocked, dropped
    #[arg(long, value_name = "POLICY", value_parser = ["dead_letter", "park", "block", "drop"])]
    poison_policy: Option<String>,

    /// Topic for dead letters; empty for TOPIC.SUBSCRIPTION.dlq
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,

    /// Whether a lost worker counts as a failure of the message it worked on
    #[arg(long, value_name = "BOOL")]
    count_disconnects: Option<bool>,

    /// Whether a worker that fails almost everything is kept from using everything up
    #[arg(long, value_name = "BOOL")]
    flood_brake: Option<bool>,

    /// Most unanswered messages per partition; 0: follows the workers' speed
    #[arg(long, value_name = "N")]
    unacked_max: Option<u32>,
}

impl Policy {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Get(Get { target, output }) => {
                let policy = target.http.get(&target.path("/policy")).await?;
                match output {
                    Output::Json => print(&json_line(&policy)),
                    Output::Text => print(&text(&policy)),
                }
            }
            Verb::Set(set) => set.run().await,
        }
    }
}

impl Set {
    async fn run(self) -> Result<(), Failure> {
        let change: Map<String, Value> = [
            ("max_redelivery_count", self.max_redelivery_count.map(Value::from)),
            ("ack_timeout_ms", self.ack_timeout_ms.map(Value::from)),
            ("base_redelivery_delay_ms", self.base_redelivery_delay_ms.map(Value::from)),
            ("max_redelivery_delay_ms", self.max_redelivery_delay_ms.map(Value::from)),
            ("backoff_strategy", self.backoff_strategy.map(Value::from)),
            ("jitter_percent", self.jitter_percent.map(Value::from)),
            ("poison_policy", self.poison_policy.map(Value::from)),
            (
                "dead_letter_topic",
                self.dead_letter_topic.map(|name| Some(name).filter(|name| !name.is_empty()).into()),
            ),
            ("count_disconnects", self.count_disconnects.map(Value::from)),
            ("flood_brake", self.flood_brake.map(Value::from)),
            ("unacked_max", self.unacked_max.map(|max| Some(max).filter(|&max| max > 0).into())),
        ]
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), value?)))
        .collect();
        if change.is_empty() {
            return Err(Failure::Usage(
                "name what to set, such as --poison-policy dead_letter; --help lists it".into(),
            ));
        }
        let path = self.target.path("/policy");
        self.target.http.send(Method::PATCH, &path, &Value::Object(change)).await.map(drop)
    }
}

fn text(policy: &Value) -> String {
    let fields = policy.as_object().into_iter().flatten();
    fields.map(|(field, value)| format!("{field:<26} {}\n", cell(value))).collect()
}
