//! `cargo xtask differential`: the same scripted requests to Apache Kafka 4.3 and to Keyway, answers compared field by
//! field. A difference that `interop/differential/differences.toml` does not list fails, and so does one that it lists
//! and that no longer occurs.

mod codec;
mod difference;
mod listed;
mod messages;
mod names;
mod record_sets;
mod scripts;
mod side;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::{self, Broker, Launch};
use crate::tools::{Tool, Tools};
use crate::workspace;
use difference::Difference;
use listed::{Judgement, Listed};
use messages::Messages;
use scripts::{Rules, Script};
use side::{Side, Step};

/// Which scripts to run, and against what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only these scripts
    #[arg(long, value_name = "SCRIPT", num_args = 1..)]
    only: Vec<String>,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,

    /// Compare Apache Kafka with itself, to check the scripts: next to nothing may differ
    #[arg(long, conflicts_with = "broker")]
    referee: bool,

    /// Print every step with Apache Kafka's answer
    #[arg(long)]
    steps: bool,
}

/// Runs the scripts; the exit code is 1 if the list is not what was found.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let scripts = selected(&args.only)?;
    let tools = Tools::prepare([Tool::ApacheKafka]).await?;
    let launch = match args.referee {
        true => Launch::ApacheKafka(tools.apache_kafka()?),
        false => Launch::keyway(workspace::keyway(args.broker).await?),
    };
    let folder = TempDir::with_prefix("keyway-differential-")?;
    let log = workspace::interop_target().join("logs").join("differential.broker.log");
    broker::fresh_log(&log)?;
    let ours = Broker::start(&launch, &folder.path().join("ours"), &log).await?;
    let comparison = compare(&ours, &tools, &scripts).await?;
    if args.steps {
        for step in &comparison.steps {
            println!("{} {}", step.name, step.answer);
        }
    }
    println!("{}", comparison.report());
    Ok(ExitCode::from(u8::from(!comparison.holds())))
}

/// All scripts, as a check of the interop run: what was compared, or what differs.
pub(crate) async fn check(ours: &Broker, tools: &Tools) -> anyhow::Result<String> {
    let comparison = compare(ours, tools, &selected(&[])?).await?;
    match comparison.holds() {
        true => Ok(comparison.summary()),
        false => bail!("{}", comparison.report()),
    }
}

fn selected(only: &[String]) -> anyhow::Result<Vec<&'static Script>> {
    if let Some(unknown) = only.iter().find(|name| !scripts::ALL.iter().any(|script| script.name == **name)) {
        bail!("no script is called {unknown}");
    }
    let is_wanted = |script: &&Script| only.is_empty() || only.iter().any(|name| script.name == *name);
    Ok(scripts::ALL.iter().filter(is_wanted).collect())
}

/// What came of it.
struct Comparison {
    /// Apache Kafka's.
    steps: Vec<Step>,
    /// APIs that Keyway offers and no script asks, if all scripts ran.
    unasked: Vec<String>,
    alike: usize,
    scripts: usize,
    judgement: Judgement,
}

