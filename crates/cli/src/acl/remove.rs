//! `keyway acl remove`.

use super::{
    list::FilterArgs,
    place::Place,
    words::{self, Row},
};
use crate::{confirm::Confirm, failure::Failure, output::Output};
use clap::Args;
use keyway_access::acl::RuleFilter;

/// Remove the rules that match everything that is given, and show them
#[derive(Args)]
pub(super) struct Remove {
    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    confirm: Confirm,

    /// Columns, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    place: Place,
}

impl Remove {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let filter = self.filter.filter();
        if filter.principal.is_none() && filter.name.is_none() {
            let line =
                "this would remove rules about everybody and everything; name a principal or a resource";
            return Err(Failure::Usage(line.to_owned()));
        }
        let rules = self.place.open().await?;
        let removed = self.removed(&rules, &filter).await;
        rules.close()?;
        let rows: Vec<Row> = removed?.into_iter().map(Row::from).collect();
        self.output.print_list(&rows, words::table)
    }

    async fn removed(
        &self,
        rules: &super::place::Rules,
        filter: &RuleFilter,
    ) -> Result<Vec<keyway_access::acl::Rule>, Failure> {
        let count = rules.list(filter).await?.len();
        if count == 0 {
            return Err(Failure::NotFound(
                "no rule matches; `keyway acl list` shows those that there are".to_owned(),
            ));
        }
        self.confirm.ask(&format!("{count} rules would be removed"))?;
        rules.remove(filter).await
    }
}
