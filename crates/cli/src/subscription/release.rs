//! `keyway subscription release`.

use super::Target;
use crate::{failure::Failure, output::print};
use clap::Args;
use hyper::Method;
use serde_json::json;

/// Let blocked and parked keys go on: their messages are tried again as if for the first time
#[derive(Args)]
pub(super) struct Release {
    #[command(flatten)]
    target: Target,

    /// This key alone; default: all of them
    #[arg(long)]
    key: Option<String>,
}

impl Release {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.key.map_or(json!({}), |key| json!({"key": key}));
        let done = self.target.http.send(Method::POST, &self.target.path("/release"), &body).await?;
        print(&format!("{} released\n", done["released"]))
    }
}
