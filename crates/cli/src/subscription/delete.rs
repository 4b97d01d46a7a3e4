//! `keyway subscription delete`.

use super::Target;
use crate::{confirm::Confirm, failure::Failure};
use clap::Args;

/// Delete a subscription with its position, its policy and its consumers' registrations
#[derive(Args)]
pub(super) struct Delete {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    confirm: Confirm,
}

impl Delete {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let words = self.target.words();
        self.confirm
            .ask(&format!("deleting {words} forgets its position and policy and cuts its consumers off"))?;
        self.target.http.delete(&self.target.path("")).await
    }
}
