//! The `keyway` binary: the broker, and by hand what its clients do.
//!
//! Data goes to stdout, everything else to stderr; one line says what failed and what to do about it.

mod acl;
mod audit_file;
mod client;
mod confirm;
mod consume;
mod demo;
mod dlq;
mod doctor;
mod failure;
mod folder;
mod http;
mod identity;
mod log;
mod memory_limit;
mod output;
mod position;
mod produce;
mod record_json;
mod secret;
mod serve;
mod stop_signal;
mod subscription;
mod topic;
mod user;

use crate::{failure::Failure, log::Log};
use clap::{Parser, Subcommand, error::ErrorKind};
use std::{future::Future, process::ExitCode, time::Duration};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; one line on stderr says why
  2  wrong usage
  3  the topic, partition, subscription or key does not exist
  5  no broker answered in time
  6  the disk failed under the broker: nothing was acknowledged after that
  130, 141, 143  ended by Ctrl-C, by a closed pipe, by SIGTERM";

/// Client libraries report what fails to their caller, so their log lines would say it twice. Logins, denials
/// and administrative changes are a broker's audit log.
const LOG_DEFAULT: &str = "warn,keyway::audit=info,krafka=off,danube_client=off";

/// Keyed event streaming in one binary: a Kafka and Danube broker that hands messages to workers by key.
#[derive(Parser)]
#[command(name = "keyway", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What to log to stderr: a level (error, warn, info, debug, trace), or levels by module as in `warn,krafka=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG", default_value = LOG_DEFAULT)]
    #[arg(hide_env_values = true)]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Produce(produce::Produce),
    Consume(consume::Consume),
    Topic(topic::Topic),
    Subscription(subscription::Subscription),
    Dlq(dlq::Dlq),
    Doctor(doctor::Doctor),
    User(user::User),
    Acl(acl::Acl),
    Demo(demo::Demo),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let outcome = Log::start(&cli.log).and_then(|log| match cli.command {
        Command::Serve(serve) => serve.run(log),
        Command::Produce(produce) => block_on(produce.run()),
        Command::Consume(consume) => block_on(consume.run()),
        Command::Topic(topic) => block_on(topic.run()),
        Command::Subscription(subscription) => block_on(subscription.run()),
        Command::Dlq(dlq) => block_on(dlq.run()),
        Command::Doctor(doctor) => doctor.run(),
        Command::User(user) => block_on(user.run()),
        Command::Acl(acl) => block_on(acl.run()),
        Command::Demo(demo) => block_on(demo.run()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Help goes out as it is; an error as one line, like every other error.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    let paragraphs =
        text.trim_start_matches("error: ").split("\n\n").filter(|part| !part.starts_with("Usage:"));
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    Failure::Usage(paragraphs.map(words).collect::<Vec<_>>().join("; ").replace("; For more", "; for more"))
        .report()
}

/// Runs a client command. Its own code runs on this thread, so that a blocked stdout stops no heartbeat.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}
