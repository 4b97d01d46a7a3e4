//! Transactions of clients of both generations: whole or not at all; what is checked is in the programs of `interop/kafka`.

use super::stage::Stage;
use crate::workspace;

/// The first generation: confluent-kafka and kafka-python add partitions themselves.
pub(crate) async fn python(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("kafka/transactions.py", &[&stage.seed().to_string()]).await?.summary())
}

/// The second generation: Apache Kafka's own, by KIP-890.
pub(crate) async fn java(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut command =
        stage.tools.apache_kafka()?.source(&workspace::programs().join("kafka/Transactions.java"));
    command.args([&stage.broker.kafka().to_string(), &stage.seed().to_string()]);
    Ok(stage.run(&mut command).await?.summary())
}
