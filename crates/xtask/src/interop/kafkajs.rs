//! kafkajs, the client of Node; what is checked is in the programs of `interop/kafkajs`.

use super::stage::Stage;

async fn program(stage: &Stage<'_>, name: &str, args: &[&str]) -> anyhow::Result<String> {
    let mut command = stage.tools.kafkajs(name)?;
    command.args(args).env("KAFKA", stage.broker.kafka().to_string());
    Ok(stage.run(&mut command).await?.summary())
}

pub(crate) async fn records(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "records.js", &[]).await
}

pub(crate) async fn group(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "group.js", &[]).await
}

pub(crate) async fn transactions(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "transactions.js", &[&stage.seed().to_string()]).await
}

pub(crate) async fn admin(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "admin.js", &[]).await
}
