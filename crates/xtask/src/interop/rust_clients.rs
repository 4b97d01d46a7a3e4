//! The documents as Rust programs, and Kafka's clients for Rust; what is checked is in `examples` and `interop/rust`.

use super::stage::Stage;

pub(crate) async fn partition_key_example(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "partition-key").await
}

pub(crate) async fn batches_example(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "batches").await
}

pub(crate) async fn key_shared_example(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "key-shared").await
}

pub(crate) async fn producer_example(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "producer").await
}

pub(crate) async fn confluent(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "confluent").await
}

pub(crate) async fn krafka(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "krafka").await
}

pub(crate) async fn rdkafka(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "rdkafka").await
}

pub(crate) async fn ruststream(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    program(stage, "ruststream").await
}

async fn program(stage: &Stage<'_>, name: &str) -> anyhow::Result<String> {
    let mut command = stage.tools.rust_program(name)?;
    // An assertion that fails is to be the last that is said.
    command.env("RUST_BACKTRACE", "0");
    command.env("KAFKA", stage.broker.kafka().to_string()).env("DANUBE", stage.broker.danube_url());
    Ok(stage.run(&mut command).await?.summary())
}
