//! `keyway subscription`: who consumes what, how far they are, and what holds them up. One file per verb.

mod create;
mod delete;
mod describe;
mod keys;
mod list;
mod policy;
mod release;
mod seek;
mod watch;

use crate::{
    failure::Failure,
    http::{Http, encoded},
};
use clap::{Args, Subcommand};
use keyway_record::TopicName;

/// List, describe, watch, create, move and delete subscriptions, and set what they do with failures
#[derive(Args)]
pub(crate) struct Subscription {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Describe(describe::Describe),
    Keys(keys::Keys),
    Watch(watch::Watch),
    Create(create::Create),
    Seek(seek::Seek),
    Reset(seek::Reset),
    Delete(delete::Delete),
    Policy(policy::Policy),
    Release(release::Release),
}

/// Which subscription, at which broker.
#[derive(Args, Clone)]
struct Target {
    /// Topic
    #[arg(value_parser = TopicName::new)]
    topic: TopicName,

    /// Subscription of the topic
    subscription: String,

    #[command(flatten)]
    http: Http,
}

impl Subscription {
    /// Does what the verb says.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List(list) => list.run().await,
            Verb::Describe(describe) => describe.run().await,
            Verb::Keys(keys) => keys.run().await,
            Verb::Watch(watch) => watch.run().await,
            Verb::Create(create) => create.run().await,
            Verb::Seek(seek) => seek.run().await,
            Verb::Reset(reset) => reset.run().await,
            Verb::Delete(delete) => delete.run().await,
            Verb::Policy(policy) => policy.run().await,
            Verb::Release(release) => release.run().await,
        }
    }
}

impl Target {
    /// The subscription's path, with `rest` behind it.
    fn path(&self, rest: &str) -> String {
        let topic = encoded(self.topic.as_str());
        format!("/api/v1/topics/{topic}/subscriptions/{}{rest}", encoded(&self.subscription))
    }

    /// The subscription in words.
    fn words(&self) -> String {
        format!("subscription '{}' of topic '{}'", self.subscription, self.topic)
    }
}
