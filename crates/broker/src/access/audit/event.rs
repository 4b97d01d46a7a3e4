//! What lines of the audit log say.
//!
//! | field | of | |
//! |---|---|---|
//! | time | all | RFC 3339 in UTC, to the millisecond |
//! | event | all | `denied`, `login`, `login_failed`, `rule_added`, `rule_removed`, `user_set`, `user_removed`, `quotas_changed`, `configs_changed`, `topic_created`, `topic_deleted`, `partitions_added`, `policy_changed`, `unlisted` |
//! | principal, address, listener | all but `unlisted` | who did it, from where, through which listener |
//! | operation, resource_type, resource | `denied` | what was asked for |
//! | decision | `denied` | `rule`, `not_granted`, `no_rule` |
//! | rule | where a rule decided or was changed | the rule in a line |
//! | mechanism | `login`, `login_failed`, `user_set`, `user_removed` | by which one logs in |
//! | reason | `login_failed` | what was wrong; the principal is then whom the client said it was |
//! | user | `user_set`, `user_removed` | whose keys |
//! | entity | `quotas_changed` | names by their types, null for the default |
//! | resource_type, resource | `configs_changed` | as in Kafka's requests; a broker without a name is all brokers |
//! | set, removed | `quotas_changed`, `configs_changed` | values by names, `***` for secrets; names |
//! | topic, partitions | `topic_created`, `partitions_added`; `topic_deleted` without partitions | how many there are now |
//! | topic, subscription, policy | `policy_changed` | the whole policy, as HTTP tells it |
//! | outcome | a change whose client left before it was durable | `unknown` |
//! | repeated | `denied`, `login_failed` | how often the same happened since the last line about it |
//! | count | `unlisted` | denials and failed logins that were too many different ones for a line each |

