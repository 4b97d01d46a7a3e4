//! `keyway acl add`.

use super::{
    place::Place,
    words::{self, PatternArg, ResourceArgs},
};
use crate::failure::Failure;
use clap::Args;
use keyway_access::{
    Operation,
    acl::{Pattern, Permission, Rule},
};

/// Add rules: a principal may do these operations to a resource; what is there already stays
#[derive(Args)]
pub(super) struct Add {
    /// Who, as User:NAME; User:* is everybody
    #[arg(long, value_name = "PRINCIPAL")]
    principal: String,

    /// What, such as READ or ALL; several separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_parser = words::operation)]
    operation: Vec<Operation>,

    #[command(flatten)]
    resource: ResourceArgs,

    /// How the resource's name is meant
    #[arg(long, value_enum, default_value_t = PatternArg::Literal)]
    resource_pattern_type: PatternArg,

    /// From which address; '*' is every one
    #[arg(long, value_name = "ADDRESS", default_value = "*")]
    host: String,

    /// Deny it, whatever other rules allow
    #[arg(long)]
    deny: bool,

    #[command(flatten)]
    place: Place,
}

impl Add {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let added = self.rules()?;
        let rules = self.place.open().await?;
        let outcome = rules.add(added).await;
        rules.close()?;
        outcome
    }

    fn rules(&self) -> Result<Vec<Rule>, Failure> {
        let resource = self.resource.required()?;
        let rule = |&operation: &Operation| Rule {
            pattern: Pattern {
                resource_type: resource.kind,
                name: resource.name.to_owned(),
                pattern_type: self.resource_pattern_type.into(),
            },
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation,
            permission: if self.deny { Permission::Deny } else { Permission::Allow },
        };
        let rules: Vec<Rule> = self.operation.iter().map(rule).collect();
        rules.iter().try_for_each(Rule::check).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(rules)
    }
}
