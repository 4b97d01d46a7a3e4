//! Seeded randomness that says how to repeat a failure.

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Runs `test` with seeds 0 to `count`, or with the one in the environment; a failure prints how to repeat it.
pub(crate) fn for_seeds(count: u64, test: impl Fn(&mut Rng)) {
    let only = std::env::var("KEYWAY_SEED").ok().map(|seed| seed.parse().expect("KEYWAY_SEED is a number"));
    for seed in only.map_or(0..count, |seed| seed..seed + 1) {
        let told = Told(seed);
        test(&mut Rng(seed));
        drop(told);
    }
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            eprintln!(
                "repeat: KEYWAY_SEED={} cargo test -p keyway-kafka-wire --test messages {test}",
                self.0
            );
        }
    }
}
