//! `kill -9` at random moments and SIGTERM: what was acknowledged is still there, in order.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::danube_producers::{self, Acknowledged, DanubeProducers};
use super::kafka_clients;
use super::scene::Scene;
use super::stage::Stage;
use crate::killloop::KillLoop;
use crate::powercut::PowerCut;
use crate::storm::Storm;

/// How often a broker is killed in one check.
const KILLS: usize = 6;
/// A kill follows the first acknowledgements after a start by up to this long.
const ALIVE_MAX_MS: u64 = 250;
const PROGRESS_LIMIT: Duration = Duration::from_secs(30);
const PROGRESS_POLL: Duration = Duration::from_millis(5);
const TOPIC: &str = "crashing";
/// The same topic for Danube's clients.
const DANUBE_TOPIC: &str = "/default/crashing";

fn count(acknowledged: &Acknowledged) -> usize {
    acknowledged.lock().expect("no reader panics").len()
}

async fn progress(acknowledged: &[Acknowledged], more: usize) -> anyhow::Result<()> {
    let wanted: Vec<usize> = acknowledged.iter().map(|one| count(one) + more).collect();
    let before = Instant::now();
    while acknowledged.iter().zip(&wanted).any(|(one, wanted)| count(one) < *wanted) {
        ensure!(before.elapsed() < PROGRESS_LIMIT, "no acknowledgement for {} s", PROGRESS_LIMIT.as_secs());
        sleep(PROGRESS_POLL).await;
    }
    Ok(())
}

/// Kills and restarts the broker while producers run; each time after all of them have got through again.
async fn kill_repeatedly(stage: &mut Stage<'_>, acknowledged: &[Acknowledged]) -> anyhow::Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..KILLS {
        progress(acknowledged, 5).await?;
        sleep(Duration::from_millis(stage.random(ALIVE_MAX_MS))).await;
        stage.broker.check_alive()?;
        stage.broker.kill().await?;
        stage.broker.start_again().await?;
        slowest = slowest.max(stage.broker.start_to_answer());
    }
    progress(acknowledged, 5).await?;
    Ok(slowest)
}

/// A client in a process of its own, which prints a line for what is acknowledged until its input closes.
struct KafkaProgram {
    child: Child,
    input: ChildStdin,
    reader: JoinHandle<std::io::Result<()>>,
    acknowledged: Acknowledged,
}

impl KafkaProgram {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let acknowledged = Acknowledged::default();
        let written = Arc::clone(&acknowledged);
        let reader = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await? {
                let value = line.split('\t').next().unwrap_or_default().to_string();
                written.lock().expect("no reader panics").push(value);
            }
            Ok(())
        });
        Ok(Self { child, input, reader, acknowledged })
    }

    /// Lets it finish what it has queued, and returns everything that it has said.
    async fn stop(self, stage: &Stage<'_>) -> anyhow::Result<Vec<String>> {
        drop(self.input);
        let finished = stage.finish(self.child, "a client").await?;
        self.reader.await??;
        ensure!(finished.status.success(), "{}", finished.stderr.trim());
        Ok(self.acknowledged.lock().expect("no reader panics").clone())
    }
}

fn librdkafka(stage: &Stage<'_>, name: &str) -> anyhow::Result<Command> {
    stage.python("kafka/crash_producer.py", &[TOPIC, name])
}

/// Three producers with librdkafka.
pub(crate) async fn kafka_producers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let programs =
        ["a", "b", "c"].iter().map(|name| librdkafka(stage, name)).collect::<anyhow::Result<_>>()?;
    idempotent_producers(stage, programs).await
}

/// Two producers of each of Go's clients.
pub(crate) async fn go_producers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let programs = [("franz-crash", "a"), ("franz-crash", "b"), ("sarama-crash", "c"), ("sarama-crash", "d")];
    let programs = programs.iter().map(|(program, name)| stage.go(program, &[TOPIC, name]));
    idempotent_producers(stage, programs.collect::<anyhow::Result<_>>()?).await
}

/// Idempotent acks=all producers: everything acknowledged is there, each producer's numbers without gap or repetition.
async fn idempotent_producers(stage: &mut Stage<'_>, programs: Vec<Command>) -> anyhow::Result<String> {
    let producers: Vec<KafkaProgram> =
        programs.into_iter().map(KafkaProgram::start).collect::<anyhow::Result<_>>()?;
    let acknowledged: Vec<Acknowledged> = producers.iter().map(|one| Arc::clone(&one.acknowledged)).collect();
    let slowest = kill_repeatedly(stage, &acknowledged).await?;
    let mut told = Vec::new();
    for producer in producers {
        told.extend(producer.stop(stage).await?);
    }

    let values = stored(stage).await?;
    nothing_lost(&told, &values)?;
    for (name, numbers) in numbers_by_name(&values)? {
        let contiguous = numbers.iter().enumerate().all(|(place, number)| place == *number);
        ensure!(contiguous, "{name}: repeated or out of order around {:?}", first_break(&numbers));
    }
    Ok(format!(
        "{} acknowledged, none lost, repeated or reordered in {KILLS} kills; slowest restart {} ms; seed {}",
        told.len(),
        slowest.as_millis(),
        stage.seed()
    ))
}

