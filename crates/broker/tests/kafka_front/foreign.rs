//! A client that nobody here wrote: krafka.

use crate::broker::TestBroker;
use krafka::{
    Kafka, Record,
    admin::{CreateTopicsOptions, ListTopicsOptions, NewTopic},
    consumer::AutoOffsetReset,
    producer::RecordMetadata,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(broker: &TestBroker) -> Kafka {
    Kafka::builder(broker.bootstrap()).client_id("krafka").connect().await.unwrap()
}

async fn create(kafka: &Kafka, topic: &str, partitions: i32) {
    let topics = [NewTopic::new(topic, partitions, 1).unwrap()];
    let created = kafka.admin().create_topics(topics, CreateTopicsOptions::default()).await.unwrap();
    created.into_values().for_each(|created| created.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyed_records_reach_a_group_in_the_order_of_their_keys() {
    let broker = TestBroker::start().await;
    let kafka = connect(&broker).await;
    create(&kafka, "orders", 4).await;
    let names = kafka.admin().list_topics(ListTopicsOptions::default()).await.unwrap();
    assert!(names.iter().any(|name| AsRef::<str>::as_ref(name) == "orders"));

    let producer = kafka.producer().metrics_push(false).build().await.unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..500 {
        let record =
            Record::new("orders", number.to_string()).key(format!("key-{}", number % 17)).header("n", "v");
        acknowledged.push(producer.enqueue(record).await.unwrap());
    }
    for one in acknowledged {
        let _: RecordMetadata = one.await.unwrap();
    }
    producer.close().await.unwrap();

    let mut consumers = Vec::new();
    for _ in 0..2 {
        let builder = connect(&broker).await.consumer("workers");
        let consumer =
            builder.auto_offset_reset(AutoOffsetReset::Earliest).metrics_push(false).build().await.unwrap();
        consumer.subscribe(["orders"]).await.unwrap();
        consumers.push(consumer);
    }
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let started = Instant::now();
    while seen.values().map(Vec::len).sum::<usize>() < 500 {
        assert!(started.elapsed() < PATIENCE, "{seen:?}");
        for consumer in &consumers {
            for record in consumer.poll(Duration::from_millis(50)).await.unwrap() {
                let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                let number = text(record.value).parse().unwrap();
                seen.entry(text(record.key)).or_default().push(number);
            }
        }
    }
    assert_eq!(seen.len(), 17);
    for (key, numbers) in seen {
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(numbers, sorted, "{key}");
    }
    for consumer in consumers {
        consumer.close().await.unwrap();
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_resumes_where_it_committed() {
    let broker = TestBroker::start().await;
    let kafka = connect(&broker).await;
    create(&kafka, "orders", 1).await;
    let producer = kafka.producer().metrics_push(false).build().await.unwrap();
    let mut next = 0;
    for part in 0..3 {
        for number in 0..10 {
            let _: RecordMetadata =
                producer.send(Record::new("orders", (part * 10 + number).to_string())).await.unwrap();
        }
        let builder = connect(&broker).await.consumer("readers");
        let consumer = builder
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(true)
            .metrics_push(false)
            .build()
            .await
            .unwrap();
        consumer.subscribe(["orders"]).await.unwrap();
        let started = Instant::now();
        while next < (part + 1) * 10 {
            assert!(started.elapsed() < PATIENCE, "{next}");
            for record in consumer.poll(Duration::from_millis(100)).await.unwrap() {
                assert_eq!(record.value.unwrap(), next.to_string());
                next += 1;
            }
        }
        consumer.close().await.unwrap();
    }
    broker.shutdown().await;
}
