//! The Java Admin client itself; what is checked is in the program.

use crate::interop::stage::Stage;
use crate::workspace;

/// Every call that a broker without an authorizer answers.
pub(crate) async fn calls(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let source = workspace::programs().join("kafka/AdminCalls.java");
    let mut command = stage.tools.apache_kafka()?.source(&source);
    Ok(stage.run(command.arg(stage.broker.kafka().to_string())).await?.summary())
}
