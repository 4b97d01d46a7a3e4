//! The nouns of Keyway, without I/O: record, record batch v2, key, offset, topic name, error codes, limits.
//!
//! Everything here is a value or a view of bytes. Nothing allocates more than the bytes it was given allow.

pub mod batch;
pub mod error_code;
mod ids;
pub mod key;
pub mod limits;
pub mod marker;
pub mod record;
pub mod topic;
pub mod varint;

pub use batch::{BatchError, Compression, RecordBatch};
pub use error_code::ErrorCode;
pub use ids::{LeaderEpoch, Millis, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp};
pub use key::KeyHash;
pub use marker::Outcome;
pub use record::{Header, Record, RecordError, RecordRef, Records};
pub use topic::{TopicId, TopicName, TopicNameError, TopicPartition};