/// franz-go's copiers, by both generations of transactions: each record is copied exactly once, in order by key.
pub(crate) async fn go_copies(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let programs = ["implicit", "explicit"].map(|generation| stage.go("franz-crash-copy", &[generation]));
    let mut copies = Vec::new();
    for program in programs {
        copies.push(KafkaProgram::start(program?)?);
    }
    let acknowledged: Vec<Acknowledged> = copies.iter().map(|one| Arc::clone(&one.acknowledged)).collect();
    kill_repeatedly(stage, &acknowledged).await?;
    let mut summaries = Vec::new();
    for copy in copies {
        summaries.extend(copy.stop(stage).await?.pop());
    }
    Ok(format!("{} in {KILLS} kills; seed {}", summaries.join("; "), stage.seed()))
}

/// Reliable Danube producers: everything acknowledged is there; a repeated send may repeat, nothing moves ahead.
pub(crate) async fn danube_producers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let producers = DanubeProducers::start(&stage.broker.danube_url(), DANUBE_TOPIC);
    let acknowledged = producers.acknowledged.clone();
    let slowest = kill_repeatedly(stage, &acknowledged).await?;
    producers.stop().await?;
    let told: Vec<String> =
        acknowledged.iter().flat_map(|one| one.lock().expect("no producer panics").clone()).collect();

    let values = stored(stage).await?;
    nothing_lost(&told, &values)?;
    for (name, numbers) in numbers_by_name(&values)? {
        no_gap(&name, &numbers)?;
    }
    Ok(format!(
        "{} acknowledged, none lost or reordered in {KILLS} kills; slowest restart {} ms; seed {}",
        told.len(),
        slowest.as_millis(),
        stage.seed()
    ))
}

