//! Repository tasks, run as `cargo xtask TASK`.

use clap::{Parser, Subcommand};

mod messages;

#[derive(Parser)]
#[command(name = "xtask", about = "Repository tasks of Keyway")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Kafka's message definitions: import their facts, generate the Rust code.
    Messages(messages::Args),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().task {
        Task::Messages(args) => messages::run(args),
    }
}
