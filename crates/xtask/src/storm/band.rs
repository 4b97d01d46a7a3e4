//! Workers with the published Python client, several in one process. The process only passes messages on and answers as it
//! is told; their fate is decided here, as everybody's.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::arena::{Arena, SUBSCRIPTION, TOPIC};
use super::ledger::{Answer, Arrival, Hand};
use super::plan::{Fate, fate};
use super::worker::End;
use crate::workspace;

/// Workers of one process.
pub(super) const SIZE: usize = 5;
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// A line from the process.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Delivery { worker: usize, key: String, text: String, offset: u64, token: u64 },
    Answered { answered: u64 },
    Subscribed { subscribed: usize },
}

struct Band {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    hands: Vec<Hand>,
    /// What is told to the process later: by moment and token, the worker and its answer.
    later: BTreeMap<(Instant, u64), (usize, Arrival, Answer)>,
    /// What it was told and has not confirmed.
    told: HashMap<u64, Arrival>,
}

/// Works until told to end. A process that ends by itself is an accusation.
pub(super) async fn live(
    arena: &Arena,
    name: &str,
    mut ended: oneshot::Receiver<End>,
    subscribed: mpsc::Sender<()>,
) {
    let mut band = match Band::start(arena, name) {
        Ok(band) => band,
        Err(error) => return arena.accuse(&format!("{name}: {error:#}")),
    };
    let end = {
        let work = band.work(arena, subscribed);
        tokio::pin!(work);
        tokio::select! {
            biased;
            end = &mut ended => Ok(end.unwrap_or(End::Killed)),
            worked = &mut work => Err(worked),
        }
    };
    for hand in &band.hands {
        arena.gone(*hand);
    }
    match end {
        Ok(End::Left) => {
            drop(band.input);
            // One that does not leave is killed when it is dropped.
            let _ = timeout(LEAVE_LIMIT, band.child.wait()).await;
        }
        Ok(End::Killed) => drop(band),
        Err(Ok(())) => arena.accuse(&format!("{name} has ended")),
        Err(Err(error)) => arena.accuse(&format!("{name}: {error:#}")),
    }
}

impl Band {
    fn start(arena: &Arena, name: &str) -> anyhow::Result<Self> {
        let python = arena.python.as_ref().context("no Python")?;
        let mut command = Command::new(python);
        command.arg(workspace::programs().join("danube/storm_workers.py")).args([TOPIC, SUBSCRIPTION]);
        command.args((0..SIZE).map(|number| format!("{name}-{number}")));
        command.env("DANUBE", &arena.url).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        Ok(Self {
            input: child.stdin.take().context("no input")?,
            lines: BufReader::new(child.stdout.take().context("no output")?).lines(),
            child,
            hands: (0..SIZE).map(|_| arena.new_hand()).collect(),
            later: BTreeMap::new(),
            told: HashMap::new(),
        })
    }

    async fn work(&mut self, arena: &Arena, subscribed: mpsc::Sender<()>) -> anyhow::Result<()> {
        loop {
            let due = self.later.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let (_, (worker, arrival, answer)) = self.later.pop_first().expect("one is due");
                    self.tell(arena, worker, arrival, answer).await?;
                }
                line = self.lines.next_line() => {
                    let Some(line) = line? else { return Ok(()) };
                    match serde_json::from_str(&line).with_context(|| format!("the line {line:?}"))? {
                        Line::Subscribed { subscribed: workers } => {
                            (0..workers).for_each(|_| _ = subscribed.try_send(()));
                        }
                        Line::Answered { answered } => {
                            arena.confirmed(self.told.remove(&answered).context("an answer nobody gave")?);
                        }
                        Line::Delivery { worker, key, text, offset, token } => {
                            let key = key.strip_prefix("key-").context("a foreign key")?.parse()?;
                            let hand = self.hands[worker];
                            let arrival = Arrival { hand, key, number: text.parse()?, offset, token };
                            self.take(arena, worker, arrival).await?;
                        }
                    }
                }
            }
        }
    }

    async fn take(&mut self, arena: &Arena, worker: usize, arrival: Arrival) -> anyhow::Result<()> {
        let times = arena.delivered(arrival);
        let (after_ms, answer) = match fate(arena.seed, arrival.offset, times, arena.withheld_per_mille) {
            Fate::Ack { after_ms } => (after_ms, Answer::Ack),
            Fate::Nack { after_ms, delay_ms } => (after_ms, Answer::Nack { delay_ms }),
            Fate::Withhold => {
                arena.withheld();
                return Ok(());
            }
        };
        if after_ms == 0 {
            return self.tell(arena, worker, arrival, answer).await;
        }
        let at = Instant::now() + Duration::from_millis(after_ms);
        self.later.insert((at, arrival.token), (worker, arrival, answer));
        Ok(())
    }

    async fn tell(
        &mut self,
        arena: &Arena,
        worker: usize,
        arrival: Arrival,
        answer: Answer,
    ) -> anyhow::Result<()> {
        arena.answering(arrival, answer);
        self.told.insert(arrival.token, arrival);
        let delay_ms = match answer {
            Answer::Ack => None,
            Answer::Nack { delay_ms } => Some(delay_ms),
        };
        let line = json!({ "worker": worker, "token": arrival.token, "delay_ms": delay_ms });
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(())
    }
}
