//! One partition: append, read, bounds, waiting, trimming.

use crate::{
    BoxFuture, LogConfig, Ticket,
    epochs::EpochEnd,
    producers::{ActiveProducer, ProducerError},
    transactions::Aborted,
};
use bytes::Bytes;
use keyway_record::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, RecordBatch, Timestamp};

/// A partition's records, in order.
pub trait PartitionLog: Send + Sync {
    /// Gives `batch` the next offsets and takes it in. Never waits and never does I/O: `Ok` says that the batch has
    /// its place, not that it is safe; wait for [`Appended::ticket`] with [`crate::LogStore::wait`] for that.
    ///
    /// A batch with a producer id is idempotent: one that was appended before is not appended again and is answered
    /// with its first offsets; one that does not continue its producer's sequence is refused. The stored bytes are the
    /// batch's own but for base offset and leader epoch, which is [`PartitionLog::leader_epoch`]. `Err` promises that
    /// nothing was taken in.
    fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError>;

    /// Whole batches from the one that holds `from` on, up to the high watermark, or for readers of committed records up
    /// to the last stable offset; the first may begin before `from`.
    /// At least one batch if any is readable, then as many as fit [`ReadLimit::bytes_max`]. Empty at the high watermark.
    /// May wait for the disk if the batches are no longer in memory. Bytes that fail their CRC are never returned.
    fn read(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError>;

    /// Where the log starts and ends now.
    fn bounds(&self) -> Bounds;

    /// Before this offset every transaction is decided, and readers see how: the first record of the oldest one that is
    /// not, or the high watermark.
    fn last_stable(&self) -> Offset;

    /// First offset of the producer's transaction that no marker has ended; a marker of either outcome ends it.
    fn open_transaction(&self, producer_id: ProducerId) -> Option<Offset>;

    /// Bytes of the records that can be read, as they are stored.
    fn size_bytes(&self) -> u64;

    /// The producers that the log remembers, by ascending id.
    fn producers(&self) -> Vec<ActiveProducer>;

    /// Resolves once the high watermark is past `offset` (the record at `offset` is readable), for readers of committed
    /// records the last stable offset, or the log is deleted or closed. Dropping it costs nothing.
    fn wait_past(&self, offset: Offset, isolation: Isolation) -> BoxFuture<'static, ()>;

    /// Base offset of the first readable batch whose max timestamp is `time` or later, or the log's start if that
    /// lies inside the batch; `None` if there is none.
    fn find(&self, time: Timestamp) -> Result<Option<Offset>, ReadError>;

    /// Gives up records before `before` (at most up to the high watermark); space is freed at leisure.
    /// The new start is never forgotten once the ticket is durable.
    fn trim(&self, before: Offset) -> Result<Ticket, AppendError>;

    /// The epoch in which records are appended now. It never goes back, and it has moved on whenever records that
    /// somebody may have read may be lost: what follows at their offsets is of a later epoch.
    fn leader_epoch(&self) -> LeaderEpoch;

    /// The epoch of the record at `offset`, or of the next one if `offset` is the log's end; `None` if that is not known.
    fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch>;

    /// Where the records of `epoch` end; see [`crate::epochs::Epochs::end_of`].
    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd>;

    /// Sets what is kept and for how long, from the next [`crate::LogStore::clean`] on. The caller stores it: a log that
    /// was opened anew keeps everything until it is told again.
    fn configure(&self, config: LogConfig);
}

/// Where a batch came to lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of the batch's first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// What to wait for before anyone is told. Of a duplicate: everything up to the first copy is covered.
    pub ticket: Ticket,
    /// The batch was here before and was not appended again.
    pub duplicate: bool,
}

