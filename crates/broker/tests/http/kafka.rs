//! A Kafka client that nobody here wrote, to fill topics and to look into them.

use keyway_broker::Broker;
use krafka::{
    Kafka, Record,
    admin::{CreateTopicsOptions, NewTopic},
    consumer::AutoOffsetReset,
    producer::RecordMetadata,
};
use std::time::{Duration, Instant};

/// One record, its headers as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) timestamp: i64,
    pub(crate) headers: Vec<(String, String)>,
}

pub(crate) async fn connect(broker: &Broker) -> Kafka {
    Kafka::builder(broker.kafka_address().to_string()).client_id("test").connect().await.unwrap()
}

pub(crate) async fn create(kafka: &Kafka, topic: &str, partitions: i32) {
    let topics = [NewTopic::new(topic, partitions, 1).unwrap()];
    let created = kafka.admin().create_topics(topics, CreateTopicsOptions::default()).await.unwrap();
    created.into_values().for_each(|created| created.unwrap());
}

pub(crate) async fn produce(kafka: &Kafka, records: Vec<Record>) {
    let producer = kafka.producer().metrics_push(false).build().await.unwrap();
    for record in records {
        let _: RecordMetadata = producer.enqueue(record).await.unwrap().await.unwrap();
    }
    producer.close().await.unwrap();
}

/// The first `count` records of a topic, sorted, and nothing that comes within a moment after them.
pub(crate) async fn records(kafka: &Kafka, topic: &str, count: usize) -> Vec<Found> {
    let group = format!("looking-into-{topic}-{count}");
    let builder = kafka.consumer(&group).auto_offset_reset(AutoOffsetReset::Earliest);
    let consumer = builder.metrics_push(false).build().await.unwrap();
    consumer.subscribe([topic]).await.unwrap();
    let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let mut found = Vec::new();
    let mut until = Instant::now() + Duration::from_secs(20);
    let mut complete = false;
    while Instant::now() < until {
        for record in consumer.poll(Duration::from_millis(50)).await.unwrap() {
            let headers = record.headers.iter();
            found.push(Found {
                partition: record.partition,
                timestamp: record.timestamp,
                headers: headers.map(|(key, value)| (key.to_string(), text(value.clone()))).collect(),
                key: text(record.key),
                value: text(record.value),
            });
        }
        if found.len() >= count && !complete {
            complete = true;
            until = Instant::now() + Duration::from_millis(200);
        }
    }
    found
}
