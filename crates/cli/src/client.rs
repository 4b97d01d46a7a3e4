//! The Kafka client behind every command but `serve`. Only this module and the two below it name `krafka`, which is
//! pinned to one version and may be replaced by a client of our own.

mod consumer;
mod login;
mod producer;
mod rules;

pub(crate) use consumer::{Consumer, Start};
pub(crate) use login::Login;
pub(crate) use producer::{Acks, Delivery, NewRecord, Producer};
pub(crate) use rules::RunningRules;

use crate::failure::Failure;
use bytes::Bytes;
use clap::Args;
use keyway_record::TopicName;
use krafka::{
    Kafka, KrafkaError,
    admin::{
        AdminClient, ConfigResource, CreateTopicsOptions, DeleteTopicsOptions, DescribeConfigsOptions,
        DescribeTopicsOptions, ListOffsetsOptions, ListTopicsOptions, ListedOffset, NewTopic, OffsetSpec,
        TopicPartition,
    },
    error::ErrorCode,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

/// Where the broker is, and how long to wait for it.
#[derive(Args, Clone)]
pub(crate) struct Connect {
    /// Broker to connect to; several as a comma-separated list
    #[arg(short, long, value_name = "HOST:PORT", env = "KEYWAY_BROKERS", default_value = "127.0.0.1:9092")]
    pub(crate) brokers: String,

    /// Longest wait for the broker's answer, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,

    #[command(flatten)]
    pub(crate) login: Login,
}

/// A connection to a broker. Each consumer needs one of its own: group members that share one never balance.
pub(crate) struct Client {
    kafka: Kafka,
    admin: AdminClient,
    connect: Arc<Connect>,
}

/// A record as the commands write and read it. `partition`, `offset` and `timestamp_ms` are the broker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

/// A topic and its partitions' indexes, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicInfo {
    pub(crate) name: TopicName,
    pub(crate) partitions: Vec<i32>,
}

/// What became of a request to create a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Created {
    /// It is new.
    New,
    /// It was there already and stays as it is.
    Existed,
}

/// Whether naming a topic that does not exist may create it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MissingTopics {
    /// Created, if the broker is set to do so.
    Create,
    /// An error.
    Refuse,
}

impl Connect {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl Client {
    /// Connects and reads the cluster's metadata.
    pub(crate) async fn connect(connect: &Connect, missing: MissingTopics) -> Result<Self, Failure> {
        // Half, so that one lost answer leaves time for a second try within the whole.
        let request_timeout = connect.timeout() / 2;
        let kafka = Kafka::builder(&connect.brokers)
            .client_id("keyway-cli")
            .security(connect.login.security()?)
            .connect_timeout(request_timeout.min(Duration::from_secs(5)))
            .request_timeout(request_timeout)
            .allow_auto_create_topics(missing == MissingTopics::Create)
            .connect();
        let kafka = match tokio::time::timeout(connect.timeout(), kafka).await {
            Ok(kafka) => kafka.map_err(|error| failure(&error, connect))?,
            Err(_) => return Err(failure(&KrafkaError::timeout("connect"), connect)),
        };
        let admin = kafka.admin().default_api_timeout(connect.timeout());
        Ok(Self { kafka, admin, connect: Arc::new(connect.clone()) })
    }

    /// All topics but internal ones, by name.
    pub(crate) async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        let names = self.admin.list_topics(ListTopicsOptions::default()).await.map_err(self.failed())?;
        let described = self.admin.describe_topics(&names, DescribeTopicsOptions::default()).await;
        let mut topics = Vec::with_capacity(names.len());
        for (name, described) in described.map_err(self.failed())? {
            match described {
                Ok(described) => topics.push(TopicInfo::new(&name, &described)?),
                // Deleted since it was listed.
                Err(error) if is_unknown_topic(&error) => {}
                Err(error) => return Err(self.failed()(error)),
            }
        }
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic; a [`Failure::NotFound`] if there is none of that name.
    pub(crate) async fn topic(&self, name: &TopicName) -> Result<TopicInfo, Failure> {
        let described = self.admin.describe_topics([name.as_str()], DescribeTopicsOptions::default()).await;
        match described.map_err(self.failed())?.remove(name.as_str()) {
            Some(Ok(described)) => TopicInfo::new(name.as_str(), &described),
            Some(Err(error)) if !is_unknown_topic(&error) => Err(self.failed()(error)),
            _ => Err(no_such_topic(name.as_str())),
        }
    }

