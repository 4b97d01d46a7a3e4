//! ListOffsets: offsets by name (latest, earliest, …) and by time, exact to the record.

use super::{
    call::{Call, isolation},
    lookup::{self, TopicRef},
    repeated::{Named, Repeated},
    topic_error,
};
use crate::{partition::Partition, topics::Topic};
use keyway_access::Operation;
use keyway_kafka_wire::{
    messages::{ListOffsetsRequest, ListOffsetsResponse, list_offsets::*},
    records,
};
use keyway_log::{Isolation, ReadError, ReadLimit};
use keyway_record::{ErrorCode, LeaderEpoch, Offset, RecordBatch, Timestamp, limits};
use std::sync::Arc;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The offset that answers a question, with its record's time if the question was about time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    timestamp: Timestamp,
    offset: Offset,
    leader_epoch: LeaderEpoch,
}

impl Found {
    /// There is no such offset, which is no error.
    const NOTHING: Self =
        Self { timestamp: Timestamp::NONE, offset: Offset(-1), leader_epoch: LeaderEpoch(-1) };
}

pub(super) fn handle(call: &Call<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let mut repeated = Repeated::of(request.topics.iter().flat_map(partitions_of));
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let topic = lookup::permitted(call, TopicRef::Name(&asked.name), Operation::Describe);
        let answer =
            |one: &ListOffsetsPartition| match repeated.named(&(asked.name.as_str(), one.partition_index)) {
                Named::Once => Some(answer(&topic, one, isolation, call.version())),
                Named::Again => Some(refused(one.partition_index, ErrorCode::InvalidRequest)),
                Named::Refused => None,
            };
        let partitions = asked.partitions.iter().filter_map(answer).collect();
        topics.push(ListOffsetsTopicResponse { partitions, name: asked.name.clone() });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

fn partitions_of(topic: &ListOffsetsTopic) -> impl Iterator<Item = (&str, i32)> {
    topic.partitions.iter().map(|one| (topic.name.as_str(), one.partition_index))
}

fn answer(
    topic: &Result<Arc<Topic>, ErrorCode>,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let partition_index = asked.partition_index;
    match find(topic, asked, isolation, version) {
        Ok(found) => ListOffsetsPartitionResponse {
            partition_index,
            timestamp: found.timestamp.0,
            offset: found.offset.0,
            // Versions before 4 have no epoch.
            leader_epoch: if version >= 4 { found.leader_epoch.0 } else { -1 },
            ..Default::default()
        },
        Err(error) => refused(partition_index, error),
    }
}

fn refused(partition_index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code: error.code(), ..Default::default() }
}

fn find(
    topic: &Result<Arc<Topic>, ErrorCode>,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<Found, ErrorCode> {
    let partition = lookup::partition(topic, asked.partition_index)?;
    topic_error::check_epoch(partition, asked.current_leader_epoch)?;
    let bounds = partition.log.bounds();
    let at = |offset| {
        let leader_epoch = partition.log.epoch_of(offset).unwrap_or(LeaderEpoch(-1));
        Found { timestamp: Timestamp::NONE, offset, leader_epoch }
    };
    if version < version_from(asked.timestamp) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    match asked.timestamp {
        LATEST if isolation == Isolation::ReadCommitted => Ok(at(partition.log.last_stable())),
        LATEST => Ok(at(bounds.high_watermark)),
        // No records lie anywhere else, so the local ones are all.
        EARLIEST | EARLIEST_LOCAL => Ok(at(bounds.start)),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(Found::NOTHING),
        MAX_TIMESTAMP => last_by_time(partition).map_err(|error| topic_error::of_read(partition, &error)),
        time => first_at(partition, Timestamp(time)).map_err(|error| topic_error::of_read(partition, &error)),
    }
}

/// The first version in which a client may ask for this.
fn version_from(timestamp: i64) -> i16 {
    match timestamp {
        LATEST | EARLIEST | 0.. => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => i16::MAX,
    }
}

/// The first record of the greatest time.
fn last_by_time(partition: &Partition) -> Result<Found, ReadError> {
    let Some(mut greatest) = first_batch(partition, Timestamp(i64::MIN))?.map(|batch| batch.max_timestamp())
    else {
        return Ok(Found::NOTHING);
    };
    // Halving, because times need not ascend: there is a batch of `greatest`, and none of `beyond`.
    let mut beyond = i64::MAX;
    while greatest.0 < beyond - 1 {
        let middle = Timestamp(greatest.0.midpoint(beyond));
        match first_batch(partition, middle)? {
            Some(batch) => greatest = batch.max_timestamp(),
            None => beyond = middle.0,
        }
    }
    first_at(partition, greatest)
}

/// The first record of `time` or later.
fn first_at(partition: &Partition, time: Timestamp) -> Result<Found, ReadError> {
    let start = partition.log.bounds().start;
    let Some(mut batch) = first_batch(partition, time)? else { return Ok(Found::NOTHING) };
    loop {
        if batch.max_timestamp() >= time
            && let Some((offset, timestamp)) = first_record_at(&batch, time, start)?
        {
            return Ok(Found { timestamp, offset, leader_epoch: batch.leader_epoch() });
        }
        // Its only record of the time was trimmed.
        match batch_at(partition, batch.next_offset())? {
            Some(next) => batch = next,
            None => return Ok(Found::NOTHING),
        }
    }
}

fn first_batch(partition: &Partition, time: Timestamp) -> Result<Option<RecordBatch>, ReadError> {
    match partition.log.find(time)? {
        Some(offset) => batch_at(partition, offset),
        None => Ok(None),
    }
}

fn batch_at(partition: &Partition, offset: Offset) -> Result<Option<RecordBatch>, ReadError> {
    Ok(partition.log.read(offset, ReadLimit::bytes(1))?.batches().next())
}

/// The first record from `start` on that is of `time` or later.
fn first_record_at(
    batch: &RecordBatch,
    time: Timestamp,
    start: Offset,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    let damaged = |reason: String| ReadError::Corrupt { offset: batch.base_offset(), reason };
    let walk = records(batch, limits::DECOMPRESSED_BYTES_MAX).map_err(|error| damaged(error.to_string()))?;
    for record in walk {
        let record = record.map_err(|error| damaged(error.to_string()))?;
        let offset = batch.base_offset().plus(record.offset_delta.into());
        let timestamp = match batch.is_log_append_time() {
            true => batch.max_timestamp(),
            false => Timestamp(batch.base_timestamp().0.saturating_add(record.timestamp_delta)),
        };
        if offset >= start && timestamp >= time {
            return Ok(Some((offset, timestamp)));
        }
    }
    Ok(None)
}
