//! `keyway subscription create`.

use super::Target;
use crate::{failure::Failure, position::Position};
use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::json;

/// Create a subscription before its first consumer comes, so that its start is yours to choose
#[derive(Args)]
pub(super) struct Create {
    #[command(flatten)]
    target: Target,

    /// How messages are handed out
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = Type::KeyShared)]
    kind: Type,

    /// First message: latest (the next one), earliest, offset:N, time:MS or time:RFC3339
    #[arg(long, value_name = "POSITION", default_value = "latest")]
    start: Position,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Type {
    /// By key: same key, same consumer, in order, one at a time
    KeyShared,
    /// Round robin
    Shared,
    /// One consumer, refusing others
    Exclusive,
    /// One consumer, the next takes over
    Failover,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let kind = match self.kind {
            Type::KeyShared => "key_shared",
            Type::Shared => "shared",
            Type::Exclusive => "exclusive",
            Type::Failover => "failover",
        };
        let body = json!({"type": kind, "start": self.start.0});
        self.target.http.send(Method::PUT, &self.target.path(""), &body).await.map(drop)
    }
}
