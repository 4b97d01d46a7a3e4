//! Whether the process lives, and whether it serves.

use super::{Shared, error::ApiError};
use axum::extract::State;

/// Answers as long as the process does.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Recovery is over before this port is answered, and a failed disk ends the process; so only a stop is left to tell.
pub(super) async fn readyz(State(node): State<Shared>) -> Result<&'static str, ApiError> {
    if node.stopping.is_cancelled() { Err(ApiError::Stopping) } else { Ok("ready\n") }
}
