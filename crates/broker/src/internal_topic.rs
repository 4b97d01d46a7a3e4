//! Topics of the broker's own: the latest value of each key is its state.
//!
//! Records that a later one replaced are given up by rewriting the live ones and trimming what lies before them, so
//! an internal topic stays within a small multiple of its live bytes.

use crate::partition::Partition;
use bytes::Bytes;
use keyway_kafka_wire::records;
use keyway_log::{AppendError, Durability, LogStore, ReadError, ReadLimit, StoreError, Ticket};
use keyway_record::{
    KeyHash, Offset, PartitionId, Record, Timestamp, TopicId, TopicName, TopicPartition, batch::BatchBuilder,
    limits,
};
use keyway_runtime::{Clock, World};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// Bytes of replaced records that are kept before the live ones are rewritten, at least.
const GARBAGE_BYTES_MIN: usize = 4 * 1024 * 1024;

/// Bytes of records in one batch of a rewrite.
const REWRITE_BATCH_BYTES: usize = 256 * 1024;

/// One internal topic with one partition.
pub(crate) struct InternalTopic {
    partition: Partition,
    store: Arc<dyn LogStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// The latest value of each key, and how many bytes the log holds for them.
#[derive(Default)]
struct State {
    live: BTreeMap<Bytes, Bytes>,
    live_bytes: usize,
    log_bytes: usize,
}

/// Why the broker's own records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum InternalTopicError {
    /// The store refused the topic.
    #[error("internal topic {topic}: {cause}")]
    Store {
        /// The internal topic.
        topic: String,
        /// What the store said.
        #[source]
        cause: StoreError,
    },
    /// The topic's records could not be read.
    #[error("internal topic {topic}: {cause}")]
    Read {
        /// The internal topic.
        topic: String,
        /// What the log said.
        #[source]
        cause: ReadError,
    },
    /// A record could not be appended.
    #[error("internal topic {topic}: {cause}")]
    Append {
        /// The internal topic.
        topic: String,
        /// What the log said.
        #[source]
        cause: AppendError,
    },
    /// A record is not of a form that this version knows.
    #[error(
        "internal topic {topic} at offset {offset}: {reason}; was the data folder written by a newer version?"
    )]
    Malformed {
        /// The internal topic.
        topic: String,
        /// Where the record lies.
        offset: Offset,
        /// What was found.
        reason: String,
    },
}

impl InternalTopic {
    /// Opens or creates the topic and reads it from start to end.
    pub(crate) fn open(
        name: &str,
        world: &World,
        store: &Arc<dyn LogStore>,
    ) -> Result<Self, InternalTopicError> {
        let topic = TopicName::new(name).expect("internal topics have legal names");
        assert!(topic.is_internal(), "{topic} is not an internal name");
        let topic_id = TopicId(KeyHash::of(name.as_bytes()).0.to_be_bytes());
        let id = TopicPartition { topic, topic_id, partition: PartitionId(0) };
        let opened = match store.open(&id) {
            Err(StoreError::Unknown { .. }) => store.create(&id),
            opened => opened,
        };
        let log = opened.map_err(|cause| InternalTopicError::Store { topic: name.to_owned(), cause })?;
        let partition = Partition::new(id, log);
        let state = Mutex::new(State::replay(&partition)?);
        Ok(Self { partition, store: store.clone(), clock: world.clock.clone(), state })
    }

