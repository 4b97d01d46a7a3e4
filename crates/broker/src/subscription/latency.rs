//! How long consumers take to answer, as counts in buckets that grow with the time.

use super::view::LatencyView;

/// Buckets per doubling: 4 keep every figure within a quarter of the truth.
const SUB_BITS: u32 = 2;

/// Up to 2^27 ms, more than a day; longer times count as that.
const BUCKETS: usize = 26 << SUB_BITS;

/// A histogram of milliseconds. Recording is one addition in each of three places.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    buckets: [u32; BUCKETS],
    sum_ms: u64,
    max_ms: u64,
}

impl Latency {
    pub(super) fn new() -> Self {
        Self { buckets: [0; BUCKETS], sum_ms: 0, max_ms: 0 }
    }

    pub(super) fn record(&mut self, ms: u64) {
        let bucket = &mut self.buckets[bucket(ms)];
        *bucket = bucket.saturating_add(1);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.max_ms = self.max_ms.max(ms);
    }

    pub(super) fn view(&self) -> LatencyView {
        let mut count = 0;
        let mut at_most = Vec::new();
        for (index, &here) in self.buckets.iter().enumerate().filter(|&(_, &here)| here > 0) {
            count += u64::from(here);
            at_most.push((last_of(index), count));
        }
        let quantile = |percent: u64| {
            let rank = (count * percent).div_ceil(100);
            let reached = at_most.iter().find(|&&(_, below)| below >= rank);
            reached.map_or(0, |&(ms, _)| ms.min(self.max_ms))
        };
        LatencyView {
            count,
            sum_ms: self.sum_ms,
            p50_ms: quantile(50),
            p99_ms: quantile(99),
            max_ms: self.max_ms,
            at_most,
        }
    }
}

/// 0 to 3 ms have buckets of their own; from there on each doubling has four.
fn bucket(ms: u64) -> usize {
    if ms < 1 << SUB_BITS {
        return ms as usize;
    }
    let doublings = ms.ilog2() - SUB_BITS;
    let sub = (ms >> doublings) as usize & ((1 << SUB_BITS) - 1);
    (((doublings as usize + 1) << SUB_BITS) + sub).min(BUCKETS - 1)
}

/// The longest time in a bucket.
fn last_of(bucket: usize) -> u64 {
    if bucket < 1 << SUB_BITS {
        return bucket as u64;
    }
    let doublings = (bucket >> SUB_BITS) - 1;
    let sub = (bucket & ((1 << SUB_BITS) - 1)) as u64;
    (((1 << SUB_BITS) + sub + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_a_bucket_that_ends_within_a_quarter_above_it() {
        for ms in (0..10_000).chain((14..26).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let last = last_of(bucket(ms));
            assert!(last >= ms && last <= ms + ms / 4, "{ms} ms ends up at {last}");
            assert!(ms == 0 || bucket(ms) >= bucket(ms - 1));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::new();
        assert_eq!(latency.view(), LatencyView::default());
        (1..=100).for_each(|ms| latency.record(ms));
        let view = latency.view();
        assert_eq!((view.count, view.sum_ms, view.max_ms), (100, 5_050, 100));
        assert!((50..=62).contains(&view.p50_ms), "{}", view.p50_ms);
        assert!((99..=100).contains(&view.p99_ms), "{}", view.p99_ms);
        assert_eq!(view.at_most.last().unwrap().1, 100);
    }
}
