//! Random bytes.

use std::{fs::File, io::Read};

/// Where randomness comes from.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug)]
pub struct RealEntropy;

impl Entropy for RealEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // `/dev/urandom` is the same generator as the system call and the same on every Unix.
        let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(bytes));
        read.expect("the operating system gives random bytes");
    }
}

impl dyn Entropy {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
