//! `keyway subscription` and `keyway dlq`, as a person who looks after a subscription uses them.

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::failure_policy::{SUBSCRIPTION, TOPIC, expect, refuse, silence};
use super::scene::Scene;
use super::stage::Stage;

/// Runs the broker's own binary as a client and returns what it prints.
async fn keyway(stage: &Stage<'_>, args: &[&str]) -> anyhow::Result<String> {
    let binary = stage.broker.keyway().context("this is another broker")?;
    let mut command = Command::new(binary);
    command.args(args).args(["--http", &stage.broker.http().to_string()]);
    let finished = stage.run(&mut command).await.with_context(|| format!("keyway {}", args.join(" ")))?;
    Ok(finished.stdout)
}

/// The first line of what it prints, as JSON.
async fn json(stage: &Stage<'_>, args: &[&str]) -> anyhow::Result<Value> {
    let printed = keyway(stage, &[args, &["--output", "json"]].concat()).await?;
    let line = printed.lines().next().with_context(|| format!("keyway {} prints nothing", args.join(" ")))?;
    Ok(serde_json::from_str(line)?)
}

/// Created at the earliest message, looked at, its failures replayed, sent back, its last dead letter given up, deleted.
pub(crate) async fn subscription(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const MESSAGES: usize = 5;
    let mut scene = Scene::open(&stage.broker.danube_url(), TOPIC).await?;
    let producer = scene.producer("orders_producer").await?;
    for number in 0..MESSAGES {
        producer.send_with_key(number.to_string().into_bytes(), None, "payment").await?;
    }
    keyway(stage, &["subscription", "create", "orders", SUBSCRIPTION, "--start", "earliest"]).await?;
    let policy = ["--poison-policy", "dead_letter", "--max-redelivery-count", "0", "--flood-brake", "false"];
    let topic = ["--dead-letter-topic", "orders-dlq"];
    let set = ["subscription", "policy", "set", "orders", SUBSCRIPTION];
    keyway(stage, &[&set[..], &policy, &topic].concat()).await?;

    scene.worker("worker_1", SUBSCRIPTION, &[]).await?;
    let first = expect(&mut scene, "0").await?;
    let key = json(stage, &["subscription", "keys", "orders", SUBSCRIPTION]).await?;
    let held = key["key"] == "payment" && key["holder"] == "worker_1" && key["waiting"] == MESSAGES - 1;
    ensure!(held, "keys: {key}");
    let described = json(stage, &["subscription", "describe", "orders", SUBSCRIPTION]).await?;
    ensure!(described["lag_messages"] == MESSAGES, "described: {described}");
    let listed = keyway(stage, &["subscription", "list"]).await?;
    ensure!(listed.contains(SUBSCRIPTION), "listed: {listed}");

    scene.nack(first, 0, "card declined").await?;
    for number in 1..MESSAGES {
        let delivery = expect(&mut scene, &number.to_string()).await?;
        scene.ack(delivery).await?;
    }
    let listed = keyway(stage, &["dlq", "list"]).await?;
    ensure!(listed.contains("orders-dlq"), "dead-letter topics: {listed}");
    let shown = keyway(stage, &["dlq", "show", "orders-dlq"]).await?;
    ensure!(shown.contains("card declined"), "dead letters: {shown}");
    let replayed = keyway(stage, &["dlq", "replay", "orders-dlq"]).await?;
    ensure!(replayed.trim() == "1 replayed", "replayed: {replayed}");
    refuse(&mut scene, "0", 1).await?;
    silence(&mut scene, "it is a dead letter again").await?;
    let purged = keyway(stage, &["dlq", "purge", "orders-dlq", "--yes"]).await?;
    ensure!(purged.trim() == "1 purged", "purged: {purged}");

    keyway(stage, &["subscription", "seek", "orders", SUBSCRIPTION, "--start", "offset:4", "--yes"]).await?;
    for text in ["4", "0"] {
        let delivery = expect(&mut scene, text).await.context("after the seek")?;
        scene.ack(delivery).await?;
    }
    keyway(stage, &["subscription", "delete", "orders", SUBSCRIPTION, "--yes"]).await?;
    let listed = keyway(stage, &["subscription", "list"]).await?;
    ensure!(!listed.contains(SUBSCRIPTION), "after its deletion: {listed}");
    Ok("created at the earliest, described, keys, a dead letter shown, replayed, purged, a seek, deleted"
        .into())
}
