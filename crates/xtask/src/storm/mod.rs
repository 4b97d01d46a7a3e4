//! `cargo xtask storm`: many Key-Shared workers through kills, departures, nacks and restarts of the broker, all from one
//! seed, with every delivery judged as it comes.

mod arena;
mod band;
mod ledger;
mod plan;
mod producer;
mod worker;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::broker::{self, Broker, Launch};
use crate::random::{self, Random};
use crate::tools::{Tool, Tools};
use crate::{http, workspace};
use arena::Arena;
use ledger::Down;
use plan::Event;
use worker::{End, Worker};

/// How long, how many, and from which seed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minutes of storm, before everything drains
    #[arg(long, default_value_t = 10)]
    minutes: u64,

    /// Workers
    #[arg(long, default_value_t = 100)]
    workers: usize,

    /// Keys
    #[arg(long, default_value_t = 1000)]
    keys: usize,

    /// Messages per second of all producers together, while the broker is up
    #[arg(long, default_value_t = 1000)]
    rate: u64,

    /// Repeat the random choices of an earlier storm
    #[arg(long)]
    seed: Option<u64>,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,
}

/// Settings of one storm.
pub(crate) struct Storm {
    pub(crate) duration: Duration,
    pub(crate) workers: usize,
    pub(crate) keys: usize,
    pub(crate) rate: u64,
    pub(crate) seed: u64,
    /// An interpreter with the published client: some of the workers are Python's then.
    pub(crate) python: Option<PathBuf>,
}

/// Processes of Python workers.
const BANDS: usize = 2;
const PRODUCERS: usize = 8;
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// A client that lost its broker looks for the topic and makes its producer again, with pauses of its own.
const GET_THROUGH_LIMIT: Duration = Duration::from_secs(60);
/// Nothing is delivered for this long at the end: longer than any nack's delay and any worker's grace.
const QUIET: Duration = Duration::from_secs(5);
/// Short, so that leases end in a storm too.
const ACK_TIMEOUT_MS: u64 = 3_000;
/// Of a thousand messages, those that are not answered when they come first.
const WITHHELD_PER_MILLE: u64 = 2;
const POLICY: &str = "/api/v1/topics/storm/subscriptions/storm_sub/policy";
const DESCRIPTION: &str = "/api/v1/topics/storm/subscriptions/storm_sub";