    /// The latest value of every key, sorted by key.
    pub(crate) fn entries(&self) -> Vec<(Bytes, Bytes)> {
        self.state().live.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Sets or removes (`None`) values in one batch and returns once they are durable.
    pub(crate) async fn put(&self, entries: Vec<(Bytes, Option<Bytes>)>) -> Result<(), InternalTopicError> {
        let ticket = self.put_staged(entries).await?;
        self.wait(ticket).await
    }

    /// [`InternalTopic::put`] without the wait; see [`InternalTopic::wait`].
    pub(crate) async fn put_staged(
        &self,
        entries: Vec<(Bytes, Option<Bytes>)>,
    ) -> Result<Ticket, InternalTopicError> {
        loop {
            match self.try_put(&entries) {
                Err(AppendError::Full) => self.store.room().await,
                done => return done.map_err(|cause| self.append_error(cause)),
            }
        }
    }

    /// Returns once everything up to `ticket` is durable.
    pub(crate) async fn wait(&self, ticket: Ticket) -> Result<(), InternalTopicError> {
        let waited = self.store.wait(ticket, Durability::Durable).await;
        waited
            .map_err(|cause| InternalTopicError::Store { topic: self.partition.id.topic.to_string(), cause })
    }

    /// The state changes under the same lock as the append, so it has the log's order.
    fn try_put(&self, entries: &[(Bytes, Option<Bytes>)]) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        let mut ticket = self.append(entries)?;
        for (key, value) in entries {
            state.set(key.clone(), value.clone());
        }
        if state.log_bytes > GARBAGE_BYTES_MIN + 4 * state.live_bytes {
            ticket = self.rewrite(&mut state)?.max(ticket);
        }
        Ok(ticket)
    }

    /// Appends every live value again and gives up what lies before. A crash in between leaves both, which is the same.
    fn rewrite(&self, state: &mut State) -> Result<Ticket, AppendError> {
        let end = self.partition.log.bounds().end;
        let mut entries = Vec::new();
        let mut entries_bytes = 0;
        for (key, value) in &state.live {
            entries_bytes += key.len() + value.len();
            entries.push((key.clone(), Some(value.clone())));
            if entries_bytes >= REWRITE_BATCH_BYTES {
                // Full staging memory ends the attempt; the next put tries again.
                self.append(&entries)?;
                entries.clear();
                entries_bytes = 0;
            }
        }
        if !entries.is_empty() {
            self.append(&entries)?;
        }
        state.log_bytes = state.live_bytes;
        self.partition.log.trim(end)
    }

    fn append(&self, entries: &[(Bytes, Option<Bytes>)]) -> Result<Ticket, AppendError> {
        let now = Timestamp(self.clock.wall_ms());
        let mut batch = BatchBuilder::new(now);
        for (key, value) in entries {
            batch.push(now, Record { key: Some(key.clone()), value: value.clone(), ..Record::default() });
        }
        Ok(self.partition.append(&batch.build())?.ticket)
    }

    fn append_error(&self, cause: AppendError) -> InternalTopicError {
        InternalTopicError::Append { topic: self.partition.id.topic.to_string(), cause }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the state is locked")
    }
}

impl State {
    fn replay(partition: &Partition) -> Result<Self, InternalTopicError> {
        let topic = || partition.id.topic.to_string();
        let limit = ReadLimit { bytes_max: 1024 * 1024 };
        let mut state = Self::default();
        let mut next = partition.log.bounds().start;
        loop {
            let slice = partition
                .log
                .read(next, limit)
                .map_err(|cause| InternalTopicError::Read { topic: topic(), cause })?;
            if slice.is_empty() {
                return Ok(state);
            }
            for batch in slice.batches() {
                let offset = batch.base_offset();
                let malformed =
                    |reason: String| InternalTopicError::Malformed { topic: topic(), offset, reason };
                let walk =
                    records(&batch, limits::DECOMPRESSED_BYTES_MAX).map_err(|e| malformed(e.to_string()))?;
                for record in walk {
                    let record = record.map_err(|e| malformed(e.to_string()))?;
                    let key = record.key.ok_or_else(|| malformed("a record without a key".to_owned()))?;
                    state.set(
                        Bytes::copy_from_slice(&key),
                        record.value.map(|v: Bytes| Bytes::copy_from_slice(&v)),
                    );
                }
            }
            next = slice.next;
        }
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let key_len = key.len();
        let value_len = value.as_ref().map_or(0, Bytes::len);
        self.log_bytes += key_len + value_len;
        let replaced = match value {
            Some(value) => {
                self.live_bytes += key_len + value_len;
                self.live.insert(key, value)
            }
            None => self.live.remove(&key),
        };
        if let Some(replaced) = replaced {
            self.live_bytes -= key_len + replaced.len();
        }
    }
}
