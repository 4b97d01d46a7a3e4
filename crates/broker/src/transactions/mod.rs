//! Transactions: this broker coordinates every transactional id. What must not be forgotten is in the internal topic
//! `__transactions`; the rules are those of [`keyway_groups::transaction`].
//!
//! Operations of one transactional id come one after the other, under its lock. Each puts the next state into the log before
//! what follows from it: the log keeps that order through a crash, so nothing waits for the disk but the answer. An end is
//! thus one flush: the decision, the markers in all partitions and the completion lie behind one another.
//!
//! **Invariant:** a record of a transaction is appended only under the lock of a transaction that it takes part in, so no
//! marker comes before it.

mod watch;

use crate::{
    groups::{AskError, Missing},
    internal_topic::{InternalTopic, InternalTopicError},
    node::Node,
    partition::Partition,
};
use keyway_groups::{
    CallerId, GroupId, Input, Reply, TransactionalId,
    transaction::{End, Init, Outcome, Part, Producer, Transaction, Version},
};
use keyway_log::{AppendError, Appended, LogStore, Ticket};
use keyway_record::{ErrorCode, ProducerId, RecordBatch, Timestamp};
use keyway_runtime::World;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Shared, MutexGuard as SharedGuard},
};
use tokio::sync::{Mutex, MutexGuard, oneshot};

/// The internal topic with the transactions.
const TOPIC: &str = "__transactions";

/// Most transactional ids; a client that makes them up must not use up the memory.
const IDS_MAX: usize = 100_000;

/// The epoch of the one coordinator there is.
const COORDINATOR_EPOCH: i32 = 0;

/// All transactional ids.
pub(crate) struct Transactions {
    records: InternalTopic,
    slots: Shared<BTreeMap<TransactionalId, Arc<Mutex<Slot>>>>,
}

/// One transactional id.
#[derive(Default)]
struct Slot {
    /// `None` if nobody has used it yet.
    transaction: Option<Transaction>,
    /// What to wait for before anyone is told of the state.
    ticket: Ticket,
}

/// Why a record of a transaction was not appended.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The transaction does not allow it.
    Transaction(ErrorCode),
    /// The log does not take it.
    Append(AppendError),
}

