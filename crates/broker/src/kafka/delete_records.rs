//! DeleteRecords: gives up the records before an offset.

use super::{
    call::Call,
    lookup::{self, TopicRef},
};
use crate::{
    access::{AuditEvent, Change},
    partition::Partition,
    topics::Topic,
};
use keyway_access::Operation;
use keyway_kafka_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse, delete_records::*};
use keyway_log::{AppendError, Durability, Ticket};
use keyway_record::{ErrorCode, Offset};
use std::sync::Arc;

/// The offset that stands for everything readable now.
const HIGH_WATERMARK: i64 = -1;

pub(super) async fn handle(call: &Call<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let (mut newest, mut changes) = (Ticket::default(), Vec::new());
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let topic = lookup::permitted(call, TopicRef::Name(&asked.name), Operation::Delete);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for asked in &asked.partitions {
            let trimmed = trim(call, &topic, asked).await;
            let (low_watermark, error) = match trimmed {
                Ok((start, trimmed)) => {
                    if let Some((ticket, change)) = trimmed {
                        newest = newest.max(ticket);
                        changes.push(change);
                    }
                    (start.0, ErrorCode::None)
                }
                Err(error) => (-1, error),
            };
            let partition_index = asked.partition_index;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark,
                error_code: error.code(),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: asked.name, partitions });
    }
    let safe = call.node.store.wait(newest, Durability::Durable).await;
    changes.into_iter().for_each(|change| change.settle(&safe));
    if safe.is_err() {
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            *partition = DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: -1,
                error_code: ErrorCode::KafkaStorageError.code(),
            };
        }
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

/// Where the partition begins then; if that is somewhere else, what that waits for.
async fn trim(
    call: &Call<'_>,
    topic: &Result<Arc<Topic>, ErrorCode>,
    asked: &DeleteRecordsPartition,
) -> Result<(Offset, Option<(Ticket, Change)>), ErrorCode> {
    let partition = lookup::partition(topic, asked.partition_index)?;
    if !topic.as_ref().is_ok_and(|topic| topic.rules.records_deletable) {
        return Err(ErrorCode::PolicyViolation);
    }
    let bounds = partition.log.bounds();
    let before = if asked.offset == HIGH_WATERMARK { bounds.high_watermark } else { Offset(asked.offset) };
    if before < Offset::ZERO || before > bounds.high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    if before <= bounds.start {
        return Ok((bounds.start, None));
    }
    let (topic, index) = (partition.id.topic.as_str(), asked.partition_index);
    let change = call.begin(AuditEvent::RecordsDeleted { topic, partition: index, before: before.0 });
    match trim_with_room(call, partition, before).await {
        Ok(ticket) => Ok((partition.log.bounds().start, Some((ticket, change)))),
        Err(error) => {
            change.forget();
            Err(match error {
                AppendError::Deleted => ErrorCode::UnknownTopicOrPartition,
                _ => ErrorCode::KafkaStorageError,
            })
        }
    }
}

async fn trim_with_room(
    call: &Call<'_>,
    partition: &Partition,
    before: Offset,
) -> Result<Ticket, AppendError> {
    loop {
        match partition.log.trim(before) {
            Err(AppendError::Full) => call.node.store.room().await,
            done => return done,
        }
    }
}
