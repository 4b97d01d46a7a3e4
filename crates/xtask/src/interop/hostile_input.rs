//! The attacks of `cargo xtask hostile`, in small.

use super::stage::Stage;
use crate::hostile::{Arena, Attack};

async fn attack(stage: &Stage<'_>, attack: Attack) -> anyhow::Result<String> {
    let arena = Arena {
        launch: stage.broker.launch(),
        tools: stage.tools,
        folder: stage.folder(),
        log: stage.log(),
        seed: stage.seed(),
    };
    let detail = arena.short(attack).await?;
    Ok(format!("{detail}; seed {}", stage.seed()))
}

pub(crate) async fn kafka_frames(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    attack(stage, Attack::KafkaFrames).await
}

pub(crate) async fn http2_frames(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    attack(stage, Attack::Http2Frames).await
}

pub(crate) async fn bombs(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    attack(stage, Attack::Bombs).await
}

pub(crate) async fn slow(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    attack(stage, Attack::Slow).await
}
