//! Repository tasks, run as `cargo xtask TASK`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

mod apache_kafka;
mod bench;
mod broker;
mod costs;
mod crew;
mod differential;
mod hostile;
mod http;
mod interop;
mod kafka_client;
mod kafka_probe;
mod killloop;
mod messages;
mod neighbour;
mod pem_files;
mod powercut;
mod process;
mod produce_bytes;
mod proxy;
mod random;
mod storm;
mod tools;
mod witness;
mod workspace;

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
    /// Clients that nobody here wrote, against the built broker: one line per check.
    Interop(interop::Args),
    /// Many Key-Shared workers through kills and restarts, every delivery judged: one line of result.
    Storm(storm::Args),
    /// Producers, groups and workers while the broker is killed again and again: one line of result.
    Killloop(killloop::Args),
    /// The broker on a disk whose power is cut again and again, and what remains: one line of result.
    Powercut(powercut::Args),
    /// Syscalls, context switches, instructions and allocations of one request, against committed limits.
    Costs(costs::Args),
    /// The same requests to Apache Kafka and to this broker, their answers compared field by field.
    Differential(differential::Args),
    /// What no client should send, in bulk, at a live broker while a neighbour goes on: one line per attack.
    Hostile(hostile::Args),
    /// This broker and Apache Kafka in turn, as a Markdown table.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().task {
        Task::Messages(args) => messages::run(args).map(|()| ExitCode::SUCCESS),
        Task::Interop(args) => run(interop::run(args)),
        Task::Storm(args) => run(storm::run(args)),
        Task::Killloop(args) => run(killloop::run(args)),
        Task::Powercut(args) => run(powercut::run(args)),
        Task::Costs(args) => run(costs::run(args)),
        Task::Differential(args) => run(differential::run(args)),
        Task::Hostile(args) => run(hostile::run(args)),
        Task::Bench(args) => run(bench::run(args)),
    };
    outcome.unwrap_or_else(|error| {
        // One line; a backtrace would say where we looked, not what was wrong.
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs a task that starts other programs; a signal drops it, and with it everything it has started.
fn run(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    const INTERRUPTED: u8 = 130;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
            outcome = task => outcome,
        }
    })
}