    /// Creates a topic, with the broker's default number of partitions if none is given.
    pub(crate) async fn create_topic(
        &self,
        name: &TopicName,
        partitions: Option<i32>,
    ) -> Result<Created, Failure> {
        let topic = NewTopic::new(name.as_str(), partitions.unwrap_or(-1), -1).map_err(self.failed())?;
        let created = self.admin.create_topics([topic], CreateTopicsOptions::default()).await;
        match created.map_err(self.failed())?.remove(name.as_str()) {
            Some(Ok(())) => Ok(Created::New),
            Some(Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. })) => {
                Ok(Created::Existed)
            }
            Some(Err(error)) => Err(self.failed()(error)),
            None => Err(unanswered("CreateTopics")),
        }
    }

    /// Deletes a topic with all its records.
    pub(crate) async fn delete_topic(&self, name: &TopicName) -> Result<(), Failure> {
        let deleted = self.admin.delete_topics([name.as_str()], DeleteTopicsOptions::default()).await;
        match deleted.map_err(self.failed())?.remove(name.as_str()) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if is_unknown_topic(&error) => Err(no_such_topic(name.as_str())),
            Some(Err(error)) => Err(self.failed()(error)),
            None => Err(unanswered("DeleteTopics")),
        }
    }

    /// The offsets that each partition holds, by partition.
    pub(crate) async fn bounds(&self, topic: &TopicInfo) -> Result<BTreeMap<i32, Range<i64>>, Failure> {
        let first = self.offsets(topic, OffsetSpec::Earliest).await?;
        let next = self.offsets(topic, OffsetSpec::Latest).await?;
        Ok(first
            .into_iter()
            .zip(next)
            .map(|((partition, first), (_, next))| (partition, first.offset..next.offset))
            .collect())
    }

    /// The offset after each partition's last record, by partition.
    pub(crate) async fn ends(&self, topic: &TopicInfo) -> Result<BTreeMap<i32, i64>, Failure> {
        let next = self.offsets(topic, OffsetSpec::Latest).await?;
        Ok(next.into_iter().map(|(partition, next)| (partition, next.offset)).collect())
    }

    /// The epoch of each partition's next record, by partition; a broker may not know any.
    pub(crate) async fn leader_epochs(
        &self,
        topic: &TopicInfo,
    ) -> Result<BTreeMap<i32, Option<i32>>, Failure> {
        let next = self.offsets(topic, OffsetSpec::Latest).await?;
        Ok(next.into_iter().map(|(partition, next)| (partition, next.leader_epoch)).collect())
    }

    async fn offsets(
        &self,
        topic: &TopicInfo,
        spec: OffsetSpec,
    ) -> Result<BTreeMap<i32, ListedOffset>, Failure> {
        let partition = |&index| (TopicPartition::new(topic.name.as_str(), index), spec);
        let specs = topic.partitions.iter().map(partition);
        let listed =
            self.admin.list_offsets(specs, ListOffsetsOptions::default()).await.map_err(self.failed())?;
        let offset = |(partition, listed): (TopicPartition, krafka::Result<ListedOffset>)| {
            Ok((partition.partition, listed.map_err(self.failed())?))
        };
        let offsets = listed.into_iter().map(offset).collect::<Result<BTreeMap<_, _>, Failure>>()?;
        if offsets.len() == topic.partitions.len() { Ok(offsets) } else { Err(unanswered("ListOffsets")) }
    }

    /// After how many messages the broker flushes: 1 if a power cut takes nothing that `acks=all` was answered for.
    pub(crate) async fn flush_interval_messages(&self, topic: &TopicInfo) -> Result<i64, Failure> {
        const NAME: &str = "flush.messages";
        const OF_BROKER: &str = "log.flush.interval.messages";
        let resource = ConfigResource::topic(topic.name.as_str());
        let options =
            DescribeConfigsOptions::default().config_names(vec![NAME.to_owned()]).include_synonyms(true);
        let described = self.admin.describe_configs([resource], options).await.map_err(self.failed())?;
        let mut configs = Vec::new();
        for answer in described.into_values() {
            configs.extend(answer.map_err(self.failed())?);
        }
        let config = configs.into_iter().find(|config| config.name == NAME);
        let config = config.ok_or_else(|| unanswered("DescribeConfigs"))?;
        // What a topic asks for by itself is not acted upon.
        let of_broker = config.synonyms.into_iter().find(|synonym| synonym.name == OF_BROKER);
        let value = of_broker.map_or(config.value, |synonym| synonym.value);
        value.and_then(|value| value.parse().ok()).ok_or_else(|| unanswered("DescribeConfigs"))
    }

    fn failed(&self) -> impl Fn(KrafkaError) -> Failure {
        |error| failure(&error, &self.connect)
    }
}

impl TopicInfo {
    fn new(name: &str, described: &krafka::admin::TopicDescription) -> Result<Self, Failure> {
        let name =
            TopicName::new(name).map_err(|error| Failure::Failed(format!("the broker's answer: {error}")))?;
        Ok(Self {
            name,
            partitions: described.partitions.iter().map(|partition| partition.partition).collect(),
        })
    }
}

/// Sorts an error of the client by what the user can do about it.
fn failure(error: &KrafkaError, connect: &Connect) -> Failure {
    let brokers = &connect.brokers;
    match error {
        KrafkaError::UnknownTopic { topic } => no_such_topic(topic),
        KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. } => Failure::NotFound(
            "the topic or partition does not exist; `keyway topic list` shows what does".into(),
        ),
        KrafkaError::Network(_) | KrafkaError::Timeout { .. } | KrafkaError::DeliveryTimeout { .. } => {
            Failure::Unavailable(format!(
                "no answer from {brokers} ({}); start a broker with `keyway serve`, or name another with --brokers",
                one_line(error)
            ))
        }
        KrafkaError::Auth { .. } => {
            Failure::Failed(format!("{}; --user and a password log in, --tls-ca trusts", one_line(error)))
        }
        KrafkaError::Config { .. } => Failure::Usage(one_line(error)),
        _ => Failure::Failed(one_line(error)),
    }
}

fn is_unknown_topic(error: &KrafkaError) -> bool {
    matches!(
        error,
        KrafkaError::UnknownTopic { .. }
            | KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. }
    )
}

fn no_such_topic(name: &str) -> Failure {
    Failure::NotFound(format!(
        "topic '{name}' does not exist; create it with `keyway topic create {name}`, or produce to it"
    ))
}

fn unanswered(request: &str) -> Failure {
    Failure::Failed(format!("the broker's answer to {request} leaves out what was asked for"))
}

/// The cause at the end of the chain, which is what a person needs.
fn one_line(error: &KrafkaError) -> String {
    let text = error.to_string().replace('\n', " ");
    let cause = text.rsplit_once("last error: ").map_or(text.as_str(), |(_, cause)| cause);
    cause.trim_start_matches("network error: ").to_owned()
}
