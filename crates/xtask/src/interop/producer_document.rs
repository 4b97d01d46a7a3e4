//! The Kafka producer's document row by row; the rows are in the programs of `interop/producer-document`.

use super::stage::Stage;
use crate::proxy::Proxy;
use crate::workspace;

/// All rows, with Apache Kafka's own client.
pub(crate) async fn java(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let proxy = Proxy::start(stage.broker.kafka(), stage.seed()).await?;
    let source = workspace::programs().join("producer-document/ProducerDocument.java");
    let mut command = stage.tools.apache_kafka()?.source(&source);
    command.arg(stage.broker.kafka().to_string());
    command.args([proxy.address().to_string(), proxy.control().to_string()]);
    Ok(stage.run(&mut command).await?.summary())
}

/// The rows that librdkafka has, with confluent-kafka.
pub(crate) async fn python(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let proxy = Proxy::start(stage.broker.kafka(), stage.seed()).await?;
    let mut command = stage.python("producer-document/producer_document.py", &[])?;
    command.env("PROXY", proxy.address().to_string()).env("CONTROL", proxy.control().to_string());
    Ok(stage.run(&mut command).await?.summary())
}