use crate::access::Caller;
use keyway_access::{
    Operation, Resource,
    acl::{Decision, Rule},
    quota::{Entity, QuotaKind},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Longest text of a line that a client chose, bytes. Names that can be used are shorter.
const TEXT_BYTES_MAX: usize = 512;

/// The fields of a line, but for its time.
pub(super) type Fields = Map<String, Value>;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AuditEvent<'a> {
    /// Somebody asked for what it may not do.
    Denied { operation: Operation, resource: Resource<'a>, decision: Decision<'a> },
    /// Somebody proved who it is.
    LoggedIn { mechanism: &'a str },
    /// Somebody did not.
    LoginFailed { mechanism: &'a str, reason: &'a str },
    /// There is a new access rule.
    RuleAdded(&'a Rule),
    /// An access rule is gone.
    RuleRemoved(&'a Rule),
    /// A user can log in by this mechanism, with a new password perhaps.
    UserSet { user: &'a str, mechanism: &'a str },
    /// A user can no longer log in by this mechanism.
    UserRemoved { user: &'a str, mechanism: &'a str },
    /// Quotas were set, or taken away.
    QuotasChanged { entity: &'a Entity, changes: &'a BTreeMap<QuotaKind, Option<f64>> },
    /// Configs were set, or taken away; no value for a secret.
    ConfigsChanged {
        resource_type: &'a str,
        resource: &'a str,
        set: &'a [(&'a str, Option<&'a str>)],
        removed: &'a [&'a str],
    },
    /// There is a new topic.
    TopicCreated { topic: &'a str, partitions: usize },
    /// A topic is gone.
    TopicDeleted { topic: &'a str },
    /// A topic has more partitions.
    PartitionsAdded { topic: &'a str, partitions: usize },
    /// A subscription does something else with failures.
    PolicyChanged { topic: &'a str, subscription: &'a str, policy: &'a Value },
}

impl AuditEvent<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::LoggedIn { .. } => "login",
            Self::LoginFailed { .. } => "login_failed",
            Self::RuleAdded(_) => "rule_added",
            Self::RuleRemoved(_) => "rule_removed",
            Self::UserSet { .. } => "user_set",
            Self::UserRemoved { .. } => "user_removed",
            Self::QuotasChanged { .. } => "quotas_changed",
            Self::ConfigsChanged { .. } => "configs_changed",
            Self::TopicCreated { .. } => "topic_created",
            Self::TopicDeleted { .. } => "topic_deleted",
            Self::PartitionsAdded { .. } => "partitions_added",
            Self::PolicyChanged { .. } => "policy_changed",
        }
    }

    /// What counts as the same again, of events that clients can bring about as often as they like without a permission.
    pub(super) fn same_as(self, caller: &Caller) -> Option<String> {
        let what = match self {
            Self::Denied { operation, resource, .. } => {
                format!("{operation:?} {:?} {}", resource.kind, cut(resource.name))
            }
            Self::LoginFailed { mechanism, .. } => format!("{mechanism} {}", caller.address.ip()),
            _ => return None,
        };
        Some(format!("{} {what} {}", self.name(), cut(caller.principal.name())))
    }

    /// The line's fields.
    pub(super) fn fields(self, caller: &Caller) -> Fields {
        let mut fields = Fields::new();
        let mut put = |name: &str, value: Value| _ = fields.insert(name.to_owned(), value);
        put("event", self.name().into());
        put("principal", cut(&caller.principal.to_string()).into());
        put("address", caller.address.to_string().into());
        put("listener", caller.listener.as_str().into());
        match self {
            Self::Denied { operation, resource, decision } => {
                put("operation", format!("{operation:?}").into());
                put("resource_type", format!("{:?}", resource.kind).into());
                put("resource", cut(resource.name).into());
                let decided = match decision {
                    Decision::Rule(rule) => {
                        put("rule", rule.to_string().into());
                        "rule"
                    }
                    Decision::NoRule(_) => "no_rule",
                    Decision::NotGranted | Decision::SuperUser => "not_granted",
                };
                put("decision", decided.into());
            }
            Self::LoggedIn { mechanism } => put("mechanism", mechanism.into()),
            Self::LoginFailed { mechanism, reason } => {
                put("mechanism", mechanism.into());
                put("reason", cut(reason).into());
            }
            Self::RuleAdded(rule) | Self::RuleRemoved(rule) => put("rule", rule.to_string().into()),
            Self::UserSet { user, mechanism } | Self::UserRemoved { user, mechanism } => {
                put("user", user.into());
                put("mechanism", mechanism.into());
            }
            Self::QuotasChanged { entity, changes } => {
                let part = |(kind, name): (&str, Option<&str>)| (kind.to_owned(), name.into());
                put("entity", entity.parts().into_iter().map(part).collect::<Fields>().into());
                let set = changes.iter().filter_map(|(kind, value)| Some((kind.name(), (*value)?)));
                put(
                    "set",
                    set.map(|(name, value)| (name.to_owned(), value.into())).collect::<Fields>().into(),
                );
                let removed = changes.iter().filter(|(_, value)| value.is_none());
                put("removed", removed.map(|(kind, _)| kind.name()).collect());
            }
            Self::ConfigsChanged { resource_type, resource, set, removed } => {
                put("resource_type", resource_type.into());
                put("resource", resource.into());
                let one =
                    |(name, value): &(&str, Option<&str>)| (cut(name), cut(value.unwrap_or("***")).into());
                put("set", set.iter().map(one).collect::<Fields>().into());
                put("removed", removed.iter().map(|name| cut(name)).collect());
            }
            Self::TopicCreated { topic, partitions } | Self::PartitionsAdded { topic, partitions } => {
                put("topic", topic.into());
                put("partitions", partitions.into());
            }
            Self::TopicDeleted { topic } => put("topic", topic.into()),
            Self::PolicyChanged { topic, subscription, policy } => {
                put("topic", topic.into());
                put("subscription", subscription.into());
                put("policy", policy.clone());
            }
        }
        fields
    }
}

/// The text, or its beginning if it is too long.
fn cut(text: &str) -> String {
    match text.len() {
        ..=TEXT_BYTES_MAX => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyway_access::{
        Principal, ResourceType,
        acl::{Pattern, Permission},
    };
    use serde_json::json;

    fn caller() -> Caller {
        Caller {
            principal: Principal::user("a\"b\n"),
            ..Caller::anonymous("10.0.0.1:5".parse().unwrap(), "OUTSIDE")
        }
    }

    /// Every event with what its line has besides who and where.
    #[test]
    fn each_event_has_its_fields() {
        let rule = Rule {
            pattern: Pattern::literal(ResourceType::Topic, "orders"),
            principal: "User:bob".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Deny,
        };
        let (operation, resource) = (Operation::Read, Resource::topic("a\"b"));
        let denied = |decision| AuditEvent::Denied { operation, resource, decision };
        let of_denial = |decision: &str| json!({"event": "denied", "operation": "Read", "resource_type": "Topic", "resource": "a\"b", "decision": decision});
        let mut by_rule = of_denial("rule");
        by_rule["rule"] = json!("User:bob may not Read Topic orders from *");
        let entity = Entity::of_parts([("user", Some("bob")), ("client-id", None)]).unwrap();
        let changes = BTreeMap::from([
            (QuotaKind::ProducerByteRate, Some(1024.0)),
            (QuotaKind::ConsumerByteRate, None),
        ]);
        let policy = json!({"poison_policy": "park"});
        let (topic, user, mechanism) = ("orders", "bob", "SCRAM-SHA-256");
        let changed_rule =
            |event: &str| json!({"event": event, "rule": "User:bob may not Read Topic orders from *"});
        let cases = [
            (denied(Decision::NoRule(Permission::Deny)), of_denial("no_rule")),
            (denied(Decision::NotGranted), of_denial("not_granted")),
            (denied(Decision::Rule(&rule)), by_rule),
            (AuditEvent::LoggedIn { mechanism: "PLAIN" }, json!({"event": "login", "mechanism": "PLAIN"})),
            (
                AuditEvent::LoginFailed { mechanism: "PLAIN", reason: "no" },
                json!({"event": "login_failed", "mechanism": "PLAIN", "reason": "no"}),
            ),
            (AuditEvent::RuleAdded(&rule), changed_rule("rule_added")),
            (AuditEvent::RuleRemoved(&rule), changed_rule("rule_removed")),
            (
                AuditEvent::UserSet { user, mechanism },
                json!({"event": "user_set", "user": "bob", "mechanism": "SCRAM-SHA-256"}),
            ),
            (
                AuditEvent::UserRemoved { user, mechanism },
                json!({"event": "user_removed", "user": "bob", "mechanism": "SCRAM-SHA-256"}),
            ),
            (
                AuditEvent::QuotasChanged { entity: &entity, changes: &changes },
                json!({
                    "event": "quotas_changed", "entity": {"user": "bob", "client-id": null},
                    "set": {"producer_byte_rate": 1024.0}, "removed": ["consumer_byte_rate"],
                }),
            ),
            (
                AuditEvent::ConfigsChanged {
                    resource_type: "Broker",
                    resource: "1",
                    set: &[("retention.ms", Some("1")), ("ssl.key.password", None)],
                    removed: &["segment.bytes"],
                },
                json!({
                    "event": "configs_changed", "resource_type": "Broker", "resource": "1",
                    "set": {"retention.ms": "1", "ssl.key.password": "***"}, "removed": ["segment.bytes"],
                }),
            ),
            (
                AuditEvent::TopicCreated { topic, partitions: 3 },
                json!({"event": "topic_created", "topic": "orders", "partitions": 3}),
            ),
            (AuditEvent::TopicDeleted { topic }, json!({"event": "topic_deleted", "topic": "orders"})),
            (
                AuditEvent::PartitionsAdded { topic, partitions: 4 },
                json!({"event": "partitions_added", "topic": "orders", "partitions": 4}),
            ),
            (
                AuditEvent::PolicyChanged { topic, subscription: "work", policy: &policy },
                json!({"event": "policy_changed", "topic": "orders", "subscription": "work", "policy": policy}),
            ),
        ];
        for (event, mut expected) in cases {
            expected["principal"] = json!("User:a\"b\n");
            expected["address"] = json!("10.0.0.1:5");
            expected["listener"] = json!("OUTSIDE");
            let line = Value::Object(event.fields(&caller())).to_string();
            assert!(!line.contains('\n'), "one line: {line}");
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        }
    }

    #[test]
    fn names_of_any_length_make_short_lines() {
        let name = "é".repeat(20_000);
        let (operation, resource) = (Operation::Read, Resource::topic(&name));
        let event = AuditEvent::Denied { operation, resource, decision: Decision::NotGranted };
        assert!(event.same_as(&caller()).unwrap().len() < 2 * TEXT_BYTES_MAX);
        assert!(Value::Object(event.fields(&caller())).to_string().len() < 2 * TEXT_BYTES_MAX);
    }
}
