//! The outside world as four small traits, and their real implementation.
//!
//! Whatever the broker needs of a machine it takes from a [`World`] that its caller hands in, so that a simulation
//! can run the shipped code and fake only this. No other crate calls the platform; no other crate may hold `unsafe`.

mod clock;
mod disk;
mod entropy;
mod network;
mod process;

pub use clock::{Clock, RealClock};
pub use disk::{Disk, File, FolderLock, LOCK_FILE, OpenMode, RealDisk, Space, Volume};
pub use entropy::{Entropy, RealEntropy};
pub use keyway_record::Millis;
pub use network::{Listener, Network, RealNetwork, Stream};
pub use process::resident_bytes;

use std::{future::Future, pin::Pin, sync::Arc};

/// A boxed future, as `dyn` traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The four parts of the outside world together. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Sockets.
    pub network: Arc<dyn Network>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

impl World {
    /// The machine this process runs on.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(RealClock::new()),
            disk: Arc::new(RealDisk),
            network: Arc::new(RealNetwork),
            entropy: Arc::new(RealEntropy),
        }
    }
}
