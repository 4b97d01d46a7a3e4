//! What Kafka's StandardAuthorizer says, read naively: every rule is looked at for every question.

use super::super::*;
use crate::{Operation, Principal, ResourceType};
use std::net::IpAddr;

pub(super) struct Reference<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) authorizer: &'a Authorizer,
}

impl Reference<'_> {
    pub(super) fn allows(
        &self,
        user: &str,
        from: IpAddr,
        operation: Operation,
        kind: ResourceType,
        name: &str,
    ) -> bool {
        if self.authorizer.super_users.contains(&Principal::user(user)) {
            return true;
        }
        let about: Vec<&Rule> = self.rules.iter().filter(|rule| is_about(rule, kind, name)).collect();
        if about.is_empty() {
            return self.authorizer.without_rule == Permission::Allow;
        }
        let mine = |rule: &&&Rule| is_whose(rule, user) && is_where(rule, from);
        let denied = about.iter().filter(mine).any(|rule| {
            rule.permission == Permission::Deny && [Operation::All, operation].contains(&rule.operation)
        });
        let granted = about.iter().filter(mine).any(|rule| {
            rule.permission == Permission::Allow && granting(operation).contains(&rule.operation)
        });
        granted && !denied
    }

    pub(super) fn allows_somewhere(
        &self,
        user: &str,
        from: IpAddr,
        operation: Operation,
        kind: ResourceType,
    ) -> bool {
        if self.allows(user, from, operation, kind, "hardcode") {
            return true;
        }
        let of = |permission| {
            self.rules.iter().filter(move |rule| {
                rule.permission == permission
                    && rule.pattern.resource_type == kind
                    && is_whose(rule, user)
                    && is_where(rule, from)
                    && [Operation::All, operation].contains(&rule.operation)
            })
        };
        let is_every = |rule: &Rule| rule.pattern == Pattern::literal(kind, "*");
        if of(Permission::Deny).any(is_every) {
            return false;
        }
        of(Permission::Allow).any(|allow| {
            is_every(allow)
                || !of(Permission::Deny).any(|deny| match deny.pattern.pattern_type {
                    PatternType::Literal => deny.pattern == allow.pattern,
                    PatternType::Prefixed => allow.pattern.name.starts_with(&deny.pattern.name),
                })
        })
    }
}

/// The operations whose grant grants this one.
fn granting(operation: Operation) -> Vec<Operation> {
    use Operation::*;
    let mut all = vec![All, operation];
    match operation {
        Describe => all.extend([Read, Write, Delete, Alter]),
        DescribeConfigs => all.push(AlterConfigs),
        _ => {}
    }
    all
}

fn is_about(rule: &Rule, kind: ResourceType, name: &str) -> bool {
    let pattern = &rule.pattern;
    pattern.resource_type == kind
        && match pattern.pattern_type {
            PatternType::Literal => pattern.name == "*" || pattern.name == name,
            PatternType::Prefixed => name.starts_with(&pattern.name),
        }
}

fn is_whose(rule: &Rule, user: &str) -> bool {
    rule.principal == "User:*" || rule.principal == format!("User:{user}")
}

fn is_where(rule: &Rule, from: IpAddr) -> bool {
    let host = rule.host.parse().map(|host: IpAddr| host.to_canonical());
    rule.host == "*" || host == Ok(from.to_canonical())
}
