//! `cargo xtask killloop`: producers, transactions, consumer groups and Key-Shared workers while the broker is killed again
//! and again, also during its recovery; after every few cycles everything rests, and the whole log is read and judged.

mod group;
mod ledger;
mod plan;
mod transactions;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::broker::{self, Broker, Launch};
use crate::interop::danube_producers::{self, DanubeProducers};
use crate::interop::scene::Scene;
use crate::kafka_client::{Acks, Connection};
use crate::random::{self, Random};
use crate::tools::{Tool, Tools};
use crate::witness::{Account, Found, Kind, LibrdkafkaProducer, Producer, Settings, Told, Verdict, judge};
use crate::{process, workspace};
use group::Group;
use ledger::Counts;
use plan::{Cycle, Death, next_cycle};
use transactions::Transactions;

/// How often, and from which seed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the broker is killed, its recoveries not counted
    #[arg(long, default_value_t = 500)]
    cycles: usize,

    /// Repeat the random choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,

    /// An option of `keyway serve`, such as --serve-option=--durability=os; may be repeated
    #[arg(long, value_name = "OPTION")]
    serve_option: Vec<String>,
}

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 4;
const GROUP: &str = "killed_group";
const GROUP_MEMBERS: usize = 2;
/// Those who read what transactions committed.
const TRANSACTIONS_GROUP: &str = "killed_transactions_group";
const DANUBE_TOPIC: &str = "/default/killed-keys";
/// The same topic for Kafka's clients.
const DANUBE_TOPIC_IN_KAFKA: &str = "killed-keys";
/// Cycles between two times of rest.
const CYCLES_BETWEEN_RESTS: usize = 10;
/// Longer than anything may stand still.
const PATIENCE: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Settings of one run.
pub(crate) struct KillLoop<'a> {
    pub(crate) cycles: usize,
    pub(crate) seed: u64,
    pub(crate) tools: &'a Tools,
    /// Where the output of clients goes.
    pub(crate) log: &'a Path,
}

