//! What all parts of a storm share: the ledger with its clock, and how things are named.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Storm;
use super::ledger::{Answer, Arrival, Down, Hand, Ledger};

pub(super) const TOPIC: &str = "/default/storm";
pub(super) const SUBSCRIPTION: &str = "storm_sub";

pub(super) struct Arena {
    pub(super) url: String,
    pub(super) seed: u64,
    pub(super) keys: usize,
    pub(super) withheld_per_mille: u64,
    /// The interpreter with the published client, if there is one.
    pub(super) python: Option<PathBuf>,
    started: Instant,
    ledger: Mutex<Ledger>,
    hands: AtomicU64,
    gave_up_after_crash: AtomicU64,
    gave_up_after_stop: AtomicU64,
    withheld: AtomicU64,
}

impl Arena {
    pub(super) fn new(url: String, storm: &Storm, ack_timeout_ms: u64, withheld_per_mille: u64) -> Self {
        let (seed, keys, python) = (storm.seed, storm.keys, storm.python.clone());
        Self {
            url,
            seed,
            keys,
            withheld_per_mille,
            python,
            started: Instant::now(),
            ledger: Mutex::new(Ledger::new(keys, ack_timeout_ms)),
            hands: AtomicU64::new(0),
            gave_up_after_crash: AtomicU64::new(0),
            gave_up_after_stop: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
        }
    }

    /// Looks at the ledger or writes into it, with the time that is read under its lock: times never go back.
    pub(super) fn ledger<T>(&self, visit: impl FnOnce(&mut Ledger, u64) -> T) -> T {
        let mut ledger = self.ledger.lock().expect("whoever holds the ledger does not panic");
        let now = self.started.elapsed().as_millis() as u64;
        visit(&mut ledger, now)
    }

    pub(super) fn new_hand(&self) -> Hand {
        self.hands.fetch_add(1, Ordering::Relaxed)
    }

    /// How many lives of workers there were.
    pub(super) fn hands(&self) -> u64 {
        self.hands.load(Ordering::Relaxed)
    }

    pub(super) fn gone(&self, hand: Hand) {
        self.ledger(|ledger, now| ledger.gone(now, hand));
    }

    pub(super) fn delivered(&self, arrival: Arrival) -> usize {
        self.ledger(|ledger, now| ledger.delivered(now, arrival))
    }

    pub(super) fn answering(&self, arrival: Arrival, answer: Answer) {
        self.ledger(|ledger, now| ledger.answering(now, arrival.key, arrival.token, answer));
    }

    pub(super) fn confirmed(&self, arrival: Arrival) {
        self.ledger(|ledger, now| ledger.confirmed(now, arrival.key, arrival.token));
    }

    pub(super) fn down(&self, down: Down) {
        self.ledger(|ledger, now| ledger.down(now, down));
    }

    pub(super) fn accuse(&self, violation: &str) {
        self.ledger(|ledger, _| ledger.accuse(violation));
    }

    /// A client has stopped receiving for good.
    pub(super) fn gave_up(&self) {
        let last = self.ledger(|ledger, _| ledger.last_down());
        let count = match last {
            Some(Down::Stop) => &self.gave_up_after_stop,
            Some(Down::Crash) | None => &self.gave_up_after_crash,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many clients have given up after a `kill -9`, and after a SIGTERM.
    pub(super) fn clients_that_gave_up(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.gave_up_after_crash), read(&self.gave_up_after_stop))
    }

    pub(super) fn withheld(&self) {
        self.withheld.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn withheld_answers(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }
}
