//! franz-go, the Go client that speaks the newest of everything; what is checked is in the programs of `interop/go`.

use super::stage::Stage;

pub(crate) async fn records(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_go("franz-records", &[]).await?.summary())
}

/// Runs the group program in each of these modes.
async fn group(stage: &Stage<'_>, scene: &str, modes: &[&str]) -> anyhow::Result<String> {
    let mut details = Vec::new();
    for mode in modes {
        details.push(stage.run_go("franz-group", &[scene, mode]).await?.summary());
    }
    Ok(details.join("; "))
}

/// Members agree among themselves, and give everything up to do so.
pub(crate) async fn classic(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    group(stage, "share", &["range", "sticky"]).await
}

/// Members agree among themselves, and keep what they have meanwhile.
pub(crate) async fn cooperative(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    group(stage, "share", &["cooperative-sticky"]).await
}

/// The broker assigns (KIP-848).
pub(crate) async fn consumer(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    group(stage, "share", &["consumer-uniform", "consumer-range"]).await
}

/// The expression is the client's in a classic group, and the broker's in a consumer group.
pub(crate) async fn regex(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    group(stage, "regex", &["cooperative-sticky", "consumer-uniform"]).await
}

/// A running group goes over to the consumer protocol and back.
pub(crate) async fn upgrade(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    group(stage, "upgrade", &["consumer-uniform"]).await
}

/// Classic groups alone: leaving a consumer group for a while, franz-go 1.22 does not say its name, and every broker
/// refuses that.
pub(crate) async fn static_members(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    group(stage, "static", &["range", "cooperative-sticky"]).await
}

/// Partitions and offsets come into a transaction by KIP-890, and as they did before.
pub(crate) async fn transactions(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let seed = stage.seed().to_string();
    let implicit = stage.run_go("franz-transactions", &["implicit", &seed]).await?.summary();
    let explicit = stage.run_go("franz-transactions", &["explicit", &seed]).await?.summary();
    Ok(format!("{implicit}; {explicit}"))
}

pub(crate) async fn admin(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_go("franz-admin", &[]).await?.summary())
}
