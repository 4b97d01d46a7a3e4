//! Which way large commits go: held in the write-ahead log or past it, whichever takes the disk less time.
//!
//! A commit that is held costs its flush, and later the flush of its segment. One that bypasses costs two flushes of its
//! own, of which that of the segment changes the file's length. So bandwidth decides: where 1 MiB takes 8 ms to write, a
//! second write is what counts, and where it takes 0.6 ms, the second flush. All three are measured: commits as they go,
//! the later flush where it is made. Now and then some commits take the other way, the less often the longer that way
//! was the dearer one.

/// A way for a commit to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Held,
    Bypass,
}

#[derive(Debug)]
pub(crate) struct Ways {
    /// What commits do but for trials.
    usual: Way,
    held: Cost,
    bypass: Cost,
    /// Commits that the trial under way still takes, and those until the next one.
    trial_left: u32,
    until_trial: u32,
    interval: u32,
}

/// Time that bytes took until they were durable: a mean, since a disk that is throttled takes all its time at once.
#[derive(Clone, Copy, Default, Debug)]
struct Cost {
    bytes: u64,
    took_us: u64,
}

/// Commits of one trial.
const TRIAL: u32 = 16;

/// Commits between two trials, at least and at most: in the long run one of 250 is one.
const INTERVAL_MIN: u32 = 32;
const INTERVAL_MAX: u32 = 4_096;

/// What was measured before this many bytes counts half.
const MEMORY_BYTES: u64 = 256 << 20;

/// A disk that takes less for a MiB on average (170 MB/s) has bandwidth to write it twice, and the other way is not even
/// tried: on a busy machine it is threads and not the disk that make a trial take its time.
const QUICK_US_PER_MIB: u64 = 6_000;

/// Bytes of held commits without which that is not known.
const KNOWN_BYTES: u64 = 128 << 20;

impl Default for Ways {
    fn default() -> Self {
        Self {
            usual: Way::Held,
            held: Cost::default(),
            bypass: Cost::default(),
            trial_left: 0,
            until_trial: INTERVAL_MIN,
            interval: INTERVAL_MIN,
        }
    }
}

impl Ways {
    /// The way of the next large commit.
    pub(crate) fn next(&self) -> Way {
        match (self.usual, self.trial_left) {
            (usual, 0) => usual,
            (Way::Held, _) => Way::Bypass,
            (Way::Bypass, _) => Way::Held,
        }
    }

    /// Learns that a large commit of `bytes` went `way` in `took_us`.
    ///
    /// `second_us_per_mib` is what flushing segments takes that were written behind, if that is known.
    pub(crate) fn note(&mut self, way: Way, bytes: usize, took_us: u64, second_us_per_mib: Option<u64>) {
        match way {
            Way::Held => self.held.note(bytes as u64, took_us),
            Way::Bypass => self.bypass.note(bytes as u64, took_us),
        }
        if way != self.next() {
            return;
        }
        if self.trial_left > 0 {
            self.trial_left -= 1;
            if self.trial_left == 0 {
                self.decide(second_us_per_mib);
            }
            return;
        }
        self.until_trial = self.until_trial.saturating_sub(1);
        let may_be_quick = self.usual == Way::Held
            && (self.held.bytes < KNOWN_BYTES || self.held.us_per_mib() < Some(QUICK_US_PER_MIB));
        if self.until_trial == 0 && !may_be_quick {
            self.trial_left = TRIAL;
            // What was measured long ago says little.
            match self.usual {
                Way::Held => self.bypass = Cost::default(),
                Way::Bypass => self.held = Cost::default(),
            }
        }
    }

