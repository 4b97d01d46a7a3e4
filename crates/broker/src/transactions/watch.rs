//! What happens to transactions by itself: timeouts, ends that could not be written everywhere, ids that nobody uses.

use super::{Transactions, next_id, unavailable, wall};
use crate::node::Node;
use keyway_groups::{TransactionalId, transaction::Transaction};
use keyway_record::ErrorCode;
use std::sync::Arc;

/// How often transactions are looked at, ms: bounds how late a timeout acts, and how late an end goes on after a disk had no
/// space. Kafka's `transaction.abort.timed.out.transaction.cleanup.interval.ms` is ten seconds.
const LOOK_EVERY_MS: u64 = 1_000;

/// How long an unused transactional id is remembered: Kafka's `transactional.id.expiration.ms`, 7 days.
const EXPIRATION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

impl Transactions {
    /// Ends what has to be ended until the broker stops. What a crash left undone comes first.
    pub(crate) async fn watch(&self, node: &Arc<Node>) {
        loop {
            let ids: Vec<TransactionalId> = self.slots().keys().cloned().collect();
            for id in ids {
                if let Err(error) = self.look(node, &id).await {
                    tracing::warn!(transactional_id = %id, ?error, "a transaction cannot be ended; it is tried again");
                }
            }
            let next = node.world.clock.now().plus(LOOK_EVERY_MS);
            tokio::select! {
                biased;
                () = node.stopping.cancelled() => return,
                () = node.world.clock.sleep_until(next) => {}
            }
        }
    }

    async fn look(&self, node: &Arc<Node>, id: &TransactionalId) -> Result<(), ErrorCode> {
        let Ok(slot) = self.slot(id) else { return Ok(()) };
        // Somebody is at it; it is not forgotten.
        let Ok(mut guard) = slot.try_lock() else { return Ok(()) };
        let now = wall(node);
        let is_expired = |transaction: &Transaction| transaction.is_expired(EXPIRATION_MS, now);
        if guard.transaction.as_ref().is_some_and(is_expired) {
            let gone = self.records.put_staged(vec![(id.record_key(), None)]).await;
            gone.map_err(|error| unavailable(&error))?;
            guard.transaction = None;
        }
        let Some(transaction) = &guard.transaction else {
            let mut slots = self.slots();
            // The list and this function hold it; nobody else waits to use it.
            if Arc::strong_count(&slot) == 2 {
                slots.remove(id);
            }
            return Ok(());
        };
        if transaction.marker().is_some() {
            return self.settle(node, id, &mut guard).await;
        }
        if !transaction.is_timed_out(now) {
            return Ok(());
        }
        tracing::info!(transactional_id = %id, timeout_ms = transaction.timeout_ms(), "a transaction has timed out and is aborted");
        let aborting = transaction.give_up(next_id(node, transaction).await?, now);
        self.store(id, &mut guard, aborting).await?;
        self.settle(node, id, &mut guard).await
    }
}
