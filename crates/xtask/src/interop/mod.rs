//! `cargo xtask interop`: clients that nobody here wrote, against the built broker, one line per check.

mod backlog;
mod bad_input;
mod bad_subscriptions;
mod both_protocols;
mod check;
mod command_line;
mod costs;
mod crash;
mod danube_admin;
pub(crate) mod danube_producers;
mod danube_secure;
mod differential;
mod failure_policy;
mod faststream;
mod go_franz;
mod go_sarama;
mod hostile_input;
mod kafka_acls;
mod kafka_admin;
mod kafka_clients;
mod kafka_configs;
mod kafka_groups;
mod kafka_programs;
mod kafka_quotas;
mod kafka_streams;
mod kafka_tools;
mod kafkajs;
mod key_shared;
mod producer_document;
mod quotas_held;
mod quotas_neighbour;
mod rust_clients;
pub(crate) mod scene;
mod security;
mod stage;
mod tokens;
mod tool_shell;
mod transactions;
mod truncation;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use tokio::time::timeout;

use crate::broker::Launch;
use crate::tools::{Tool, Tools};
use crate::{random, workspace};
use check::Check;
use stage::Stage;

/// Which checks to run, and against what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the checks whose name is or begins with one of these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,

    /// Run the checks of the Kafka protocol against Apache Kafka itself, to check the checks
    #[arg(long, conflicts_with = "broker")]
    referee: bool,

    /// Repeat the random choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,

    /// Name the checks and leave
    #[arg(long)]
    list: bool,
}

enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// Runs the checks; the exit code is 1 if one failed.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let checks = selected(&args.only)?;
    if args.list {
        checks.iter().for_each(|check| println!("{}", check.name));
        return Ok(ExitCode::SUCCESS);
    }
    let mut needed: Vec<Tool> = checks.iter().flat_map(|check| check.needs).copied().collect();
    if args.referee {
        needed.push(Tool::ApacheKafka);
    }
    let tools = Tools::prepare(needed).await?;
    let launch = match args.referee {
        true => Launch::ApacheKafka(tools.apache_kafka()?),
        false => Launch::keyway(workspace::keyway(args.broker).await?),
    };

    // Any number will do; the one that was taken is printed by the checks that use it.
    let seed = random::seed(args.seed);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for check in checks {
        let started = Instant::now();
        let (word, detail) = match outcome(check, &tools, &launch, seed).await {
            Outcome::Passed(detail) => (counted(&mut passed, "pass"), detail),
            Outcome::Failed(detail) => (counted(&mut failed, "fail"), detail),
            Outcome::Skipped(detail) => (counted(&mut skipped, "skip"), detail),
        };
        println!(
            "{word} {:<34} {} [{:.1} s]",
            check.name,
            one_line(&detail),
            started.elapsed().as_secs_f64()
        );
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn counted(count: &mut usize, word: &'static str) -> &'static str {
    *count += 1;
    word
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Each name selects the check that is called so, or else all whose names begin so.
fn selected(only: &[String]) -> anyhow::Result<Vec<&'static Check>> {
    let named = |check: &Check, name: &str| {
        let exact = check::ALL.iter().any(|other| other.name == name);
        if exact { check.name == name } else { check.name.starts_with(name) }
    };
    if let Some(unknown) = only.iter().find(|name| !check::ALL.iter().any(|check| named(check, name))) {
        bail!("no check is called {unknown}; `cargo xtask interop --list` names them");
    }
    let wanted = |check: &&Check| only.is_empty() || only.iter().any(|name| named(check, name));
    Ok(check::ALL.iter().filter(wanted).collect())
}

async fn outcome(check: &'static Check, tools: &Tools, launch: &Launch, seed: u64) -> Outcome {
    if check.speaks_danube && !launch.speaks_danube() {
        return Outcome::Skipped(format!("{} does not speak the Danube protocol", launch.name()));
    }
    if let Some(reason) = check.needs.iter().find_map(|tool| tools.missing(*tool)) {
        return Outcome::Skipped(reason.to_string());
    }
    match timeout(check.limit(), on_stage(check, tools, launch, seed)).await {
        Ok(Ok(detail)) => Outcome::Passed(detail),
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}; log: {}", stage::log(check.name).display())),
        Err(_) => Outcome::Failed(format!("not done after {} s", check.limit().as_secs())),
    }
}

/// One check with a broker and folders of its own, all gone afterwards.
async fn on_stage(
    check: &'static Check,
    tools: &Tools,
    launch: &Launch,
    seed: u64,
) -> anyhow::Result<String> {
    let mut stage = Stage::set(check.name, tools, launch, seed).await?;
    let detail = (check.run)(&mut stage).await?;
    stage.clear().await?;
    Ok(detail)
}
