//! A key's identity inside the dispatcher.

use twox_hash::XxHash3_128;

/// 128-bit hash of a key's bytes (XXH3, fixed seed, so it is the same after a restart and on every node).
///
/// Two keys with one hash would share their order, never lose it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyHash(pub u128);

impl KeyHash {
    const SEED: u64 = 0x6b65_7977_6179_0001;

    /// The hash of `key`.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(XxHash3_128::oneshot_with_seed(Self::SEED, key))
    }

    /// The upper half, which places the key.
    #[must_use]
    pub fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The lower half, which indexes tables.
    #[must_use]
    pub fn low(self) -> u64 {
        self.0 as u64
    }
}
