//! Configs of topics, the broker and groups: described, altered, refused.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::super::side::Side;

/// A topic that no step is about.
const BARRIER: &str = "altered-last";

/// Kafka's numbers of what has configs.
mod resource {
    pub(super) const TOPIC: i8 = 2;
    pub(super) const BROKER: i8 = 4;
    pub(super) const BROKER_LOGGER: i8 = 8;
    pub(super) const CLIENT_METRICS: i8 = 16;
    pub(super) const GROUP: i8 = 32;
}
/// What to do with a config.
mod operation {
    pub(super) const SET: i8 = 0;
    pub(super) const DELETE: i8 = 1;
    pub(super) const APPEND: i8 = 2;
    pub(super) const SUBTRACT: i8 = 3;
}

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    side.create_topic(BARRIER, 1).await?;
    side.create_topic_with("configured", 1, &[("retention.ms", "86400000")]).await?;
    described(side).await?;
    altered(side).await?;
    replaced(side).await?;
    for version in side.versions("ListConfigResources")? {
        side.ask("unasked", "ListConfigResources", version, json!({})).await?;
        for types in [json!([2]), json!([4]), json!([4, 32]), json!([16]), json!([99])] {
            let step = format!("of {types}");
            side.ask(&step, "ListConfigResources", version, json!({"ResourceTypes": types})).await?;
        }
    }
    Ok(())
}

fn describe(kind: i8, name: &str, keys: Value) -> Value {
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}]})
}

async fn described(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("DescribeConfigs")? {
        for (step, request) in [
            ("a topic", describe(resource::TOPIC, "configured", Value::Null)),
            (
                "two configs",
                describe(resource::TOPIC, "configured", json!(["retention.ms", "segment.bytes"])),
            ),
            ("an unknown config", describe(resource::TOPIC, "configured", json!(["no.such.config"]))),
            ("no config", describe(resource::TOPIC, "configured", json!([]))),
            ("an unknown topic", describe(resource::TOPIC, "not-there", Value::Null)),
            ("a bad topic", describe(resource::TOPIC, "a/b", Value::Null)),
            ("no topic", describe(resource::TOPIC, "", Value::Null)),
            ("an unknown broker", describe(resource::BROKER, "77", Value::Null)),
            ("no broker's name", describe(resource::BROKER, "one", Value::Null)),
            ("brokers' defaults", describe(resource::BROKER, "", json!(["log.retention.ms"]))),
            ("an unknown logger's broker", describe(resource::BROKER_LOGGER, "77", json!([]))),
            ("no metrics", describe(resource::CLIENT_METRICS, "a-subscription", Value::Null)),
            ("a group", describe(resource::GROUP, "a-group", Value::Null)),
            ("no group", describe(resource::GROUP, "", Value::Null)),
            ("an unknown type", describe(3, "what", Value::Null)),
            ("nothing", json!({"Resources": []})),
            (
                "twice",
                json!({"Resources": [
                    {"ResourceType": 2, "ResourceName": "configured", "ConfigurationKeys": ["segment.bytes"]},
                    {"ResourceType": 2, "ResourceName": "configured", "ConfigurationKeys": ["retention.ms"]},
                ]}),
            ),
        ] {
            side.ask(step, "DescribeConfigs", version, request).await?;
        }
        let mut synonyms = describe(resource::TOPIC, "configured", json!(["retention.ms", "cleanup.policy"]));
        synonyms["IncludeSynonyms"] = json!(true);
        synonyms["IncludeDocumentation"] = json!(true);
        side.ask("with synonyms", "DescribeConfigs", version, synonyms).await?;
    }
    side.ask("the broker", "DescribeConfigs", 4, describe(resource::BROKER, "1", Value::Null)).await?;
    Ok(())
}

/// Waits until what was altered is described so: changes are seen in their order, and this makes one more of them.
async fn published(side: &mut Side<'_>) -> anyhow::Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    let last = alter(resource::TOPIC, BARRIER, &[("flush.ms", operation::SET, json!(number))]);
    side.look("IncrementalAlterConfigs", 1, last).await?;
    let described = describe(resource::TOPIC, BARRIER, json!(["flush.ms"]));
    side.look_until("DescribeConfigs", 4, described, |answer| {
        answer["Results"][0]["Configs"][0]["Value"] == number.as_str()
    })
    .await
}

fn alter(kind: i8, name: &str, changes: &[(&str, i8, Value)]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|(name, operation, value)| json!({"Name": name, "ConfigOperation": operation, "Value": value}))
        .collect();
    json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": changes}]})
}

