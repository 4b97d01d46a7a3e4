//! `cargo xtask costs` as a check.

use anyhow::Context;

use super::stage::Stage;
use crate::costs;

/// One request's syscalls, context switches, instructions and allocations are within their limits.
pub(crate) async fn of_requests(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let binary = stage.broker.keyway().context("this is another broker")?;
    costs::count(binary, stage.tools, stage.log()).await
}
