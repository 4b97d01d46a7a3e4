//! `cargo xtask powercut`: the unmodified broker on a disk whose power is cut again and again while producers run; after
//! each cut a broker on what remains has to show everything that had been acknowledged by then.

mod image;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use crate::broker::{self, Broker, Launch};
use crate::kafka_client::{Acks, Connection};
use crate::random::{self, Random};
use crate::tools::{Tool, Tools};
use crate::witness::{Account, Found, Kind, Producer, Settings, Verdict, judge};
use crate::workspace;
use image::{Disk, Remains};

/// How often, from which seed, and whose power.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Power cuts
    #[arg(long, default_value_t = 200)]
    cuts: usize,

    /// Repeat the random moments of an earlier run
    #[arg(long)]
    seed: Option<u64>,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,

    /// Cut Apache Kafka's power instead, with its default settings
    #[arg(long, conflicts_with = "broker")]
    apache_kafka: bool,

    /// An option of `keyway serve`, such as --serve-option=--durability=os; may be repeated
    #[arg(long, value_name = "OPTION")]
    serve_option: Vec<String>,

    /// Succeed if acknowledged records are lost: the proof that the check can fail
    #[arg(long)]
    expect_loss: bool,
}

const TOPIC: &str = "unplugged";
/// So many cuts share a folder; then a new one begins, or reading it all after each cut would take ever longer.
const CUTS_PER_FOLDER: usize = 20;
const REST_LIMIT: Duration = Duration::from_secs(60);

/// Settings of one run.
pub(crate) struct PowerCut<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) cuts: usize,
    pub(crate) seed: u64,
    /// Where the brokers' output goes.
    pub(crate) log: &'a Path,
}

/// What all cuts came to.
pub(crate) struct Outcome {
    /// Cuts that lost something, and the first of them in words.
    pub(crate) losses: usize,
    pub(crate) first_loss: Option<String>,
    /// One line about the rest.
    pub(crate) line: String,
}

/// Runs it; the exit code is 1 if something acknowledged was lost, or with `--expect-loss` if nothing was.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut needed = vec![Tool::LoopDisks];
    needed.extend(args.apache_kafka.then_some(Tool::ApacheKafka));
    let tools = Tools::prepare(needed.iter().copied()).await?;
    if let Some(reason) = needed.iter().find_map(|tool| tools.missing(*tool)) {
        println!("skip powercut: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let launch = match args.apache_kafka {
        true => Launch::ApacheKafka(tools.apache_kafka()?),
        false => Launch::Keyway { binary: workspace::keyway(args.broker).await?, options: args.serve_option },
    };
    let seed = random::seed(args.seed);
    let log = workspace::interop_target().join("logs").join("powercut.broker.log");
    broker::fresh_log(&log)?;
    let powercut = PowerCut { launch: &launch, cuts: args.cuts, seed, log: &log };
    let outcome = powercut.run().await.with_context(|| format!("seed {seed}"))?;
    println!("{}", outcome.line);
    if let Some(loss) = &outcome.first_loss {
        println!("{} of {} cuts lost acknowledged records; the first: {loss}", outcome.losses, args.cuts);
    }
    let good = (outcome.losses > 0) == args.expect_loss;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sums over all cuts.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    records: u64,
    losses: usize,
    first_loss: Option<String>,
    slowest_start: Duration,
}

