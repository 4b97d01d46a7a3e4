//! Confluent's native client, which knows the consumer protocol of KIP-848 alone.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use anyhow::ensure;
use confluent_kafka::admin::{AdminClient, AdminClientConfig, NewTopic};
use confluent_kafka::common::TopicPartition;
use confluent_kafka::common::header::{Header, Headers, RecordHeaders};
use confluent_kafka::common::serialization::{
    ByteArrayDeserializer, ByteArraySerializer, StringDeserializer, StringSerializer,
};
use confluent_kafka::consumer::{Consumer, ConsumerConfig, KafkaConsumer, OffsetAndMetadata};
use confluent_kafka::producer::{KafkaProducer, Producer, ProducerConfig, ProducerRecord};
use rust_clients::{Client, Codec, End, Member, PARTITIONS, Received, Transactor, key_of};

struct Confluent {
    address: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Confluent { address: std::env::var("KAFKA")? };
    let group = rust_clients::group(&client, "grouped").await?;
    println!("{group}");
    rust_clients::unannounced(&client, "unannounced").await?;
    let copied = rust_clients::transactions(&client, "originals", "copies").await?;
    println!("{group}; {copied}");
    Ok(())
}

impl Confluent {
    fn settings(&self, more: &[(&str, &str)]) -> HashMap<String, String> {
        let all = [("bootstrap.servers", self.address.as_str())].into_iter().chain(more.iter().copied());
        all.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn producer(&self, more: &[(&str, &str)]) -> anyhow::Result<KafkaProducer<String, Vec<u8>>> {
        let config = ProducerConfig::new(&self.settings(more))?;
        Ok(KafkaProducer::new(config, StringSerializer::default(), ByteArraySerializer::default())?)
    }
}

/// Keys are text, as a header is added to a record of typed key and value.
fn record(topic: &str, number: u32) -> anyhow::Result<ProducerRecord<String, Vec<u8>>> {
    let value = number.to_string().into_bytes();
    let mut headers = RecordHeaders::new();
    headers.add_with_key_value("number", Some(&value))?;
    let (topic, key) = (topic.to_string(), Some(key_of(number)));
    Ok(ProducerRecord::with_partition_key_headers(topic, None, key, Some(value), headers)?)
}

impl Client for Confluent {
    type Member = Joined;
    type Transactor = Transactional;

    async fn create_topic(&self, topic: &str) -> anyhow::Result<()> {
        let admin = AdminClient::create(AdminClientConfig::new(&self.settings(&[]))?)?;
        let topic = NewTopic::with_num_partitions_replication_factor(topic, Some(PARTITIONS), Some(1));
        admin.create_topics(&[topic]).all().get().await?;
        Ok(())
    }

    async fn produce(&self, topic: &str, numbers: Range<u32>, codec: Codec) -> anyhow::Result<()> {
        let producer =
            self.producer(&[("enable.idempotence", "true"), ("compression.type", codec.name())])?;
        let mut acknowledgements = Vec::new();
        for number in numbers {
            acknowledgements.push(producer.send(record(topic, number)?).await?);
        }
        for acknowledgement in acknowledgements {
            ensure!(acknowledgement.get().await?.has_offset(), "acknowledged without an offset");
        }
        Ok(producer.close().await?)
    }

    async fn join(&self, group: &str, topic: &str) -> anyhow::Result<Joined> {
        let settings = self.settings(&[
            ("group.id", group),
            ("group.protocol", "consumer"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
        ]);
        let (key, value) = (StringDeserializer::default(), ByteArrayDeserializer::new());
        let mut consumer = KafkaConsumer::new(ConsumerConfig::new(&settings)?, key, value)?;
        consumer.subscribe_with_topics(vec![topic.to_string()]).await?;
        Ok(Joined { consumer, next: HashMap::new() })
    }

    async fn transactor(&self, id: &str) -> anyhow::Result<Transactional> {
        let producer = self.producer(&[("transactional.id", id)])?;
        producer.init_transactions().await?;
        Ok(Transactional { producer })
    }
}

struct Joined {
    consumer: KafkaConsumer<String, Vec<u8>>,
    /// By partition, the offset after the last record received.
    next: HashMap<TopicPartition, OffsetAndMetadata>,
}

impl Member for Joined {
    async fn receive(&mut self, wait: Duration) -> anyhow::Result<Vec<Received>> {
        let mut received = Vec::new();
        for record in self.consumer.poll(wait).await? {
            let partition = TopicPartition::new(record.topic(), record.partition());
            self.next.insert(partition, OffsetAndMetadata::new(record.offset() + 1)?);
            received.push(Received {
                partition: record.partition(),
                key: record.key().map(|key| key.clone().into_bytes()),
                value: record.value().cloned(),
                header: record
                    .headers()
                    .last_header("number")
                    .and_then(|header| header.value())
                    .map(<[u8]>::to_vec),
            });
        }
        Ok(received)
    }

    async fn partitions(&mut self) -> anyhow::Result<BTreeSet<i32>> {
        Ok(self.consumer.assignment().iter().map(TopicPartition::partition).collect())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        Ok(self.consumer.commit_sync().await?)
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        Ok(self.consumer.close().await?)
    }
}

struct Transactional {
    producer: KafkaProducer<String, Vec<u8>>,
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
        self.producer.begin_transaction()?;
        for number in numbers {
            self.producer.send(record(topic, *number)?).await?;
        }
        let group = member.consumer.group_metadata();
        self.producer.send_offsets_to_transaction(member.next.clone(), &*group).await?;
        match end {
            End::Commit => self.producer.commit_transaction().await?,
            End::Abort => self.producer.abort_transaction().await?,
        }
        Ok(())
    }
}
