//! `keyway subscription seek` and `reset`.

use super::Target;
use crate::{
    confirm::Confirm,
    failure::Failure,
    output::{Output, Table, cell, elements, json_line, print},
    position::Position,
};
use clap::Args;
use hyper::Method;
use serde_json::json;

/// Move a subscription, backwards to deliver again or forwards to leave out
#[derive(Args)]
pub(super) struct Seek {
    #[command(flatten)]
    target: Target,

    /// Where to: latest, earliest, offset:N, time:MS or time:RFC3339
    #[arg(long, value_name = "POSITION")]
    start: Position,

    #[command(flatten)]
    how: How,
}

/// Begin anew, as a subscription does that is just created: what waits is left out, failures are forgotten
#[derive(Args)]
pub(super) struct Reset {
    #[command(flatten)]
    target: Target,

    /// First message: latest, earliest, offset:N, time:MS or time:RFC3339
    #[arg(long, value_name = "POSITION", default_value = "latest")]
    start: Position,

    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    #[command(flatten)]
    confirm: Confirm,

    /// A table of the new positions, or one JSON object
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Seek {
    pub(super) async fn run(self) -> Result<(), Failure> {
        seek(&self.target, &self.start, &self.how).await
    }
}

impl Reset {
    pub(super) async fn run(self) -> Result<(), Failure> {
        seek(&self.target, &self.start, &self.how).await
    }
}

async fn seek(target: &Target, to: &Position, how: &How) -> Result<(), Failure> {
    let (words, place) = (target.words(), &to.0);
    how.confirm.ask(&format!(
        "moving {words} to {place} takes back what is in flight, and delivers everything from there on, again if need be"
    ))?;
    let sought = target.http.send(Method::POST, &target.path("/seek"), &json!({"to": place})).await?;
    if how.output == Output::Json {
        return print(&json_line(&sought));
    }
    let mut table = Table::new(&["PARTITION", "OFFSET"]);
    for partition in elements(&sought["partitions"]) {
        table.row(vec![cell(&partition["partition"]), cell(&partition["offset"])]);
    }
    print(&table.text())
}
