//! The words that rules are written in.

use crate::{failure::Failure, output::Table};
use clap::{Args, ValueEnum};
use keyway_access::{
    Operation, Resource, ResourceType,
    acl::{PatternFilter, PatternType, Permission, Rule},
};
use serde::Serialize;

/// A resource; one of these at most.
#[derive(Args)]
#[group(id = "resource", multiple = false)]
pub(super) struct ResourceArgs {
    /// A topic; '*' in a rule stands for all
    #[arg(short, long, value_name = "NAME")]
    topic: Option<String>,

    /// A consumer group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// A subscription, which is a group
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,

    /// A transactional id
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,

    /// The cluster
    #[arg(long)]
    cluster: bool,
}

impl ResourceArgs {
    pub(super) fn resource(&self) -> Option<Resource<'_>> {
        let Self { topic, group, subscription, transactional_id, cluster } = self;
        let named = [
            topic.as_deref().map(Resource::topic),
            group.as_deref().or(subscription.as_deref()).map(Resource::group),
            transactional_id.as_deref().map(Resource::transactional_id),
            cluster.then_some(Resource::CLUSTER),
        ];
        named.into_iter().flatten().next()
    }

    /// The resource where there has to be one.
    pub(super) fn required(&self) -> Result<Resource<'_>, Failure> {
        let line = "name a resource: --topic, --group, --subscription, --transactional-id or --cluster";
        self.resource().ok_or_else(|| Failure::Usage(line.to_owned()))
    }
}

/// How a rule's name is meant.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PatternArg {
    /// The resource of this very name
    Literal,
    /// The resources whose names begin with it
    Prefixed,
}

impl From<PatternArg> for PatternType {
    fn from(pattern: PatternArg) -> Self {
        match pattern {
            PatternArg::Literal => Self::Literal,
            PatternArg::Prefixed => Self::Prefixed,
        }
    }
}

/// How a filter's name is meant.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PatternFilterArg {
    /// Rules of this very name, of either type
    Any,
    /// Rules that are about the resource of this name
    Match,
    /// Rules of this very name that are literal
    Literal,
    /// Rules of this very name that are prefixed
    Prefixed,
}

impl From<PatternFilterArg> for PatternFilter {
    fn from(pattern: PatternFilterArg) -> Self {
        match pattern {
            PatternFilterArg::Any => Self::Any,
            PatternFilterArg::Match => Self::Match,
            PatternFilterArg::Literal => Self::Literal,
            PatternFilterArg::Prefixed => Self::Prefixed,
        }
    }
}

/// An operation by Kafka's word.
pub(super) fn operation(word: &str) -> Result<Operation, String> {
    word.parse().map_err(|error: keyway_access::UnknownOperation| error.to_string())
}

/// A rule as a row, in the words that make it.
#[derive(Serialize)]
pub(super) struct Row {
    principal: String,
    permission: &'static str,
    operation: String,
    resource_type: &'static str,
    resource_pattern_type: &'static str,
    resource: String,
    host: String,
}

impl From<Rule> for Row {
    fn from(rule: Rule) -> Self {
        Self {
            principal: rule.principal,
            permission: match rule.permission {
                Permission::Allow => "allow",
                Permission::Deny => "deny",
            },
            operation: rule.operation.to_string(),
            resource_type: match rule.pattern.resource_type {
                ResourceType::Topic => "topic",
                ResourceType::Group => "group",
                ResourceType::Cluster => "cluster",
                ResourceType::TransactionalId => "transactional-id",
                ResourceType::DelegationToken => "delegation-token",
                ResourceType::User => "user",
            },
            resource_pattern_type: match rule.pattern.pattern_type {
                PatternType::Literal => "literal",
                PatternType::Prefixed => "prefixed",
            },
            resource: rule.pattern.name,
            host: rule.host,
        }
    }
}

/// A row for each rule.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(&["PRINCIPAL", "PERMISSION", "OPERATION", "RESOURCE", "PATTERN", "NAME", "HOST"]);
    for row in rows {
        table.row(vec![
            row.principal.clone(),
            row.permission.to_owned(),
            row.operation.clone(),
            row.resource_type.to_owned(),
            row.resource_pattern_type.to_owned(),
            row.resource.clone(),
            row.host.clone(),
        ]);
    }
    table
}
