//! `keyway dlq replay` and `purge`.

use crate::{
    confirm::Confirm,
    failure::{Failure, note},
    http::{Http, encoded},
    output::{elements, print},
};
use clap::Args;
use hyper::Method;
use keyway_record::TopicName;
use serde_json::{Value, json};

/// Refusals that are named one by one.
const REFUSALS_MAX: usize = 10;

/// Publish dead letters to the topics they came from, with their keys and their own headers; they are dead letters no
/// longer once that is on disk
#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    which: Which,

    /// Publish to this topic in place of each letter's own
    #[arg(long, value_name = "TOPIC", value_parser = TopicName::new)]
    to: Option<TopicName>,
}

/// Give dead letters up for good
#[derive(Args)]
pub(super) struct Purge {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Args)]
struct Which {
    /// Dead-letter topic, as `keyway dlq list` names it
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,

    /// Letters of this key alone
    #[arg(long)]
    key: Option<String>,

    /// Most letters, oldest first; default: all that are there now
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    #[command(flatten)]
    http: Http,
}

impl Replay {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let to = self.to.map(|topic| topic.to_string());
        self.which.settle("replay", "replayed", to).await
    }
}

impl Purge {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Which { topic, key, limit, .. } = &self.which;
        let limit = limit.map_or("all".to_owned(), |limit| format!("up to {limit}"));
        let of_key = key.as_ref().map_or(String::new(), |key| format!(" of key '{key}'"));
        self.confirm.ask(&format!("purging gives up {limit} dead letters{of_key} in '{topic}' for good"))?;
        self.which.settle("purge", "purged", None).await
    }
}

impl Which {
    /// Works through the topic, a request at a time: the broker says what each has left.
    async fn settle(&self, verb: &str, done: &str, to: Option<String>) -> Result<(), Failure> {
        let path = format!("/api/v1/dead-letters/{}/{verb}", encoded(self.topic.as_str()));
        let (mut settled, mut refused) = (0, 0);
        let mut parts = Value::Null;
        loop {
            let mut body = json!({"key": self.key, "parts": parts});
            if let Some(limit) = self.limit {
                body["limit"] = (limit - settled).into();
            }
            if let Some(to) = &to {
                body["to"] = to.as_str().into();
            }
            let answer = self.http.send(Method::POST, &path, &body).await;
            let mut answer =
                answer.map_err(|failure| failure.after(&format!("after {settled} were {done}: ")))?;
            settled += answer["settled"].as_u64().unwrap_or(0);
            for refusal in elements(&answer["refusals"]) {
                if refused < REFUSALS_MAX {
                    let place = format!("partition {} offset {}", refusal["partition"], refusal["offset"]);
                    note(&format!("{place} stays: {}", refusal["reason"].as_str().unwrap_or_default()));
                }
                refused += 1;
            }
            parts = answer["rest"].take();
            let more = !elements(&parts).is_empty();
            if !more || self.limit.is_some_and(|limit| settled >= limit) {
                break;
            }
        }
        print(&format!("{settled} {done}\n"))?;
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "{refused} could not be {done} and stay; create their topics, or name another with --to"
        )))
    }
}
