//! Dealing with dead letters: publishing them again, or giving them up.

use super::{
    DeadLetterError, Part,
    letter::{self, Letter},
    parts,
    settled::RANGES_MAX,
};
use crate::{
    access::{AuditEvent, Caller},
    admin::{
        Shared,
        error::ApiError,
        extract::{Body, OfTopic},
    },
    node::Node,
    partition::Partition,
    topics::Topic,
};
use axum::{Extension, Json, extract::State};
use keyway_log::{AppendError, Durability, Ticket};
use keyway_record::{Offset, PartitionId, TopicName, TopicPartition, batch::BatchBuilder};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Bytes that are read, published and settled at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Bytes of records after which a batch is closed.
const BATCH_BYTES: usize = 256 * 1024;

/// How long one request works before it leaves the rest to the next.
const WORK_TIME_MAX: Duration = Duration::from_secs(5);

/// Refusals that one answer names; the others are counted.
const REFUSALS_MAX: usize = 100;

/// Which letters, and what with them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Replay {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    /// In place of each letter's own topic.
    #[serde(default)]
    to: Option<String>,
    /// The `rest` of the answer to go on from; absent for all that is there now.
    #[serde(default)]
    parts: Option<Vec<Part>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Purge {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    parts: Option<Vec<Part>>,
}

/// What was done; ask again with `rest` as `parts` until it is empty.
#[derive(Debug, Default, Serialize)]
pub(in crate::admin) struct Done {
    /// Letters that were replayed or purged.
    settled: u64,
    /// Letters that stay, although they were meant.
    refused: u64,
    /// The first of these.
    refusals: Vec<Refusal>,
    rest: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    partition: i32,
    offset: i64,
    reason: String,
}

/// What happens to a letter before it is settled.
enum Action {
    /// It is published, to this topic or to its own.
    Publish(Option<Arc<Topic>>),
    Nothing,
}

pub(in crate::admin) async fn replay(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    OfTopic(topic): OfTopic,
    Body(Replay { key, limit, to, parts }): Body<Replay>,
) -> Result<Json<Done>, ApiError> {
    let to = match to {
        Some(name) => Some(node.topics.named(&name).ok_or(ApiError::UnknownTopic { topic: name })?),
        None => None,
    };
    let work = Work::new(node, topic, key, limit, Action::Publish(to));
    work.run(&caller, parts).await
}

pub(in crate::admin) async fn purge(
    State(node): State<Shared>,
    Extension(caller): Extension<Arc<Caller>>,
    OfTopic(topic): OfTopic,
    Body(Purge { key, limit, parts }): Body<Purge>,
) -> Result<Json<Done>, ApiError> {
    Work::new(node, topic, key, limit, Action::Nothing).run(&caller, parts).await
}

struct Work {
    node: Arc<Node>,
    topic: Arc<Topic>,
    key: Option<String>,
    limit: u64,
    action: Action,
    done: Done,
}

impl Work {
    fn new(
        node: Arc<Node>,
        topic: Arc<Topic>,
        key: Option<String>,
        limit: Option<u64>,
        action: Action,
    ) -> Self {
        Self { node, topic, key, limit: limit.unwrap_or(u64::MAX), action, done: Done::default() }
    }

    /// On a task of its own: a client that goes away must not stop it between publishing and settling.
    async fn run(mut self, caller: &Caller, asked: Option<Vec<Part>>) -> Result<Json<Done>, ApiError> {
        let working = self.node.dead_letters.working.clone();
        let turn = working.try_lock_owned().map_err(|_| DeadLetterError::Busy)?;
        self.done.rest = parts(&self.topic, asked)?;
        let change = self.node.audit.begin(caller, self.event());
        let tasks = self.node.tasks.clone();
        let task = tasks.spawn(async move {
            let worked = self.work().await;
            drop(turn);
            match &worked {
                Ok(()) if self.done.settled == 0 => change.forget(),
                Ok(()) => change.made(),
                // Some of them may be settled, so its outcome is unknown.
                Err(_) => drop(change),
            }
            worked.map(|()| self.done)
        });
        Ok(Json(task.await.map_err(|_| DeadLetterError::Panicked)??))
    }

