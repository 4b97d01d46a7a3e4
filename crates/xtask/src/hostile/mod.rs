//! `cargo xtask hostile`: what no client should send, in bulk, at a live broker, while a neighbour goes on.
//!
//! Requests that real clients sent are changed at random and sent again; connections say a part of something and then
//! nothing; batches unpack to a thousand times their size. The broker must not panic, must not keep the memory, and must
//! answer the neighbour as if nobody else was there.

mod bombs;
mod frames;
mod http2;
mod load;
mod memory;
mod memory_limit;
mod overload;
mod recorded;
mod slow;
mod tap;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tempfile::TempDir;

use crate::broker::{Broker, Launch, fresh_log};
use crate::neighbour::{self, Bound, Turns};
use crate::random::{self, Random};
use crate::tools::{Tool, Tools};
use crate::{http, kafka_probe, workspace};
use bombs::Bombs;
use recorded::Recorded;
use slow::Secured;

/// What may be left of the memory that an attack took.
const GROWTH_MAX_BYTES: u64 = 16 << 20;
/// The memory need not be free at once: allocators and logs give it back by and by.
const GROWTH_TIME: Duration = Duration::from_secs(10);
/// Topics that changed frames made, connections, threads: there before memory is looked at.
const WARM_UP_OF: u64 = 10;

/// How much, and against what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Instead: the broker under 256 MiB with 1,000 partitions, 2,000 idle and 200 slow connections and a load, for so long
    #[arg(long, value_name = "SECONDS", conflicts_with = "frames")]
    memory: Option<u64>,

    /// Changed frames of the Kafka protocol, and as many of HTTP/2
    #[arg(long, default_value_t = 20_000)]
    frames: u64,

    /// Use this `keyway` binary instead of building one
    #[arg(long, value_name = "PATH")]
    broker: Option<PathBuf>,

    /// Repeat the random choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

/// How much of everything.
#[derive(Clone, Copy)]
struct Scale {
    frames: u64,
    clients: &'static [&'static str],
    slow_of_each: usize,
    slow_limit_max: Duration,
    /// Of the neighbour with them.
    slow_rounds: usize,
    /// How much slower the neighbour may become.
    bound: Bound,
}

/// What the interop run has time for.
const SHORT: Scale = Scale {
    frames: 2_000,
    clients: &["librdkafka", "kcat"],
    slow_of_each: 10,
    slow_limit_max: Duration::from_secs(10),
    slow_rounds: 5,
    bound: Bound::Going,
};

/// One attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attack {
    KafkaFrames,
    Http2Frames,
    Bombs,
    Slow,
}

impl Attack {
    const ALL: [Self; 4] = [Self::KafkaFrames, Self::Http2Frames, Self::Bombs, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::KafkaFrames => "kafka-frames",
            Self::Http2Frames => "http2-frames",
            Self::Bombs => "bombs",
            Self::Slow => "slow",
        }
    }
}

/// Everything an attack stands on.
pub(crate) struct Arena<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) tools: &'a Tools,
    pub(crate) folder: &'a Path,
    /// Of the broker and of the clients.
    pub(crate) log: &'a Path,
    pub(crate) seed: u64,
}

