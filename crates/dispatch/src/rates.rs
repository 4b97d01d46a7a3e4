//! Which keys are busiest, at a bounded cost.
//!
//! A space-saving sketch: 128 counters for however many keys. It is fed with one delivery in 64, so that a message pays
//! next to nothing, and forgets half of what it knows every ten seconds, so that it tells of now.

use crate::Millis;
use keyway_record::KeyHash;

const COUNTERS: usize = 128;
/// One delivery in this many is counted.
const SAMPLE: u64 = 64;
const HALF_MS: u64 = 10_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    counters: Vec<Counter>,
    /// The keys' lower halves, beside the counters: what a search reads.
    tags: Vec<u64>,
    /// No count is below this one.
    floor: u32,
    /// Where the next one that is as low is looked for.
    hand: usize,
    /// When counts were halved last.
    halved: Millis,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    key: KeyHash,
    /// Counted deliveries.
    count: u32,
    /// The last message that was counted.
    offset: i64,
}

impl Rates {
    /// Whether the delivery of this sequence is one that counts.
    #[inline]
    pub(crate) fn counts(sequence: u64) -> bool {
        // The golden ratio spreads what it multiplies evenly, whatever the period of what is counted.
        sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SAMPLE.ilog2()) == 0
    }

    /// Takes note of a delivery that counts.
    #[cold]
    pub(crate) fn count(&mut self, now: Millis, key: KeyHash, offset: i64) {
        self.halve(now);
        let tag = key.low();
        let found = self
            .tags
            .iter()
            .zip(&mut self.counters)
            .find(|(other, counter)| **other == tag && counter.key == key);
        if let Some((_, counter)) = found {
            (counter.count, counter.offset) = (counter.count + 1, offset);
            return;
        }
        if self.counters.len() < COUNTERS {
            self.counters.push(Counter { key, count: 1, offset });
            self.tags.push(tag);
            return;
        }
        // The newcomer takes the least one's place and its count: a busy key is never missed, only overrated.
        let least = self.least();
        let count = self.counters[least].count + 1;
        (self.counters[least], self.tags[least]) = (Counter { key, count, offset }, tag);
    }

    /// One with the lowest count. They are raised in turn, so that a look at all of them is rare.
    fn least(&mut self) -> usize {
        let (before, from_hand) = self.counters.split_at(self.hand.min(self.counters.len()));
        let mut others = from_hand.iter().chain(before);
        let found = others.position(|counter| counter.count <= self.floor);
        let steps = found.unwrap_or_else(|| {
            let counts = from_hand.iter().chain(before).map(|counter| counter.count);
            let least = counts.enumerate().min_by_key(|&(_, count)| count);
            least.expect("a full sketch has counters").0
        });
        let least = (self.hand + steps) % self.counters.len();
        self.floor = self.counters[least].count;
        self.hand = least + 1;
        least
    }

    fn halve(&mut self, now: Millis) {
        let halvings = now.0.saturating_sub(self.halved.0) / HALF_MS;
        if halvings == 0 {
            return;
        }
        self.halved = Millis(now.0 - (now.0 - self.halved.0) % HALF_MS);
        let shift = halvings.min(31) as u32;
        self.counters.iter_mut().for_each(|counter| counter.count >>= shift);
        self.counters.retain(|counter| counter.count > 0);
        self.tags = self.counters.iter().map(|counter| counter.key.low()).collect();
        self.floor = 0;
    }

    /// Deliveries per second of a key, roughly; 0 if it is not among the busiest.
    pub(crate) fn per_second(&self, now: Millis, key: KeyHash) -> f64 {
        let counter = self.counters.iter().find(|counter| counter.key == key);
        counter.map_or(0.0, |counter| self.rate(now, counter.count))
    }

    fn rate(&self, now: Millis, count: u32) -> f64 {
        // A key of constant rate r has counted r · HALF when halved, and goes on from there.
        let since_ms = now.0.saturating_sub(self.halved.0);
        let faded = u64::from(count) >> (since_ms / HALF_MS).min(31);
        let counted_ms = HALF_MS + since_ms % HALF_MS;
        (faded * SAMPLE * 1_000) as f64 / counted_ms as f64
    }

    /// The busiest keys, with the last counted message of each.
    pub(crate) fn busiest(&self) -> Vec<(KeyHash, i64)> {
        let mut counters = self.counters.clone();
        counters.sort_unstable_by_key(|counter| (std::cmp::Reverse(counter.count), counter.key));
        counters.into_iter().map(|counter| (counter.key, counter.offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_keys_come_first_and_their_rates_are_near() {
        let mut rates = Rates::default();
        // 50 s of 1,000 deliveries a second: half of them of one key, a tenth of another, the rest of ever new ones.
        for sequence in 0..50_000u64 {
            let key = match sequence % 10 {
                0..5 => 1,
                5 => 2,
                _ => 1_000 + u128::from(sequence),
            };
            if Rates::counts(sequence) {
                rates.count(Millis(1_000_000 + sequence), KeyHash(key), sequence as i64);
            }
        }
        let now = Millis(1_050_000);
        let busiest: Vec<u128> = rates.busiest().iter().take(2).map(|(key, _)| key.0).collect();
        assert_eq!(busiest, [1, 2]);
        let near = |rate: f64, expected: f64| (rate / expected - 1.0).abs() < 0.3;
        assert!(near(rates.per_second(now, KeyHash(1)), 500.0), "{}", rates.per_second(now, KeyHash(1)));
        assert!(near(rates.per_second(now, KeyHash(2)), 100.0), "{}", rates.per_second(now, KeyHash(2)));
        assert_eq!(rates.per_second(Millis(2_000_000), KeyHash(1)), 0.0, "what was is forgotten");
    }
}
