//! ListTransactions: all transactional ids, or those of a state, a producer, an age or a name.

use super::call::Call;
use keyway_access::{Operation, Resource};
use keyway_groups::{
    NamePattern,
    transaction::{State, Transaction},
};
use keyway_kafka_wire::messages::{
    ListTransactionsRequest, ListTransactionsResponse, list_transactions::TransactionState,
};

pub(super) async fn handle(call: &Call<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.filter(|pattern| !pattern.is_empty());
    let pattern = match pattern.as_deref().map(NamePattern::new).transpose() {
        Ok(pattern) => pattern,
        Err(error) => {
            return ListTransactionsResponse { error_code: error.code(), ..Default::default() };
        }
    };
    let is_state = |name: &String| State::ALL.iter().any(|state| state.name() == name);
    let (states, unknown_state_filters): (Vec<String>, Vec<String>) =
        request.state_filters.into_iter().partition(is_state);
    let filters_states = !states.is_empty() || !unknown_state_filters.is_empty();
    let now_ms = call.node.world.clock.wall_ms();
    let is_wanted = |id: &str, transaction: &Transaction| {
        let (name, producer) = (transaction.state().name(), transaction.producer().id.0);
        let lasted_ms = transaction.started().map(|started| now_ms.saturating_sub(started.0));
        (!filters_states || states.iter().any(|state| state == name))
            && (request.producer_id_filters.is_empty() || request.producer_id_filters.contains(&producer))
            // Whoever has not begun any counts as older than everything: Kafka's start is -1 then.
            && (request.duration_filter < 0
                || lasted_ms.is_none_or(|lasted_ms| lasted_ms > request.duration_filter))
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(id))
            && call.sees(Operation::Describe, Resource::transactional_id(id))
    };
    let all = call.node.transactions.all().await;
    let wanted = all.into_iter().filter(|(id, transaction)| is_wanted(id.as_str(), transaction));
    let listed = wanted.map(|(id, transaction)| TransactionState {
        transactional_id: id.to_string(),
        producer_id: transaction.producer().id.0,
        transaction_state: transaction.state().name().to_owned(),
    });
    ListTransactionsResponse {
        unknown_state_filters,
        transaction_states: listed.collect(),
        ..Default::default()
    }
}
