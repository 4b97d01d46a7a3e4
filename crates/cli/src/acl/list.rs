//! `keyway acl list`.

use super::{
    place::Place,
    words::{self, PatternFilterArg, ResourceArgs, Row},
};
use crate::{failure::Failure, output::Output};
use clap::Args;
use keyway_access::{
    Operation,
    acl::{Permission, RuleFilter},
};

/// Show rules: all, or those that match everything that is given
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArgs,

    /// Columns, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    place: Place,
}

/// Which rules.
#[derive(Args)]
pub(super) struct FilterArgs {
    /// Those about this principal, as User:NAME
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,

    /// Those that name this operation, such as READ
    #[arg(long, value_parser = words::operation)]
    operation: Option<Operation>,

    #[command(flatten)]
    resource: ResourceArgs,

    /// How the resource's name is meant
    #[arg(long, value_enum, default_value_t = PatternFilterArg::Any)]
    resource_pattern_type: PatternFilterArg,

    /// Those about this address
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,

    /// Those that deny
    #[arg(long, conflicts_with = "allow")]
    deny: bool,

    /// Those that allow
    #[arg(long)]
    allow: bool,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> RuleFilter {
        let resource = self.resource.resource();
        RuleFilter {
            resource_type: resource.map(|resource| resource.kind),
            name: resource.map(|resource| resource.name.to_owned()),
            pattern: self.resource_pattern_type.into(),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation,
            permission: match (self.allow, self.deny) {
                (true, _) => Some(Permission::Allow),
                (_, true) => Some(Permission::Deny),
                _ => None,
            },
        }
    }
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let rules = self.place.open().await?;
        let listed = rules.list(&self.filter.filter()).await;
        rules.close()?;
        let rows: Vec<Row> = listed?.into_iter().map(Row::from).collect();
        self.output.print_list(&rows, words::table)
    }
}
