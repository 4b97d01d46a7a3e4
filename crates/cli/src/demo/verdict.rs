//! What the demo saw, and whether it is what was promised.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// One message as a worker got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// The worker's index.
    pub(super) worker: usize,
    /// The message's routing key.
    pub(super) key: String,
    /// The step that the message tells of, from 0.
    pub(super) step: usize,
}

/// The deliveries so far, by key.
#[derive(Debug)]
pub(super) struct Verdict {
    workers: usize,
    keys: usize,
    steps: usize,
    by_key: BTreeMap<String, Vec<Delivery>>,
}

impl Verdict {
    /// Nothing delivered yet, and `keys * steps` messages to come.
    pub(super) fn new(workers: usize, keys: usize, steps: usize) -> Self {
        Self { workers, keys, steps, by_key: BTreeMap::new() }
    }

    /// Takes note of a delivery, in the order of arrival.
    pub(super) fn add(&mut self, delivery: Delivery) {
        self.by_key.entry(delivery.key.clone()).or_default().push(delivery);
    }

    /// Whether each message arrived at least once.
    pub(super) fn is_complete(&self) -> bool {
        self.lost() == 0
    }

    /// Whether all promises were kept.
    pub(super) fn is_good(&self) -> bool {
        self.lost() == 0
            && self.duplicated() == 0
            && self.split_keys().is_empty()
            && self.disordered_keys().is_empty()
    }

    /// One line: the counts, and either the promise or what broke it.
    pub(super) fn summary(&self) -> String {
        let order = match (self.split_keys(), self.disordered_keys()) {
            (split, disordered) if split.is_empty() && disordered.is_empty() => {
                "every key in order at one worker".to_owned()
            }
            (split, disordered) => {
                format!(
                    "VIOLATED: at several workers [{}], out of order [{}]",
                    split.join(", "),
                    disordered.join(", ")
                )
            }
        };
        format!(
            "{} messages, {} keys, {} workers: {order}, {} lost, {} duplicated",
            self.keys * self.steps,
            self.keys,
            self.workers,
            self.lost(),
            self.duplicated()
        )
    }

    /// A line per worker: how many messages, and the keys.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        for worker in 0..self.workers {
            let mine =
                |deliveries: &Vec<Delivery>| deliveries.iter().filter(|one| one.worker == worker).count();
            let messages: usize = self.by_key.values().map(mine).sum();
            let keys = self.by_key.iter().filter(|(_, deliveries)| mine(deliveries) > 0);
            let keys: Vec<&str> = keys.map(|(key, _)| key.as_str()).collect();
            writeln!(table, "worker-{}  {messages:>2} messages  {}", worker + 1, keys.join(" "))
                .expect("a String takes everything");
        }
        table
    }

    fn lost(&self) -> usize {
        (self.keys * self.steps).saturating_sub(self.distinct())
    }

    fn duplicated(&self) -> usize {
        self.by_key.values().map(Vec::len).sum::<usize>() - self.distinct()
    }

    fn distinct(&self) -> usize {
        let steps =
            |deliveries: &Vec<Delivery>| deliveries.iter().map(|one| one.step).collect::<BTreeSet<_>>().len();
        self.by_key.values().map(steps).sum()
    }

    fn split_keys(&self) -> Vec<&str> {
        self.keys_where(|deliveries| deliveries.iter().any(|one| one.worker != deliveries[0].worker))
    }

    fn disordered_keys(&self) -> Vec<&str> {
        self.keys_where(|deliveries| deliveries.windows(2).any(|pair| pair[0].step > pair[1].step))
    }

    fn keys_where(&self, test: impl Fn(&[Delivery]) -> bool) -> Vec<&str> {
        self.by_key.iter().filter(|(_, deliveries)| test(deliveries)).map(|(key, _)| key.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(deliveries: &[(usize, &str, usize)]) -> Verdict {
        let mut verdict = Verdict::new(2, 2, 2);
        for &(worker, key, step) in deliveries {
            verdict.add(Delivery { worker, key: key.into(), step });
        }
        verdict
    }

    const GOOD: [(usize, &str, usize); 4] = [(0, "a", 0), (1, "b", 0), (1, "b", 1), (0, "a", 1)];

    #[test]
    fn kept_promises_are_good() {
        let verdict = verdict(&GOOD);
        assert!(verdict.is_good());
        assert_eq!(
            verdict.summary(),
            "4 messages, 2 keys, 2 workers: every key in order at one worker, 0 lost, 0 duplicated"
        );
        assert_eq!(verdict.table(), "worker-1   2 messages  a\nworker-2   2 messages  b\n");
    }

    #[test]
    fn every_broken_promise_is_seen() {
        let lost = verdict(&GOOD[..3]);
        assert!(!lost.is_good() && !lost.is_complete());
        assert!(lost.summary().contains("1 lost"));

        let doubled = verdict(&[GOOD.as_slice(), &[(0, "a", 1)]].concat());
        assert!(!doubled.is_good() && doubled.is_complete());
        assert!(doubled.summary().contains("1 duplicated"));

        let split = verdict(&[(0, "a", 0), (1, "a", 1), (1, "b", 0), (1, "b", 1)]);
        assert!(!split.is_good());
        assert!(split.summary().contains("at several workers [a]"));

        let disordered = verdict(&[(0, "a", 1), (0, "a", 0), (1, "b", 0), (1, "b", 1)]);
        assert!(!disordered.is_good());
        assert!(disordered.summary().contains("out of order [a]"));
    }
}