    fn event(&self) -> AuditEvent<'_> {
        let (topic, key) = (self.topic.name.as_str(), self.key.as_deref());
        match &self.action {
            Action::Publish(to) => {
                let to = to.as_ref().map(|to| to.name.as_str());
                AuditEvent::DeadLettersReplayed { topic, key, to }
            }
            Action::Nothing => AuditEvent::DeadLettersPurged { topic, key },
        }
    }

    async fn work(&mut self) -> Result<(), DeadLetterError> {
        let until = Instant::now() + WORK_TIME_MAX;
        while let Some(&part) = self.done.rest.first() {
            if self.done.settled >= self.limit || Instant::now() >= until || self.node.stopping.is_cancelled()
            {
                return Ok(());
            }
            let next = self.chunk(part).await?;
            if next >= part.end || next == part.from {
                self.done.rest.remove(0);
            } else {
                self.done.rest[0].from = next;
            }
        }
        Ok(())
    }

    /// Deals with the letters of a chunk; returns the offset after the last one that was looked at.
    async fn chunk(&mut self, part: Part) -> Result<i64, DeadLetterError> {
        let topic = self.topic.clone();
        let partition = topic.partition(PartitionId(part.partition)).expect("parts name partitions");
        let read = letter::read(&*partition.log, Offset(part.from), CHUNK_BYTES)?;
        let mut next = read.next.0.min(part.end);
        let before = self.node.dead_letters.settled.of(&partition.id);
        let mut chosen = Vec::new();
        let mut kept = Vec::new();
        for letter in read.letters {
            let offset = letter.offset.0;
            if offset >= next {
                break;
            }
            if before.contains(offset) {
                continue;
            }
            if !self.key.as_deref().is_none_or(|key| letter.has_key(key)) {
                kept.push(offset);
            } else if self.done.settled + chosen.len() as u64 >= self.limit {
                next = offset;
            } else {
                chosen.push(letter);
            }
        }
        if before.len() + kept.len() > RANGES_MAX {
            return Err(DeadLetterError::TooManyRanges { max: RANGES_MAX });
        }
        let count = chosen.len() as u64;
        let refusals = match &self.action {
            Action::Publish(to) => self.publish(to.as_ref(), chosen).await?,
            Action::Nothing => Vec::new(),
        };
        self.done.settled += count - refusals.len() as u64;
        self.done.refused += refusals.len() as u64;
        kept.extend(refusals.iter().map(|&(offset, _)| offset));
        kept.sort_unstable();
        let room = REFUSALS_MAX.saturating_sub(self.done.refusals.len());
        self.done.refusals.extend(refusals.into_iter().take(room).map(|(offset, reason)| Refusal {
            partition: part.partition,
            offset,
            reason,
        }));
        let mut settled = before;
        let mut from = part.from;
        for offset in kept {
            settled.insert(from..offset);
            from = offset + 1;
        }
        settled.insert(from..next);
        self.node.dead_letters.settled.settle(&self.node, partition, settled).await?;
        Ok(next)
    }

    /// Publishes letters in their order; durable when this returns. Returns those that cannot be published, and why.
    async fn publish(
        &self,
        to: Option<&Arc<Topic>>,
        letters: Vec<Letter>,
    ) -> Result<Vec<(i64, String)>, DeadLetterError> {
        let mut refused = Vec::new();
        let mut by_target: BTreeMap<TopicPartition, (Arc<Partition>, Vec<Letter>)> = BTreeMap::new();
        for letter in letters {
            match self.target(to, &letter) {
                Ok(target) => {
                    let entry = by_target.entry(target.id.clone()).or_insert_with(|| (target, Vec::new()));
                    entry.1.push(letter);
                }
                Err(reason) => refused.push((letter.offset.0, reason)),
            }
        }
        let mut newest = Ticket::default();
        for (target, letters) in by_target.into_values() {
            newest = newest.max(append(&self.node, &target, &letters).await?);
        }
        self.node.store.wait(newest, Durability::Durable).await?;
        Ok(refused)
    }

    /// Where the letter goes. A key keeps to one partition, as it did before.
    fn target(&self, to: Option<&Arc<Topic>>, letter: &Letter) -> Result<Arc<Partition>, String> {
        let topic = match to {
            Some(topic) => topic.clone(),
            None => {
                let name = letter.original_topic().ok_or("it does not say which topic it came from")?;
                self.topic_to_write(&name)?
            }
        };
        if topic.id == self.topic.id {
            return Err("it would go back into the dead-letter topic".to_owned());
        }
        let index = letter.original_partition().rem_euclid(topic.partitions.len() as i32);
        Ok(topic.partition(PartitionId(index)).expect("a remainder is an index").clone())
    }

    fn topic_to_write(&self, name: &TopicName) -> Result<Arc<Topic>, String> {
        self.node.topics.named(name.as_str()).ok_or_else(|| format!("its topic '{name}' does not exist"))
    }
}

async fn append(node: &Node, target: &Partition, letters: &[Letter]) -> Result<Ticket, AppendError> {
    let mut ticket = Ticket::default();
    let mut rest = letters;
    while let Some(first) = rest.first() {
        let mut batch = BatchBuilder::new(first.timestamp);
        while let Some((letter, after)) = rest.split_first()
            && (batch.is_empty() || batch.len() + letter.record.payload_len() <= BATCH_BYTES)
        {
            batch.push(letter.timestamp, letter.original());
            rest = after;
        }
        ticket = ticket.max(node.append(target, &batch.build()).await?.ticket);
    }
    Ok(ticket)
}
