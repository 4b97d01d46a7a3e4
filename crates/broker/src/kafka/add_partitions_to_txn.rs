//! AddPartitionsToTxn: partitions take part in a producer's transaction. Clients of the first generation say so before they
//! write; from version 4 on brokers ask each other, for several transactions at once.

use super::{call::Call, topic_error};
use keyway_groups::transaction::{Part, Producer};
use keyway_kafka_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, add_partitions_to_txn::*,
};
use keyway_record::{ErrorCode, PartitionId, ProducerEpoch, ProducerId, TopicPartition};

/// First version for brokers.
const BROKERS_FROM: i16 = 4;

/// First version that knows that a producer was fenced.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(
    call: &Call<'_>,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if call.version() < BROKERS_FROM {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let results_by_topic_v3_and_below = add(call, transaction).await.topic_results;
        return AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() };
    }
    let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
    for transaction in request.transactions {
        results_by_transaction.push(add(call, transaction).await);
    }
    AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() }
}

/// All partitions or none.
async fn add(call: &Call<'_>, asked: AddPartitionsToTxnTransaction) -> AddPartitionsToTxnResult {
    let mut partitions = Vec::new();
    let mut is_unknown = false;
    for topic in &asked.topics {
        for &index in &topic.partitions {
            let found = find(call, &topic.name, index);
            is_unknown |= found.is_none();
            partitions.extend(found);
        }
    }
    let added = if is_unknown {
        Err(ErrorCode::OperationNotAttempted)
    } else if asked.transactional_id.is_empty() {
        Err(ErrorCode::InvalidRequest)
    } else {
        let (id, epoch) = (ProducerId(asked.producer_id), ProducerEpoch(asked.producer_epoch));
        let (transactional_id, producer) = (asked.transactional_id.as_str().into(), Producer { id, epoch });
        let (transactions, part) = (&call.node.transactions, Part::Partitions(&partitions));
        match asked.verify_only {
            true => transactions.verify(&transactional_id, producer, part).await,
            false => transactions.add(call.node, &transactional_id, producer, part).await,
        }
    };
    let code = match added {
        Ok(()) => ErrorCode::None,
        Err(error) => topic_error::of_fencing(error, call.version() >= FENCED_FROM),
    };
    let topic_results = asked.topics.into_iter().map(|topic| {
        let result = |index| {
            let is_known = find(call, &topic.name, index).is_some();
            let code = if is_known { code } else { ErrorCode::UnknownTopicOrPartition };
            AddPartitionsToTxnPartitionResult { partition_index: index, partition_error_code: code.code() }
        };
        let results_by_partition = topic.partitions.iter().copied().map(result).collect();
        AddPartitionsToTxnTopicResult { results_by_partition, name: topic.name }
    });
    AddPartitionsToTxnResult {
        topic_results: topic_results.collect(),
        transactional_id: asked.transactional_id,
    }
}

fn find(call: &Call<'_>, topic: &str, index: i32) -> Option<TopicPartition> {
    let topic = call.node.topics.named(topic)?;
    topic.partition(PartitionId(index)).map(|partition| partition.id.clone())
}
