//! A producer that keeps an account: it sends for ever, over as many connections as it takes, and never gives up on a
//! batch.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::account::{Account, Kind, SharedAccount, Told};
use crate::kafka_client::{Acks, Connection, error_code};
use crate::produce_bytes::{Identity, batch_of, keyed_record};
use crate::random::Random;

/// Kafka's limit for an idempotent producer.
const IN_FLIGHT_IDEMPOTENT: usize = 5;
const RECORDS_PER_BATCH_MAX: u64 = 20;
const FILLER_MAX: u64 = 300;
/// Between two attempts to reach a broker that restarts.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// A frozen broker is noticed by its silence.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What a producer is told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Send,
    /// Finish what is in flight and wait.
    Rest,
}

/// A producer's settings.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) acks: Acks,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Between two batches.
    pub(crate) pause: Duration,
    pub(crate) seed: u64,
}

/// A running producer. Dropping it ends it.
pub(crate) struct Producer {
    account: SharedAccount,
    orders: watch::Sender<Order>,
    resting: watch::Receiver<bool>,
    task: JoinHandle<anyhow::Error>,
}

impl Producer {
    pub(crate) fn start(address: SocketAddr, settings: Settings) -> Self {
        let account = Account::new(&settings.name, settings.kind, FILLER_MAX).shared();
        let (orders, ordered) = watch::channel(Order::Send);
        let (rests, resting) = watch::channel(false);
        let state = State {
            random: Random::new(settings.seed),
            settings,
            account: SharedAccount::clone(&account),
            ordered,
            rests,
            identity: Identity::NONE,
            pending: VecDeque::new(),
        };
        let task = tokio::spawn(state.send_for_ever(address));
        Self { account, orders, resting, task }
    }

    /// Waits until everything that it has sent is answered.
    pub(crate) async fn rest(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.orders.send_replace(Order::Rest);
        let rested = async { self.resting.wait_for(|resting| *resting).await.map(|_| ()) };
        match timeout(limit, rested).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err((&mut self.task).await?),
            Err(_) => bail!("a producer is not answered for {} s", limit.as_secs()),
        }
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.orders.send_replace(Order::Send);
    }

    /// What it has sent and was told, to look at while it rests or is busy.
    pub(crate) fn account<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        look(&self.account.lock().expect("a producer does not panic"))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A batch that is not answered yet.
struct Pending {
    first: u64,
    count: u64,
    bytes: Vec<u8>,
}

struct State {
    settings: Settings,
    account: SharedAccount,
    ordered: watch::Receiver<Order>,
    rests: watch::Sender<bool>,
    random: Random,
    identity: Identity,
    pending: VecDeque<Pending>,
}

impl State {
    /// Ends with the broker's first answer that a broker must not give.
    async fn send_for_ever(mut self, address: SocketAddr) -> anyhow::Error {
        loop {
            let connected = async {
                let mut connection = Connection::open(address).await?;
                if self.settings.kind == Kind::Idempotent && self.identity == Identity::NONE {
                    match connection.producer_id().await? {
                        Ok(identity) => self.identity = identity,
                        Err(code) => bail!("no producer id: error {code}"),
                    }
                }
                anyhow::Ok(connection)
            };
            // Broken connections are what this is for.
            if let Ok(Ok(connection)) = timeout(ANSWER_LIMIT, connected).await
                && let Err(wrong) = self.converse(connection).await
            {
                return wrong.context(self.settings.name);
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Sends on one connection until it breaks, what was not answered on the last one first.
    async fn converse(&mut self, mut connection: Connection) -> anyhow::Result<()> {
        let Settings { topic, partition, acks, kind, pause, .. } = self.settings.clone();
        for batch in &self.pending {
            if connection.send_batch(&topic, partition, acks, &batch.bytes).await.is_err() {
                return Ok(());
            }
        }
        let in_flight_max = if kind == Kind::Idempotent { IN_FLIGHT_IDEMPOTENT } else { 1 };
        loop {
            let order = *self.ordered.borrow_and_update();
            if order == Order::Send {
                self.rests.send_replace(false);
                // Alone until something is stored: to a broker that does not know the partition yet and refuses the first
                // batch, the second one may be a new producer's first. Then one at a time, or as many as there may be.
                let window = if self.is_new() { 1 } else { in_flight_max };
                let wanted = 1 + self.random.below(window as u64) as usize;
                while self.pending.len() < wanted {
                    self.push_batch();
                    let batch = &self.pending.back().expect("one was pushed").bytes;
                    if connection.send_batch(&topic, partition, acks, batch).await.is_err() {
                        return Ok(());
                    }
                }
            } else if self.pending.is_empty() {
                self.rests.send_replace(true);
                if self.ordered.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let Ok(Ok(produced)) = timeout(ANSWER_LIMIT, connection.produced()).await else { return Ok(()) };
            match produced.error_code {
                error_code::NONE => self.told(Some(produced.base_offset)),
                // Stored before, and the broker no longer knows where.
                error_code::DUPLICATE_SEQUENCE_NUMBER if kind == Kind::Idempotent => self.told(None),
                // The rest of the window would be out of order now.
                code if error_code::is_retriable(code) => return Ok(()),
                code => {
                    let batch = self.pending.front().context("an answer to nothing")?;
                    bail!("records from {} on are refused with error {code}", batch.first);
                }
            }
            sleep(pause).await;
        }
    }

    fn is_new(&self) -> bool {
        self.account.lock().expect("the judge does not panic").told.is_empty()
    }

    fn push_batch(&mut self) {
        let mut account = self.account.lock().expect("the judge does not panic");
        let (first, count) = (account.sent, 1 + self.random.below(RECORDS_PER_BATCH_MAX));
        let records = |number| {
            keyed_record(number as i64, self.settings.name.as_bytes(), &account.value(first + number))
        };
        let section: Vec<u8> = (0..count).flat_map(records).collect();
        let identity = match self.settings.kind {
            // A sequence is as far as an i32 goes, and these runs are shorter.
            Kind::Idempotent => Identity { sequence: first as i32, ..self.identity },
            Kind::Plain => Identity::NONE,
        };
        account.sent += count;
        let bytes = batch_of(identity, 0, count as i32, &section);
        self.pending.push_back(Pending { first, count, bytes });
    }

    fn told(&mut self, base_offset: Option<i64>) {
        let batch = self.pending.pop_front().expect("an answer is to a batch");
        let partition = self.settings.partition;
        let told = (0..batch.count).map(|number| Told {
            number: batch.first + number,
            partition,
            offset: base_offset.map(|base| base + number as i64),
        });
        self.account.lock().expect("the judge does not panic").told.extend(told);
    }
}