async fn compare(ours: &Broker, tools: &Tools, scripts: &[&'static Script]) -> anyhow::Result<Comparison> {
    let folder = TempDir::with_prefix("keyway-differential-")?;
    let log = workspace::interop_target().join("logs").join("differential.kafka.log");
    broker::fresh_log(&log)?;
    let launch = Launch::ApacheKafka(tools.apache_kafka()?);
    let kafka = Broker::start(&launch, &folder.path().join("kafka"), &log).await?;
    let with_rules = match scripts.iter().any(|script| script.rules == Rules::On) {
        true => Some(with_rules(&launch, ours.launch(), folder.path(), &log).await?),
        false => None,
    };

    let messages = Messages::read()?;
    let (mut steps, mut differences, mut alike) = (Vec::new(), Vec::new(), 0);
    let mut offered = BTreeSet::new();
    for script in scripts {
        let (kafka, ours) = match (script.rules, &with_rules) {
            (Rules::On, Some([kafka, ours])) => (kafka, ours),
            _ => (&kafka, ours),
        };
        let (theirs, ours) = tokio::join!(
            steps_of(&messages, script, kafka.kafka()),
            steps_of(&messages, script, ours.kafka())
        );
        let ((theirs, they_ended), (ours, we_ended)) = (theirs, ours);
        let (found, same) = difference::between(&theirs, &ours);
        differences.extend(found);
        if they_ended.is_err() || we_ended.is_err() {
            differences.push(cut_short(script, &they_ended, &we_ended));
        }
        alike += same;
        offered.extend(ours.iter().flat_map(|step| offered_by(&step.answer)));
        steps.extend(theirs);
    }
    let list = if ours.is_kafka() { "referee.toml" } else { "differences.toml" };
    let listed = Listed::read(&workspace::programs().join("differential").join(list))?;
    let names: Vec<&str> = scripts.iter().map(|script| script.name).collect();
    let judgement = listed.judge(differences, &names);
    let asked: BTreeSet<&str> = steps.iter().filter_map(|step| step.name.rsplit(' ').nth(1)).collect();
    let unasked = match scripts.len() == scripts::ALL.len() {
        true => {
            let apis = messages.apis().filter(|(_, key)| offered.contains(&i64::from(*key)));
            apis.map(|(api, _)| api).filter(|api| !asked.contains(api)).map(str::to_owned).collect()
        }
        false => Vec::new(),
    };
    Ok(Comparison { steps, unasked, alike, scripts: scripts.len(), judgement })
}

/// Another Apache Kafka and another of the other that ask access rules, and let whoever is here change them.
async fn with_rules(kafka: &Launch, ours: &Launch, folder: &Path, log: &Path) -> anyhow::Result<[Broker; 2]> {
    const SETTINGS: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
        super.users=User:ANONYMOUS\n";
    let (kafka, ours) = (kafka.with(folder, &[], SETTINGS)?, ours.with(folder, &[], SETTINGS)?);
    let (kafka_data, our_data) = (folder.join("kafka-with-rules"), folder.join("ours-with-rules"));
    let brokers =
        tokio::try_join!(Broker::start(&kafka, &kafka_data, log), Broker::start(&ours, &our_data, log));
    brokers.map(<[Broker; 2]>::from)
}

/// The keys of the APIs that an answer to ApiVersions tells of.
fn offered_by(answer: &Value) -> impl Iterator<Item = i64> {
    let keys = answer["ApiKeys"].as_array().into_iter().flatten();
    keys.filter_map(|api| api["ApiKey"].as_i64())
}

/// What was answered until the script ended, or until its error.
async fn steps_of(
    messages: &Messages,
    script: &Script,
    address: SocketAddr,
) -> (Vec<Step>, anyhow::Result<()>) {
    let mut side = Side::new(messages, address, script.name);
    let ended = (script.run)(&mut side).await;
    (side.into_steps(), ended)
}

/// A script that could not go on with one of the brokers; what it would have asked then is absent.
fn cut_short(script: &Script, kafka: &anyhow::Result<()>, keyway: &anyhow::Result<()>) -> Difference {
    let shown = |ended: &anyhow::Result<()>| match ended {
        Ok(()) => "reached".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    Difference {
        step: format!("{}/end", script.name),
        field: String::new(),
        kafka: shown(kafka),
        keyway: shown(keyway),
    }
}

impl Comparison {
    fn holds(&self) -> bool {
        self.judgement.unlisted.is_empty() && self.judgement.unused.is_empty() && self.unasked.is_empty()
    }

    fn summary(&self) -> String {
        let Judgement { decided, later, open, .. } = self.judgement;
        format!(
            "{} scripts, {} requests, {} fields alike, {decided} differ as decided, {later} in what is to come, {open} open",
            self.scripts,
            self.steps.len(),
            self.alike
        )
    }

    /// Each unlisted difference as it would be listed, then what no longer occurs, then the counts.
    fn report(&self) -> String {
        let Judgement { unlisted, unused, .. } = &self.judgement;
        let mut lines: Vec<String> = unlisted.iter().map(entry).collect();
        lines.extend(unused.iter().map(|entry| format!("listed and not found: {entry}")));
        lines.extend(self.unasked.iter().map(|api| format!("no script asks {api}")));
        let counts = format!("{} unlisted, {} no longer found", unlisted.len(), unused.len());
        lines.push(format!("{}; {counts}", self.summary()));
        lines.join("\n")
    }
}

fn entry(difference: &Difference) -> String {
    let Difference { step, field, kafka, keyway } = difference;
    format!(
        "[[difference]]\nstep = {step:?}\nfield = {field:?}\nkafka = {kafka:?}\nkeyway = {keyway:?}\nstanding = \"open\"\nreason = \"\"\n"
    )
}