impl PowerCut<'_> {
    /// All cuts; an error is one of ours, not a loss.
    pub(crate) async fn run(&self) -> anyhow::Result<Outcome> {
        let disk = Disk::new(&std::env::temp_dir()).await?;
        let mut random = Random::new(self.seed);
        let mut tally = Tally::default();
        let mut done = 0;
        while done < self.cuts {
            let cuts = CUTS_PER_FOLDER.min(self.cuts - done);
            self.cut_repeatedly(&disk, done, cuts, &mut random, &mut tally).await?;
            done += cuts;
        }
        let Tally { acknowledged, records, losses, first_loss, slowest_start } = tally;
        let line = format!(
            "{acknowledged} records acknowledged before {} power cuts, {} cuts lost some of them; {records} records \
             read back; slowest start on the remains {} ms; seed {}",
            self.cuts,
            losses,
            slowest_start.as_millis(),
            self.seed
        );
        Ok(Outcome { losses, first_loss, line })
    }

    /// One folder, one broker, its producers, and some cuts.
    async fn cut_repeatedly(
        &self,
        disk: &Disk,
        first: usize,
        cuts: usize,
        random: &mut Random,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        /// Short ones meet the first commits of a folder, long ones checkpoints and rolled files.
        const ALIVE_MAX_MS: u64 = 400;
        let folder = format!("data-{first}");
        let data = disk.path().join(&folder);
        let mut broker = Broker::start(self.launch, &data, self.log).await?;
        let kinds = [Kind::Idempotent, Kind::Idempotent, Kind::Plain, Kind::Plain];
        Connection::open(broker.kafka()).await?.create_topic(TOPIC, kinds.len() as i32).await?;
        if broker.is_kafka() {
            // It does not start on what an early cut leaves of its settings; what is asked here is about records.
            disk.sync().await?;
        }
        let mut producers: Vec<Producer> = (0..)
            .zip(kinds)
            .map(|(partition, kind)| {
                let settings = Settings {
                    name: format!("producer_{partition}"),
                    kind,
                    acks: Acks::All,
                    topic: TOPIC.to_string(),
                    partition,
                    pause: Duration::from_millis(1),
                    seed: random.next(),
                };
                Producer::start(broker.kafka(), settings)
            })
            .collect();
        for number in first..first + cuts {
            sleep(Duration::from_millis(random.below(ALIVE_MAX_MS))).await;
            let told: Vec<usize> =
                producers.iter().map(|producer| producer.account(|account| account.told.len())).collect();
            let cut = disk.cut().await?;
            let accounts: Vec<Account> = producers
                .iter()
                .zip(told)
                .map(|(producer, told)| {
                    let mut account = producer.account(Account::clone);
                    account.told.truncate(told);
                    account
                })
                .collect();
            let remains = cut.mount().await?;
            match self.recover(&remains, &folder, kinds.len() as i32, &accounts, tally).await {
                Ok(verdict) => {
                    tally.acknowledged += verdict.acknowledged;
                    tally.records += verdict.records;
                }
                Err(loss) => {
                    tally.acknowledged +=
                        accounts.iter().map(|account| account.told.len() as u64).sum::<u64>();
                    tally.losses += 1;
                    tally.first_loss.get_or_insert(format!("cut {number}: {loss:#}"));
                }
            }
        }
        for producer in &mut producers {
            // What ends a producer is an answer that no broker may give.
            producer.rest(REST_LIMIT).await?;
        }
        drop(producers);
        broker.check_alive()?;
        broker.kill().await?;
        std::fs::remove_dir_all(&data)?;
        Ok(())
    }

    /// A broker on the remains, and what it shows.
    async fn recover(
        &self,
        remains: &Remains,
        folder: &str,
        partitions: i32,
        accounts: &[Account],
        tally: &mut Tally,
    ) -> anyhow::Result<Verdict> {
        let mut broker = Broker::start_on(self.launch, &remains.path().join(folder), self.log)
            .await
            .context("no broker starts on the remains")?;
        tally.slowest_start = tally.slowest_start.max(broker.start_to_answer());
        let verdict = async {
            let found = self.read(&broker, partitions).await.context("the log cannot be read")?;
            judge(&accounts.iter().collect::<Vec<_>>(), &found)
        };
        let verdict = verdict.await;
        broker.kill().await?;
        verdict
    }

    async fn read(&self, broker: &Broker, partitions: i32) -> anyhow::Result<Found> {
        /// Apache Kafka answers before it knows its topics.
        const KNOWN_LIMIT: Duration = Duration::from_secs(15);
        let mut found = Found::default();
        for partition in 0..partitions {
            let began = Instant::now();
            let batches = loop {
                let mut connection = Connection::open(broker.kafka()).await?;
                match connection.read_all(TOPIC, partition).await {
                    Ok(batches) => break batches,
                    Err(_) if broker.is_kafka() && began.elapsed() < KNOWN_LIMIT => {
                        sleep(Duration::from_millis(100)).await;
                    }
                    Err(error) => return Err(error),
                }
            };
            found.partitions.push(batches);
        }
        Ok(found)
    }
}
