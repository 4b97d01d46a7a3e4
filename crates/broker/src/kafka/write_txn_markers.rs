//! WriteTxnMarkers: markers from outside, as people end a transaction with that hangs in a partition. Transactions that this
//! broker coordinates get theirs from it.

use super::{call::Call, topic_error};
use keyway_access::{Operation, Resource};
use keyway_kafka_wire::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse, write_txn_markers::*};
use keyway_log::{AppendError, Durability, Ticket};
use keyway_record::{ErrorCode, Outcome, PartitionId, ProducerEpoch, ProducerId, RecordBatch, Timestamp};

pub(super) async fn handle(call: &Call<'_>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let permitted = match call.sees(Operation::Alter, Resource::CLUSTER) {
        true => Ok(()),
        false => call.check(Operation::ClusterAction, Resource::CLUSTER),
    };
    let (mut markers, mut newest) = (Vec::with_capacity(request.markers.len()), None);
    for marker in request.markers {
        let outcome = if marker.transaction_result { Outcome::Commit } else { Outcome::Abort };
        let (id, epoch) = (ProducerId(marker.producer_id), ProducerEpoch(marker.producer_epoch));
        let now = Timestamp(call.node.world.clock.wall_ms());
        let batch = RecordBatch::marker(id, epoch, outcome, marker.coordinator_epoch, now);
        let mut topics = Vec::with_capacity(marker.topics.len());
        for WritableTxnMarkerTopic { name, partition_indexes } in marker.topics {
            let mut partitions = Vec::with_capacity(partition_indexes.len());
            for partition_index in partition_indexes {
                let written = match permitted {
                    Ok(()) => write(call, &name, partition_index, &batch).await,
                    Err(error) => Err(error),
                };
                let error = match written {
                    Ok(ticket) => {
                        newest = newest.max(Some(ticket));
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
    if let Some(newest) = newest
        && let Err(error) = call.node.store.wait(newest, Durability::Durable).await
    {
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
) -> Result<Ticket, ErrorCode> {
    let topic = call.node.topics.named(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(PartitionId(partition)).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    match call.node.append(partition, marker).await {
        Ok(appended) => Ok(appended.ticket),
        Err(AppendError::InvalidProducer { .. }) => Err(ErrorCode::InvalidRequest),
        Err(error) => {
            tracing::warn!(partition = %partition.id, %error, "a marker cannot be written");
            Err(topic_error::of_append(&error))
        }
    }
}
