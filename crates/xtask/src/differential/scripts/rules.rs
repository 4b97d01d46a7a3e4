//! Access rules where there is an authorizer: made, told of, and removed by filters that overlap.

use serde_json::{Value, json};

use super::super::side::Side;

/// Kafka's numbers.
mod resource {
    pub(super) const ANY: i8 = 1;
    pub(super) const TOPIC: i8 = 2;
    pub(super) const GROUP: i8 = 3;
    pub(super) const CLUSTER: i8 = 4;
}

mod pattern {
    pub(super) const ANY: i8 = 1;
    pub(super) const MATCH: i8 = 2;
    pub(super) const LITERAL: i8 = 3;
    pub(super) const PREFIXED: i8 = 4;
}

mod operation {
    pub(super) const ANY: i8 = 1;
    pub(super) const ALL: i8 = 2;
    pub(super) const READ: i8 = 3;
    pub(super) const WRITE: i8 = 4;
}

mod permission {
    pub(super) const ANY: i8 = 1;
    pub(super) const DENY: i8 = 2;
    pub(super) const ALLOW: i8 = 3;
}

fn rule(resource: (i8, &str, i8), principal: &str, host: &str, operation: i8, permission: i8) -> Value {
    let (kind, name, pattern) = resource;
    json!({
        "ResourceType": kind, "ResourceName": name, "ResourcePatternType": pattern, "Principal": principal,
        "Host": host, "Operation": operation, "PermissionType": permission,
    })
}

/// All rules, but for these fields.
fn filter(fields: Value) -> Value {
    let mut filter = json!({
        "ResourceTypeFilter": resource::ANY, "ResourceNameFilter": null, "PatternTypeFilter": pattern::ANY,
        "PrincipalFilter": null, "HostFilter": null, "Operation": operation::ANY,
        "PermissionType": permission::ANY,
    });
    let (Value::Object(all), Value::Object(fields)) = (&mut filter, fields) else { unreachable!("both are") };
    all.extend(fields);
    filter
}

fn rules() -> Vec<Value> {
    use operation::{ALL, READ, WRITE};
    use permission::{ALLOW, DENY};
    let (ann, bob) = ("User:ann", "User:bob");
    vec![
        rule((resource::TOPIC, "ruled", pattern::LITERAL), ann, "*", READ, ALLOW),
        rule((resource::TOPIC, "ruled", pattern::LITERAL), ann, "*", WRITE, ALLOW),
        rule((resource::TOPIC, "ruled", pattern::LITERAL), bob, "10.0.0.1", READ, DENY),
        rule((resource::TOPIC, "rul", pattern::PREFIXED), bob, "*", READ, ALLOW),
        rule((resource::TOPIC, "ruled", pattern::PREFIXED), ann, "*", ALL, DENY),
        rule((resource::TOPIC, "*", pattern::LITERAL), ann, "*", READ, ALLOW),
        rule((resource::TOPIC, "other", pattern::LITERAL), ann, "*", READ, ALLOW),
        rule((resource::GROUP, "ruled", pattern::LITERAL), ann, "*", READ, ALLOW),
        rule((resource::CLUSTER, "kafka-cluster", pattern::LITERAL), bob, "*", ALL, ALLOW),
    ]
}

/// Filters of which most rules match several, one matches none, and one twice.
fn overlapping() -> Vec<Value> {
    vec![
        filter(json!({"ResourceTypeFilter": resource::TOPIC, "ResourceNameFilter": "ruled"})),
        filter(json!({
            "ResourceTypeFilter": resource::TOPIC, "ResourceNameFilter": "ruled",
            "PatternTypeFilter": pattern::MATCH,
        })),
        filter(json!({"PrincipalFilter": "User:ann", "Operation": operation::READ})),
        filter(json!({"PrincipalFilter": "User:nobody"})),
        filter(json!({"PrincipalFilter": "User:ann", "Operation": operation::READ})),
        filter(json!({"ResourceNameFilter": "ruled", "PatternTypeFilter": pattern::PREFIXED})),
        filter(json!({"HostFilter": "10.0.0.1", "PermissionType": permission::DENY})),
    ]
}

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("CreateAcls")? {
        refused(side, version).await?;
        side.ask("all", "CreateAcls", version, json!({"Creations": rules()})).await?;
        side.ask("the same again", "CreateAcls", version, json!({"Creations": rules()[..2]})).await?;
        told(side, version, "all", filter(json!({})), rules().len()).await?;
        for (number, one) in overlapping().into_iter().enumerate() {
            side.ask(&format!("overlapping {number}"), "DescribeAcls", version, one).await?;
        }
        side.ask("overlapping", "DeleteAcls", version, json!({"Filters": overlapping()})).await?;
        told(side, version, "left", filter(json!({})), 1).await?;
        side.ask("gone", "DeleteAcls", version, json!({"Filters": overlapping()})).await?;
        let everything = filter(json!({}));
        side.ask("the rest", "DeleteAcls", version, json!({"Filters": [everything, everything]})).await?;
        told(side, version, "none left", filter(json!({})), 0).await?;
    }
    Ok(())
}

/// Asks until there are so many rules; Apache Kafka's broker follows its controller a little later.
async fn told(
    side: &mut Side<'_>,
    version: i16,
    step: &str,
    filter: Value,
    count: usize,
) -> anyhow::Result<()> {
    let has_all = |answer: &Value| {
        let resources = answer["Resources"].as_array().into_iter().flatten();
        resources.filter_map(|resource| resource["Acls"].as_array()).map(Vec::len).sum::<usize>() == count
    };
    side.ask_until(step, "DescribeAcls", version, filter, has_all).await?;
    Ok(())
}

/// Rules and filters that cannot be, each alone and beside one that can.
async fn refused(side: &mut Side<'_>, version: i16) -> anyhow::Result<()> {
    use operation::READ;
    use permission::ALLOW;
    let topic = |name| (resource::TOPIC, name, pattern::LITERAL);
    for (step, wrong) in [
        ("any resource", rule((resource::ANY, "x", pattern::LITERAL), "User:ann", "*", READ, ALLOW)),
        ("a matching pattern", rule((resource::TOPIC, "x", pattern::MATCH), "User:ann", "*", READ, ALLOW)),
        ("any operation", rule(topic("x"), "User:ann", "*", operation::ANY, ALLOW)),
        ("any permission", rule(topic("x"), "User:ann", "*", READ, permission::ANY)),
        ("no name", rule(topic(""), "User:ann", "*", READ, ALLOW)),
        ("no kind of principal", rule(topic("x"), "ann", "*", READ, ALLOW)),
        ("another cluster", rule((resource::CLUSTER, "x", pattern::LITERAL), "User:ann", "*", READ, ALLOW)),
    ] {
        side.ask(step, "CreateAcls", version, json!({"Creations": [wrong]})).await?;
    }
    let none = filter(json!({"PrincipalFilter": "User:nobody"}));
    for (step, wrong) in [
        ("an unknown resource", json!({"ResourceTypeFilter": 0})),
        ("an unknown pattern", json!({"PatternTypeFilter": 0})),
        ("an unknown operation", json!({"Operation": 0})),
        ("an unknown permission", json!({"PermissionType": 0})),
    ] {
        let wrong = filter(wrong);
        side.ask(step, "DescribeAcls", version, wrong.clone()).await?;
        side.ask(step, "DeleteAcls", version, json!({"Filters": [wrong, none]})).await?;
    }
    Ok(())
}
