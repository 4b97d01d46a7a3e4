//! Receiving records.

use super::{Client, Connect, Failure, Record, TopicInfo, failure};
use krafka::{
    ConsumerRecord,
    consumer::{AutoOffsetReset, OffsetAndMetadata, TopicPartition},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Records per poll, and records held: with less the client throws fetched bytes away and asks for them again.
const POLL_RECORDS_MAX: i32 = 5_000;
const BUFFERED_RECORDS_MAX: i32 = 50_000;

/// Pause before the next try after an error that may pass.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Where to begin, if no group has a position there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// The oldest record that is still there.
    Beginning,
    /// After the last record.
    End,
}

/// Reads one topic: all partitions, or those that its group gives it.
pub(crate) struct Consumer {
    consumer: krafka::consumer::Consumer,
    topic: TopicInfo,
    connect: Arc<Connect>,
    /// Since when the broker gives only errors.
    failing_since: Option<Instant>,
}

impl Client {
    /// A consumer of its own, or a member of `group`. Takes the client, which must serve no other consumer.
    pub(crate) async fn consumer(
        self,
        topic: TopicInfo,
        start: Start,
        group: Option<&str>,
    ) -> Result<Consumer, Failure> {
        let builder = match group {
            Some(group) => self.kafka.consumer(group),
            None => self.kafka.consumer_without_group(),
        };
        let consumer = builder
            .auto_offset_reset(match start {
                Start::Beginning => AutoOffsetReset::Earliest,
                Start::End => AutoOffsetReset::Latest,
            })
            .enable_auto_commit(false)
            .max_poll_records(POLL_RECORDS_MAX)
            .max_buffered_records(BUFFERED_RECORDS_MAX)
            .metrics_push(false)
            .build()
            .await
            .map_err(self.failed())?;
        match group {
            Some(_) => consumer.subscribe([topic.name.as_str()]).await,
            None => consumer.assign(topic.name.as_str(), topic.partitions.clone()).await,
        }
        .map_err(self.failed())?;
        Ok(Consumer { consumer, topic, connect: self.connect, failing_since: None })
    }
}

impl Consumer {
    /// The next records, none if there are none within `wait`. An error that may pass is waited out, up to the
    /// connection's timeout. Dropping the future loses nothing.
    pub(crate) async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, Failure> {
        match self.consumer.poll(wait).await {
            Ok(records) => {
                self.failing_since = None;
                Ok(records.into_iter().map(Record::from).collect())
            }
            Err(error) => {
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                if !error.is_retriable() || since.elapsed() > self.connect.timeout() {
                    return Err(failure(&error, &self.connect));
                }
                tracing::debug!(%error, "the poll failed and is tried again");
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(Vec::new())
            }
        }
    }

    /// Whether everything before `ends` was handed out, in all partitions that this consumer reads.
    pub(crate) async fn has_reached(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let topic = self.topic.name.as_str();
        let Some(mine) = self.consumer.assignment().await.remove(topic) else { return false };
        for partition in &mine {
            let position = self.consumer.position(topic, *partition).await;
            if position.is_none() || position < ends.get(partition).copied() {
                return false;
            }
        }
        !mine.is_empty()
    }

    /// Tells the group that every record before `next` (by partition) is done.
    pub(crate) async fn commit(&self, next: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        let offsets = next.iter().map(|(&partition, &offset)| {
            (TopicPartition::new(self.topic.name.as_str(), partition), OffsetAndMetadata::new(offset))
        });
        self.consumer.commit_offsets(offsets).await.map_err(|error| failure(&error, &self.connect))
    }

    /// Leaves the group, if any, and stops.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.consumer.close().await.map_err(|error| failure(&error, &self.connect))
    }
}

impl From<ConsumerRecord> for Record {
    fn from(record: ConsumerRecord) -> Self {
        Self {
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }
}
