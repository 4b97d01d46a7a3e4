//! What is asked of every Kafka client for Rust, whoever wrote it; one program per client in `src/bin`.

mod group;
mod krafka;
mod ledger;
mod librdkafka;
mod transactions;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

pub use self::krafka::Krafka;
pub use group::{group, unannounced};
pub use ledger::{Ledger, Received, fill, key_of};
pub use librdkafka::Librdkafka;
pub use transactions::transactions;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a member waits for records before it is asked for anything else.
const TURN: Duration = Duration::from_millis(50);

/// The partitions of every topic.
pub const PARTITIONS: i32 = 4;

/// A client's way to produce, to join groups and to have transactions.
///
/// A record's value is its number in decimals, its key is [`key_of`] the number, and a header `number` repeats it.
#[expect(async_fn_in_trait, reason = "every program runs on one task")]
pub trait Client {
    /// One member of a group.
    type Member: Member;
    /// A transactional producer.
    type Transactor: Transactor<Member = Self::Member>;

    /// Creates a topic of [`PARTITIONS`] partitions.
    async fn create_topic(&self, topic: &str) -> anyhow::Result<()>;

    /// Produces numbers, idempotent and compressed, and waits for the acknowledgements.
    async fn produce(&self, topic: &str, numbers: Range<u32>, codec: Codec) -> anyhow::Result<()>;

    /// A new member of a group, which reads committed records from the earliest on and commits when told.
    async fn join(&self, group: &str, topic: &str) -> anyhow::Result<Self::Member>;

    /// A producer with a transactional id, which fences the one that had it before.
    async fn transactor(&self, id: &str) -> anyhow::Result<Self::Transactor>;
}

/// A member of a group.
#[expect(async_fn_in_trait, reason = "every program runs on one task")]
pub trait Member {
    /// What has arrived, after `wait` at the latest.
    async fn receive(&mut self, wait: Duration) -> anyhow::Result<Vec<Received>>;

    /// The partitions that it holds.
    async fn partitions(&mut self) -> anyhow::Result<BTreeSet<i32>>;

    /// Commits what it has received.
    async fn commit(&mut self) -> anyhow::Result<()>;

    /// Leaves the group.
    async fn leave(self) -> anyhow::Result<()>;
}

/// How batches are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// DEFLATE.
    Gzip,
    /// Snappy in Xerial's frames.
    Snappy,
    /// LZ4 in frames.
    Lz4,
}

impl Codec {
    /// As `compression.type` has it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
        }
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// All of it is to be seen.
    Commit,
    /// None of it is to be seen.
    Abort,
}

/// A transactional producer that works for a member of a group.
#[expect(async_fn_in_trait, reason = "every program runs on one task")]
pub trait Transactor {
    /// The member whose offsets it commits.
    type Member: Member;

    /// Sends numbers and the member's offsets in one transaction.
    async fn transact(
        &mut self,
        topic: &str,
        numbers: &[u32],
        member: &mut Self::Member,
        end: End,
    ) -> anyhow::Result<()>;
}
