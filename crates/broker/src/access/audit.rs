//! The audit log: one JSON object a line, under the tracing target `keyway::audit`.
//!
//! | field | of | |
//! |---|---|---|
//! | event | all | `denied`, `rule_added`, `rule_removed`, `login`, `login_failed` |
//! | principal, address, listener | all | who did it, from where, through which listener |
//! | operation, resource_type, resource | `denied` | what was asked for |
//! | decision | `denied` | `rule`, `not_granted`, `no_rule` |
//! | rule | where a rule decided or was changed | the rule in a line |
//! | mechanism | `login`, `login_failed` | how |
//! | reason | `login_failed` | what was wrong; the principal is then whom the client said it was |
//!
//! The time is that of the log's line.

use super::Caller;
use keyway_access::{
    Operation, Resource,
    acl::{Decision, Rule},
};
use serde_json::{Map, Value};

/// The tracing target that audit lines have.
pub(crate) const TARGET: &str = "keyway::audit";

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AuditEvent<'a> {
    /// Somebody asked for what it may not do.
    Denied { operation: Operation, resource: Resource<'a>, decision: Decision<'a> },
    /// There is a new access rule.
    RuleAdded(&'a Rule),
    /// An access rule is gone.
    RuleRemoved(&'a Rule),
    /// Somebody proved who it is.
    LoggedIn { mechanism: &'a str },
    /// Somebody did not.
    LoginFailed { mechanism: &'a str, reason: &'a str },
}

/// Writes what `caller` did, or was not let do.
pub(crate) fn audit(caller: &Caller, event: AuditEvent<'_>) {
    if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        let line = Value::Object(line(caller, event));
        tracing::info!(target: TARGET, "{line}");
    }
}

fn line(caller: &Caller, event: AuditEvent<'_>) -> Map<String, Value> {
    let mut line = Map::new();
    let mut put = |name: &str, value: String| _ = line.insert(name.to_owned(), Value::String(value));
    put(
        "event",
        match event {
            AuditEvent::Denied { .. } => "denied".to_owned(),
            AuditEvent::RuleAdded(_) => "rule_added".to_owned(),
            AuditEvent::RuleRemoved(_) => "rule_removed".to_owned(),
            AuditEvent::LoggedIn { .. } => "login".to_owned(),
            AuditEvent::LoginFailed { .. } => "login_failed".to_owned(),
        },
    );
    put("principal", caller.principal.to_string());
    put("address", caller.address.to_string());
    put("listener", caller.listener.clone());
    match event {
        AuditEvent::Denied { operation, resource, decision } => {
            put("operation", format!("{operation:?}"));
            put("resource_type", format!("{:?}", resource.kind));
            put("resource", resource.name.to_owned());
            match decision {
                Decision::Rule(rule) => {
                    put("decision", "rule".to_owned());
                    put("rule", rule.to_string());
                }
                Decision::NoRule(_) => put("decision", "no_rule".to_owned()),
                Decision::NotGranted | Decision::SuperUser => put("decision", "not_granted".to_owned()),
            }
        }
        AuditEvent::RuleAdded(rule) | AuditEvent::RuleRemoved(rule) => put("rule", rule.to_string()),
        AuditEvent::LoggedIn { mechanism } => put("mechanism", mechanism.to_owned()),
        AuditEvent::LoginFailed { mechanism, reason } => {
            put("mechanism", mechanism.to_owned());
            put("reason", reason.to_owned());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_access::acl::Permission;

    #[test]
    fn a_denial_says_who_wanted_what_and_why_not() {
        let caller = Caller::anonymous("10.0.0.1:5".parse().unwrap(), "OUTSIDE");
        let (operation, resource) = (Operation::Read, Resource::topic("a\"b"));
        let decision = Decision::NoRule(Permission::Deny);
        let line = Value::Object(line(&caller, AuditEvent::Denied { operation, resource, decision }));
        let expected = serde_json::json!({
            "event": "denied", "principal": "User:ANONYMOUS", "address": "10.0.0.1:5", "listener": "OUTSIDE",
            "operation": "Read", "resource_type": "Topic", "resource": "a\"b", "decision": "no_rule",
        });
        assert_eq!(line, expected);
    }
}
