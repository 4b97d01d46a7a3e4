//! What lines of the audit log say.
//!
//! | field | of | |
//! |---|---|---|
//! | time | all | RFC 3339 in UTC, to the millisecond |
//! | event | all | one of those below, or `unlisted` |
//! | principal, address, listener | all but `unlisted` | who did it, from where, through which listener |
//! | outcome | a change whose client left before it was durable, or that failed half-way | `unknown` |
//! | repeated | `denied`, `login_failed`, `offsets_set` | how often the same happened since the last line about it |
//! | count | `unlisted` | what is told once a minute and had too many different lines in it |
//!
//! | event | its own fields |
//! |---|---|
//! | `denied` | operation, resource_type, resource; decision: `rule`, `not_granted`, `no_rule`; rule, where one decided |
//! | `login`, `login_failed` | mechanism; reason: what was wrong. The principal is then whom the client said it was |
//! | `rule_added`, `rule_removed` | rule, in a line |
//! | `user_set`, `user_removed` | user, mechanism: whose keys |
//! | `quotas_changed` | entity: names by their types, null for the default; set, removed |
//! | `configs_changed` | resource_type, resource, as in Kafka's requests: a broker without a name is all brokers; set: values by names, `***` for secrets; removed: names |
//! | `topic_created`, `partitions_added` | topic, partitions: how many there are now |
//! | `topic_deleted` | topic |
//! | `records_deleted` | topic, partition, before: the offset that is the first now |
//! | `marker_written` | topic, partition, producer_id, marker: `commit` or `abort`. Whoever ends its own transaction is not told of |
//! | `group_deleted` | group |
//! | `offsets_deleted` | group, topics: the first eight, and … |
//! | `offsets_set` | group, topics as above: by a client that is no member, as one that resets them |
//! | `subscription_created` | topic, subscription, type; partition, where it is made on one alone |
//! | `subscription_deleted` | topic, subscription |
//! | `subscription_moved` | topic, subscription, to |
//! | `keys_released` | topic, subscription, key: null for all |
//! | `policy_changed` | topic, subscription, policy: the whole of it, as HTTP tells it |
//! | `dead_letters_replayed` | topic, key: null for all; to: null for the topics that they came from |
//! | `dead_letters_purged` | topic, key |
//! | `schema_registered` | subject |
//! | `schema_version_deleted` | subject, version |
//! | `compatibility_changed` | subject, mode |
//! | `topic_schema_changed` | topic, validation_policy, check_payloads; subject, if that is new |
//! | `namespace_created`, `namespace_deleted` | namespace |

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

