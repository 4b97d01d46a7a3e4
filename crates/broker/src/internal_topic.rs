//! Topics of the broker's own: the latest value of each key is its state.
//!
//! Records that a later one replaced are given up by rewriting the live ones and trimming what lies before them, so
//! an internal topic stays within a small multiple of its live bytes.

use crate::partition::Partition;
use bytes::Bytes;
use keyway_kafka_wire::records;
use keyway_log::{AppendError, Durability, LogStore, ReadError, ReadLimit, StoreError, Ticket};
use keyway_record::{
    KeyHash, LeaderEpoch, Offset, PartitionId, Record, Timestamp, TopicId, TopicName, TopicPartition,
    batch::BatchBuilder, limits,
};
use keyway_runtime::{Clock, World};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

/// Bytes of replaced records that are kept before the live ones are rewritten, at least.
const GARBAGE_BYTES_MIN: usize = 4 * 1024 * 1024;

/// Bytes of records after which a batch is closed, and the part of a rewrite that one put carries.
const BATCH_BYTES: usize = 256 * 1024;

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
    rewrite: Option<Rewrite>,
}

/// A rewrite of the live values that is under way. Each put carries a part of it, so that none waits for all of it.
struct Rewrite {
    /// Once every value is written again, everything before this offset is given up.
    until: Offset,
    /// Bytes of records before it.
    until_bytes: usize,
    /// The last key that was written again.
    after: Bytes,
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
    #[error("internal topic {topic}: {reason}; was the data folder written by a newer version?")]
    Malformed {
        /// The internal topic.
        topic: String,
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

    /// Sets or removes (`None`) values, in one batch if they are few, and returns once they are durable. At least one.
    pub(crate) async fn put(&self, entries: Vec<(Bytes, Option<Bytes>)>) -> Result<(), InternalTopicError> {
        let ticket = self.put_staged(entries).await?;
        self.wait(ticket).await
    }

    /// [`InternalTopic::put`] of what `apply` changes in memory, as soon as the log has it. Whoever leaves during the wait, as
    /// a request does with its connection, leaves both changed.
    pub(crate) async fn put_and<T>(
        &self,
        entries: Vec<(Bytes, Option<Bytes>)>,
        apply: impl FnOnce() -> T,
    ) -> Result<T, InternalTopicError> {
        let ticket = self.put_staged(entries).await?;
        let applied = apply();
        self.wait(ticket).await?;
        Ok(applied)
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

    /// The leader epoch of the topic's log, and its high watermark.
    pub(crate) fn position(&self) -> (LeaderEpoch, Offset) {
        (self.partition.leader_epoch(), self.partition.log.bounds().high_watermark)
    }

    /// The error for a record that its owner cannot read.
    pub(crate) fn malformed(&self, reason: impl ToString) -> InternalTopicError {
        InternalTopicError::Malformed {
            topic: self.partition.id.topic.to_string(),
            reason: reason.to_string(),
        }
    }

    /// The state changes under the same lock as the append, so it has the log's order.
    fn try_put(&self, entries: &[(Bytes, Option<Bytes>)]) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        let ticket = self.append(entries.iter().map(|(key, value)| (key, value.as_ref())))?;
        for (key, value) in entries {
            state.set(key.clone(), value.clone());
        }
        if state.rewrite.is_some() || state.log_bytes > GARBAGE_BYTES_MIN + 4 * state.live_bytes {
            // Full staging memory leaves this part to the next put; a log that stopped tells the next put itself.
            _ = self.rewrite_part(&mut state);
        }
        Ok(ticket)
    }

    /// Appends the next live values again, or gives up what lies before the rewrite if that was the last of them. A crash
    /// in between leaves old and new values, which replay to the same.
    fn rewrite_part(&self, state: &mut State) -> Result<(), AppendError> {
        let State { live, log_bytes, rewrite, .. } = state;
        let begin = || Rewrite {
            until: self.partition.log.bounds().end,
            until_bytes: *log_bytes,
            after: Bytes::new(),
        };
        let Rewrite { until, until_bytes, after } = rewrite.get_or_insert_with(begin);
        let mut bytes = 0;
        let rest = live.range::<Bytes, _>((Bound::Excluded(&*after), Bound::Unbounded));
        let part: Vec<_> = rest
            .take_while(|(key, value)| {
                let first = bytes == 0;
                bytes += key.len() + value.len();
                first || bytes <= BATCH_BYTES
            })
            .collect();
        let Some((last, _)) = part.last() else {
            self.partition.log.trim(*until)?;
            *log_bytes -= *until_bytes;
            *rewrite = None;
            return Ok(());
        };
        self.append(part.iter().map(|&(key, value)| (key, Some(value))))?;
        *after = (*last).clone();
        *log_bytes += part.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        Ok(())
    }

    /// Appends the entries in as few batches as their bytes allow; the ticket is the last one's. On an error some of them
    /// may be in the log; appending all of them again is harmless.
    fn append<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)>,
    ) -> Result<Ticket, AppendError> {
        let now = Timestamp(self.clock.wall_ms());
        let mut ticket = None;
        let mut batch = BatchBuilder::new(now);
        for (key, value) in entries {
            batch.push(now, Record { key: Some(key.clone()), value: value.cloned(), ..Record::default() });
            if batch.len() >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, BatchBuilder::new(now));
                ticket = Some(self.partition.append(&full.build())?.ticket);
            }
        }
        if !batch.is_empty() {
            ticket = Some(self.partition.append(&batch.build())?.ticket);
        }
        Ok(ticket.expect("there is something to append"))
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
        let limit = ReadLimit::bytes(1024 * 1024);
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
                let malformed = |reason: String| InternalTopicError::Malformed {
                    topic: topic(),
                    reason: format!("{reason}, at offset {offset}"),
                };
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use keyway_log::MemoryStore;
    use keyway_segment_log::{Drive, Options, SegmentStore};

    fn open(store: &Arc<dyn LogStore>) -> InternalTopic {
        InternalTopic::open("__test", &World::real(), store).unwrap()
    }

    /// A small generator of its own: the same numbers in each run.
    fn random(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize
    }

    #[tokio::test]
    async fn what_was_put_last_is_there_after_every_reopening_and_the_log_stays_small() {
        let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
        let mut topic = open(&store);
        let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut seed = 7;
        let mut written = 0;
        for turn in 0..6_000 {
            let key = Bytes::from(format!("key-{}", random(&mut seed) % 100));
            let value = (!random(&mut seed).is_multiple_of(10))
                .then(|| Bytes::from(vec![turn as u8; random(&mut seed) % 20_000]));
            written += value.as_ref().map_or(0, Bytes::len);
            match &value {
                Some(value) => _ = model.insert(key.clone(), value.clone()),
                None => _ = model.remove(&key),
            }
            topic.put(vec![(key, value)]).await.unwrap();
            if turn % 500 == 0 {
                topic = open(&store);
            }
        }
        let entries = || model.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(topic.entries(), entries());
        let reopened = open(&store);
        assert_eq!(reopened.entries(), entries());
        let live: usize = model.values().map(Bytes::len).sum();
        let log = reopened.state().log_bytes;
        // At the trigger the log holds the bound; while the rewrite goes on, the live values once more and new ones.
        assert!(log < 2 * (GARBAGE_BYTES_MIN + 5 * live), "{log} bytes in the log for {live} live ones");
        assert!(written > 4 * log, "{written} bytes were written, {log} are kept: it was never rewritten");
    }

    #[tokio::test]
    async fn who_leaves_during_the_wait_leaves_memory_and_log_alike() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { drive: Drive::Steps, ..Options::default() };
        let store = SegmentStore::open(&World::real(), folder.path().into(), options).unwrap();
        let topic = open(&(Arc::new(store) as Arc<dyn LogStore>));
        let entry = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
        let mut memory = None;
        let put =
            topic.put_and(vec![(entry.0.clone(), Some(entry.1.clone()))], || memory = Some(entry.clone()));
        assert!(put.now_or_never().is_none(), "nobody has made it durable");
        assert_eq!(topic.entries(), Vec::from_iter(memory));
        assert_eq!(topic.entries(), [entry]);
    }

    #[tokio::test]
    async fn many_values_at_once_are_split_and_all_there() {
        let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
        let entries: Vec<_> =
            (0..50u8).map(|i| (Bytes::from(vec![i]), Some(Bytes::from(vec![i; 20_000])))).collect();
        open(&store).put(entries.clone()).await.unwrap();
        let back: Vec<_> =
            open(&store).entries().into_iter().map(|(key, value)| (key, Some(value))).collect();
        assert_eq!(back, entries);
    }
}