async fn altered(side: &mut Side<'_>) -> anyhow::Result<()> {
    use operation::{APPEND, DELETE, SET, SUBTRACT};
    let topic = |changes: &[(&str, i8, Value)]| alter(resource::TOPIC, "configured", changes);
    let of = |name: &str| describe(resource::TOPIC, "configured", json!([name]));
    for version in side.versions("IncrementalAlterConfigs")? {
        for (step, request, config) in [
            ("set", topic(&[("retention.ms", SET, json!("1000"))]), "retention.ms"),
            (
                "set twice",
                topic(&[("retention.ms", SET, json!("1")), ("retention.ms", SET, json!("2"))]),
                "retention.ms",
            ),
            ("append", topic(&[("cleanup.policy", APPEND, json!("compact"))]), "cleanup.policy"),
            ("append again", topic(&[("cleanup.policy", APPEND, json!("compact"))]), "cleanup.policy"),
            ("subtract", topic(&[("cleanup.policy", SUBTRACT, json!("compact"))]), "cleanup.policy"),
            ("subtract all", topic(&[("cleanup.policy", SUBTRACT, json!("delete"))]), "cleanup.policy"),
            ("delete", topic(&[("retention.ms", DELETE, Value::Null)]), "retention.ms"),
            ("delete again", topic(&[("retention.ms", DELETE, Value::Null)]), "retention.ms"),
            ("append to a number", topic(&[("retention.ms", APPEND, json!("1"))]), "retention.ms"),
            ("unknown", topic(&[("no.such.config", SET, json!("1"))]), "retention.ms"),
            ("delete unknown", topic(&[("no.such.config", DELETE, Value::Null)]), "retention.ms"),
            ("no number", topic(&[("retention.ms", SET, json!("soon"))]), "retention.ms"),
            ("out of range", topic(&[("retention.ms", SET, json!("-2"))]), "retention.ms"),
            ("null", topic(&[("retention.ms", SET, Value::Null)]), "retention.ms"),
            ("operation 9", topic(&[("retention.ms", 9, json!("1"))]), "retention.ms"),
            (
                "good and bad",
                topic(&[("retention.ms", SET, json!("7")), ("segment.bytes", SET, json!("x"))]),
                "retention.ms",
            ),
            ("nothing", topic(&[]), "retention.ms"),
        ] {
            side.ask(step, "IncrementalAlterConfigs", version, request).await?;
            published(side).await?;
            side.ask(&format!("after {step}"), "DescribeConfigs", 4, of(config)).await?;
        }
        let mut validated = topic(&[("retention.ms", SET, json!("5000"))]);
        validated["ValidateOnly"] = json!(true);
        side.ask("validated", "IncrementalAlterConfigs", version, validated).await?;
        published(side).await?;
        side.ask("after validated", "DescribeConfigs", 4, of("retention.ms")).await?;
        for (step, kind, name, config) in [
            ("of an unknown topic", resource::TOPIC, "not-there", "retention.ms"),
            ("of a bad topic", resource::TOPIC, "a/b", "retention.ms"),
            ("of no topic", resource::TOPIC, "", "retention.ms"),
            ("of an unknown broker", resource::BROKER, "77", "log.retention.ms"),
            ("of no number", resource::BROKER, "one", "log.retention.ms"),
            ("of an unknown type", 3, "what", "what"),
            ("of a group", resource::GROUP, "a-group", "consumer.session.timeout.ms"),
            ("of a group, unknown", resource::GROUP, "a-group", "no.such.config"),
            ("of no group", resource::GROUP, "", "consumer.session.timeout.ms"),
        ] {
            let request = alter(kind, name, &[(config, SET, json!("50000"))]);
            side.ask(step, "IncrementalAlterConfigs", version, request).await?;
        }
        published(side).await?;
        let group = describe(resource::GROUP, "a-group", json!(["consumer.session.timeout.ms"]));
        side.ask("a group's own", "DescribeConfigs", 4, group).await?;
        let forgotten =
            alter(resource::GROUP, "a-group", &[("consumer.session.timeout.ms", DELETE, Value::Null)]);
        side.ask("a group's own no more", "IncrementalAlterConfigs", version, forgotten).await?;
        let once = alter(resource::TOPIC, "configured", &[("retention.ms", SET, json!("1"))]);
        let one = once["Resources"][0].clone();
        let twice = json!({"Resources": [one, one]});
        side.ask("a topic twice", "IncrementalAlterConfigs", version, twice).await?;
        side.ask("no resource", "IncrementalAlterConfigs", version, json!({"Resources": []})).await?;
    }
    Ok(())
}

async fn replaced(side: &mut Side<'_>) -> anyhow::Result<()> {
    let request = |kind: i8, name: &str, config: &str, value: Value| {
        let configs = json!([{"Name": config, "Value": value}]);
        json!({"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": configs}]})
    };
    for version in side.versions("AlterConfigs")? {
        for (step, request) in [
            ("one", request(resource::TOPIC, "configured", "segment.ms", json!("100000"))),
            ("another", request(resource::TOPIC, "configured", "retention.ms", json!("200000"))),
            ("unknown", request(resource::TOPIC, "configured", "no.such.config", json!("1"))),
            ("no number", request(resource::TOPIC, "configured", "retention.ms", json!("soon"))),
            ("null", request(resource::TOPIC, "configured", "retention.ms", Value::Null)),
            ("an unknown topic", request(resource::TOPIC, "not-there", "retention.ms", json!("1"))),
            ("a bad topic", request(resource::TOPIC, "a/b", "retention.ms", json!("1"))),
            ("no topic", request(resource::TOPIC, "", "retention.ms", json!("1"))),
            ("nothing", json!({"Resources": []})),
        ] {
            side.ask(step, "AlterConfigs", version, request).await?;
            published(side).await?;
            let described = describe(resource::TOPIC, "configured", json!(["segment.ms", "retention.ms"]));
            side.ask(&format!("after {step}"), "DescribeConfigs", 4, described).await?;
        }
    }
    Ok(())
}