/// Runs a storm against a broker of its own; the exit code is 1 if a promise was broken.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tools = Tools::prepare([Tool::Python]).await?;
    if let Some(reason) = tools.missing(Tool::Python) {
        eprintln!("without Python workers: {reason}");
    }
    let launch = Launch::keyway(workspace::keyway(args.broker).await?);
    let log = workspace::interop_target().join("logs").join("storm.broker.log");
    broker::fresh_log(&log)?;
    let folder = TempDir::with_prefix("keyway-storm-")?;
    let mut broker = Broker::start(&launch, &folder.path().join("data"), &log).await?;
    let storm = Storm {
        duration: Duration::from_secs(60 * args.minutes),
        workers: args.workers,
        keys: args.keys,
        rate: args.rate,
        seed: random::seed(args.seed),
        python: tools.python_interpreter(),
    };
    match storm.rage(&mut broker).await {
        Ok(line) => {
            println!("{line}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("seed {}: {error:#}; broker log: {}", storm.seed, log.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What befell whom.
#[derive(Default)]
struct Tally {
    kills: usize,
    leaves: usize,
    crashes: usize,
    stops: usize,
}

/// The workers that live, and when the others come back.
struct Crew {
    arena: Arc<Arena>,
    alive: Vec<Worker>,
    away: BinaryHeap<Reverse<(Instant, String)>>,
    ending: Vec<std::thread::JoinHandle<()>>,
    newest: usize,
    subscribed: mpsc::Sender<()>,
}

impl Crew {
    fn start(&mut self, name: String) -> anyhow::Result<()> {
        self.alive.push(Worker::start(&self.arena, name, self.subscribed.clone())?);
        Ok(())
    }

    fn start_new(&mut self) -> anyhow::Result<()> {
        self.newest += 1;
        self.start(format!("worker-{}", self.newest))
    }

    /// Ends one of them; it, or somebody new in its place, comes back later.
    fn end(&mut self, end: End, random: &mut Random) {
        let place = random.below(self.alive.len() as u64) as usize;
        let worker = self.alive.swap_remove(place);
        let (away, same) = plan::comeback(random);
        let name = if same || worker::is_band(&worker.name) {
            worker.name.clone()
        } else {
            self.newest += 1;
            format!("worker-{}", self.newest)
        };
        self.away.push(Reverse((Instant::now() + away, name)));
        self.ending.push(worker.end(end));
    }

    /// Starts those whose time has come.
    fn return_due(&mut self) -> anyhow::Result<()> {
        while self.away.peek().is_some_and(|Reverse((at, _))| *at <= Instant::now()) {
            let Reverse((_, name)) = self.away.pop().expect("one is due");
            self.start(name)?;
        }
        Ok(())
    }
}

impl Storm {
    /// One line about it, or the first promise that was broken.
    pub(crate) async fn rage(&self, broker: &mut Broker) -> anyhow::Result<String> {
        let arena = Arena::new(broker.danube_url(), self, ACK_TIMEOUT_MS, WITHHELD_PER_MILLE);
        let arena = Arc::new(arena);
        let mut random = Random::new(self.seed);
        // The topic exists before anybody subscribes, and everybody has subscribed before anything is sent.
        producer::connect(&arena.url, "producer-0").await.context("the first producer")?;
        let policy = json!({
            "ack_timeout_ms": ACK_TIMEOUT_MS,
            "base_redelivery_delay_ms": 50,
            "backoff_strategy": "fixed",
            // However unlucky a message is, it is not used up.
            "max_redelivery_count": u16::MAX,
        });
        http::ask(broker.http(), "PATCH", POLICY, Some(policy)).await?;
        let (subscribed, mut waiting) = mpsc::channel(self.workers);
        let mut crew = Crew {
            arena: Arc::clone(&arena),
            alive: Vec::new(),
            away: BinaryHeap::new(),
            ending: Vec::new(),
            newest: 0,
            subscribed,
        };
        let bands = if self.python.is_some() { BANDS.min(self.workers / band::SIZE) } else { 0 };
        for number in 0..bands {
            crew.start(format!("python-{number}"))?;
        }
        for _ in bands * band::SIZE..self.workers {
            crew.start_new()?;
        }
        let all = async {
            for _ in 0..self.workers {
                waiting.recv().await.expect("the crew holds a sender");
            }
        };
        timeout(SUBSCRIBE_LIMIT, all).await.context("not every worker could subscribe")?;

        let (stop, stopped) = watch::channel(false);
        let mut producers = JoinSet::new();
        let pause = Duration::from_micros(1_000_000 * PRODUCERS as u64 / self.rate.max(1));
        for number in 0..PRODUCERS {
            producers.spawn(producer::send(Arc::clone(&arena), number, PRODUCERS, pause, stopped.clone()));
        }
        let tally = self.events(broker, &mut crew, &mut random).await?;
        stop.send(true).ok().context("every producer has ended")?;
        timeout(GET_THROUGH_LIMIT, producers.join_all()).await.context("a producer does not get through")?;
        let drained = self.drain(broker, &mut crew).await?;
        for worker in crew.alive.drain(..) {
            crew.ending.push(worker.end(End::Left));
        }
        for thread in crew.ending {
            ensure!(thread.join().is_ok(), "a worker has panicked");
        }
        self.blame(&arena)?;
        Ok(self.line(&arena, &tally, drained))
    }

    /// Kills, departures, returns and restarts until the time is over.
    async fn events(
        &self,
        broker: &mut Broker,
        crew: &mut Crew,
        random: &mut Random,
    ) -> anyhow::Result<Tally> {
        let until = Instant::now() + self.duration;
        let mut tally = Tally::default();
        while Instant::now() < until {
            let (pause, event) = plan::next_event(random);
            sleep_until(until.min(Instant::now() + pause)).await;
            self.blame(&crew.arena)?;
            crew.return_due()?;
            match event {
                // Half of them always stay.
                Event::Kill if crew.alive.len() > self.workers / 2 => {
                    crew.end(End::Killed, random);
                    tally.kills += 1;
                }
                Event::Leave if crew.alive.len() > self.workers / 2 => {
                    crew.end(End::Left, random);
                    tally.leaves += 1;
                }
                Event::Kill | Event::Leave => {}
                Event::Crash => {
                    broker.check_alive()?;
                    crew.arena.down(Down::Crash);
                    broker.kill().await?;
                    broker.start_again().await?;
                    tally.crashes += 1;
                }
                Event::Stop => {
                    broker.check_alive()?;
                    crew.arena.down(Down::Stop);
                    let (_, status) = broker.terminate(STOP_LIMIT).await?;
                    ensure!(status.success(), "the broker left with {status} after SIGTERM");
                    broker.start_again().await?;
                    tally.stops += 1;
                }
            }
        }
        Ok(tally)
    }

    /// Waits until every message is acknowledged and nothing comes any more; how long the first took.
    async fn drain(&self, broker: &mut Broker, crew: &mut Crew) -> anyhow::Result<Duration> {
        const POLL: Duration = Duration::from_millis(50);
        const DRAIN_LIMIT: Duration = Duration::from_secs(60);
        let began = Instant::now();
        let mut done_after = None;
        loop {
            broker.check_alive()?;
            crew.return_due()?;
            let (undone, first, quiet) = crew.arena.ledger(|ledger, now| {
                (ledger.undone(), ledger.first_undone(), now.saturating_sub(ledger.last_delivery_at()))
            });
            self.blame(&crew.arena)?;
            if undone > 0 {
                done_after = None;
            } else {
                let done_after = *done_after.get_or_insert(began.elapsed());
                if Duration::from_millis(quiet) >= QUIET {
                    let description = http::ask(broker.http(), "GET", DESCRIPTION, None).await?;
                    ensure!(
                        description["lag_messages"] == 0,
                        "everything is acknowledged, but: {description}"
                    );
                    return Ok(done_after);
                }
            }
            if began.elapsed() > DRAIN_LIMIT {
                bail!(
                    "{undone} messages are not done {} s after the storm: {}",
                    DRAIN_LIMIT.as_secs(),
                    first.unwrap_or_else(|| "and none that is known is missing".to_string())
                );
            }
            sleep(POLL).await;
        }
    }

    fn blame(&self, arena: &Arena) -> anyhow::Result<()> {
        let violations = arena.ledger(|ledger, _| ledger.violations().to_vec());
        ensure!(violations.is_empty(), "{}", violations.join("\nand "));
        Ok(())
    }

    fn line(&self, arena: &Arena, tally: &Tally, drained: Duration) -> String {
        let (counts, stored) = arena.ledger(|ledger, _| (ledger.counts(), ledger.stored_messages()));
        let python = match arena.python {
            Some(_) => format!(" ({} in Python)", BANDS * band::SIZE),
            None => String::new(),
        };
        let gave_up = arena.clients_that_gave_up();
        let Tally { kills, leaves, crashes, stops } = tally;
        format!(
            "{stored} messages of {} keys, each key in order and in one hand, none lost, drained in {:.1} s; \
             {} workers{python}, {kills} killed, {leaves} left, {} lives; broker: {crashes} kill -9, {stops} SIGTERM; \
             {} deliveries, {} nacks, {} withheld; repeated {} after kill -9 and {} after SIGTERM (oldest ack \
             forgotten: {} ms), {} after a lost worker, {} after a nack, {} after a lease; {} read late, {} stored \
             twice, clients gave up {} times after kill -9 and {} times after SIGTERM; seed {}",
            self.keys,
            drained.as_secs_f64(),
            self.workers,
            arena.hands(),
            counts.deliveries,
            counts.nacks,
            arena.withheld_answers(),
            counts.repeated_after_crash,
            counts.repeated_after_stop,
            counts.forgotten_age_ms,
            counts.repeated_after_loss,
            counts.repeated_after_nack,
            counts.repeated_after_lease,
            counts.late,
            counts.stored_twice,
            gave_up.0,
            gave_up.1,
            self.seed
        )
    }
}
