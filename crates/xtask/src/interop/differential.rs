//! The same requests to Apache Kafka and to the broker, their answers compared field by field.

use super::stage::Stage;
use crate::differential;

pub(crate) async fn answers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    differential::check(&stage.broker, stage.tools).await
}
