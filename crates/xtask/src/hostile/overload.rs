//! More at a time than there is memory for: Kafka requests of many batches, and Danube messages, four times the bound
//! together. Whoever does not get in waits or is told to try again, and what was acknowledged is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use danube_core::proto::producer_service_client::ProducerServiceClient;
use danube_core::proto::{MsgId, ProducerRequest, StreamMessage};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::broker::Broker;
use crate::kafka_client::{Acks, Connection, error_code};
use crate::produce_bytes::{batch, keyed_record};

const TOPIC: &str = "overload";
const DANUBE_TOPIC: &str = "/default/overload-danube";
/// The same topic for Kafka's clients.
const DANUBE_TOPIC_OF_KAFKA: &str = "overload-danube";

/// Connections of Kafka's protocol, each with a request on its way.
const CONNECTIONS: usize = 32;
const REQUESTS_OF_EACH: usize = 4;
/// A request has a batch for each partition.
const PARTITIONS: i32 = 12;
const BATCH_BYTES: usize = 1_000_000;
/// Danube producers, each on a connection of its own, with a message on its way.
const PRODUCERS: usize = 32;
const MESSAGES_OF_EACH: usize = 8;
const MESSAGE_BYTES: usize = 4_000_000;
/// The default of `queued.max.request.bytes`.
const QUEUED_BYTES_MAX: usize = 128 << 20;
const _: () = assert!(
    CONNECTIONS * PARTITIONS as usize * BATCH_BYTES + PRODUCERS * MESSAGE_BYTES > 3 * QUEUED_BYTES_MAX
);

/// Before a message is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Within so long each message has to be taken, refusals included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a batch lies.
type Place = (i32, i64);

/// What clients of Kafka's protocol were told.
#[derive(Default)]
struct OfKafka {
    /// The keys of batches by where they are said to be.
    acknowledged: BTreeMap<Place, String>,
    retriable: usize,
    closed: usize,
    longest: Duration,
}

/// What Danube's producers were told.
#[derive(Default)]
struct OfDanube {
    acknowledged: BTreeSet<String>,
    retriable: usize,
    longest: Duration,
}

impl OfDanube {
    /// Waits a moment, if the client is to try again what it `begun` then.
    async fn refused(&mut self, status: &Status, begun: Instant) -> anyhow::Result<()> {
        let retriable = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable);
        ensure!(retriable, "refused with {status}");
        ensure!(begun.elapsed() < PATIENCE, "not taken in {PATIENCE:?}: {status}");
        self.retriable += 1;
        sleep(RETRY_AFTER).await;
        Ok(())
    }
}

/// All of them.
pub(super) struct Overloaded {
    kafka: OfKafka,
    danube: OfDanube,
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kafka, danube } = self;
        write!(
            f,
            "{} batches of {CONNECTIONS} connections ({} retriable errors, {} connections closed, {:.1} s for one request at \
             most) and {} Danube messages of {PRODUCERS} producers ({} told to try again, {:.1} s for one at most), all that \
             was acknowledged is there",
            kafka.acknowledged.len(),
            kafka.retriable,
            kafka.closed,
            kafka.longest.as_secs_f64(),
            danube.acknowledged.len(),
            danube.retriable,
            danube.longest.as_secs_f64()
        )
    }
}

/// Both at once, and then a look at what is there.
pub(super) async fn run(broker: &Broker) -> anyhow::Result<Overloaded> {
    let address = broker.kafka();
    Connection::open(address).await?.create_topic(TOPIC, PARTITIONS).await?;
    let (mut of_kafka, mut of_danube) = (JoinSet::new(), JoinSet::new());
    for number in 0..CONNECTIONS {
        of_kafka.spawn(requests(address, number));
    }
    for number in 0..PRODUCERS {
        of_danube.spawn(messages(broker.danube_url(), number));
    }
    let mut told = Overloaded { kafka: OfKafka::default(), danube: OfDanube::default() };
    while let Some(one) = of_kafka.join_next().await {
        let one = one??;
        told.kafka.acknowledged.extend(one.acknowledged);
        told.kafka.retriable += one.retriable;
        told.kafka.closed += one.closed;
        told.kafka.longest = told.kafka.longest.max(one.longest);
    }
    while let Some(one) = of_danube.join_next().await {
        let one = one??;
        told.danube.acknowledged.extend(one.acknowledged);
        told.danube.retriable += one.retriable;
        told.danube.longest = told.danube.longest.max(one.longest);
    }
    ensure!(!told.kafka.acknowledged.is_empty(), "no batch was taken");
    told.check(address).await?;
    Ok(told)
}