/// Key-Shared workers with the unmodified client live through the kills: everything arrives, a key may be rewound but
/// never skips.
pub(crate) async fn key_shared_workers(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let mut scene = Scene::open(&stage.broker.danube_url(), DANUBE_TOPIC).await?;
    let warm = scene.producer("warm").await?;
    for name in ["worker_1", "worker_2"] {
        scene.worker(name, "crashing_sub", &[]).await?;
    }
    scene.warm_up(&warm, &["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]).await?;
    let producers = DanubeProducers::start(&stage.broker.danube_url(), DANUBE_TOPIC);
    let acknowledged = producers.acknowledged.clone();
    let (sent_out, mut sent_in) = watch::channel(None::<Vec<usize>>);
    let kills = async {
        let slowest = kill_repeatedly(stage, &acknowledged).await?;
        sent_out.send(Some(producers.stop().await?)).ok().context("nobody receives")?;
        anyhow::Ok(slowest)
    };
    let receive = danube_producers::in_order(&mut scene, &mut sent_in);
    let (slowest, deliveries) = tokio::try_join!(kills, receive)?;
    let told: usize = acknowledged.iter().map(count).sum();
    Ok(format!(
        "{told} acknowledged, all delivered in order by key ({deliveries} deliveries) in {KILLS} kills, {} clients \
         gave up; slowest restart {} ms; seed {}",
        scene.replaced(),
        slowest.as_millis(),
        stage.seed()
    ))
}

/// Of two workers only one comes back after a kill: the keys of the other move to it.
pub(crate) async fn worker_stays_away(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const KEYS: usize = 20;
    let mut scene = Scene::open(&stage.broker.danube_url(), DANUBE_TOPIC).await?;
    let producer = scene.producer("orders_producer").await?;
    let stays = scene.worker("stays", "crashing_sub", &[]).await?;
    let leaves = scene.worker("leaves", "crashing_sub", &[]).await?;
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key-{number}")).collect();
    scene.warm_up(&producer, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    stage.broker.kill().await?;
    scene.abandon(leaves);
    stage.broker.start_again().await?;
    let restarted = Instant::now();
    for key in &keys {
        while producer.send_with_key(key.clone().into_bytes(), None, key).await.is_err() {
            ensure!(restarted.elapsed() < PROGRESS_LIMIT, "the producer does not get through again");
        }
    }
    let mut arrived = std::collections::BTreeSet::new();
    while arrived.len() < KEYS {
        let delivery = scene.next_within_crashes().await.with_context(|| {
            let missing: Vec<_> = keys.iter().filter(|key| !arrived.contains(*key)).collect();
            format!("{} of {KEYS} keys arrived, not {missing:?}", arrived.len())
        })?;
        if delivery.worker == stays {
            arrived.insert(delivery.key().to_string());
            scene.ack(delivery).await?;
        }
    }
    Ok(format!(
        "all {KEYS} keys at the one that came back, {} ms after the restart",
        restarted.elapsed().as_millis()
    ))
}

/// Twenty cycles of `cargo xtask killloop`.
pub(crate) async fn kill_loop(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (log, seed, tools) = (stage.log().to_path_buf(), stage.seed(), stage.tools);
    KillLoop { cycles: 20, seed, tools, log: &log }.run(&mut stage.broker).await
}

/// Some cuts of `cargo xtask powercut`, with a broker of its own on a disk of its own.
pub(crate) async fn power_cut(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let (launch, seed) = (stage.broker.launch().clone(), stage.seed());
    let outcome = PowerCut { launch: &launch, cuts: 20, seed, log: stage.log() }.run().await?;
    match outcome.first_loss {
        None => Ok(outcome.line),
        Some(loss) => bail!("{loss}; {}", outcome.line),
    }
}

/// A minute of `cargo xtask storm`.
pub(crate) async fn storm(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let storm = Storm {
        duration: Duration::from_secs(60),
        workers: 100,
        keys: 1_000,
        rate: 1_000,
        seed: stage.seed(),
        python: stage.tools.python_interpreter(),
    };
    storm.rage(&mut stage.broker).await
}

/// SIGTERM under load from both protocols: a clean exit within its time, and nothing acknowledged is lost.
pub(crate) async fn sigterm(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    const EXIT_LIMIT: Duration = Duration::from_secs(10);
    let mut scene = Scene::open(&stage.broker.danube_url(), "/default/orders").await?;
    let danube = scene.producer("orders_producer").await?;
    scene.worker("worker_1", "orders_sub", &[]).await?;
    scene.warm_up(&danube, &["warm"]).await?;
    let producer = KafkaProgram::start(librdkafka(stage, "a")?)?;
    progress(std::slice::from_ref(&producer.acknowledged), 200).await?;
    let (took, status) = stage.broker.terminate(EXIT_LIMIT).await?;
    if !status.success() {
        bail!("left with {status} after SIGTERM");
    }
    stage.broker.start_again().await?;
    progress(std::slice::from_ref(&producer.acknowledged), 5).await?;
    let told = producer.stop(stage).await?;
    nothing_lost(&told, &stored(stage).await?)?;
    Ok(format!(
        "left {} ms after SIGTERM under load; {} acknowledged, none lost",
        took.as_millis(),
        told.len()
    ))
}

async fn stored(stage: &Stage<'_>) -> anyhow::Result<Vec<String>> {
    Ok(kafka_clients::read_all(stage, TOPIC).await?.into_iter().map(|record| record.value).collect())
}

fn nothing_lost(told: &[String], stored: &[String]) -> anyhow::Result<()> {
    let stored: std::collections::BTreeSet<&String> = stored.iter().collect();
    let lost: Vec<&String> = told.iter().filter(|value| !stored.contains(value)).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} acknowledged are lost, the first is {}",
        lost.len(),
        told.len(),
        lost[0]
    );
    Ok(())
}

fn numbers_by_name(values: &[String]) -> anyhow::Result<BTreeMap<String, Vec<usize>>> {
    let mut numbers = BTreeMap::<String, Vec<usize>>::new();
    for value in values {
        let (name, number) = value.split_once(':').with_context(|| format!("a foreign value {value:?}"))?;
        numbers.entry(name.to_string()).or_default().push(number.parse()?);
    }
    Ok(numbers)
}

fn no_gap(name: &str, numbers: &[usize]) -> anyhow::Result<()> {
    let mut next = 0;
    for number in numbers {
        ensure!(*number <= next, "{name}: {number} is stored where {next} is missing");
        next = next.max(number + 1);
    }
    Ok(())
}

fn first_break(numbers: &[usize]) -> Option<&[usize]> {
    let place = numbers.iter().enumerate().position(|(place, number)| place != *number)?;
    Some(&numbers[place.saturating_sub(2)..numbers.len().min(place + 3)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn a_lost_acknowledgement_is_named() {
        assert!(nothing_lost(&values(&["a:0", "a:1"]), &values(&["a:1", "a:0", "a:2"])).is_ok());
        let error = nothing_lost(&values(&["a:0", "a:1"]), &values(&["a:0"])).expect_err("a:1 is lost");
        assert!(error.to_string().contains("a:1"), "{error}");
    }

    #[test]
    fn a_rewind_is_no_gap() {
        assert!(no_gap("a", &[0, 1, 2, 1, 2, 3]).is_ok());
        assert!(no_gap("a", &[0, 1, 3]).is_err());
        assert!(no_gap("a", &[1]).is_err());
    }

    #[test]
    fn the_first_break_is_shown_with_its_neighbours() {
        assert_eq!(first_break(&[0, 1, 2, 2, 3]), Some(&[1, 2, 2, 3][..]));
        assert_eq!(first_break(&[0, 1, 2]), None);
    }
}
