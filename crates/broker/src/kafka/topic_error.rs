//! What a client is told when a topic or partition cannot be used.

use crate::{internal_topic::InternalTopicError, partition::Partition, topics::TopicError};
use keyway_groups::transaction::Version;
use keyway_log::{AppendError, ReadError};
use keyway_record::{ErrorCode, TopicNameError};
use std::cmp::Ordering;

/// Kafka's code for a refused change of a topic.
pub(super) fn of_change(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
        TopicError::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
        TopicError::Internal => ErrorCode::InvalidTopicException,
        TopicError::Partitions { .. } | TopicError::NotMore { .. } => ErrorCode::InvalidPartitions,
        TopicError::Store(_) | TopicError::Record(_) => {
            tracing::warn!("a topic could not be changed: {error}");
            ErrorCode::KafkaStorageError
        }
    }
}

/// Code and text for a name that no topic can have.
pub(super) fn of_name(error: &TopicNameError) -> (ErrorCode, String) {
    (ErrorCode::InvalidTopicException, error.to_string())
}

/// Kafka's code for a failed read of `partition`.
pub(super) fn of_read(partition: &Partition, error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Deleted => ErrorCode::UnknownTopicOrPartition,
        ReadError::Corrupt { .. } => {
            // The log has told of it once, and consumers ask again and again.
            tracing::debug!(partition = %partition.id, "{error}");
            ErrorCode::CorruptMessage
        }
        ReadError::Io(_) => {
            tracing::error!(partition = %partition.id, "{error}");
            ErrorCode::KafkaStorageError
        }
    }
}

/// Kafka's code for a batch that the log does not take.
pub(super) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::InvalidProducer { .. } => ErrorCode::InvalidRecord,
        AppendError::Deleted => ErrorCode::UnknownTopicOrPartition,
        // A full log is waited for, so what remains is a log that stopped.
        AppendError::Full | AppendError::NoSpace | AppendError::Offline { .. } | AppendError::Closed => {
            ErrorCode::KafkaStorageError
        }
    }
}

/// Kafka's code for state of the broker's own that could not be written.
pub(super) fn of_internal(error: &InternalTopicError) -> ErrorCode {
    tracing::error!("{error}");
    ErrorCode::KafkaStorageError
}

/// Kafka's code for a refused step of a transaction, for a version that knows PRODUCER_FENCED or not.
pub(super) fn of_fencing(error: ErrorCode, knows_fencing: bool) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if !knows_fencing => ErrorCode::InvalidProducerEpoch,
        error => error,
    }
}

/// Kafka's code for a write that a transaction does not allow. Clients of the first generation go on from errors of their
/// time: `busy` is the one that makes them ask again while the end before is under way, and those that know that they may
/// abort are told so.
pub(super) fn of_transactional_write(
    error: ErrorCode,
    rules: Version,
    busy: ErrorCode,
    knows_abortable: bool,
) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::ConcurrentTransactions if rules == Version::V1 => busy,
        ErrorCode::TransactionAbortable if !knows_abortable => ErrorCode::InvalidTxnState,
        error => error,
    }
}

/// Checks the leader epoch that a client knows, -1 if it does not say.
pub(super) fn check_epoch(partition: &Partition, known: i32) -> Result<(), ErrorCode> {
    if known < 0 {
        return Ok(());
    }
    match known.cmp(&partition.leader_epoch().0) {
        Ordering::Less => Err(ErrorCode::FencedLeaderEpoch),
        Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
        Ordering::Equal => Ok(()),
    }
}
