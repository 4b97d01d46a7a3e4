//! `keyway user remove`.

use super::{Data, failure};
use crate::failure::Failure;
use clap::Args;

/// Remove a user
#[derive(Args)]
pub(super) struct Remove {
    /// The user's name
    name: String,

    #[command(flatten)]
    data: Data,
}

impl Remove {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let opened = self.data.open()?;
        let removed = opened.users.remove(&self.name).await.map_err(failure);
        opened.close()?;
        removed
    }
}