/// Most topics of one change that a line names.
const TOPICS_MAX: usize = 8;

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
    /// Records were given up before their time.
    RecordsDeleted { topic: &'a str, partition: i32, before: i64 },
    /// Somebody ended a transaction that hung in a partition.
    MarkerWritten { topic: &'a str, partition: i32, producer_id: i64, marker: &'a str },
    /// A group is gone with its offsets.
    GroupDeleted { group: &'a str },
    /// A group forgot its offsets in these topics.
    OffsetsDeleted { group: &'a str, topics: &'a [&'a str] },
    /// Somebody outside of a group said where it goes on in these topics.
    OffsetsSet { group: &'a str, topics: &'a [&'a str] },
    /// There is a new subscription, on all partitions or on one.
    SubscriptionCreated { topic: &'a str, partition: Option<i32>, subscription: &'a str, mode: &'a str },
    /// A subscription is gone with its position.
    SubscriptionDeleted { topic: &'a str, subscription: &'a str },
    /// A subscription goes on somewhere else.
    SubscriptionMoved { topic: &'a str, subscription: &'a str, to: &'a str },
    /// Keys that waited go on; `None` is all of them.
    KeysReleased { topic: &'a str, subscription: &'a str, key: Option<&'a str> },
    /// A subscription does something else with failures.
    PolicyChanged { topic: &'a str, subscription: &'a str, policy: &'a Value },
    /// Dead letters were published again, to another topic than theirs perhaps.
    DeadLettersReplayed { topic: &'a str, key: Option<&'a str>, to: Option<&'a str> },
    /// Dead letters were given up.
    DeadLettersPurged { topic: &'a str, key: Option<&'a str> },
    /// A schema subject has a new version.
    SchemaRegistered { subject: &'a str },
    /// A version of a schema subject is gone.
    SchemaVersionDeleted { subject: &'a str, version: u32 },
    /// New versions of a schema subject are held against the older ones in another way.
    CompatibilityChanged { subject: &'a str, mode: &'a str },
    /// A topic's messages follow another schema, or are checked in another way.
    TopicSchemaChanged { topic: &'a str, subject: Option<&'a str>, policy: &'a str, check_payloads: bool },
    /// There is a new namespace.
    NamespaceCreated { namespace: &'a str },
    /// A namespace is gone.
    NamespaceDeleted { namespace: &'a str },
}

impl AuditEvent<'_> {
    /// What counts as the same again, of events that clients bring about as often as they like.
    pub(super) fn same_as(self, caller: &Caller) -> Option<String> {
        let what = match self {
            Self::Denied { operation, resource, .. } => {
                format!("denied {operation:?} {:?} {}", resource.kind, cut(resource.name))
            }
            Self::LoginFailed { mechanism, .. } => {
                format!("login_failed {mechanism} {}", caller.address.ip())
            }
            Self::OffsetsSet { group, topics } => {
                let topics = topics[..topics.len().min(TOPICS_MAX)].join(" ");
                format!("offsets_set {} {}", cut(group), cut(&topics))
            }
            _ => return None,
        };
        Some(format!("{what} {}", cut(caller.principal.name())))
    }

    /// The line's fields.
    pub(super) fn fields(self, caller: &Caller) -> Fields {
        let (event, own) = self.told();
        let of_all = [
            ("event", event.into()),
            ("principal", text(&caller.principal.to_string())),
            ("address", caller.address.to_string().into()),
            ("listener", caller.listener.as_str().into()),
        ];
        of_all.into_iter().chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The event's name, and the fields that it has of its own.
    fn told(self) -> (&'static str, Vec<(&'static str, Value)>) {
        match self {
            Self::Denied { operation, resource, decision } => {
                let mut fields = vec![
                    ("operation", format!("{operation:?}").into()),
                    ("resource_type", format!("{:?}", resource.kind).into()),
                    ("resource", text(resource.name)),
                ];
                let decided = match decision {
                    Decision::Rule(rule) => {
                        fields.push(("rule", rule.to_string().into()));
                        "rule"
                    }
                    Decision::NoRule(_) => "no_rule",
                    Decision::NotGranted | Decision::SuperUser => "not_granted",
                };
                fields.push(("decision", decided.into()));
                ("denied", fields)
            }
            Self::LoggedIn { mechanism } => ("login", vec![("mechanism", mechanism.into())]),
            Self::LoginFailed { mechanism, reason } => {
                ("login_failed", vec![("mechanism", mechanism.into()), ("reason", text(reason))])
            }
            Self::RuleAdded(rule) => ("rule_added", vec![("rule", rule.to_string().into())]),
            Self::RuleRemoved(rule) => ("rule_removed", vec![("rule", rule.to_string().into())]),
            Self::UserSet { user, mechanism } => {
                ("user_set", vec![("user", user.into()), ("mechanism", mechanism.into())])
            }
            Self::UserRemoved { user, mechanism } => {
                ("user_removed", vec![("user", user.into()), ("mechanism", mechanism.into())])
            }
            Self::QuotasChanged { entity, changes } => {
                let part = |(kind, name): (&str, Option<&str>)| (kind.to_owned(), name.into());
                let set = changes.iter().filter_map(|(kind, value)| Some((kind.name(), (*value)?)));
                let set = set.map(|(name, value)| (name.to_owned(), value.into())).collect::<Fields>();
                let removed = changes.iter().filter(|(_, value)| value.is_none());
                let fields = vec![
                    ("entity", entity.parts().into_iter().map(part).collect::<Fields>().into()),
                    ("set", set.into()),
                    ("removed", removed.map(|(kind, _)| kind.name()).collect()),
                ];
                ("quotas_changed", fields)
            }
            Self::ConfigsChanged { resource_type, resource, set, removed } => {
                let one = |(name, value): &(&str, Option<&str>)| (cut(name), text(value.unwrap_or("***")));
                let fields = vec![
                    ("resource_type", resource_type.into()),
                    ("resource", resource.into()),
                    ("set", set.iter().map(one).collect::<Fields>().into()),
                    ("removed", texts(removed)),
                ];
                ("configs_changed", fields)
            }
            Self::TopicCreated { topic, partitions } => {
                ("topic_created", vec![("topic", topic.into()), ("partitions", partitions.into())])
            }
            Self::TopicDeleted { topic } => ("topic_deleted", vec![("topic", topic.into())]),
            Self::PartitionsAdded { topic, partitions } => {
                ("partitions_added", vec![("topic", topic.into()), ("partitions", partitions.into())])
            }
            Self::RecordsDeleted { topic, partition, before } => {
                let place =
                    vec![("topic", topic.into()), ("partition", partition.into()), ("before", before.into())];
                ("records_deleted", place)
            }
            Self::MarkerWritten { topic, partition, producer_id, marker } => {
                let fields = vec![
                    ("topic", topic.into()),
                    ("partition", partition.into()),
                    ("producer_id", producer_id.into()),
                    ("marker", marker.into()),
                ];
                ("marker_written", fields)
            }
            Self::GroupDeleted { group } => ("group_deleted", vec![("group", text(group))]),
            Self::OffsetsDeleted { group, topics } => {
                ("offsets_deleted", vec![("group", text(group)), ("topics", some_of(topics))])
            }
            Self::OffsetsSet { group, topics } => {
                ("offsets_set", vec![("group", text(group)), ("topics", some_of(topics))])
            }
            Self::SubscriptionCreated { topic, partition, subscription, mode } => {
                let mut fields = of_subscription(topic, subscription);
                fields.push(("type", mode.into()));
                fields.extend(partition.map(|partition| ("partition", partition.into())));
                ("subscription_created", fields)
            }
            Self::SubscriptionDeleted { topic, subscription } => {
                ("subscription_deleted", of_subscription(topic, subscription))
            }
            Self::SubscriptionMoved { topic, subscription, to } => {
                let mut fields = of_subscription(topic, subscription);
                fields.push(("to", to.into()));
                ("subscription_moved", fields)
            }
            Self::KeysReleased { topic, subscription, key } => {
                let mut fields = of_subscription(topic, subscription);
                fields.push(("key", key.map(text).into()));
                ("keys_released", fields)
            }
            Self::PolicyChanged { topic, subscription, policy } => {
                let mut fields = of_subscription(topic, subscription);
                fields.push(("policy", policy.clone()));
                ("policy_changed", fields)
            }
            Self::DeadLettersReplayed { topic, key, to } => {
                let fields = vec![("topic", topic.into()), ("key", key.map(text).into()), ("to", to.into())];
                ("dead_letters_replayed", fields)
            }
            Self::DeadLettersPurged { topic, key } => {
                ("dead_letters_purged", vec![("topic", topic.into()), ("key", key.map(text).into())])
            }
            Self::SchemaRegistered { subject } => ("schema_registered", vec![("subject", text(subject))]),
            Self::SchemaVersionDeleted { subject, version } => {
                ("schema_version_deleted", vec![("subject", text(subject)), ("version", version.into())])
            }
            Self::CompatibilityChanged { subject, mode } => {
                ("compatibility_changed", vec![("subject", text(subject)), ("mode", mode.into())])
            }
            Self::TopicSchemaChanged { topic, subject, policy, check_payloads } => {
                let mut fields = vec![
                    ("topic", topic.into()),
                    ("validation_policy", policy.into()),
                    ("check_payloads", check_payloads.into()),
                ];
                fields.extend(subject.map(|subject| ("subject", text(subject))));
                ("topic_schema_changed", fields)
            }
            Self::NamespaceCreated { namespace } => {
                ("namespace_created", vec![("namespace", text(namespace))])
            }
            Self::NamespaceDeleted { namespace } => {
                ("namespace_deleted", vec![("namespace", text(namespace))])
            }
        }
    }
}

fn of_subscription(topic: &str, subscription: &str) -> Vec<(&'static str, Value)> {
    vec![("topic", topic.into()), ("subscription", text(subscription))]
}

/// A text that a client chose.
fn text(text: &str) -> Value {
    cut(text).into()
}

/// The topics, or the first of them if there are too many.
fn some_of(topics: &[&str]) -> Value {
    let more = (topics.len() > TOPICS_MAX).then_some("…");
    topics.iter().take(TOPICS_MAX).copied().chain(more).collect()
}

fn texts(texts: &[&str]) -> Value {
    texts.iter().map(|one| cut(one)).collect()
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
        let (topic, subscription, user, mechanism) = ("orders", "work", "bob", "SCRAM-SHA-256");
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
                AuditEvent::RecordsDeleted { topic, partition: 1, before: 9 },
                json!({"event": "records_deleted", "topic": "orders", "partition": 1, "before": 9}),
            ),
            (
                AuditEvent::MarkerWritten { topic, partition: 1, producer_id: 7, marker: "abort" },
                json!({"event": "marker_written", "topic": "orders", "partition": 1, "producer_id": 7, "marker": "abort"}),
            ),
            (AuditEvent::GroupDeleted { group: "g" }, json!({"event": "group_deleted", "group": "g"})),
            (
                AuditEvent::OffsetsDeleted { group: "g", topics: &[topic] },
                json!({"event": "offsets_deleted", "group": "g", "topics": ["orders"]}),
            ),
            (
                AuditEvent::OffsetsSet { group: "g", topics: &[topic, "b"] },
                json!({"event": "offsets_set", "group": "g", "topics": ["orders", "b"]}),
            ),
            (
                AuditEvent::SubscriptionCreated { topic, partition: None, subscription, mode: "shared" },
                json!({"event": "subscription_created", "topic": "orders", "subscription": "work", "type": "shared"}),
            ),
            (
                AuditEvent::SubscriptionCreated { topic, partition: Some(2), subscription, mode: "shared" },
                json!({
                    "event": "subscription_created", "topic": "orders", "subscription": "work", "type": "shared",
                    "partition": 2,
                }),
            ),
            (
                AuditEvent::SubscriptionDeleted { topic, subscription },
                json!({"event": "subscription_deleted", "topic": "orders", "subscription": "work"}),
            ),
            (
                AuditEvent::SubscriptionMoved { topic, subscription, to: "offset:3" },
                json!({"event": "subscription_moved", "topic": "orders", "subscription": "work", "to": "offset:3"}),
            ),
            (
                AuditEvent::KeysReleased { topic, subscription, key: None },
                json!({"event": "keys_released", "topic": "orders", "subscription": "work", "key": null}),
            ),
            (
                AuditEvent::DeadLettersReplayed { topic, key: Some("k"), to: None },
                json!({"event": "dead_letters_replayed", "topic": "orders", "key": "k", "to": null}),
            ),
            (
                AuditEvent::DeadLettersPurged { topic, key: None },
                json!({"event": "dead_letters_purged", "topic": "orders", "key": null}),
            ),
            (
                AuditEvent::SchemaRegistered { subject: "s" },
                json!({"event": "schema_registered", "subject": "s"}),
            ),
            (
                AuditEvent::SchemaVersionDeleted { subject: "s", version: 2 },
                json!({"event": "schema_version_deleted", "subject": "s", "version": 2}),
            ),
            (
                AuditEvent::CompatibilityChanged { subject: "s", mode: "full" },
                json!({"event": "compatibility_changed", "subject": "s", "mode": "full"}),
            ),
            (
                AuditEvent::TopicSchemaChanged { topic, subject: None, policy: "warn", check_payloads: true },
                json!({
                    "event": "topic_schema_changed", "topic": "orders", "validation_policy": "warn",
                    "check_payloads": true,
                }),
            ),
            (
                AuditEvent::TopicSchemaChanged {
                    topic,
                    subject: Some("s"),
                    policy: "none",
                    check_payloads: false,
                },
                json!({
                    "event": "topic_schema_changed", "topic": "orders", "subject": "s", "validation_policy": "none",
                    "check_payloads": false,
                }),
            ),
            (
                AuditEvent::NamespaceCreated { namespace: "n" },
                json!({"event": "namespace_created", "namespace": "n"}),
            ),
            (
                AuditEvent::NamespaceDeleted { namespace: "n" },
                json!({"event": "namespace_deleted", "namespace": "n"}),
            ),
            (
                AuditEvent::PolicyChanged { topic, subscription, policy: &policy },
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
    fn a_line_names_some_of_many_topics() {
        let topics = ["t"; 10_000];
        let fields = AuditEvent::OffsetsSet { group: "g", topics: &topics }.fields(&caller());
        assert_eq!(fields["topics"].as_array().unwrap().len(), TOPICS_MAX + 1);
        assert_eq!(fields["topics"][TOPICS_MAX], "…");
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