/// Runs against a broker of its own; the exit code is 1 if a promise was broken.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tools = Tools::prepare([Tool::Python, Tool::Kcat]).await?;
    for tool in [Tool::Python, Tool::Kcat] {
        if let Some(reason) = tools.missing(tool) {
            println!("without {reason}");
        }
    }
    let binary = workspace::keyway(args.broker).await?;
    let launch = Launch::Keyway { binary, options: args.serve_option };
    let logs = workspace::interop_target().join("logs");
    let (log, broker_log) = (logs.join("killloop.log"), logs.join("killloop.broker.log"));
    broker::fresh_log(&log)?;
    broker::fresh_log(&broker_log)?;
    let folder = TempDir::with_prefix("keyway-killloop-")?;
    let mut broker = Broker::start(&launch, &folder.path().join("data"), &broker_log).await?;
    let seed = random::seed(args.seed);
    let killloop = KillLoop { cycles: args.cycles, seed, tools: &tools, log: &log };
    match killloop.run(&mut broker).await {
        Ok(line) => {
            println!("{line}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let kept = folder.keep();
            println!(
                "seed {seed}: {error:#}; broker log: {}; data: {}",
                broker_log.display(),
                kept.display()
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

/// How often what happened, and the slowest start.
#[derive(Default)]
struct Tally {
    kills: usize,
    stops: usize,
    freezes: usize,
    recoveries_killed: usize,
    slowest_start: Duration,
}

/// Everybody who uses the broker.
struct Clients {
    producers: Vec<Producer>,
    librdkafka: Vec<LibrdkafkaProducer>,
    /// Of librdkafka producers that have left.
    left: Vec<Account>,
    group: Option<Group>,
    transactions: Option<Transactions>,
}

/// What all cycles came to.
#[derive(Default)]
struct Outcome {
    tally: Tally,
    /// The last one.
    verdict: Verdict,
    transactions: Counts,
    /// What the groups have seen, if there were any.
    seen: Option<Seen>,
}

/// Records that groups have seen.
struct Seen {
    all: usize,
    of_transactions: usize,
}

impl KillLoop<'_> {
    /// One line about it, or the first promise that was broken.
    pub(crate) async fn run(&self, broker: &mut Broker) -> anyhow::Result<String> {
        let mut connection = Connection::open(broker.kafka()).await?;
        connection.create_topic(TOPIC, PARTITIONS).await?;
        connection.create_topic(transactions::TOPIC, transactions::PARTITIONS).await?;
        drop(connection);
        let mut scene = Scene::open(&broker.danube_url(), DANUBE_TOPIC).await?;
        scene.producer("first").await?;
        for name in ["worker_1", "worker_2"] {
            scene.worker(name, "killed_sub", &[]).await?;
        }
        let danube = DanubeProducers::start(&broker.danube_url(), DANUBE_TOPIC);
        let acknowledged = danube.acknowledged.clone();
        let (sent_out, mut sent_in) = watch::channel(None::<Vec<usize>>);
        let loops = async {
            let outcome = self.cycles(broker).await?;
            sent_out.send(Some(danube.stop().await?)).ok().context("the workers have left")?;
            anyhow::Ok(outcome)
        };
        let deliver = danube_producers::in_order(&mut scene, &mut sent_in);
        let (Outcome { tally, verdict, transactions, seen }, deliveries) = tokio::try_join!(loops, deliver)?;

        let mut accounts = Vec::new();
        for (name, told) in danube_producers::NAMES.iter().zip(&acknowledged) {
            let told = told.lock().expect("no producer panics");
            let mut account = Account::new(name, Kind::Plain, 0);
            account.sent = told.len() as u64 + 1;
            account.told =
                (0..told.len() as u64).map(|number| Told { number, partition: 0, offset: None }).collect();
            accounts.push(account);
        }
        let found = self.read(broker, DANUBE_TOPIC_IN_KAFKA, 1).await?;
        let keys = judge(&accounts.iter().collect::<Vec<_>>(), &found).context("the Danube topic")?;
        broker.check_alive()?;
        let Tally { kills, stops, freezes, recoveries_killed, slowest_start } = tally;
        let groups = seen.map_or(String::new(), |Seen { all, of_transactions }| {
            let Counts { committed, aborted, unknown } = transactions;
            format!(
                "a group saw all {all}; {committed} transactions committed, {aborted} aborted and {unknown} left to the \
                 broker, each whole or absent, and a group saw the {of_transactions} records that count; "
            )
        });
        Ok(format!(
            "{} Kafka and {} Danube records acknowledged, none lost, none out of order, {} and {} stored again for \
             producers that are not idempotent; {groups}Key-Shared workers got every key in order ({deliveries} \
             deliveries, {} clients gave up); {} cycles: {kills} kill -9, {stops} SIGTERM, {freezes} frozen, and \
             {recoveries_killed} recoveries killed; slowest start {} ms; seed {}",
            verdict.acknowledged,
            keys.acknowledged,
            verdict.repeated,
            keys.repeated,
            scene.replaced(),
            self.cycles,
            slowest_start.as_millis(),
            self.seed
        ))
    }

    async fn cycles(&self, broker: &mut Broker) -> anyhow::Result<Outcome> {
        let mut random = Random::new(self.seed);
        let mut clients = self.clients(broker)?;
        let mut outcome = Outcome::default();
        for number in 0..self.cycles {
            if number.is_multiple_of(CYCLES_BETWEEN_RESTS) {
                clients.librdkafka = self.librdkafka(broker, number)?;
                if let Some(transactions) = &mut clients.transactions {
                    let command = || self.python(broker, "kafka/crash_transactions.py");
                    transactions.start(number, self.log, command)?;
                }
                clients.producers.iter().for_each(Producer::resume);
            }
            self.cycle(broker, &next_cycle(&mut random), &mut outcome.tally)
                .await
                .with_context(|| format!("cycle {number}"))?;
            if (number + 1).is_multiple_of(CYCLES_BETWEEN_RESTS) || number + 1 == self.cycles {
                self.rest_and_judge(broker, &mut clients, &mut outcome)
                    .await
                    .with_context(|| format!("after {} cycles", number + 1))?;
                let Counts { committed, aborted, unknown } = outcome.transactions;
                eprintln!(
                    "{} cycles, {} records acknowledged, {committed} transactions committed, {aborted} aborted, {unknown} \
                     left to the broker",
                    number + 1,
                    outcome.verdict.acknowledged
                );
            }
        }
        if let (Some(group), Some(transactions)) = (clients.group, clients.transactions) {
            let (all, of_transactions) = (group.stop(self.log).await?, transactions.stop(self.log).await?);
            outcome.seen = Some(Seen { all, of_transactions });
        }
        Ok(outcome)
    }

    fn clients(&self, broker: &Broker) -> anyhow::Result<Clients> {
        let producer = |(partition, (name, kind, acks))| {
            let settings = Settings {
                name: String::from(name),
                kind,
                acks,
                topic: TOPIC.to_string(),
                partition,
                pause: Duration::from_millis(15),
                seed: self.seed ^ (partition as u64 + 1) << 32,
            };
            Producer::start(broker.kafka(), settings)
        };
        let producers = [
            ("idempotent_0", Kind::Idempotent, Acks::All),
            ("idempotent_1", Kind::Idempotent, Acks::All),
            ("plain_2", Kind::Plain, Acks::One),
            ("plain_3", Kind::Plain, Acks::All),
        ];
        let producers = (0..).zip(producers).map(producer).collect();
        let group = self.group(broker, TOPIC, GROUP)?;
        let readers = self.group(broker, transactions::TOPIC, TRANSACTIONS_GROUP)?;
        let transactions = readers.map(Transactions::new);
        Ok(Clients { producers, librdkafka: Vec::new(), left: Vec::new(), group, transactions })
    }

    /// A group that reads a topic, if there is Python for its members.
    fn group(&self, broker: &Broker, topic: &str, name: &str) -> anyhow::Result<Option<Group>> {
        if self.tools.missing(Tool::Python).is_some() {
            return Ok(None);
        }
        let member = |_| self.python(broker, "kafka/crash_group.py");
        let members = (0..GROUP_MEMBERS).map(member).collect::<anyhow::Result<_>>()?;
        Group::start(topic, name, members, self.log).map(Some)
    }

    fn librdkafka(&self, broker: &Broker, number: usize) -> anyhow::Result<Vec<LibrdkafkaProducer>> {
        if self.tools.missing(Tool::Python).is_some() {
            return Ok(Vec::new());
        }
        [("librdkafka", Kind::Idempotent), ("plain_librdkafka", Kind::Plain)]
            .into_iter()
            .map(|(name, kind)| {
                let command = self.python(broker, "kafka/crash_producer.py")?;
                LibrdkafkaProducer::start(command, TOPIC, &format!("{name}_{number}"), kind)
            })
            .collect()
    }

    fn python(&self, broker: &Broker, program: &str) -> anyhow::Result<Command> {
        let mut command = self.tools.python(program)?;
        command.env("KAFKA", broker.kafka().to_string());
        Ok(command)
    }

    /// One death and everything until the broker answers again.
    async fn cycle(&self, broker: &mut Broker, cycle: &Cycle, tally: &mut Tally) -> anyhow::Result<()> {
        sleep(cycle.alive).await;
        broker.check_alive()?;
        match cycle.death {
            Death::Kill => {
                broker.kill().await?;
                tally.kills += 1;
            }
            Death::Terminate => {
                let (_, status) = broker.terminate(STOP_LIMIT).await?;
                ensure!(status.success(), "the broker left with {status} after SIGTERM");
                tally.stops += 1;
            }
            Death::Freeze { for_ms } => {
                broker.suspend()?;
                sleep(Duration::from_millis(for_ms)).await;
                broker.kill().await?;
                tally.freezes += 1;
            }
        }
        for after in &cycle.recoveries_killed_after {
            broker.begin_again()?;
            sleep(*after).await;
            broker.check_alive()?;
            broker.kill().await?;
            tally.recoveries_killed += 1;
        }
        broker.start_again().await?;
        tally.slowest_start = tally.slowest_start.max(broker.start_to_answer());
        Ok(())
    }

    /// Lets everybody finish, and judges the whole log by what they were told.
    async fn rest_and_judge(
        &self,
        broker: &mut Broker,
        clients: &mut Clients,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        for producer in &mut clients.producers {
            producer.rest(PATIENCE).await?;
        }
        for producer in std::mem::take(&mut clients.librdkafka) {
            clients.left.push(producer.stop(self.log).await?);
        }
        let found = self.read(broker, TOPIC, PARTITIONS).await?;
        // They rest: nobody waits for an account.
        let copies: Vec<Account> =
            clients.producers.iter().map(|producer| producer.account(Account::clone)).collect();
        outcome.verdict = judge(&copies.iter().chain(&clients.left).collect::<Vec<_>>(), &found)?;
        let mut connection = Connection::open(broker.kafka()).await?;
        if let Some(group) = &clients.group {
            group.catch_up(&mut connection, &found).await?;
        }
        if let Some(transactions) = &mut clients.transactions {
            outcome.transactions = transactions.rest_and_judge(&mut connection, self.log).await?;
        }
        self.kcat_reads(broker, outcome.verdict.records).await?;
        broker.check_alive()
    }

    async fn read(&self, broker: &Broker, topic: &str, partitions: i32) -> anyhow::Result<Found> {
        let mut connection = Connection::open(broker.kafka()).await?;
        let mut found = Found::default();
        for partition in 0..partitions {
            found.partitions.push(connection.read_all(topic, partition).await?);
        }
        Ok(found)
    }

    /// Somebody else reads the log to its end as well.
    async fn kcat_reads(&self, broker: &Broker, records: u64) -> anyhow::Result<()> {
        if self.tools.missing(Tool::Kcat).is_some() {
            return Ok(());
        }
        let mut kcat = self.tools.kcat()?;
        kcat.args(["-b", &broker.kafka().to_string(), "-C", "-t", TOPIC, "-o", "beginning", "-e", "-q"]);
        kcat.args(["-X", "fetch.wait.max.ms=10", "-X", "check.crcs=true", "-f", "x"]);
        let read = process::succeed(&mut kcat, Path::new("/dev/null"), PATIENCE).await?.stdout.len() as u64;
        ensure!(read == records, "kcat reads {read} of {records} records");
        Ok(())
    }
}
