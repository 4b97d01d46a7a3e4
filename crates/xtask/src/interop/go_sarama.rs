//! sarama, the Go client that names its partitions and offsets itself; what is checked is in the programs of `interop/go`.

use super::stage::Stage;

pub(crate) async fn records(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_go("sarama-records", &[]).await?.summary())
}

/// Every strategy of the client.
pub(crate) async fn group(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    members(stage, "share", &["range", "roundrobin", "sticky", "cooperative-sticky"]).await
}

pub(crate) async fn static_members(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    members(stage, "static", &["range", "cooperative-sticky"]).await
}

async fn members(stage: &Stage<'_>, scene: &str, strategies: &[&str]) -> anyhow::Result<String> {
    let mut details = Vec::new();
    for strategy in strategies {
        details.push(stage.run_go("sarama-group", &[scene, strategy]).await?.summary());
    }
    Ok(details.join("; "))
}

pub(crate) async fn transactions(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_go("sarama-transactions", &[&stage.seed().to_string()]).await?.summary())
}

pub(crate) async fn admin(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_go("sarama-admin", &[]).await?.summary())
}