impl From<ErrorCode> for WriteError {
    fn from(error: ErrorCode) -> Self {
        Self::Transaction(error)
    }
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl Transactions {
    /// All transactions as the store has them.
    pub(crate) fn recover(world: &World, store: &Arc<dyn LogStore>) -> Result<Self, InternalTopicError> {
        let records = InternalTopic::open(TOPIC, world, store)?;
        let mut slots = BTreeMap::new();
        for (key, value) in records.entries() {
            let id = TransactionalId::of_record_key(&key).map_err(|error| records.malformed(error))?;
            let transaction = Transaction::decode(&value).map_err(|error| records.malformed(error))?;
            let slot = Slot { transaction: Some(transaction), ticket: Ticket::default() };
            slots.insert(id, Arc::new(Mutex::new(slot)));
        }
        Ok(Self { records, slots: Shared::new(slots) })
    }

    /// A producer begins, or goes on as who it was; whoever had the transactional id before is fenced, and the
    /// transaction it was in is aborted.
    pub(crate) async fn init(
        &self,
        node: &Arc<Node>,
        id: &TransactionalId,
        expected: Option<Producer>,
        timeout_ms: i32,
    ) -> Result<Producer, ErrorCode> {
        if !(1..=node.settings.now().transaction_timeout_ms_max).contains(&timeout_ms) {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let slot = self.slot_or_new(id)?;
        let mut slot = slot.lock().await;
        loop {
            let now = wall(node);
            let Some(transaction) = &slot.transaction else {
                let fresh = fresh_id(node).await?;
                self.store(id, &mut slot, Transaction::new(fresh, timeout_ms, now)).await?;
                break;
            };
            let fresh = next_id(node, transaction).await?;
            match transaction.init(expected, timeout_ms, fresh, now)? {
                Init::Begin(begun) => {
                    self.store(id, &mut slot, begun).await?;
                    break;
                }
                Init::Abort(aborting) => {
                    self.store(id, &mut slot, aborting).await?;
                    self.settle(node, id, &mut slot).await?;
                }
            }
        }
        let producer = slot.transaction.as_ref().expect("stored above").producer();
        self.durable(slot).await?;
        Ok(producer)
    }

    /// Partitions or a group take part in the producer's transaction from now on.
    pub(crate) async fn add(
        &self,
        node: &Arc<Node>,
        id: &TransactionalId,
        producer: Producer,
        part: Part<'_>,
    ) -> Result<(), ErrorCode> {
        let slot = self.slot(id)?;
        let mut slot = slot.lock().await;
        if let Some(after) = slot.used()?.add(producer, part, wall(node))? {
            self.store(id, &mut slot, after).await?;
        }
        self.durable(slot).await
    }

    /// Whether all of the part takes part in the producer's transaction.
    pub(crate) async fn verify(
        &self,
        id: &TransactionalId,
        producer: Producer,
        part: Part<'_>,
    ) -> Result<(), ErrorCode> {
        let slot = self.slot(id)?;
        let slot = slot.lock().await;
        slot.used()?.verify(producer, part)
    }

    /// Appends a batch of the producer's transaction. By the rules of [`Version::V2`] its partition takes part from now on.
    pub(crate) async fn append(
        &self,
        node: &Arc<Node>,
        id: &TransactionalId,
        partition: &Partition,
        batch: &RecordBatch,
        version: Version,
    ) -> Result<Appended, WriteError> {
        let producer = Producer { id: batch.producer_id(), epoch: batch.producer_epoch() };
        let slot = self.slot(id)?;
        let mut slot = slot.lock().await;
        let part = Part::Partitions(std::slice::from_ref(&partition.id));
        if let Some(after) = slot.used()?.write(producer, part, version, wall(node))? {
            // The log takes any first sequence of a producer that it does not know, as its records may be gone; in a
            // partition that takes part only now something would be missing.
            let given = batch.base_sequence();
            if given != 0 && !partition.knows_producer(producer.id) {
                let gap = AppendError::OutOfOrderSequence { producer_id: producer.id, expected: 0, given };
                return Err(WriteError::Append(gap));
            }
            // It lies before the batch in the log, so whoever finds the batch finds this.
            self.store(id, &mut slot, after).await?;
        }
        Ok(node.append(partition, batch).await?)
    }

    /// Hands the producer's offsets to the group, under the lock, so that no end comes before them. By the rules of
    /// [`Version::V2`] the group takes part from now on.
    pub(crate) async fn commit_offsets(
        &self,
        node: &Arc<Node>,
        id: &TransactionalId,
        producer: Producer,
        group: &GroupId,
        version: Version,
        input: impl FnOnce(CallerId) -> Input,
    ) -> Result<oneshot::Receiver<Reply>, ErrorCode> {
        let slot = self.slot(id)?;
        let mut slot = slot.lock().await;
        if let Some(after) = slot.used()?.write(producer, Part::Group(group), version, wall(node))? {
            self.store(id, &mut slot, after).await?;
        }
        let asked = node.groups.ask(node, group, Missing::Create, input).await;
        asked.map_err(|error| error.code(ErrorCode::CoordinatorNotAvailable))
    }

    /// The producer ends its transaction; the producer that it is from here on.
    pub(crate) async fn end(
        &self,
        node: &Arc<Node>,
        id: &TransactionalId,
        producer: Producer,
        outcome: Outcome,
        version: Version,
    ) -> Result<Producer, ErrorCode> {
        let slot = self.slot(id)?;
        let mut slot = slot.lock().await;
        let transaction = slot.used()?;
        let fresh = next_id(node, transaction).await?;
        let next = match transaction.end(producer, outcome, version, fresh, wall(node))? {
            End::Already(producer) => producer,
            End::Prepare(prepared) => {
                let next = prepared.next_producer();
                self.store(id, &mut slot, prepared).await?;
                self.settle(node, id, &mut slot).await?;
                next
            }
        };
        self.durable(slot).await?;
        Ok(next)
    }

    /// Where the transactional id stands, if anyone has used it.
    pub(crate) async fn get(&self, id: &TransactionalId) -> Option<Transaction> {
        let slot = self.slot(id).ok()?;
        let slot = slot.lock().await;
        slot.transaction.clone()
    }

    /// All transactional ids, sorted.
    pub(crate) async fn all(&self) -> Vec<(TransactionalId, Transaction)> {
        let slots: Vec<_> = self.slots().iter().map(|(id, slot)| (id.clone(), slot.clone())).collect();
        let mut all = Vec::with_capacity(slots.len());
        for (id, slot) in slots {
            all.extend(slot.lock().await.transaction.clone().map(|transaction| (id, transaction)));
        }
        all
    }

    /// Writes the markers of a decided transaction, and completes it if all could be written. What is missing is tried
    /// again later.
    async fn settle(&self, node: &Arc<Node>, id: &TransactionalId, slot: &mut Slot) -> Result<(), ErrorCode> {
        let Some(mut transaction) = slot.transaction.clone() else { return Ok(()) };
        let Some(marker) = transaction.marker() else { return Ok(()) };
        let now = wall(node);
        let Producer { id: producer_id, epoch } = marker.producer;
        let batch = RecordBatch::marker(producer_id, epoch, marker.outcome, COORDINATOR_EPOCH, now);
        for taking_part in transaction.partitions().clone() {
            let topic = node.topics.of_id(taking_part.topic_id);
            let partition = topic.as_ref().and_then(|topic| topic.partition(taking_part.partition));
            let Some(partition) = partition else {
                transaction.partition_marked(&taking_part);
                continue;
            };
            match node.append(partition, &batch).await {
                Ok(appended) => {
                    slot.ticket = slot.ticket.max(appended.ticket);
                    transaction.partition_marked(&taking_part);
                }
                Err(AppendError::Deleted) => transaction.partition_marked(&taking_part),
                Err(error) => {
                    tracing::warn!(transactional_id = %id, partition = %taking_part, %error, "a transaction cannot be ended in a partition; it is tried again");
                }
            }
        }
        for group in transaction.groups().clone() {
            let ended = |caller| Input::EndTransaction { caller, producer_id, outcome: marker.outcome };
            let told = match node.groups.ask(node, &group, Missing::Leave, ended).await {
                Ok(answer) => matches!(answer.await, Ok(Reply::EndTransaction(ErrorCode::None))),
                // It was deleted, and what waited in it went with it.
                Err(AskError::Unknown) => true,
                Err(AskError::Unavailable) => false,
            };
            match told {
                true => transaction.group_told(&group),
                false => {
                    tracing::warn!(transactional_id = %id, %group, "a transaction cannot be ended in a group; it is tried again");
                }
            }
        }
        match transaction.completed(now) {
            Some(completed) => self.store(id, slot, completed).await,
            None => {
                slot.transaction = Some(transaction);
                Ok(())
            }
        }
    }

    /// Makes `after` the state; it is durable with the slot's ticket.
    async fn store(
        &self,
        id: &TransactionalId,
        slot: &mut Slot,
        after: Transaction,
    ) -> Result<(), ErrorCode> {
        let ticket = self.records.put_staged(vec![(id.record_key(), Some(after.encode()))]).await;
        slot.ticket = slot.ticket.max(ticket.map_err(|error| unavailable(&error))?);
        slot.transaction = Some(after);
        Ok(())
    }

    /// Returns once the state is durable; others may go on meanwhile.
    async fn durable(&self, slot: MutexGuard<'_, Slot>) -> Result<(), ErrorCode> {
        let ticket = slot.ticket;
        drop(slot);
        self.records.wait(ticket).await.map_err(|error| unavailable(&error))
    }

    fn slot(&self, id: &TransactionalId) -> Result<Arc<Mutex<Slot>>, ErrorCode> {
        if id.as_str().is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.slots().get(id).cloned().ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    fn slot_or_new(&self, id: &TransactionalId) -> Result<Arc<Mutex<Slot>>, ErrorCode> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(id) {
            return Ok(slot.clone());
        }
        if slots.len() >= IDS_MAX {
            tracing::warn!(transactional_id = %id, max = IDS_MAX, "there are too many transactional ids");
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(slots.entry(id.clone()).or_default().clone())
    }

    fn slots(&self) -> SharedGuard<'_, BTreeMap<TransactionalId, Arc<Mutex<Slot>>>> {
        self.slots.lock().expect("no panic while transactional ids are looked up")
    }
}

impl Slot {
    fn used(&self) -> Result<&Transaction, ErrorCode> {
        self.transaction.as_ref().ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

fn wall(node: &Node) -> Timestamp {
    Timestamp(node.world.clock.wall_ms())
}

/// A fresh producer id, if the transaction's next epoch needs one.
async fn next_id(node: &Node, transaction: &Transaction) -> Result<Option<ProducerId>, ErrorCode> {
    if transaction.is_exhausted() { fresh_id(node).await.map(Some) } else { Ok(None) }
}

async fn fresh_id(node: &Node) -> Result<ProducerId, ErrorCode> {
    let allocated = node.producer_ids.allocate().await;
    allocated.map(|(id, _)| id).map_err(|error| unavailable(&error))
}

fn unavailable(error: &InternalTopicError) -> ErrorCode {
    tracing::error!("a transaction's state cannot be written: {error}");
    ErrorCode::CoordinatorNotAvailable
}
