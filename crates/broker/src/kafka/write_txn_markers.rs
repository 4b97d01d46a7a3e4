//! WriteTxnMarkers: markers from outside, as people end a transaction with that hangs in a partition. Transactions that this
//! broker coordinates get theirs from it.

use super::{call::Call, topic_error};
use crate::access::{AuditEvent, Change};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse, write_txn_markers::*};
use keyway_log::{AppendError, Durability, Ticket};
use keyway_record::{ErrorCode, Outcome, PartitionId, ProducerEpoch, ProducerId, RecordBatch, Timestamp};

pub(super) async fn handle(call: &Call<'_>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let permitted = match call.sees(Operation::Alter, Resource::CLUSTER) {
        true => Ok(()),
        false => call.check(Operation::ClusterAction, Resource::CLUSTER),
    };
    let (mut newest, mut changes) = (None, Vec::new());
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        let (outcome, word) = match marker.transaction_result {
            true => (Outcome::Commit, "commit"),
            false => (Outcome::Abort, "abort"),
        };
        let (id, epoch) = (ProducerId(marker.producer_id), ProducerEpoch(marker.producer_epoch));
        let now = Timestamp(call.node.world.clock.wall_ms());
        let batch = RecordBatch::marker(id, epoch, outcome, marker.coordinator_epoch, now);
        let mut topics = Vec::with_capacity(marker.topics.len());
        for WritableTxnMarkerTopic { name, partition_indexes } in marker.topics {
            let mut partitions = Vec::with_capacity(partition_indexes.len());
            for partition_index in partition_indexes {
                let (topic, partition, producer_id) = (name.as_str(), partition_index, id.0);
                let event = AuditEvent::MarkerWritten { topic, partition, producer_id, marker: word };
                let written = match permitted {
                    Ok(()) => write(call, &name, partition_index, &batch, event).await,
                    Err(error) => Err(error),
                };
                let error = match written {
                    Ok((ticket, change)) => {
                        newest = newest.max(Some(ticket));
                        changes.push(change);
                        ErrorCode::None
                    }
                    Err(error) => error,
                };
                partitions
                    .push(WritableTxnMarkerPartitionResult { partition_index, error_code: error.code() });
            }
            topics.push(WritableTxnMarkerTopicResult { name, partitions });
        }
        markers.push(WritableTxnMarkerResult { producer_id: id.0, topics });
    }
    let Some(newest) = newest else { return WriteTxnMarkersResponse { markers } };
    let safe = call.node.store.wait(newest, Durability::Durable).await;
    changes.into_iter().for_each(|change: Change| change.settle(&safe));
    if let Err(error) = safe {
        tracing::error!(%error, "the log stopped before markers were safe");
        let topics = markers.iter_mut().flat_map(|marker| &mut marker.topics);
        let partitions = topics.flat_map(|topic| &mut topic.partitions);
        partitions.for_each(|partition| partition.error_code = ErrorCode::KafkaStorageError.code());
    }
    WriteTxnMarkersResponse { markers }
}

async fn write(
    call: &Call<'_>,
    topic: &str,
    partition: i32,
    marker: &RecordBatch,
    event: AuditEvent<'_>,
) -> Result<(Ticket, Change), ErrorCode> {
    let topic = call.node.topics.named(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(PartitionId(partition)).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let change = call.begin(event);
    match call.node.append(partition, marker).await {
        Ok(appended) => Ok((appended.ticket, change)),
        Err(AppendError::InvalidProducer { .. }) => {
            change.forget();
            Err(ErrorCode::InvalidRequest)
        }
        Err(error) => {
            change.forget();
            tracing::warn!(partition = %partition.id, %error, "a marker cannot be written");
            Err(topic_error::of_append(&error))
        }
    }
}