/// Why a batch was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The engine's staging memory is full; wait for [`crate::LogStore::room`] and try again.
    #[error("the log's staging memory is full")]
    Full,
    /// The batch does not continue its producer's sequence.
    #[error("producer {producer_id} sent sequence {given} where {expected} comes next")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// Sequence number that comes next.
        expected: i32,
        /// Sequence number that came.
        given: i32,
    },
    /// A newer epoch of the producer was seen.
    #[error("producer {producer_id} sent epoch {given}, and {current} was seen")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch.
        current: ProducerEpoch,
        /// The epoch that came.
        given: ProducerEpoch,
    },
    /// The batch names a producer without a valid epoch and sequence.
    #[error("producer {producer_id} sent epoch {epoch} with sequence {sequence}, which no producer has")]
    InvalidProducer {
        /// The producer.
        producer_id: ProducerId,
        /// The epoch that came.
        epoch: ProducerEpoch,
        /// The sequence number that came.
        sequence: i32,
    },
    /// The file system is nearly full; what is left is kept for the broker's own state.
    #[error("the disk of the data folder is nearly full: free some space, then it goes on by itself")]
    NoSpace,
    /// The partition cannot be written to its files; what was taken in is safe, and readable.
    #[error(
        "the partition is offline ({reason}); what it holds is safe: look at the disk, it goes on by itself once that is well"
    )]
    Offline {
        /// What happened to its files.
        reason: String,
    },
    /// The partition was deleted.
    #[error("the partition was deleted")]
    Deleted,
    /// The store was closed or has failed; nothing more will be taken in.
    #[error("the log is closed")]
    Closed,
}

impl From<ProducerError> for AppendError {
    fn from(error: ProducerError) -> Self {
        match error {
            ProducerError::OutOfOrderSequence { producer_id, expected, found } => {
                Self::OutOfOrderSequence { producer_id, expected, given: found }
            }
            ProducerError::InvalidProducerEpoch { producer_id, current, found } => {
                Self::InvalidProducerEpoch { producer_id, current, given: found }
            }
            ProducerError::Malformed { producer_id, epoch, sequence } => {
                Self::InvalidProducer { producer_id, epoch, sequence }
            }
        }
    }
}

/// How much to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimit {
    /// Bytes of batches, headers included; one batch may exceed it.
    pub bytes_max: usize,
    /// What of transactions may be read.
    pub isolation: Isolation,
}

/// What of transactions a reader wants to see; Kafka's `isolation.level`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// Everything up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Everything up to the last stable offset, and which of it was aborted.
    ReadCommitted,
}

impl ReadLimit {
    /// So many bytes, up to the high watermark.
    #[must_use]
    pub const fn bytes(bytes_max: usize) -> Self {
        Self { bytes_max, isolation: Isolation::ReadUncommitted }
    }

    /// So many bytes, up to the last stable offset.
    #[must_use]
    pub const fn committed_bytes(bytes_max: usize) -> Self {
        Self { bytes_max, isolation: Isolation::ReadCommitted }
    }
}

/// Consecutive whole batches.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// The batches' bytes, in order; a piece holds one or more whole batches.
    pub pieces: Vec<Bytes>,
    /// Offset after the last batch here; where the next read starts. `from` if there is nothing here.
    pub next: Offset,
    /// With [`Isolation::ReadCommitted`], the aborted transactions that have records here, by last offset. Their producers'
    /// transactional batches do not count, from the first offset of each up to its last.
    pub aborted: Vec<Aborted>,
}

impl Slice {
    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// The batches that count for readers of committed records: neither markers nor what was aborted.
    pub fn committed_batches(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        let is_aborted = |batch: &RecordBatch| self.aborted.iter().any(|aborted| aborted.holds(batch));
        self.batches().filter(move |batch| !batch.is_control() && !is_aborted(batch))
    }

    /// Whether nothing was readable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The batches one by one. Panics on bytes that no log returns.
    pub fn batches(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        self.pieces.iter().flat_map(|piece| {
            let mut rest = piece.clone();
            std::iter::from_fn(move || {
                (!rest.is_empty()).then(|| {
                    let batch = RecordBatch::parse_first(&rest).expect("a log returns whole, valid batches");
                    rest = rest.slice(batch.bytes().len()..);
                    batch
                })
            })
        })
    }
}

/// Where a log starts and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// First offset that can be read.
    pub start: Offset,
    /// Offset after the last durable record: readers see nothing from here on.
    pub high_watermark: Offset,
    /// Offset that the next record gets.
    pub end: Offset,
}

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies outside the readable range; [`Bounds::high_watermark`] itself is inside.
    #[error("offset {offset} is outside {start}..={high_watermark}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// First readable offset.
        start: Offset,
        /// End of the readable range.
        high_watermark: Offset,
    },
    /// The stored bytes are damaged; they stay where they are and are not served.
    #[error("the records from offset {offset} on are damaged: {reason}")]
    Corrupt {
        /// First offset that cannot be served.
        offset: Offset,
        /// What was found.
        reason: String,
    },
    /// The disk failed.
    #[error("reading from the log failed")]
    Io(#[from] std::io::Error),
    /// The partition was deleted.
    #[error("the partition was deleted")]
    Deleted,
}
