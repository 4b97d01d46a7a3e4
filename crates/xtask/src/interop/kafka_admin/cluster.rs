//! kafka-cluster, kafka-features, kafka-metadata-quorum, kafka-broker-api-versions, kafka-client-metrics and kafka-acls.

use anyhow::{Context, ensure};

use super::{rows, says};
use crate::interop::stage::Stage;
use crate::interop::tool_shell::ToolShell;

const ACLS: &str = "org.apache.kafka.tools.AclCommand";
const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
const CLIENT_METRICS: &str = "org.apache.kafka.tools.ClientMetricsCommand";
const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";

pub(crate) async fn cluster(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut tools = ToolShell::start(stage)?;
    let bootstrap = stage.broker.kafka().to_string();
    let said = tools.run_bare(CLUSTER, &["cluster-id", "--bootstrap-server", &bootstrap]).await?.text;
    let id = said.trim().strip_prefix("Cluster ID: ").with_context(|| said.clone())?.to_string();
    let said = tools.run_bare(CLUSTER, &["list-endpoints", "--bootstrap-server", &bootstrap]).await?.text;
    let (host, port) = bootstrap.rsplit_once(':').context("an address without a port")?;
    let node = ["1", host, port, "null", "unfenced", "broker"];
    ensure!(rows(&said).any(|row| row == node), "kafka-cluster: {said}");

    let features = tools.succeed(FEATURES, &["describe"]).await?;
    for (feature, level) in
        [("transaction.version", "2"), ("group.version", "1"), ("metadata.version", "4.3-IV0")]
    {
        let level = ["FinalizedVersionLevel:", level];
        let row = rows(&features).find(|row| row.get(1) == Some(&feature));
        let row = row.with_context(|| format!("no {feature}: {features}"))?;
        ensure!(row.windows(2).any(|pair| pair == level), "{feature}: {row:?}");
    }
    let lower = ["upgrade", "--feature", "transaction.version=1"];
    tools.refused(FEATURES, &lower, "Could not upgrade transaction.version to 1").await?;

    says(
        &mut tools,
        QUORUM,
        &["describe", "--status"],
        &[&id, "LeaderId:               1", "MaxFollowerLag:         0"],
    )
    .await?;
    let replicas = tools.succeed(QUORUM, &["describe", "--replication"]).await?;
    let leader =
        rows(&replicas).find(|row| row.first() == Some(&"1")).context("the node is not described")?;
    ensure!(leader.last() == Some(&"Leader"), "kafka-metadata-quorum: {replicas}");

    let apis = api_versions(&tools.succeed(API_VERSIONS, &[]).await?, &bootstrap)?;
    let metrics = tools.succeed(CLIENT_METRICS, &["--list"]).await?;
    ensure!(metrics.trim().is_empty(), "kafka-client-metrics: {metrics}");
    // Who runs a broker without an authorizer is told so, or that it has none.
    let said = tools.run(ACLS, &["--list"]).await?.text;
    let told = said.contains("SecurityDisabledException") || said.contains("UnsupportedVersionException");
    ensure!(told, "kafka-acls: {said}");
    Ok(format!(
        "cluster {id}, its features and its quorum described, {apis} APIs in the versions of Kafka 4.3"
    ))
}

/// How many APIs the client can use; those that both sides know have to be in the versions that the client knows best.
fn api_versions(said: &str, bootstrap: &str) -> anyhow::Result<usize> {
    ensure!(said.contains(bootstrap), "kafka-broker-api-versions: {said}");
    let mut usable = 0;
    for line in said.lines().map(str::trim).filter(|line| line.contains("usable: ")) {
        let (versions, used) = line.split_once(" [usable: ").context("no versions")?;
        let highest = versions.rsplit([' ']).next().unwrap_or_default();
        let used = used.trim_end_matches(',').trim_end_matches(']');
        // A version that only a special value of a field asks for is not what a client uses by itself.
        ensure!(highest == used, "the client does not use the highest version: {line}");
        usable += 1;
    }
    // As many as a producer, a member of a group of either protocol and an administrator ask for.
    ensure!(usable >= 43, "only {usable} APIs can be used: {said}");
    for api in [
        "Produce(0): 0 to 13",
        "Fetch(1): 4 to 18",
        "EndTxn(26): 0 to 5",
        "ConsumerGroupHeartbeat(68): 0 to 1",
    ] {
        ensure!(said.contains(api), "not {api}: {said}");
    }
    Ok(usable)
}
