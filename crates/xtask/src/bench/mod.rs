//! `cargo xtask bench`: this broker and another in turn, on one machine, in one session.
//!
//! Two noisy cores make single numbers worthless, so every round measures both in an order that alternates, and what
//! counts is the ratio within a round.

mod candidate;
mod idle;
mod joining;
mod kafka;
mod key_shared;
mod log;
mod machine;
mod meter;
mod secured;
mod table;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use crate::broker::{DURABILITY_OS, Launch};
use crate::tools::{Tool, Tools};
use crate::workspace;
use table::Table;

/// What to measure, and how often.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The part to measure
    #[arg(value_enum, default_value = "all")]
    part: Part,

    /// Rounds; each one measures every broker once
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,

    /// Let Apache Kafka flush every batch to disk before it acknowledges, as this broker does
    #[arg(long)]
    equal_durability: bool,

    /// Leave Apache Kafka out
    #[arg(long)]
    alone: bool,

    /// Partitions of the log part's restarts
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    partitions: i32,

    /// Leave out the log part's columns for what does not wait for the disk at its defaults, and for what does
    #[arg(long)]
    defaults_only: bool,

    /// Messages of the Key-Shared backlog
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    backlog: usize,

    /// Measure Key-Shared against this Danube broker as well
    #[arg(long, value_name = "PATH")]
    danube: Option<PathBuf>,

    /// How that broker is started: {grpc}, {admin} and {data} stand for its addresses and folder
    #[arg(long, value_name = "ARGS", default_value = DANUBE_ARGS)]
    danube_args: String,

    /// Share of the usual number of records, in percent; less for a quick look
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    percent: u32,
}

/// Of Danube's broker from 0.14 on; its Prometheus port keeps its default.
const DANUBE_ARGS: &str = "--mode standalone --broker-addr {grpc} --admin-addr {admin} --data-dir {data}";

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Kafka,
    KeyShared,
    Log,
    Secured,
    All,
}

impl Part {
    fn includes(self, part: Part) -> bool {
        self == part || self == Part::All
    }
}

/// Measures and prints a Markdown table for each part.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Many clients run inside this program.
    if cfg!(debug_assertions) {
        return Err(run_optimized().await);
    }
    let needed = if args.part == Part::KeyShared { vec![] } else { vec![Tool::Kcat, Tool::ApacheKafka] };
    let tools = Tools::prepare(needed).await?;
    let binary = workspace::keyway(args.broker).await?;
    let keyway = Launch::keyway(binary.clone());
    let apache = if args.alone { None } else { tools.apache_kafka().ok() };
    if apache.is_none() && args.part != Part::KeyShared {
        eprintln!("measuring without Apache Kafka");
    }
    let has_kafka_tools = args.part != Part::KeyShared && tools.missing(Tool::ApacheKafka).is_none();
    if matches!(args.part, Part::Kafka | Part::Secured) && !has_kafka_tools {
        bail!("this part needs Apache Kafka's tools, and they are missing");
    }

    let folder = workspace::interop_target().join("bench");
    std::fs::create_dir_all(&folder)?;
    println!("{}", machine::describe(&folder)?);
    if args.part.includes(Part::Kafka) {
        let mut systems = vec![keyway.clone()];
        let equal_durability = args.equal_durability;
        systems.extend(
            apache.clone().map(|apache| Launch::ApacheKafka(apache.flushing_every_batch(equal_durability))),
        );
        let mut table = Table::new(systems.iter().map(Launch::name).collect());
        idle::measure(&systems, args.rounds, &folder, &mut table).await?;
        joining::measure(&systems, args.rounds, &folder, &mut table).await?;
        if has_kafka_tools {
            kafka::measure(&tools, &systems, args.rounds, args.percent, &folder, &mut table).await?;
        }
        println!("{table}");
    }
    if args.part.includes(Part::Secured) && has_kafka_tools {
        let mut systems = vec![keyway.clone()];
        systems.extend(apache.clone().map(Launch::ApacheKafka));
        let mut table = Table::new(systems.iter().map(Launch::name).collect());
        secured::measure(&tools, &systems, args.rounds, args.percent, &folder, &mut table).await?;
        println!("{table}");
    }
    if args.part.includes(Part::Log) {
        let mut systems = vec![keyway.clone()];
        // Keyway at its defaults and as durable as Kafka is at its own, and the other way round.
        if !args.defaults_only {
            systems.push(Launch::Keyway { binary, options: vec![DURABILITY_OS.to_string()] });
        }
        for flushes in [false, true].into_iter().take(if args.defaults_only { 1 } else { 2 }) {
            let apache = apache.clone().map(|apache| apache.flushing_every_batch(flushes));
            systems.extend(apache.map(Launch::ApacheKafka));
        }
        let amount = log::Amount { rounds: args.rounds, percent: args.percent, partitions: args.partitions };
        let mut table = Table::new(systems.iter().map(Launch::name).collect());
        log::measure(&systems, &amount, &folder, &mut table).await?;
        println!("{table}");
    }
    if args.part.includes(Part::KeyShared) {
        let mut systems = vec![keyway];
        if let Some(binary) = args.danube {
            systems.push(Launch::Danube { binary, args: args.danube_args });
        }
        let amount = key_shared::Amount { rounds: args.rounds, percent: args.percent, backlog: args.backlog };
        let mut table = Table::new(systems.iter().map(Launch::name).collect());
        key_shared::measure(&systems, &amount, &folder, &mut table).await?;
        println!("{table}");
    }
    println!("fdatasync afterwards: {}", machine::probe_fdatasync(&folder)?);
    Ok(ExitCode::SUCCESS)
}

/// The clients of a measurement have to be optimized as well: builds this program for release and becomes it.
async fn run_optimized() -> anyhow::Error {
    let mut build = tokio::process::Command::new("cargo");
    build.current_dir(workspace::root()).args(["build", "--quiet", "--release", "--package", "xtask"]);
    match workspace::cargo_build(&mut build).await {
        Ok(xtask) => std::process::Command::new(xtask).args(std::env::args_os().skip(1)).exec().into(),
        Err(error) => error,
    }
}
