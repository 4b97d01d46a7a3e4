//! A rate over sliding windows, as Kafka measures it.
//!
//! Time is cut into samples. A sample begins with the first value after the last one was complete, so an idle client has
//! none. The rate is what all samples hold, over the time since the oldest of them began, but never over less than one
//! window less than all: a young client may burst.

use super::Windows;

/// Values over the last windows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    /// A ring of at most one more than there are windows: the oldest may reach into the time that counts.
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    value: f64,
    begun_ms: u64,
    last_ms: u64,
}

impl Rate {
    /// Counts `value` now; may be negative, to take back what was counted.
    pub(super) fn record(&mut self, windows: Windows, value: f64, now_ms: u64) {
        let fresh = Sample { value: 0.0, begun_ms: now_ms, last_ms: now_ms };
        match self.samples.get(self.current) {
            None => self.samples.push(fresh),
            Some(current) if now_ms.saturating_sub(current.begun_ms) >= windows.window_ms => {
                self.current = (self.current + 1) % (windows.count + 1);
                match self.samples.get_mut(self.current) {
                    Some(oldest) => *oldest = fresh,
                    None => self.samples.push(fresh),
                }
            }
            Some(_) => {}
        }
        let sample = &mut self.samples[self.current];
        sample.value += value;
        sample.last_ms = sample.last_ms.max(now_ms);
    }

    /// How much a second.
    pub(super) fn per_second(&mut self, windows: Windows, now_ms: u64) -> f64 {
        let span_ms = self.span_ms(windows, now_ms);
        self.samples.iter().map(|sample| sample.value).sum::<f64>() / (span_ms as f64 / 1e3)
    }

    /// How long to wait until the rate is `limit` if nothing comes meanwhile, as Kafka reckons: what is too much, at the
    /// pace of the limit. 0 within the limit.
    pub(super) fn wait_ms(&mut self, windows: Windows, limit: f64, now_ms: u64) -> u64 {
        let rate = self.per_second(windows, now_ms);
        if rate <= limit {
            return 0;
        }
        ((rate - limit) / limit * self.span_ms(windows, now_ms) as f64).round() as u64
    }

    /// Whether nothing of what was counted counts any more.
    pub(super) fn is_idle(&self, windows: Windows, now_ms: u64) -> bool {
        self.samples.iter().all(|sample| now_ms.saturating_sub(sample.last_ms) >= windows.span_ms())
    }

    /// The time over which the samples are measured. Samples of long ago are emptied first.
    fn span_ms(&mut self, windows: Windows, now_ms: u64) -> u64 {
        for sample in &mut self.samples {
            if now_ms.saturating_sub(sample.last_ms) >= windows.span_ms() {
                *sample = Sample { value: 0.0, begun_ms: now_ms, last_ms: now_ms };
            }
        }
        let oldest_ms = self.samples.iter().map(|sample| sample.begun_ms).min().unwrap_or(now_ms);
        let elapsed_ms = now_ms.saturating_sub(oldest_ms);
        let missing = (windows.count as u64 - 1).saturating_sub(elapsed_ms / windows.window_ms);
        (elapsed_ms + missing * windows.window_ms).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Apache Kafka 4.3's `Rate` and `QuotaUtils` said to the same history; see the file for how it was made.
    const KAFKA: &str = include_str!("rate_of_kafka.txt");

    #[test]
    fn rates_and_waits_are_those_of_apache_kafka() {
        let windows = Windows::default();
        let mut rate = Rate::default();
        let mut waits = 0;
        for line in KAFKA.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<f64> = line.split(' ').map(|field| field.parse().unwrap()).collect();
            let [now_ms, value, limit, expected, wait_ms] = fields[..] else { panic!("{line}") };
            rate.record(windows, value, now_ms as u64);
            let measured = rate.per_second(windows, now_ms as u64);
            assert!((measured - expected).abs() <= expected.abs() * 1e-9, "{line}: {measured}");
            assert_eq!(rate.wait_ms(windows, limit, now_ms as u64), wait_ms as u64, "{line}");
            waits += u32::from(wait_ms > 0.0);
        }
        assert!(waits > 50, "the history throttles {waits} times");
    }

    /// The same from all that ever happened: cut into samples anew each time.
    fn naive(windows: Windows, events: &[(u64, f64)]) -> f64 {
        let now_ms = events.last().unwrap().0;
        let mut samples: Vec<(u64, u64, f64)> = Vec::new();
        for &(at_ms, value) in events {
            match samples.last_mut() {
                Some((begun, last, sum)) if at_ms - *begun < windows.window_ms => {
                    *last = at_ms;
                    *sum += value;
                }
                _ => samples.push((at_ms, at_ms, value)),
            }
        }
        samples.retain(|(_, last, _)| now_ms - last < windows.span_ms());
        let elapsed_ms = now_ms - samples[0].0;
        let whole = elapsed_ms / windows.window_ms;
        let needed = windows.count as u64 - 1;
        let span_ms = elapsed_ms + if whole < needed { (needed - whole) * windows.window_ms } else { 0 };
        samples.iter().map(|(.., sum)| sum).sum::<f64>() * 1e3 / span_ms.max(1) as f64
    }

    proptest! {
        #[test]
        fn a_rate_is_what_all_that_happened_says(
            count in 1_usize..12,
            window_ms in prop::sample::select(vec![1_u64, 100, 1_000]),
            steps in prop::collection::vec((0_u64..40, 0_u64..6, 0_u32..1_000), 1..120),
        ) {
            let windows = Windows { count, window_ms };
            let (mut rate, mut events, mut now_ms) = (Rate::default(), Vec::new(), 5);
            for (part, whole, value) in steps {
                now_ms += part * window_ms / 40 + whole.saturating_sub(2).pow(3) * window_ms;
                events.push((now_ms, f64::from(value)));
                rate.record(windows, f64::from(value), now_ms);
                let (got, expected) = (rate.per_second(windows, now_ms), naive(windows, &events));
                prop_assert!((got - expected).abs() <= expected * 1e-9, "{got} {expected}");
                prop_assert!(rate.samples.len() <= count + 1);
                prop_assert!(!rate.is_idle(windows, now_ms) && rate.is_idle(windows, now_ms + windows.span_ms()));
            }
        }
    }
}