/// One large request after the other; a connection that is closed for want of memory is opened again.
async fn requests(address: SocketAddr, number: usize) -> anyhow::Result<OfKafka> {
    let mut told = OfKafka::default();
    let mut connection = Connection::open(address).await?;
    for request in 0..REQUESTS_OF_EACH {
        let key = |partition| format!("{number}-{request}-{partition}");
        let batches: Vec<(i32, Vec<u8>)> = (0..PARTITIONS)
            .map(|partition| {
                let record = keyed_record(0, key(partition).as_bytes(), &[b'o'; BATCH_BYTES]);
                (partition, batch(0, 1, &record))
            })
            .collect();
        let begun = Instant::now();
        let answered = connection.produce_all(TOPIC, Acks::All, &batches).await;
        told.longest = told.longest.max(begun.elapsed());
        let Ok(answered) = answered else {
            told.closed += 1;
            connection = Connection::open(address).await?;
            continue;
        };
        for produced in answered {
            match produced.error_code {
                error_code::NONE => {
                    let place = (produced.partition, produced.base_offset);
                    let before = told.acknowledged.insert(place, key(produced.partition));
                    ensure!(before.is_none(), "two batches are said to be at {place:?}");
                }
                error if error_code::is_retriable(error) => told.retriable += 1,
                error => bail!("a large request is refused with error {error}"),
            }
        }
    }
    Ok(told)
}

/// One message after the other, each until it is taken.
async fn messages(url: String, number: usize) -> anyhow::Result<OfDanube> {
    let mut client = ProducerServiceClient::new(Channel::from_shared(url)?.connect().await?);
    let producer_name = format!("overload-{number}");
    let create = ProducerRequest {
        producer_name: producer_name.clone(),
        topic_name: DANUBE_TOPIC.to_owned(),
        dispatch_strategy: 1,
        ..ProducerRequest::default()
    };
    let mut told = OfDanube::default();
    let begun = Instant::now();
    let producer_id = loop {
        match client.create_producer(create.clone()).await {
            Ok(created) => break created.into_inner().producer_id,
            Err(status) => told.refused(&status, begun).await?,
        }
    };
    for message in 0..MESSAGES_OF_EACH {
        let text = format!("{number}-{message};");
        let mut payload = text.clone().into_bytes();
        payload.resize(MESSAGE_BYTES, b'o');
        let message = StreamMessage {
            msg_id: Some(MsgId { producer_id, topic_name: DANUBE_TOPIC.to_owned(), ..MsgId::default() }),
            payload: payload.into(),
            producer_name: producer_name.clone(),
            publish_time: 1,
            ..StreamMessage::default()
        };
        let begun = Instant::now();
        while let Err(status) = client.send_message(message.clone()).await {
            told.refused(&status, begun).await?;
        }
        told.longest = told.longest.max(begun.elapsed());
        told.acknowledged.insert(text);
    }
    Ok(told)
}

impl Overloaded {
    /// Reads everything and looks for what was acknowledged.
    async fn check(&self, address: SocketAddr) -> anyhow::Result<()> {
        let mut connection = Connection::open(address).await?;
        let mut missing = self.kafka.acknowledged.clone();
        for partition in 0..PARTITIONS {
            read(&mut connection, TOPIC, partition, |offset, key, _| {
                let place = (partition, offset);
                if missing.get(&place).is_some_and(|wanted| wanted.as_bytes() == key) {
                    missing.remove(&place);
                }
            })
            .await?;
        }
        ensure!(missing.is_empty(), "acknowledged and not there: {:?}", missing.iter().next());
        let mut missing = self.danube.acknowledged.clone();
        read(&mut connection, DANUBE_TOPIC_OF_KAFKA, 0, |_, _, value| {
            let end = value.iter().position(|byte| *byte == b';').map_or(0, |at| at + 1);
            missing.remove(&*String::from_utf8_lossy(&value[..end]));
        })
        .await?;
        ensure!(missing.is_empty(), "acknowledged and not there: {:?}", missing.iter().next());
        Ok(())
    }
}

/// Shows every record of a partition: offset, key, value.
async fn read(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    mut look: impl FnMut(i64, &[u8], &[u8]),
) -> anyhow::Result<()> {
    let mut offset = 0;
    loop {
        let (batches, high_watermark) = connection.fetch(topic, partition, offset).await?;
        for record in batches.iter().flat_map(|batch| &batch.records) {
            look(record.offset, &record.key, &record.value);
        }
        let next = batches.last().map_or(offset, |batch| batch.last_offset + 1);
        if next >= high_watermark {
            return Ok(());
        }
        ensure!(next > offset, "no record at {offset} of {topic}-{partition}");
        offset = next;
    }
}
