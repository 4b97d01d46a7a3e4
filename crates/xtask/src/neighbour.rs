//! Somebody who does nothing wrong beside somebody who does: how long its durable batches take, in rounds with the other
//! and rounds alone by turns, so that what the machine does meanwhile comes to both.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::watch;

use crate::kafka_client::{Acks, Connection, error_code};
use crate::produce_bytes::{batch, record};

const TOPIC: &str = "neighbour";
const PACE: Duration = Duration::from_millis(5);
/// Long enough for 200 batches.
const ROUND: Duration = Duration::from_secs(1);
/// What the other has begun may still be on its way when it was told to rest.
const SETTLE: Duration = Duration::from_millis(100);

/// Fewer say nothing.
const ROUNDS_MIN: usize = 3;

/// What a percentile of 200 batches moves by from round to round with nobody else there: a write of the machine's disk.
const NOISE: Duration = Duration::from_micros(500);
/// The same where programs build and others write.
const BUSY_NOISE: Duration = Duration::from_millis(50);

/// How much slower it may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bound {
    /// A fifth, on a machine that does nothing else.
    Fifth,
    /// Four times on any machine: less would tell of the machine, and this still finds a neighbour that is stopped.
    Going,
}

/// Tells the other when it is its turn.
pub(crate) struct Turns(watch::Sender<bool>);

/// What the other waits for.
#[derive(Clone)]
pub(crate) struct Turn(watch::Receiver<bool>);

impl Turns {
    /// It is nobody's turn yet.
    pub(crate) fn new() -> (Self, Turn) {
        let (turns, turn) = watch::channel(false);
        (Self(turns), Turn(turn))
    }
}

impl Turn {
    /// Returns at once while it is its turn; never again once there are no more.
    pub(crate) async fn come(&mut self) {
        self.until(true).await;
    }

    /// Returns once it is no longer its turn.
    pub(crate) async fn pass(&mut self) {
        self.until(false).await;
    }

    async fn until(&mut self, wanted: bool) {
        if self.0.wait_for(|turn| *turn == wanted).await.is_err() {
            std::future::pending().await
        }
    }
}

/// The neighbour's 99th percentiles: the medians of all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    alone: Duration,
    /// What a quarter of the rounds alone was worse than: how far the machine itself goes.
    alone_often: Duration,
    beside: Duration,
    rounds: usize,
}

impl Compared {
    /// The percentiles of the rounds alone and beside.
    fn of(mut alone: Vec<Duration>, mut beside: Vec<Duration>) -> Self {
        alone.sort_unstable();
        beside.sort_unstable();
        Self {
            alone: alone[alone.len() / 2],
            alone_often: alone[alone.len() * 3 / 4],
            beside: beside[beside.len() / 2],
            rounds: beside.len(),
        }
    }

    /// An error if it was held up.
    pub(crate) fn check(&self, bound: Bound) -> anyhow::Result<()> {
        let (ratio, noise) = match bound {
            Bound::Fifth => (1.2, NOISE),
            Bound::Going => (4.0, BUSY_NOISE),
        };
        let most = self.alone.mul_f64(ratio).max(self.alone + noise).max(self.alone_often);
        ensure!(self.beside <= most, "{self}; {most:.2?} may be");
        Ok(())
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alone, alone_often, beside, rounds } = self;
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        write!(
            f,
            "the neighbour's p99 {beside:.2?} beside it, {alone:.2?} alone ({ratio:.2}x, medians of {rounds} rounds \
             each; alone it is over {alone_often:.2?} in every fourth)"
        )
    }
}

/// Makes its topic.
pub(crate) async fn move_in(address: SocketAddr) -> anyhow::Result<()> {
    Connection::open(address).await?.create_topic(TOPIC, 1).await
}

/// Rounds alone and beside `other` by turns until it is done, and what it found. Any error ends them.
pub(crate) async fn beside<T>(
    address: SocketAddr,
    turns: &Turns,
    other: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Compared)> {
    let mut connection = Connection::open(address).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut other = std::pin::pin!(other);
    let found = loop {
        let both = async {
            for (turn, percentiles) in [(false, &mut alone), (true, &mut beside)] {
                turns.0.send_replace(turn);
                tokio::time::sleep(SETTLE).await;
                percentiles.push(round(&mut connection).await?);
            }
            anyhow::Ok(())
        };
        tokio::select! {
            biased;
            found = &mut other => break found?,
            done = both => done?,
        }
    };
    ensure!(
        beside.len() >= ROUNDS_MIN,
        "the other was done after {} rounds, which is too soon",
        beside.len()
    );
    Ok((found, Compared::of(alone, beside)))
}

async fn round(connection: &mut Connection) -> anyhow::Result<Duration> {
    let batch = batch(0, 1, &record(&[b'n'; 500]));
    let (round, mut taken) = (Instant::now(), Vec::new());
    while round.elapsed() < ROUND {
        let begun = Instant::now();
        let error = connection.produce(TOPIC, 0, Acks::All, &batch).await?;
        ensure!(error == error_code::NONE, "the neighbour is refused with error {error}");
        taken.push(begun.elapsed());
        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
    }
    taken.sort_unstable();
    Ok(taken[taken.len() * 99 / 100])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_may_be_a_fifth_slower_or_half_a_millisecond() {
        let compared = |alone, beside| {
            Compared::of(vec![Duration::from_micros(alone)], vec![Duration::from_micros(beside)])
        };
        assert!(compared(10_000, 12_000).check(Bound::Fifth).is_ok());
        assert!(compared(10_000, 12_001).check(Bound::Fifth).is_err());
        assert!(compared(100, 600).check(Bound::Fifth).is_ok());
        assert!(compared(100, 601).check(Bound::Fifth).is_err());
        assert!(compared(20_000, 80_000).check(Bound::Going).is_ok());
        assert!(compared(20_000, 80_001).check(Bound::Going).is_err());
    }

    #[test]
    fn a_machine_that_goes_up_and_down_by_itself_is_forgiven_as_much() {
        let rounds = |micros: [u64; 4]| micros.map(Duration::from_micros).to_vec();
        let alone = rounds([8_000, 10_000, 10_000, 15_000]);
        assert!(Compared::of(alone.clone(), rounds([15_000; 4])).check(Bound::Fifth).is_ok());
        assert!(Compared::of(alone, rounds([15_001; 4])).check(Bound::Fifth).is_err());
    }
}
