//! What every engine must do, as a suite that each engine runs.
//!
//! [`crate::contract_tests!`] makes a `#[test]` of every case; [`crate::contract_reopen_tests!`] adds those for engines
//! that outlive their process. Both take an expression that gives a fresh [`Home`].

pub mod append;
pub mod compaction;
pub mod lifecycle;
pub mod random;
pub mod read;
pub mod reopen;
pub mod retention;
pub mod threads;
pub mod transactions;
pub mod waiting;

use crate::{AppendError, Appended, Durability, LogStore, PartitionLog, ReadLimit, Slice, Ticket};
use bytes::Bytes;
use keyway_record::{
    LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Record, RecordBatch, Timestamp, TopicId,
    TopicName, TopicPartition, batch::BatchBuilder,
};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

/// A place for one store. Calling it opens the store: anew for an engine without a disk, with what it had for others.
/// The store before must be dropped first.
pub type Home = Box<dyn Fn() -> Arc<dyn LogStore>>;

/// How long anything may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a `#[test]` of every case that all engines pass; `$home` is an expression that gives a fresh [`Home`].
#[macro_export]
macro_rules! contract_tests {
    ($home:expr) => {
        $crate::contract_tests!(@ $home;
            append::offsets_are_dense
            append::batches_are_stored_verbatim
            append::retries_get_their_first_offsets
            append::gaps_and_old_epochs_are_refused
            append::full_takes_nothing_and_room_follows
            read::a_read_begins_with_the_batch_that_holds_the_offset
            read::a_read_returns_one_batch_at_least_and_no_more_than_fit
            read::offsets_outside_are_refused
            read::times_are_found
            read::trimmed_records_are_gone
            waiting::only_durable_records_are_readable
            waiting::tickets_cover_all_partitions
            waiting::a_reached_ticket_is_ready_at_once
            waiting::waiting_past_an_offset_wakes_once
            waiting::waiting_past_an_offset_ends_with_the_log
            lifecycle::partitions_come_and_go
            lifecycle::a_deleted_partition_refuses_everything
            lifecycle::a_new_life_starts_empty
            lifecycle::a_closed_store_takes_nothing_in
            retention::an_unconfigured_log_keeps_everything
            retention::old_records_go_and_young_ones_stay
            retention::a_young_record_keeps_its_neighbours_behind_it
            retention::records_without_a_time_do_not_age
            retention::surplus_bytes_go
            retention::a_config_acts_from_the_next_pass_on
            compaction::the_newest_of_each_key_stays_where_it_was
            compaction::tombstones_go_after_their_time
            compaction::young_records_are_left_alone
            compaction::records_without_a_key_stay
            compaction::producers_are_known_after_compaction
            compaction::codecs_and_times_stay
            transactions::an_open_transaction_holds_committed_readers_up
            transactions::a_marker_fences_the_epoch_before
            transactions::compaction_leaves_out_what_was_aborted
            threads::appenders_and_readers_keep_order
            random::random_histories_follow_the_model
        );
    };
    (@ $home:expr; $($module:ident::$case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::contract::$module::$case(&$home);
        })*
    };
}

/// Makes a `#[test]` of every case that engines with a disk pass besides; `$home` as in [`contract_tests!`].
#[macro_export]
macro_rules! contract_reopen_tests {
    ($home:expr) => {
        $crate::contract_tests!(@ $home;
            reopen::what_was_waited_for_is_kept
            reopen::a_close_keeps_everything
            reopen::producers_are_remembered
            reopen::creations_and_deletions_are_kept
            reopen::trims_are_kept
            retention::what_was_given_up_stays_so
            compaction::a_compacted_log_is_kept
            transactions::transactions_are_remembered
            random::random_histories_survive_reopening
        );
    };
}

/// Partition 0 of the topic `name`, whose id is made of its name.
#[must_use]
pub fn partition(name: &str) -> TopicPartition {
    let mut id = [0; 16];
    id.iter_mut().zip(name.bytes()).for_each(|(id, byte)| *id = byte);
    let topic = TopicName::new(name).expect("a legal name");
    TopicPartition { topic, topic_id: TopicId(id), partition: PartitionId(0) }
}

/// A batch of `count` records of the given time, each with a value of `value_len` bytes.
#[must_use]
pub fn batch(count: usize, value_len: usize, time: i64) -> RecordBatch {
    builder(count, value_len, time).build()
}

/// As [`batch`], from the idempotent producer `id`.
#[must_use]
pub fn batch_of(id: i64, epoch: i16, sequence: i32, count: usize) -> RecordBatch {
    builder(count, 10, 1_000).build_for(ProducerId(id), ProducerEpoch(epoch), sequence)
}

fn builder(count: usize, value_len: usize, time: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Timestamp(time));
    for index in 0..count {
        let value = Bytes::from(vec![index as u8; value_len]);
        builder.push(Timestamp(time), Record { value: Some(value), ..Record::default() });
    }
    builder
}

/// The epoch of a store that never lost anything.
pub const EPOCH: LeaderEpoch = LeaderEpoch(0);

/// Appends `batch`, as soon as there is room for it.
pub fn append(store: &dyn LogStore, log: &dyn PartitionLog, batch: &RecordBatch) -> Appended {
    loop {
        match log.append(batch) {
            Err(AppendError::Full) => block_on(store.room()),
            appended => return appended.expect("an open log takes the batch"),
        }
    }
}

/// Appends batches of one record each with the given times and waits until they are durable.
pub fn fill(store: &dyn LogStore, log: &dyn PartitionLog, times: impl IntoIterator<Item = i64>) {
    let mut last = Ticket::default();
    for time in times {
        last = append(store, log, &batch(1, 20, time)).ticket;
    }
    durable(store, last);
}

/// Waits until `ticket` is durable.
pub fn durable(store: &dyn LogStore, ticket: Ticket) {
    block_on(store.wait(ticket, Durability::Durable)).expect("the store is well");
}

/// Everything readable from `from` on, one read at a time.
#[must_use]
pub fn read_all(log: &dyn PartitionLog, from: Offset) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut next = from;
    loop {
        let slice: Slice = log.read(next, ReadLimit::bytes(10_000)).expect("a readable offset");
        if slice.is_empty() {
            assert_eq!(slice.next, next, "an empty read does not move on");
            return batches;
        }
        batches.extend(slice.batches());
        assert!(slice.next > next, "a read moves on");
        next = slice.next;
    }
}

/// Runs a future on this thread. Panics if it takes too long.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the future is not ready after {PATIENCE:?}");
        std::thread::park_timeout(left);
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub struct WakeCount(AtomicUsize);

impl WakeCount {
    /// A count of 0 and its waker.
    #[must_use]
    pub fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (count.clone(), Waker::from(count))
    }

    /// Wakes so far.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn home() -> Home {
        Box::new(|| Arc::new(MemoryStore::new()))
    }

    contract_tests!(home());
}
