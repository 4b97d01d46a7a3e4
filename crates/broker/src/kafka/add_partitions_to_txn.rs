//! AddPartitionsToTxn: partitions take part in a producer's transaction. Clients of the first generation say so before they
//! write; from version 4 on brokers ask each other, for several transactions at once.

use super::{
    call::Call,
    lookup::{self, TopicRef},
    topic_error,
};
use keyway_access::{Operation, Resource};
use keyway_groups::transaction::{Part, Producer};
use keyway_kafka_wire::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, add_partitions_to_txn::*,
};
use keyway_record::{ErrorCode, PartitionId, ProducerEpoch, ProducerId, TopicPartition};
use std::collections::BTreeMap;

/// First version for brokers.
const BROKERS_FROM: i16 = 4;

/// First version that knows that a producer was fenced.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(
    call: &Call<'_>,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if call.version() < BROKERS_FROM {
        let id = request.v3_and_below_transactional_id.as_str();
        let permitted = call.check(Operation::Write, Resource::transactional_id(id));
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let results_by_topic_v3_and_below = match permitted {
            Ok(()) => add(call, transaction).await.topic_results,
            Err(error) => results(transaction.topics, |_, _| error),
        };
        return AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() };
    }
    if let Err(error) = call.check(Operation::ClusterAction, Resource::CLUSTER) {
        return AddPartitionsToTxnResponse { error_code: error.code(), ..Default::default() };
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
    let mut refused = BTreeMap::new();
    for topic in &asked.topics {
        for &index in &topic.partitions {
            match find(call, &topic.name, index) {
                Ok(found) => partitions.push(found),
                Err(error) => _ = refused.insert((topic.name.clone(), index), error),
            }
        }
    }
    let added = if !refused.is_empty() {
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
    let code_of = |topic: &str, index| refused.get(&(topic.to_owned(), index)).copied().unwrap_or(code);
    AddPartitionsToTxnResult {
        topic_results: results(asked.topics, code_of),
        transactional_id: asked.transactional_id,
    }
}

fn results(
    topics: Vec<AddPartitionsToTxnTopic>,
    code: impl Fn(&str, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let of_topic = |topic: AddPartitionsToTxnTopic| {
        let result = |&index: &i32| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: code(&topic.name, index).code(),
        };
        let results_by_partition = topic.partitions.iter().map(result).collect();
        AddPartitionsToTxnTopicResult { results_by_partition, name: topic.name }
    };
    topics.into_iter().map(of_topic).collect()
}

/// The partition; brokers, which ask for their clients, have looked at what those may.
fn find(call: &Call<'_>, topic: &str, index: i32) -> Result<TopicPartition, ErrorCode> {
    let name = TopicRef::Name(topic);
    let topic = match call.version() {
        ..BROKERS_FROM => lookup::permitted(call, name, Operation::Write)?,
        _ => lookup::topic(call.node, name).ok_or(name.unknown())?,
    };
    let partition = topic.partition(PartitionId(index)).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(partition.id.clone())
}
