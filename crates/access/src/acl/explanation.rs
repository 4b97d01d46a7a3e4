//! Why somebody may do something or not, for people.

use super::{Authorizer, Decision, Permission, Rule, Subject};
use crate::{Operation, Resource};
use std::fmt;

/// A decision with what it was decided about, and the grants that a denial goes before. Shown in a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation<'a> {
    /// What decides.
    pub decision: Decision<'a>,
    /// What was asked for.
    pub operation: Operation,
    /// Rules that would grant it, had no rule denied it.
    pub overridden: Vec<&'a Rule>,
}

impl Authorizer {
    /// [`Authorizer::decide`], explained. Looks at every rule, so it is for people who ask and not for requests.
    #[must_use]
    pub fn explain(
        &self,
        subject: Subject<'_>,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Explanation<'_> {
        let decision = self.decide(subject, operation, resource);
        let denied_by_rule = matches!(decision, Decision::Rule(rule) if rule.permission == Permission::Deny);
        let grants = |rule: &&Rule| {
            rule.pattern.matches(resource)
                && rule.user().is_some_and(|user| user == "*" || user == subject.principal.name())
                && rule.says(operation, subject.address) == Some(Permission::Allow)
        };
        let overridden = if denied_by_rule { self.rules.iter().filter(grants).collect() } else { Vec::new() };
        Explanation { decision, operation, overridden }
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decision {
            Decision::SuperUser => write!(f, "allowed: super users may do everything"),
            Decision::Rule(rule) if rule.permission == Permission::Deny => {
                write!(f, "denied by the rule: {rule}")?;
                match self.overridden.len() {
                    0 => Ok(()),
                    _ => {
                        let rules: Vec<String> = self.overridden.iter().map(ToString::to_string).collect();
                        write!(f, "; it goes before: {}", rules.join("; "))
                    }
                }
            }
            Decision::Rule(rule) if [Operation::All, self.operation].contains(&rule.operation) => {
                write!(f, "allowed by the rule: {rule}")
            }
            Decision::Rule(rule) => {
                write!(f, "allowed by the rule: {rule}; {} implies {}", rule.operation, self.operation)
            }
            Decision::NotGranted => {
                write!(f, "denied: there are rules about the resource, and none allows it")
            }
            Decision::NoRule(Permission::Allow) => {
                write!(f, "allowed: no rule is about the resource, and allow.everyone.if.no.acl.found is set")
            }
            Decision::NoRule(Permission::Deny) => {
                write!(f, "denied: no rule is about the resource, and nothing is allowed by default")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Principal, ResourceType,
        acl::{Pattern, Rules},
    };

    fn rule(name: &str, operation: Operation, permission: Permission) -> Rule {
        Rule {
            pattern: Pattern::literal(ResourceType::Topic, name),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation,
            permission,
        }
    }

    #[test]
    fn each_reason_has_its_words() {
        let mut rules = Rules::default();
        rules.insert(rule("orders", Operation::Read, Permission::Allow));
        rules.insert(rule("secret", Operation::All, Permission::Allow));
        rules.insert(rule("secret", Operation::Read, Permission::Deny));
        let super_users = [Principal::user("root")].into();
        let mut authorizer = Authorizer { rules, super_users, without_rule: Permission::Deny };
        let explained = |authorizer: &Authorizer, user: &str, operation, topic| {
            let principal = Principal::user(user);
            let subject = Subject { principal: &principal, address: [127, 0, 0, 1].into() };
            authorizer.explain(subject, operation, Resource::topic(topic)).to_string()
        };
        for (user, operation, topic, expected) in [
            ("root", Operation::Read, "secret", "allowed: super users may do everything"),
            (
                "alice",
                Operation::Read,
                "orders",
                "allowed by the rule: User:alice may Read Topic orders from *",
            ),
            (
                "alice",
                Operation::Describe,
                "orders",
                "allowed by the rule: User:alice may Read Topic orders from *; READ implies DESCRIBE",
            ),
            (
                "alice",
                Operation::Read,
                "secret",
                "denied by the rule: User:alice may not Read Topic secret from *; it goes before: User:alice may All Topic secret from *",
            ),
            (
                "bob",
                Operation::Read,
                "orders",
                "denied: there are rules about the resource, and none allows it",
            ),
            (
                "bob",
                Operation::Read,
                "other",
                "denied: no rule is about the resource, and nothing is allowed by default",
            ),
        ] {
            assert_eq!(explained(&authorizer, user, operation, topic), expected);
        }
        authorizer.without_rule = Permission::Allow;
        assert_eq!(
            explained(&authorizer, "bob", Operation::Read, "other"),
            "allowed: no rule is about the resource, and allow.everyone.if.no.acl.found is set"
        );
    }
}
