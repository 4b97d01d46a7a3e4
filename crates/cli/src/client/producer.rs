//! Sending records.

use super::{Client, Connect, Failure, TopicInfo, failure};
use bytes::Bytes;
use keyway_record::TopicName;
use krafka::producer::{DeliveryHandle, RecordMetadata};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// Who must have a record before it counts as sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Acks {
    /// on disk (and on all in-sync replicas, where the broker has replicas)
    All,
    /// the broker's operating system
    #[value(name = "1")]
    Leader,
    /// nobody: sent is enough
    #[value(name = "0")]
    None,
}

/// Sends records to one topic in the order in which it gets them.
pub(crate) struct Producer {
    producer: krafka::producer::Producer,
    client: Client,
    topic: TopicName,
    acks: Acks,
}

/// A record on its way; resolves to the partition and, unless `acks` is 0, the offset.
pub(crate) struct Delivery {
    handle: DeliveryHandle,
    connect: Arc<Connect>,
}

/// What a producer sends; the partition follows from the key if none is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewRecord {
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Bytes,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

impl Client {
    /// A producer for `topic`; idempotent where `acks` is [`Acks::All`].
    pub(crate) async fn producer(self, topic: TopicName, acks: Acks) -> Result<Producer, Failure> {
        let producer = self
            .kafka
            .producer()
            .acks(match acks {
                Acks::All => krafka::producer::Acks::All,
                Acks::Leader => krafka::producer::Acks::Leader,
                Acks::None => krafka::producer::Acks::None,
            })
            .idempotent(acks == Acks::All)
            .batch_size(128 * 1024)
            .linger(Duration::from_millis(1))
            .max_block(self.connect.timeout())
            .delivery_timeout(self.connect.timeout())
            .metrics_push(false)
            .build()
            .await
            .map_err(self.failed())?;
        Ok(Producer { producer, client: self, topic, acks })
    }
}

impl Producer {
    /// Takes a record in, which waits while too many bytes are on their way.
    pub(crate) async fn enqueue(&self, record: NewRecord) -> Result<Delivery, Failure> {
        let mut sent = krafka::Record::new(self.topic.as_str(), record.value);
        sent.partition = record.partition;
        sent.key = record.key;
        sent.headers = record.headers;
        let handle = self.producer.enqueue(sent).await.map_err(self.client.failed())?;
        Ok(Delivery { handle, connect: Arc::clone(&self.client.connect) })
    }

    /// The topic's partitions, ascending; creates the topic if the client may.
    pub(crate) async fn partitions(&self) -> Result<Vec<i32>, Failure> {
        let partitions =
            self.producer.partitions_for(self.topic.as_str()).await.map_err(self.client.failed())?;
        Ok(partitions.iter().map(|partition| partition.partition).collect())
    }

    /// Sends what was taken in and stops.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.producer.close().await.map_err(self.client.failed())?;
        if self.acks == Acks::None {
            // The client calls a record sent before the socket has it. A broker answers in order, so its answer to a
            // later question on the same connection says that it has read the records.
            let topic = TopicInfo { name: self.topic.clone(), partitions: self.partitions().await? };
            self.client.ends(&topic).await?;
        }
        Ok(())
    }
}

impl Future for Delivery {
    type Output = Result<(i32, Option<i64>), Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let placed =
            |metadata: RecordMetadata| (metadata.partition, metadata.is_success().then_some(metadata.offset));
        Pin::new(&mut self.handle)
            .poll(context)
            .map(|outcome| outcome.map(placed).map_err(|error| failure(&error, &self.connect)))
    }
}
