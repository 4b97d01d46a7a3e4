//! krafka, written in Rust alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, ensure};
use krafka::admin::{CreateTopicsOptions, NewTopic};
use krafka::auth::AuthConfig;
use krafka::consumer::{AutoOffsetReset, Consumer, GroupProtocol, IsolationLevel};
use krafka::producer::{TopicPartitionOffset, TransactionalProducer};
use krafka::{Compression, Kafka, Record};

use crate::{Client, Codec, End, Member, PARTITIONS, Received, Transactor, key_of};

/// krafka, at a broker, under a group protocol.
pub struct Krafka {
    address: String,
    protocol: GroupProtocol,
    login: AuthConfig,
}

impl Krafka {
    /// For groups of the older protocol.
    pub fn classic(address: &str) -> Self {
        Self::new(address, GroupProtocol::Classic)
    }

    /// For groups of KIP-848.
    pub fn consumer(address: &str) -> Self {
        Self::new(address, GroupProtocol::Consumer)
    }

    fn new(address: &str, protocol: GroupProtocol) -> Self {
        Self { address: address.to_string(), protocol, login: AuthConfig::plaintext() }
    }

    /// The same that says who it is.
    pub fn with(self, login: AuthConfig) -> Self {
        Self { login, ..self }
    }

    /// Connections of its own for everyone: two classic members on one connection wait for each other.
    async fn connect(&self) -> anyhow::Result<Kafka> {
        let builder = Kafka::builder(self.address.as_str()).allow_auto_create_topics(true);
        Ok(builder.security(self.login.clone()).connect().await?)
    }
}

fn record(topic: &str, number: u32) -> Record {
    let value = number.to_string();
    Record::new(topic, value.clone()).key(key_of(number)).header("number", value)
}

impl Client for Krafka {
    type Member = Joined;
    type Transactor = Transactional;

    async fn create_topic(&self, topic: &str) -> anyhow::Result<()> {
        let admin = self.connect().await?.admin();
        let topic = NewTopic::new(topic, PARTITIONS, 1)?;
        for (name, created) in admin.create_topics([topic], CreateTopicsOptions::default()).await? {
            created.context(name)?;
        }
        Ok(())
    }

    async fn produce(&self, topic: &str, numbers: Range<u32>, codec: Codec) -> anyhow::Result<()> {
        let compression = match codec {
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
        };
        let producer = self.connect().await?.producer().compression(compression).build().await?;
        let mut acknowledgements = Vec::new();
        for number in numbers {
            acknowledgements.push(producer.enqueue(record(topic, number)).await?);
        }
        for acknowledgement in acknowledgements {
            ensure!(acknowledgement.await?.offset >= 0, "acknowledged without an offset");
        }
        producer.close().await?;
        Ok(())
    }

    async fn join(&self, group: &str, topic: &str) -> anyhow::Result<Joined> {
        let consumer = self
            .connect()
            .await?
            .consumer(group)
            .group_protocol(self.protocol)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted)
            .enable_auto_commit(false)
            .build()
            .await?;
        consumer.subscribe([topic]).await?;
        Ok(Joined { consumer, topic: topic.to_string(), next: BTreeMap::new() })
    }

    async fn transactor(&self, id: &str) -> anyhow::Result<Transactional> {
        let producer = self.connect().await?.producer();
        let producer =
            producer.transaction_timeout(Duration::from_secs(60)).delivery_timeout(Duration::from_secs(45));
        Ok(Transactional { producer: producer.build_transactional(id).await? })
    }
}

/// A consumer in a group.
pub struct Joined {
    consumer: Consumer,
    topic: String,
    /// By partition, the offset after the last record received.
    next: BTreeMap<i32, i64>,
}

impl Member for Joined {
    async fn receive(&mut self, wait: Duration) -> anyhow::Result<Vec<Received>> {
        let mut received = Vec::new();
        for record in self.consumer.poll(wait).await? {
            self.next.insert(record.partition, record.offset + 1);
            let header = record.headers.iter().find(|(name, _)| name == "number");
            received.push(Received {
                partition: record.partition,
                key: record.key.as_deref().map(<[u8]>::to_vec),
                value: record.value.as_deref().map(<[u8]>::to_vec),
                header: header.and_then(|(_, value)| value.as_deref()).map(<[u8]>::to_vec),
            });
        }
        Ok(received)
    }

    async fn partitions(&mut self) -> anyhow::Result<BTreeSet<i32>> {
        Ok(self.consumer.assignment().await.remove(&self.topic).unwrap_or_default().into_iter().collect())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        Ok(self.consumer.commit().await?)
    }

    async fn leave(self) -> anyhow::Result<()> {
        Ok(self.consumer.close().await?)
    }
}

/// A producer with a transactional id.
pub struct Transactional {
    producer: TransactionalProducer,
}

impl Transactor for Transactional {
    type Member = Joined;

    async fn transact(
        &mut self,
        topic: &str,
        numbers: &[u32],
        member: &mut Joined,
        end: End,
    ) -> anyhow::Result<()> {
        self.producer.begin()?;
        for number in numbers {
            // Whether it was written decides the end of the transaction.
            let _ = self.producer.send(record(topic, *number)).await?;
        }
        let group = member.consumer.group_metadata().await.context("not in a group")?;
        let next = member.next.iter();
        let offsets: Vec<_> = next
            .map(|(partition, offset)| TopicPartitionOffset::new(&member.topic, *partition, *offset))
            .collect();
        self.producer.send_offsets(&offsets, &group).await?;
        match end {
            End::Commit => self.producer.commit().await?,
            End::Abort => self.producer.abort().await?,
        }
        Ok(())
    }
}
