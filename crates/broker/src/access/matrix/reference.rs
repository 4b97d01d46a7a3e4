//! Who may do what, read off the rules one by one.

use keyway_access::{
    Operation, ResourceType,
    acl::{PatternType, Permission, Rule},
};

/// Alice at 10.0.0.1 and the rules there are.
pub(super) struct Reference<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) is_super_user: bool,
}

impl Reference<'_> {
    pub(super) fn allows(&self, operation: Operation, kind: ResourceType, name: &str) -> bool {
        let mine = |rule: &&Rule| {
            let pattern = &rule.pattern;
            let about = match pattern.pattern_type {
                PatternType::Literal => pattern.name == "*" || pattern.name == name,
                PatternType::Prefixed => name.starts_with(&pattern.name),
            };
            about
                && pattern.resource_type == kind
                && ["User:alice", "User:*"].contains(&rule.principal.as_str())
                && ["10.0.0.1", "*"].contains(&rule.host.as_str())
        };
        let of = |permission| {
            self.rules.iter().filter(mine).filter(move |rule: &&Rule| rule.permission == permission)
        };
        let denied = of(Permission::Deny).any(|rule| [Operation::All, operation].contains(&rule.operation));
        let granted = of(Permission::Allow).any(|rule| grants(rule.operation, operation));
        self.is_super_user || granted && !denied
    }

    /// Whether there could be a topic to write to: one of a name that some rule has, or that goes on behind it.
    pub(super) fn may_write_somewhere(&self) -> bool {
        let names = self.rules.iter().map(|rule| rule.pattern.name.as_str()).chain(["nobodys"]);
        let names = names.flat_map(|name| [name.to_owned(), format!("{name}~")]);
        names.into_iter().any(|name| self.allows(Operation::Write, ResourceType::Topic, &name))
    }
}

fn grants(given: Operation, wanted: Operation) -> bool {
    use Operation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    given == All
        || given == wanted
        || wanted == Describe && [Read, Write, Delete, Alter].contains(&given)
        || wanted == DescribeConfigs && given == AlterConfigs
}