/// All of them, each on a broker of its own.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(seconds) = args.memory {
        return in_little_memory(args.broker, Duration::from_secs(seconds)).await;
    }
    let tools = Tools::prepare([Tool::Python, Tool::Kcat, Tool::ApacheKafka]).await?;
    let launch = Launch::keyway(workspace::keyway(args.broker).await?);
    let seed = random::seed(args.seed);
    let scale = Scale {
        frames: args.frames,
        clients: &["librdkafka", "a librdkafka group", "kafka-python", "kcat", "Java"],
        slow_of_each: 20,
        slow_limit_max: Duration::from_secs(60),
        slow_rounds: 30,
        bound: Bound::Fifth,
    };
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for &(client, tool) in recorded::CLIENTS {
        if let Some(reason) = tools.missing(tool) {
            println!("skip {:<14} {reason}", client);
            skipped += 1;
        }
    }
    for attack in Attack::ALL {
        let folder = TempDir::with_prefix("keyway-hostile-")?;
        let log = workspace::interop_target().join("logs").join(format!("hostile-{}.log", attack.name()));
        fresh_log(&log)?;
        let arena = Arena { launch: &launch, tools: &tools, folder: folder.path(), log: &log, seed };
        let begun = Instant::now();
        let (word, detail) = match arena.attack(attack, scale).await {
            Ok(detail) => ("pass", detail),
            Err(error) => ("fail", format!("{error:#}; log: {}", log.display())),
        };
        match word {
            "pass" => passed += 1,
            _ => failed += 1,
        }
        println!(
            "{word} {:<14} {detail}; seed {seed} [{:.1} s]",
            attack.name(),
            begun.elapsed().as_secs_f64()
        );
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

async fn in_little_memory(broker: Option<PathBuf>, time: Duration) -> anyhow::Result<ExitCode> {
    let launch = Launch::keyway(workspace::keyway(broker).await?);
    let outcome = memory::run(&launch, time).await;
    let counts = match &outcome {
        Ok(detail) => {
            println!("pass memory         {detail}");
            "1 passed, 0 failed, 0 skipped"
        }
        Err(error) => {
            println!("fail memory         {error:#}");
            "0 passed, 1 failed, 0 skipped"
        }
    };
    println!("{counts}");
    Ok(ExitCode::from(u8::from(outcome.is_err())))
}

impl Arena<'_> {
    /// The small form of one attack.
    pub(crate) async fn short(&self, attack: Attack) -> anyhow::Result<String> {
        self.attack(attack, SHORT).await
    }

    async fn attack(&self, attack: Attack, scale: Scale) -> anyhow::Result<String> {
        if attack == Attack::Slow {
            let mut secured = Secured::start(self.launch, self.folder, self.log).await?;
            let detail = secured.hold(scale).await?;
            unharmed(&mut secured.broker).await?;
            return Ok(detail);
        }
        let mut broker = Broker::start(self.launch, &self.folder.join("hostile"), self.log).await?;
        let detail = match attack {
            Attack::KafkaFrames => self.kafka_frames(&broker, scale).await,
            Attack::Http2Frames => self.http2_frames(&broker, scale).await,
            Attack::Bombs => self.bombs(&broker).await,
            Attack::Slow => unreachable!("done above"),
        };
        // A broker that is gone is the better reason.
        unharmed(&mut broker).await?;
        detail
    }

    async fn kafka_frames(&self, broker: &Broker, scale: Scale) -> anyhow::Result<String> {
        let address = broker.kafka();
        let mut corpus = frames::corpus()?;
        let golden = corpus.len();
        let recorded = Recorded::make(broker, self.tools, self.log, scale.clients).await?;
        ensure!(!recorded.requests.is_empty(), "no client is there to record");
        // As many of them as of the others.
        let of_clients = recorded.requests.iter().cycle().take(golden.max(recorded.requests.len()));
        corpus.extend(of_clients.map(|request| frames::whole(request)));
        let mut random = Random::new(self.seed);
        neighbour::move_in(address).await?;
        frames::send(address, &corpus, &mut random, scale.frames / WARM_UP_OF, None).await?;
        let before = held_bytes(broker).await?;
        let (turns, turn) = Turns::new();
        let sending = frames::send(address, &corpus, &mut random, scale.frames, Some(turn));
        let (sent, compared) = neighbour::beside(address, &turns, sending).await?;
        let grown = settled_growth(broker, before).await?;
        sent.check()?;
        compared.check(scale.bound)?;
        Ok(format!(
            "{sent} of {} requests of {} and {golden} of Kafka's encoder; memory without new records grew by {} KiB; {compared}",
            recorded.requests.len(),
            recorded.clients.join(", "),
            grown >> 10
        ))
    }

    async fn http2_frames(&self, broker: &Broker, scale: Scale) -> anyhow::Result<String> {
        let (kafka, grpc) = (broker.kafka(), broker.grpc());
        let sessions = http2::record(broker).await?;
        let mut random = Random::new(self.seed);
        neighbour::move_in(kafka).await?;
        http2::send(grpc, &sessions, &mut random, scale.frames / WARM_UP_OF, None).await?;
        let before = held_bytes(broker).await?;
        let (turns, turn) = Turns::new();
        let sending = http2::send(grpc, &sessions, &mut random, scale.frames, Some(turn));
        let (sent, compared) = neighbour::beside(kafka, &turns, sending).await?;
        let floods = http2::floods(grpc).await?;
        // The published client gets through as before.
        http2::record(broker).await?;
        let grown = settled_growth(broker, before).await?;
        sent.check()?;
        compared.check(scale.bound)?;
        Ok(format!(
            "{sent} of Danube's client, {floods} floods; memory without new records grew by {} KiB; {compared}",
            grown >> 10
        ))
    }

    async fn bombs(&self, broker: &Broker) -> anyhow::Result<String> {
        Bombs::make()?.send(broker).await
    }
}

/// It lives, it answers, and nothing in it panicked.
async fn unharmed(broker: &mut Broker) -> anyhow::Result<()> {
    let panics = broker.logged("panicked")?;
    ensure!(panics.is_empty(), "the broker panicked: {}", panics.join("; "));
    broker.check_alive()?;
    kafka_probe::answers(broker.kafka()).await
}

/// The broker's memory without the newest records, which its log keeps up to a bound of its own: most of them are the
/// neighbour's.
async fn held_bytes(broker: &Broker) -> anyhow::Result<u64> {
    let records = http::metric(broker.http(), "keyway_log_memory_bytes").await?;
    Ok(broker.resident_bytes()?.saturating_sub(records))
}

/// How much more memory the broker holds than `before`, once it had time to give it back; too much is an error.
async fn settled_growth(broker: &Broker, before: u64) -> anyhow::Result<u64> {
    let until = Instant::now() + GROWTH_TIME;
    loop {
        let grown = held_bytes(broker).await?.saturating_sub(before);
        if grown <= GROWTH_MAX_BYTES {
            return Ok(grown);
        }
        ensure!(Instant::now() < until, "memory grew by {} KiB and stays", grown >> 10);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
