//! Client quotas as Kafka's own tool sets them: told in its words, refused with its reason, there after a kill -9.

use anyhow::ensure;

use super::stage::Stage;
use super::tool_shell::ToolShell;

const CONFIGS: &str = "kafka.admin.ConfigCommand";

/// Entities as the tool takes them, a quota, and the words in which the tool tells it.
const QUOTAS: &[(&[&str], &str, &str)] = &[
    (
        &["--entity-type", "clients", "--entity-name", "slow"],
        "producer_byte_rate=400000",
        "client-id 'slow' are producer_byte_rate=400000.0",
    ),
    (
        &["--entity-type", "users", "--entity-default"],
        "consumer_byte_rate=1000000,request_percentage=200",
        "consumer_byte_rate=1000000.0",
    ),
    (
        &["--entity-type", "users", "--entity-name", "ann", "--entity-type", "clients", "--entity-default"],
        "controller_mutation_rate=10",
        "user-principal 'ann', the default client-id are controller_mutation_rate=10.0",
    ),
    (
        &["--entity-type", "ips", "--entity-name", "127.0.0.9"],
        "connection_creation_rate=5",
        "ip '127.0.0.9' are connection_creation_rate=5.0",
    ),
];

/// Sets quotas of every kind of entity, loses the broker, and looks again.
pub(crate) async fn quotas(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut shell = ToolShell::start(stage)?;
    for (entity, quota, _) in QUOTAS {
        shell.succeed(CONFIGS, &[&["--alter", "--add-config", quota][..], entity].concat()).await?;
    }
    let nobody =
        ["--alter", "--add-config", "producer_byte_rate=0", "--entity-type", "users", "--entity-default"];
    shell.refused(CONFIGS, &nobody, "InvalidRequestException").await?;
    stage.broker.kill().await?;
    stage.broker.start_again().await?;
    for (entity, _, told) in QUOTAS {
        let said = shell.succeed(CONFIGS, &[&["--describe"][..], entity].concat()).await?;
        ensure!(said.contains(told), "{told:?} is told as {said:?}");
    }
    let (entity, ..) = QUOTAS[1];
    let gone =
        [&["--alter", "--delete-config", "consumer_byte_rate,request_percentage"][..], entity].concat();
    shell.succeed(CONFIGS, &gone).await?;
    let left = shell.succeed(CONFIGS, &[&["--describe"][..], entity].concat()).await?;
    ensure!(!left.contains("consumer_byte_rate"), "what was deleted is told: {left:?}");
    Ok(format!("{} quotas set, told after a kill -9, one of them deleted, a rate of 0 refused", QUOTAS.len()))
}
