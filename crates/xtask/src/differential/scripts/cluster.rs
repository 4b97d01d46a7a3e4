//! What a client learns of the cluster before anything else: versions, features, nodes, coordinators, the quorum.

use serde_json::json;

use super::super::side::Side;

/// The sentinel that Kafka's clients use for nobody's API.
const TOO_NEW: i16 = 99;

pub(super) async fn script(side: &mut Side<'_>) -> anyhow::Result<()> {
    let client = json!({"ClientSoftwareName": "keyway-differential", "ClientSoftwareVersion": "1.0"});
    side.ask_all("versions", "ApiVersions", |_| client.clone()).await?;
    for (step, name) in [("no software name", ""), ("bad software name", "-dash"), ("blank", "a b")] {
        let client = json!({"ClientSoftwareName": name, "ClientSoftwareVersion": "1.0"});
        side.ask(step, "ApiVersions", 3, client).await?;
    }
    side.ask("too new", "ApiVersions", TOO_NEW, client).await?;

    side.ask_all("of brokers", "DescribeCluster", |_| json!({})).await?;
    let authorized = json!({"IncludeClusterAuthorizedOperations": true, "IncludeFencedBrokers": true});
    side.ask_all("with operations", "DescribeCluster", |_| authorized.clone()).await?;
    for kind in [2, 3] {
        side.ask(&format!("endpoint type {kind}"), "DescribeCluster", 1, json!({"EndpointType": kind}))
            .await?;
    }

    side.ask_all(
        "of a group",
        "FindCoordinator",
        |_| json!({"Key": "a-group", "KeyType": 0, "CoordinatorKeys": ["a-group", "another"]}),
    )
    .await?;
    side.ask_all(
        "of a transaction",
        "FindCoordinator",
        |_| json!({"Key": "an-id", "KeyType": 1, "CoordinatorKeys": ["an-id"]}),
    )
    .await?;
    for version in [1, 4, 6] {
        for (step, key, kind) in [("empty", "", 0), ("unknown type", "a-group", 9), ("share", "g:topic:0", 2)]
        {
            let request = json!({"Key": key, "KeyType": kind, "CoordinatorKeys": [key]});
            side.ask(step, "FindCoordinator", version, request).await?;
        }
    }
    side.ask("of nobody", "FindCoordinator", 4, json!({"CoordinatorKeys": []})).await?;

    let quorum =
        json!({"Topics": [{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]});
    side.ask_all("of the metadata", "DescribeQuorum", |_| quorum.clone()).await?;
    let other = json!({"Topics": [{"TopicName": "other", "Partitions": [{"PartitionIndex": 0}]}]});
    side.ask("of another topic", "DescribeQuorum", 2, other).await?;
    side.ask("of nothing", "DescribeQuorum", 2, json!({})).await?;

    side.ask_all("nothing", "UpdateFeatures", |_| json!({})).await?;
    for (step, feature, level) in [
        ("an unknown feature", "no.such.feature", 1),
        ("as it is", "group.version", 1),
        ("too high", "group.version", 50),
        ("of the metadata, too high", "metadata.version", 500),
    ] {
        let update = json!({"Feature": feature, "MaxVersionLevel": level});
        for version in [0, 1, 2] {
            let request = json!({"FeatureUpdates": [update], "ValidateOnly": true});
            side.ask(step, "UpdateFeatures", version, request).await?;
        }
    }
    let unchecked = json!({"Feature": "group.version", "MaxVersionLevel": 0, "UpgradeType": 9});
    side.ask("no way to upgrade", "UpdateFeatures", 1, json!({"FeatureUpdates": [unchecked]})).await?;

    for version in side.versions("SaslHandshake")? {
        side.ask("on a plain listener", "SaslHandshake", version, json!({"Mechanism": "PLAIN"})).await?;
    }
    Ok(())
}