    fn decide(&mut self, second_us_per_mib: Option<u64>) {
        let before = self.usual;
        if let (Some(held), Some(bypass)) = (self.held.us_per_mib(), self.bypass.us_per_mib()) {
            let both = held + second_us_per_mib.unwrap_or(held);
            // A throttled disk has some bandwidth to spare whenever it was idle, which makes a few that are held look cheap.
            let enough = if before == Way::Bypass { both + both / 2 } else { both };
            self.usual = if bypass < enough { Way::Bypass } else { Way::Held };
        }
        self.interval =
            if self.usual == before { (2 * self.interval).min(INTERVAL_MAX) } else { INTERVAL_MIN };
        self.until_trial = self.interval;
    }
}

impl Cost {
    fn note(&mut self, bytes: u64, took_us: u64) {
        self.bytes += bytes;
        self.took_us += took_us;
        if self.bytes > MEMORY_BYTES {
            self.bytes /= 2;
            self.took_us /= 2;
        }
    }

    fn us_per_mib(self) -> Option<u64> {
        (self.took_us << 20).checked_div(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// A disk: what a flush takes besides the bytes, us, for the write-ahead log and for a segment, and what a MiB takes.
    #[derive(Clone, Copy)]
    struct Disk {
        flush_us: u64,
        segment_flush_us: u64,
        mib_us: u64,
    }

    const QUICK: Disk = Disk { flush_us: 100, segment_flush_us: 2_500, mib_us: 600 };
    const CLOUD: Disk = Disk { flush_us: 700, segment_flush_us: 1_500, mib_us: 8_000 };

    impl Disk {
        fn took_us(self, way: Way, bytes: usize) -> u64 {
            let transfer_us = self.mib_us * bytes as u64 / MIB as u64;
            match way {
                Way::Held => self.flush_us + transfer_us,
                Way::Bypass => self.flush_us + self.segment_flush_us + transfer_us,
            }
        }
    }

    /// The part of `count` commits that bypasses. Every tenth takes three times as long as it should.
    fn bypassing(ways: &mut Ways, disk: Disk, bytes: usize, count: u32) -> f64 {
        let mut bypassed = 0;
        for index in 0..count {
            let way = ways.next();
            bypassed += u32::from(way == Way::Bypass);
            let late = if index % 10 == 9 { 3 } else { 1 };
            ways.note(way, bytes, disk.took_us(way, bytes) * late, Some(disk.mib_us));
        }
        f64::from(bypassed) / f64::from(count)
    }

    #[test]
    fn a_disk_of_little_bandwidth_is_written_once_and_a_quick_one_flushed_once() {
        let mut ways = Ways::default();
        assert!(bypassing(&mut ways, QUICK, MIB, 20_000) == 0.0);
        assert!(
            bypassing(
                &mut Ways::default(),
                Disk { mib_us: 5_000, segment_flush_us: 9_000, ..QUICK },
                MIB,
                20_000
            ) < 0.01
        );
        assert!(bypassing(&mut ways, CLOUD, MIB, 2_000) > 0.45, "it is noticed when the disk gets slow");
        assert!(bypassing(&mut ways, CLOUD, MIB, 20_000) > 0.98);
        bypassing(&mut ways, QUICK, MIB, 2 * INTERVAL_MAX);
        assert!(bypassing(&mut ways, QUICK, MIB, 20_000) < 0.02, "and when it is quick again");
    }

    #[test]
    fn small_ones_are_not_worth_a_flush() {
        let mut ways = Ways::default();
        assert!(bypassing(&mut ways, CLOUD, 64 << 10, 20_000) < 0.01);
        assert!(bypassing(&mut Ways::default(), CLOUD, 512 << 10, 20_000) > 0.95);
    }

    #[test]
    fn what_did_not_go_as_planned_is_no_trial() {
        let mut ways = Ways::default();
        while ways.next() == Way::Held {
            bypassing(&mut ways, CLOUD, MIB, 1);
        }
        for _ in 0..100 {
            ways.note(Way::Held, MIB, 9_000, None);
        }
        assert_eq!(ways.next(), Way::Bypass, "the trial waits until a commit can bypass");
    }
}
