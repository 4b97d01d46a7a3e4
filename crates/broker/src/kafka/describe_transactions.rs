//! DescribeTransactions: where transactional ids stand.

use super::call::Call;
use keyway_access::{Operation, Resource};
use keyway_groups::{TransactionalId, transaction::Transaction};
use keyway_kafka_wire::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, describe_transactions::*,
};
use keyway_record::ErrorCode;
use std::collections::BTreeMap;

pub(super) async fn handle(
    call: &Call<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        let found = match id.as_str() {
            id if !call.may(Operation::Describe, Resource::transactional_id(id)) => {
                Err(ErrorCode::TransactionalIdAuthorizationFailed)
            }
            "" => Err(ErrorCode::InvalidRequest),
            id => {
                let found = call.node.transactions.get(&TransactionalId::from(id)).await;
                found.ok_or(ErrorCode::TransactionalIdNotFound)
            }
        };
        transaction_states.push(match found {
            Ok(transaction) => described(call, id, &transaction),
            Err(error) => {
                TransactionState { error_code: error.code(), transactional_id: id, ..Default::default() }
            }
        });
    }
    DescribeTransactionsResponse { transaction_states, ..Default::default() }
}

/// Topics that the client may not know of are left out.
fn described(call: &Call<'_>, transactional_id: String, transaction: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in transaction.partitions() {
        topics.entry(partition.topic.as_str()).or_default().push(partition.partition.0);
    }
    let is_shown = |(topic, _): &(&str, _)| call.sees(Operation::Describe, Resource::topic(topic));
    let topic = |(topic, partitions): (&str, _)| TopicData { topic: topic.to_owned(), partitions };
    TransactionState {
        transactional_id,
        transaction_state: transaction.state().name().to_owned(),
        transaction_timeout_ms: transaction.timeout_ms(),
        transaction_start_time_ms: transaction.started().map_or(-1, |started| started.0),
        producer_id: transaction.producer().id.0,
        producer_epoch: transaction.producer().epoch.0,
        topics: topics.into_iter().filter(is_shown).map(topic).collect(),
        ..Default::default()
    }
}
