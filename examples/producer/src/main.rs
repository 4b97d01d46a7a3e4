//! A producer: records go to partitions by key, by number or by a partitioner of our own; they travel in batches, and each
//! of them is acknowledged, to a future or to a callback.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::sync::mpsc;
use std::{env, process};

use confluent_kafka::admin::{AdminClient, AdminClientConfig, NewTopic};
use confluent_kafka::common::Cluster;
use confluent_kafka::common::serialization::StringSerializer;
use confluent_kafka::producer::{
    KafkaProducer, Partitioner, Producer, ProducerConfig, ProducerRecord, callback,
};

type Text<'a> = Option<&'a String>;
type Bytes<'a> = Option<&'a [u8]>;

/// Partition 0 is for urgent orders; the others go by the length of their text.
struct UrgentFirst;

impl Partitioner<String, String> for UrgentFirst {
    fn partition(&self, _: &str, key: Text, _: Bytes, value: Text, _: Bytes, _: &Cluster) -> i32 {
        let length = value.map_or(0, |text| text.len() as i32);
        if key.is_some_and(|key| key == "urgent") { 0 } else { 1 + length % 3 }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topic = format!("orders-{}", process::id());
    let admin = AdminClient::create(AdminClientConfig::new(&settings(&[]))?)?;
    let new = NewTopic::with_num_partitions_replication_factor(&topic, Some(4), Some(1));
    admin.create_topics(&[new]).all().get().await?;

    // acks=all and idempotence are the defaults: a retry loses, doubles and reorders nothing.
    let batching = [("linger.ms", "10"), ("batch.size", "65536"), ("compression.type", "lz4")];
    let producer = open(ProducerConfig::new(&settings(&batching))?)?;
    assert_eq!(producer.partitions_for(&topic).await?.len(), 4);

    // By key: its hash names the partition. All are sent before the first is waited for, so they travel in batches.
    let mut sent = Vec::new();
    for number in 0..1_000 {
        let key = format!("customer-{}", number % 20);
        let record =
            ProducerRecord::with_key(topic.clone(), Some(key.clone()), Some(format!("order {number}")));
        sent.push((key, producer.send(record).await?));
    }
    let mut last = BTreeMap::new();
    for (key, acknowledgement) in sent {
        let metadata = acknowledgement.get().await?;
        let (partition, offset) = (metadata.partition(), metadata.offset());
        let before = last.insert(key.clone(), (partition, offset));
        let in_order = before.is_none_or(|before| before.0 == partition && before.1 < offset);
        assert!(in_order, "{key} went from {before:?} to {partition}, {offset}");
    }
    let used = last.values().map(|(partition, _)| partition).collect::<BTreeSet<_>>().len();
    println!("1000 records of {} keys in {used} partitions, every key in order in one of them", last.len());

    // By number, and acknowledged to a callback, which runs on the client's own task and only passes on what it hears.
    let (acknowledge, acknowledged) = mpsc::channel();
    for number in 0..10 {
        let record =
            ProducerRecord::with_partition_key(topic.clone(), Some(3), None, Some(format!("note {number}")))?;
        let acknowledge = acknowledge.clone();
        let heard = callback::new(move |metadata, error| {
            let answer = error.map_or(Ok(metadata.map(|of| of.offset())), |error| Err(error.to_string()));
            acknowledge.send(answer).expect("main listens");
        });
        producer.send_with_callback(record, Some(Box::new(heard))).await?;
    }
    producer.flush().await?;
    let offsets = acknowledged.try_iter().collect::<Result<Vec<_>, _>>()?;
    assert!(offsets.len() == 10 && offsets.is_sorted(), "{offsets:?}");
    println!("10 records in partition 3, told to a callback in order");
    producer.close().await?;

    // By a partitioner of our own. acks=1 asks for less than all, which is the same where there is one broker.
    let config = ProducerConfig::new(&settings(&[("acks", "1"), ("enable.idempotence", "false")]))?;
    let producer = open(config.set_partitioner(Box::new(UrgentFirst)))?;
    for (key, text) in [("urgent", "order 7"), ("slow", "order 8"), ("urgent", "order 9")] {
        let record = ProducerRecord::with_key(topic.clone(), Some(key.into()), Some(text.into()));
        let partition = producer.send(record).await?.get().await?.partition();
        assert_eq!(partition == 0, key == "urgent", "{key} went to partition {partition}");
    }
    println!("urgent orders in partition 0, others elsewhere");
    Ok(producer.close().await?)
}

fn open(config: ProducerConfig) -> Result<KafkaProducer<String, String>, Box<dyn Error>> {
    Ok(KafkaProducer::new(config, StringSerializer::default(), StringSerializer::default())?)
}

fn settings(more: &[(&str, &str)]) -> HashMap<String, String> {
    let mut all =
        more.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<HashMap<_, _>>();
    all.insert("bootstrap.servers".into(), env::var("KAFKA").unwrap_or("127.0.0.1:9092".into()));
    all
}
