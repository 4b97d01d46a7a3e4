//! Kafka's records reach Danube's workers and the other way round.

use crate::support::{PATIENCE, TestBroker, send};
use bytes::Bytes;
use krafka::{
    Kafka, Record,
    admin::{CreateTopicsOptions, NewTopic},
    consumer::AutoOffsetReset,
};
use std::{collections::BTreeMap, time::Duration};

async fn kafka(broker: &TestBroker) -> Kafka {
    let address = broker.broker.kafka_address().to_string();
    let connecting = Kafka::builder(&address).client_id("test").connect();
    tokio::time::timeout(PATIENCE, connecting).await.expect("in time").expect("connected")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_producers_records_reach_key_shared_workers_by_key_and_in_order() {
    let broker = TestBroker::start().await;
    let kafka = kafka(&broker).await;
    let topic = NewTopic::new("orders", 3, 1).expect("a topic");
    let created = kafka.admin().create_topics([topic], CreateTopicsOptions::default()).await;
    created.expect("answered");
    let mut worker = broker.worker("/default/orders", "a").await;
    let producer = kafka.producer().metrics_push(false).build().await.expect("a producer");
    for index in 0..60 {
        let mut record = Record::new("orders", Bytes::from(index.to_string()));
        record.key = Some(Bytes::from(format!("key-{}", index % 10)));
        record.headers =
            vec![("h".to_owned(), Some(Bytes::from_static(b"1"))), ("h".to_owned(), Some("2".into()))];
        _ = producer.enqueue(record).await.expect("taken").await.expect("stored");
    }
    let mut by_key: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for got in worker.take(60).await {
        assert_eq!(got.attributes["h"], "2");
        by_key.entry(got.key.expect("a key")).or_default().push(got.payload.parse().expect("a number"));
    }
    assert_eq!(by_key.len(), 10);
    assert!(by_key.values().all(|order| order.is_sorted() && order.len() == 6), "{by_key:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_record_with_any_bytes_is_delivered() {
    let broker = TestBroker::start().await;
    let danube = broker.producer("/default/bytes").await;
    let mut worker = broker.worker("/default/bytes", "a").await;
    let kafka = kafka(&broker).await;
    let producer = kafka.producer().metrics_push(false).build().await.expect("a producer");
    let mut record = Record::new("bytes", Bytes::from_static(b"\xff\x00"));
    record.key = Some(Bytes::from_static(b"\xfe\x01"));
    _ = producer.enqueue(record).await.expect("taken").await.expect("stored");
    let keyless = Record::new("bytes", Bytes::new());
    _ = producer.enqueue(keyless).await.expect("taken").await.expect("stored");
    send(&danube, "k", "end").await;
    let all = worker.take(3).await;
    let keys: Vec<_> = all.iter().map(|got| got.key.as_deref()).collect();
    assert!(keys.contains(&Some("0xfe01")) && keys.contains(&None) && keys.contains(&Some("k")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_danube_message_is_a_kafka_record_with_key_headers_and_time() {
    let broker = TestBroker::start().await;
    let producer = broker.producer("/default/orders").await;
    let attributes = [("trace".to_owned(), "7".to_owned())].into();
    producer.send_with_key(b"value".to_vec(), Some(attributes), "key").await.expect("sent");
    let kafka = kafka(&broker).await;
    let consumer = kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest);
    let consumer = consumer.metrics_push(false).build().await.expect("a consumer");
    consumer.assign("orders", vec![0]).await.expect("assigned");
    let polling = async {
        loop {
            let records = consumer.poll(Duration::from_millis(500)).await.expect("polled");
            if let Some(record) = records.into_iter().next() {
                return record;
            }
        }
    };
    let record = tokio::time::timeout(PATIENCE, polling).await.expect("in time");
    assert_eq!(record.key.as_deref(), Some(&b"key"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"value"[..]));
    let headers: BTreeMap<&str, Option<&[u8]>> =
        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(headers["trace"], Some(&b"7"[..]));
    assert_eq!(headers["danube-producer-name"], Some(&b"p"[..]));
    assert!(record.timestamp > 1_600_000_000_000);
}
