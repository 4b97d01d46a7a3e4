//! Who may do what, and how much of it: rules where there is no authorizer, and clients' quotas.

use serde_json::{Value, json};

use super::super::side::Side;

/// Kafka's numbers for how an entity is asked for.
mod matching {
    pub(super) const EXACT: i8 = 0;
    pub(super) const DEFAULT: i8 = 1;
    pub(super) const ANY: i8 = 2;
}
/// More than a script ever sends, bytes a second.
const PLENTY: f64 = 1e9;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    rules(side).await?;
    users(side).await?;
    quotas(side).await
}

async fn rules(side: &mut Side<'_>) -> anyhow::Result<()> {
    let rule = json!({
        "ResourceType": 2, "ResourceName": "ruled", "Principal": "User:anna", "Host": "*", "Operation": 3,
        "PermissionType": 3,
    });
    let filter = json!({
        "ResourceTypeFilter": 2, "ResourceNameFilter": "ruled", "Operation": 1, "PermissionType": 1,
    });
    for version in side.versions("CreateAcls")? {
        side.ask("without an authorizer", "CreateAcls", version, json!({"Creations": [rule]})).await?;
        side.ask("without an authorizer", "DescribeAcls", version, filter.clone()).await?;
        side.ask("without an authorizer", "DeleteAcls", version, json!({"Filters": [filter]})).await?;
        side.ask("none", "CreateAcls", version, json!({"Creations": []})).await?;
        side.ask("none", "DeleteAcls", version, json!({"Filters": []})).await?;
    }
    Ok(())
}

/// Of a listener without logins, and of users that are not there.
async fn users(side: &mut Side<'_>) -> anyhow::Result<()> {
    for version in side.versions("DescribeUserScramCredentials")? {
        for (step, users) in [("all", Value::Null), ("unknown", json!([{"Name": "nobody"}]))] {
            side.ask(step, "DescribeUserScramCredentials", version, json!({"Users": users})).await?;
        }
    }
    for version in side.versions("AlterUserScramCredentials")? {
        let unknown = json!({"Deletions": [{"Name": "nobody", "Mechanism": 1}], "Upsertions": []});
        side.ask("unknown", "AlterUserScramCredentials", version, unknown).await?;
        let none = json!({"Deletions": [], "Upsertions": []});
        side.ask("none", "AlterUserScramCredentials", version, none).await?;
    }
    for version in side.versions("SaslAuthenticate")? {
        side.ask("without a login", "SaslAuthenticate", version, json!({"AuthBytes": ""})).await?;
    }
    Ok(())
}

fn entity(parts: &[(&str, Value)]) -> Value {
    parts.iter().map(|(kind, name)| json!({"EntityType": kind, "EntityName": name})).collect()
}

fn alter(entity: &Value, key: &str, value: Option<f64>) -> Value {
    let operation = json!({"Key": key, "Value": value.unwrap_or_default(), "Remove": value.is_none()});
    json!({"Entries": [{"Entity": entity, "Ops": [operation]}]})
}

fn component(kind: &str, matching: i8, name: Value) -> Value {
    json!({"EntityType": kind, "MatchType": matching, "Match": name})
}

async fn quotas(side: &mut Side<'_>) -> anyhow::Result<()> {
    let anna = || entity(&[("user", json!("anna"))]);
    let pair = entity(&[("user", json!("anna")), ("client-id", Value::Null)]);
    for version in side.versions("AlterClientQuotas")? {
        for (step, request) in [
            ("of a user", alter(&anna(), "producer_byte_rate", Some(PLENTY))),
            ("of a user's clients", alter(&pair, "consumer_byte_rate", Some(PLENTY))),
            ("of nobody", alter(&json!([]), "producer_byte_rate", Some(PLENTY))),
            (
                "of an unknown kind",
                alter(&entity(&[("shoe", json!("left"))]), "producer_byte_rate", Some(1.0)),
            ),
            ("of an empty name", alter(&entity(&[("user", json!(""))]), "producer_byte_rate", Some(PLENTY))),
            ("unknown", alter(&anna(), "no_such_rate", Some(1.0))),
            ("negative", alter(&anna(), "producer_byte_rate", Some(-1.0))),
            ("none", json!({"Entries": []})),
        ] {
            side.ask(step, "AlterClientQuotas", version, request).await?;
        }
        let of_anna = component("user", matching::EXACT, json!("anna"));
        let has = |answer: &Value, count| answer["Entries"].as_array().is_some_and(|all| all.len() == count);
        let loose = json!({"Components": [of_anna]});
        side.look_until("DescribeClientQuotas", 1, loose.clone(), |answer| has(answer, 2)).await?;
        for (step, request) in [
            ("of a user, and more", loose.clone()),
            ("of a user alone", json!({"Components": [of_anna], "Strict": true})),
            ("of any user", json!({"Components": [component("user", matching::ANY, Value::Null)]})),
            (
                "of clients by default",
                json!({"Components": [component("client-id", matching::DEFAULT, Value::Null)]}),
            ),
            ("of an unknown kind", json!({"Components": [component("shoe", matching::ANY, Value::Null)]})),
            ("of the same twice", json!({"Components": [of_anna, of_anna]})),
            ("in no way", json!({"Components": [component("user", 9, Value::Null)]})),
        ] {
            side.ask(step, "DescribeClientQuotas", version, request).await?;
        }
        for (entity, key) in [(&anna(), "producer_byte_rate"), (&pair, "consumer_byte_rate")] {
            side.ask("removed", "AlterClientQuotas", version, alter(entity, key, None)).await?;
        }
        side.look_until("DescribeClientQuotas", 1, loose.clone(), |answer| has(answer, 0)).await?;
        side.ask("of all", "DescribeClientQuotas", version, json!({"Components": []})).await?;
    }
    Ok(())
}
