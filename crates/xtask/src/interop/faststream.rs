//! The two FastStream documents; their programs and what is checked are in `interop/faststream`.

use super::stage::Stage;

pub(crate) async fn partition_key(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("faststream/check_partition_key.py", &[]).await?.summary())
}

pub(crate) async fn publish_batch(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    Ok(stage.run_python("faststream/check_publish_batch.py", &[]).await?.summary())
}
