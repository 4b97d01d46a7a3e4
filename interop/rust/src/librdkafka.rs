//! librdkafka by its binding.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, DeliveryResult, FutureProducer, FutureRecord, Producer, ProducerContext,
};
use rdkafka::{ClientConfig, ClientContext};

use tokio::time::timeout;

use crate::{Client, Codec, End, Member, PARTITIONS, PATIENCE, Received, TURN, Transactor, key_of};

/// librdkafka, at a broker, under a group protocol.
pub struct Librdkafka {
    address: String,
    protocol: &'static str,
    login: Vec<(String, String)>,
}

impl Librdkafka {
    /// For groups of the older protocol.
    pub fn classic(address: &str) -> Self {
        Self { address: address.to_string(), protocol: "classic", login: Vec::new() }
    }

    /// For groups of KIP-848.
    pub fn consumer(address: &str) -> Self {
        Self { address: address.to_string(), protocol: "consumer", login: Vec::new() }
    }

    /// The same with settings that say who it is.
    pub fn with(self, login: &[(&str, &str)]) -> Self {
        let login = login.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Self { login, ..self }
    }

    /// What it says of a broker that does not let it in.
    pub fn refusal(&self) -> anyhow::Result<String> {
        let complaints = Complaints::default();
        let producer: BaseProducer<Complaints> = self.settings().create_with_context(complaints.clone())?;
        let started = Instant::now();
        loop {
            ensure!(producer.client().fetch_metadata(None, TURN).is_err(), "it is let in");
            producer.poll(Duration::ZERO);
            if let Some(complaint) = complaints.0.lock().expect("no panic while it is locked").first() {
                return Ok(complaint.clone());
            }
            ensure!(started.elapsed() < PATIENCE, "nothing is said for {PATIENCE:?}");
        }
    }

    fn settings(&self) -> ClientConfig {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &self.address);
        for (name, value) in &self.login {
            settings.set(name, value);
        }
        settings
    }
}

/// What librdkafka says of its connections.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<Vec<String>>>);

impl ClientContext for Complaints {
    fn error(&self, _: KafkaError, reason: &str) {
        self.0.lock().expect("no panic while it is locked").push(reason.to_owned());
    }
}

impl ProducerContext for Complaints {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Sends numbers and waits for the acknowledgements.
async fn send(
    producer: &FutureProducer,
    topic: &str,
    numbers: impl Iterator<Item = u32>,
) -> anyhow::Result<()> {
    let mut acknowledgements = Vec::new();
    for number in numbers {
        let (key, value) = (key_of(number), number.to_string());
        let headers = OwnedHeaders::new().insert(Header { key: "number", value: Some(&value) });
        let record = FutureRecord::to(topic).key(&key).payload(&value).headers(headers);
        acknowledgements.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    for acknowledgement in acknowledgements {
        acknowledgement.await?.map_err(|(error, _)| error)?;
    }
    Ok(())
}

impl Client for Librdkafka {
    type Member = Joined;
    type Transactor = Transactional;

    async fn create_topic(&self, topic: &str) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.settings().create()?;
        let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        for created in admin.create_topics([&topic], &AdminOptions::new()).await? {
            created.map_err(|(name, code)| anyhow::anyhow!("{name}: {code}"))?;
        }
        Ok(())
    }

    async fn produce(&self, topic: &str, numbers: Range<u32>, codec: Codec) -> anyhow::Result<()> {
        let mut settings = self.settings();
        settings.set("enable.idempotence", "true").set("compression.type", codec.name());
        send(&settings.create()?, topic, numbers).await
    }

    async fn join(&self, group: &str, topic: &str) -> anyhow::Result<Joined> {
        let mut settings = self.settings();
        settings.set("group.id", group).set("group.protocol", self.protocol);
        settings.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        let consumer: StreamConsumer = settings.create()?;
        consumer.subscribe(&[topic])?;
        Ok(Joined { consumer })
    }

    async fn transactor(&self, id: &str) -> anyhow::Result<Transactional> {
        let producer: FutureProducer = self.settings().set("transactional.id", id).create()?;
        producer.init_transactions(PATIENCE)?;
        Ok(Transactional { producer })
    }
}

/// A consumer in a group.
pub struct Joined {
    consumer: StreamConsumer,
}

impl Member for Joined {
    async fn receive(&mut self, wait: Duration) -> anyhow::Result<Vec<Received>> {
        let mut received = Vec::new();
        while let Ok(message) = timeout(wait, self.consumer.recv()).await {
            let message = message?;
            let header =
                message.headers().and_then(|headers| headers.iter().find(|header| header.key == "number"));
            received.push(Received {
                partition: message.partition(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                header: header.and_then(|header| header.value).map(<[u8]>::to_vec),
            });
        }
        Ok(received)
    }

    async fn partitions(&mut self) -> anyhow::Result<BTreeSet<i32>> {
        Ok(self.consumer.assignment()?.elements().iter().map(|element| element.partition()).collect())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        Ok(self.consumer.commit_consumer_state(CommitMode::Sync)?)
    }

    async fn leave(self) -> anyhow::Result<()> {
        self.consumer.unsubscribe();
        Ok(())
    }
}

/// A producer with a transactional id.
pub struct Transactional {
    producer: FutureProducer,
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
        send(&self.producer, topic, numbers.iter().copied()).await?;
        let group = member.consumer.group_metadata().context("not in a group")?;
        self.producer.send_offsets_to_transaction(&member.consumer.position()?, &group, PATIENCE)?;
        match end {
            End::Commit => self.producer.commit_transaction(PATIENCE)?,
            End::Abort => self.producer.abort_transaction(PATIENCE)?,
        }
        Ok(())
    }
}
