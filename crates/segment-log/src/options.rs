//! What can be set on a store.

/// Settings of a store. All sizes are bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Memory for batches: those not yet in a segment, and with what is left the tail that readers find in memory.
    /// Appends meet [`keyway_log::AppendError::Full`] when batches that are not yet in a segment fill it.
    /// Taken as it is used. Default 64 MiB.
    pub arena_bytes_max: usize,
    /// Batches taken in and not yet durable; beyond it appends meet `Full`. Default 16 MiB: about 10 ms of a disk
    /// that writes 1.6 GB/s.
    pub staging_bytes_max: usize,
    /// Most bytes in one commit; one larger batch goes alone. Default 2 MiB: beyond 1 MiB the disk's bandwidth
    /// decides, and everyone in the commit waits for all of it.
    pub commit_bytes_max: usize,
    /// What a partition has in one commit is large from here on: then its batches may go straight to its segment, and
    /// the commit refer to them there instead of holding them. Default 256 KiB.
    pub bypass_bytes_min: usize,
    /// Whether what is large goes that way. Default [`Bypass::WhereQuicker`].
    pub bypass: Bypass,
    /// Length of a write-ahead log file. Default 16 MiB.
    pub wal_file_bytes: u64,
    /// Write-ahead log written since the last checkpoint that starts the next one; bounds the time that recovery takes.
    /// Default 64 MiB.
    pub checkpoint_bytes: u64,
    /// Write-ahead log not yet covered by a checkpoint; beyond it appends meet `Full`. Default 256 MiB.
    pub wal_bytes_max: u64,
    /// A segment is closed before it grows past this. Default 1 GiB, as Kafka's `segment.bytes`.
    pub segment_bytes: u64,
    /// Memory for the indexes of segments: 2 MiB for each GiB that is written to or read. Where it is used up, those that are
    /// read are forgotten and read again, and segments are closed before they are full. Default 1 GiB.
    pub index_bytes_max: usize,
    /// Segment files held open. Default 1,000.
    pub open_files_max: usize,
    /// How long a silent idempotent producer is remembered. Default 1 day, as Kafka's `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// When an append counts as durable. Default [`DurableBy::Fsync`].
    pub durable_by: DurableBy,
    /// What opening does with a write-ahead log that is damaged before its end. Default [`OnDamage::Refuse`].
    pub on_damage: OnDamage,
    /// Who commits, with [`Drive::Threads`]. Default [`CommitBy::Waiters`].
    pub commit_by: CommitBy,
    /// Who does the work. Default [`Drive::Threads`].
    pub drive: Drive,
}

/// What [`keyway_log::Durability::Durable`] means in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DurableBy {
    /// The device has flushed the bytes: they outlive a power cut.
    Fsync,
    /// The operating system has them and writes them when it likes: they outlive the process, and a power cut takes the
    /// newest. What is left is still a prefix of what was appended.
    Os,
}

/// Whether large commits bypass the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bypass {
    /// None does: all is written twice, and flushed once.
    Never,
    /// As what is measured says: where the disk has little bandwidth, they do. With [`Drive::Steps`] as `Always`.
    WhereQuicker,
    /// All do: what they hold is written once, and flushed twice.
    Always,
}

/// What happens to a write-ahead log in which records that were acknowledged are damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDamage {
    /// Opening fails and changes nothing.
    Refuse,
    /// The log ends where the damage begins. The files concerned are kept as `*.corrupt`, and acknowledged records are
    /// lost: somebody has to want this.
    Cut,
}

/// Whose thread writes and flushes the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitBy {
    /// The first of those who wait for it, while flushes are quick; the store's thread does what nobody waits for.
    Waiters,
    /// The store's thread: two hand-offs between threads for each commit.
    Thread,
}

/// Who commits and writes behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drive {
    /// Two threads of the store's own, which also look for what is no longer kept as [`keyway_log::StoreConfig`] says.
    Threads,
    /// The caller, by [`crate::SegmentStore::step`]: the same operations in the same order on every run.
    Steps,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arena_bytes_max: 64 << 20,
            staging_bytes_max: 16 << 20,
            commit_bytes_max: 2 << 20,
            bypass_bytes_min: 256 << 10,
            bypass: Bypass::WhereQuicker,
            wal_file_bytes: 16 << 20,
            checkpoint_bytes: 64 << 20,
            wal_bytes_max: 256 << 20,
            segment_bytes: 1 << 30,
            index_bytes_max: 1 << 30,
            open_files_max: 1_000,
            producer_expiration_ms: keyway_log::producers::EXPIRATION_MS_DEFAULT,
            durable_by: DurableBy::Fsync,
            on_damage: OnDamage::Refuse,
            commit_by: CommitBy::Waiters,
            drive: Drive::Threads,
        }
    }
}
