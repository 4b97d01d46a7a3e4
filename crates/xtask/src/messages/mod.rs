//! Kafka's message definitions: facts in, Rust out.

/// What to do with the definitions.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    Ok(())
}
