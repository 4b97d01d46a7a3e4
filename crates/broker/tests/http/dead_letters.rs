//! Dead letters are listed, shown, replayed and purged. They are written here as a subscription writes them.

use crate::{
    broker::{get, request, start},
    kafka::{Found, connect, create, produce, records},
};
use keyway_broker::Broker;
use krafka::Record;
use serde_json::{Value, json};

const DLQ: &str = "/api/v1/dead-letters/orders.billing.dlq";

fn letter(key: &str, value: &str, partition: i32, offset: usize) -> Record {
    Record::new("orders.billing.dlq", value.to_owned())
        .key(key.to_owned())
        .timestamp(1_700_000_000_000 + offset as i64)
        .header("trace", "t-1")
        .header("x-original-topic", "orders")
        .header("x-original-partition", partition.to_string())
        .header("x-original-subscription", "billing")
        .header("x-original-topic-offset", offset.to_string())
        .header("x-delivery-attempt", "3")
        .header("x-poison-policy", "dead_letter")
        .header("x-failure-reason", "no stock")
}

/// Ten letters of two keys, in two original partitions.
async fn stage() -> (Broker, krafka::Kafka) {
    let broker = start().await;
    let kafka = connect(&broker).await;
    create(&kafka, "orders", 2).await;
    create(&kafka, "orders.billing.dlq", 1).await;
    let letters =
        (0..10).map(|index| letter(["a", "b"][index % 2], &index.to_string(), index as i32 % 2, index));
    produce(&kafka, letters.collect()).await;
    (broker, kafka)
}

async fn values(broker: &Broker) -> Vec<String> {
    let shown = get(broker, DLQ).await.json();
    let letters = shown["dead_letters"].as_array().unwrap().iter();
    letters.map(|letter| letter["value"].as_str().unwrap().to_owned()).collect()
}

async fn waiting(broker: &Broker) -> Value {
    get(broker, "/api/v1/dead-letters").await.json()["dead_letter_topics"][0]["waiting"].clone()
}

async fn post(broker: &Broker, verb: &str, body: Value) -> Value {
    let done = request(broker, "POST", &format!("{DLQ}/{verb}"), &body.to_string()).await;
    assert_eq!(done.status, 200, "{done:?}");
    done.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_shows_where_it_came_from_and_why() {
    let (broker, _) = stage().await;
    let listed = get(&broker, "/api/v1/dead-letters").await.json();
    let expected = json!({
        "dead_letter_topics": [
            {"dead_letter_topic": "orders.billing.dlq", "partitions": 1, "waiting": 10, "subscriptions": []},
        ],
    });
    assert_eq!(listed, expected);
    let shown = get(&broker, &format!("{DLQ}?key=b&limit=2")).await.json();
    assert_eq!(shown["dead_letters"].as_array().unwrap().len(), 2);
    let expected = json!({
        "partition": 0, "offset": 3, "timestamp": 1_700_000_000_003_i64, "key": "b", "value": "3",
        "original_topic": "orders", "original_partition": 1, "original_subscription": "billing", "original_offset": 3,
        "attempts": 3, "poison_policy": "dead_letter", "reason": "no stock", "headers": [["trace", "t-1"]],
    });
    assert_eq!(shown["dead_letters"][1], expected);
    let rest = &shown["rest"][0];
    assert_eq!(*rest, json!({"partition": 0, "from": 4, "end": 10}));
    let more = get(&broker, &format!("{DLQ}?key=b&partition=0&from=4&end=10")).await.json();
    assert_eq!((more["dead_letters"].as_array().unwrap().len(), &more["rest"]), (3, &json!([])));
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_gives_messages_back_as_they_were_and_once() {
    let (broker, kafka) = stage().await;
    let done = post(&broker, "replay", json!({})).await;
    assert_eq!((&done["settled"], &done["refused"], &done["rest"]), (&json!(10), &json!(0), &json!([])));
    assert_eq!(waiting(&broker).await, 0);
    let again = post(&broker, "replay", json!({})).await;
    assert_eq!(again["settled"], 0);
    let back = records(&kafka, "orders", 10).await;
    assert_eq!(back.len(), 10);
    for partition in 0..2 {
        let mine = back.iter().filter(|record| record.partition == partition as i32).cloned();
        let expected = (0..10).filter(|index| index % 2 == partition).map(|index| Found {
            partition: partition as i32,
            key: ["a", "b"][partition].to_owned(),
            value: index.to_string(),
            timestamp: 1_700_000_000_000 + index as i64,
            headers: vec![("trace".to_owned(), "t-1".to_owned())],
        });
        assert_eq!(mine.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_or_a_few_may_be_replayed_and_the_others_wait() {
    let (broker, kafka) = stage().await;
    let done = post(&broker, "replay", json!({"key": "b", "limit": 2})).await;
    assert_eq!(
        (&done["settled"], &done["rest"]),
        (&json!(2), &json!([{"partition": 0, "from": 5, "end": 10}]))
    );
    assert_eq!(values(&broker).await, ["0", "2", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(waiting(&broker).await, 8);
    let done = post(&broker, "replay", json!({"key": "b", "parts": done["rest"]})).await;
    assert_eq!(done["settled"], 3);
    assert_eq!(values(&broker).await, ["0", "2", "4", "6", "8"]);
    // What comes later is not looked at by who goes on.
    produce(&kafka, vec![letter("b", "10", 1, 10)]).await;
    let done = post(&broker, "purge", json!({"limit": 1})).await;
    assert_eq!((&done["settled"], values(&broker).await.len()), (&json!(1), 5));
    let done =
        post(&broker, "purge", json!({"key": "a", "parts": [{"partition": 0, "from": 0, "end": 10}]})).await;
    assert_eq!((&done["settled"], values(&broker).await), (&json!(4), vec!["10".to_owned()]));
    assert_eq!(post(&broker, "purge", json!({})).await["settled"], 1);
    assert_eq!(waiting(&broker).await, 0);
    assert_eq!(records(&kafka, "orders", 5).await.len(), 5);
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_replayed_stays_and_says_why() {
    let (broker, kafka) = stage().await;
    produce(&kafka, vec![Record::new("orders.billing.dlq", "no letter"), letter("c", "11", 7, 11)]).await;
    create(&kafka, "lost.s.dlq", 1).await;
    produce(&kafka, vec![Record::new("lost.s.dlq", "x").header("x-original-topic", "nowhere")]).await;
    let done = post(&broker, "replay", json!({})).await;
    assert_eq!((&done["settled"], &done["refused"]), (&json!(11), &json!(1)));
    assert_eq!(done["refusals"][0]["offset"], 10);
    assert!(done["refusals"][0]["reason"].as_str().unwrap().contains("which topic"), "{done}");
    assert_eq!(values(&broker).await, ["no letter"]);
    let lost = request(&broker, "POST", "/api/v1/dead-letters/lost.s.dlq/replay", "{}").await.json();
    assert!(lost["refusals"][0]["reason"].as_str().unwrap().contains("'nowhere' does not exist"), "{lost}");
    // Partition 7 of two: its keys keep together in partition 1.
    let back = records(&kafka, "orders", 11).await;
    assert_eq!(back.iter().find(|record| record.key == "c").unwrap().partition, 1);

    let refused =
        |body: &'static str| request(&broker, "POST", "/api/v1/dead-letters/orders.billing.dlq/replay", body);
    refused(r#"{"to": "nowhere"}"#).await.is_refused(404, "topic_unknown");
    refused(r#"{"too": "orders"}"#).await.is_refused(422, "request_unreadable");
    refused(r#"{"parts": [{"partition": 9, "from": 0, "end": 1}]}"#)
        .await
        .is_refused(400, "partition_unknown");
    refused("{").await.is_refused(400, "request_unreadable");
    let to = refused(r#"{"to": "orders.billing.dlq"}"#).await.json();
    assert!(to["refusals"][0]["reason"].as_str().unwrap().contains("back into"), "{to}");
    assert_eq!(refused(r#"{"to": "orders"}"#).await.json()["settled"], 1);
    get(&broker, "/api/v1/dead-letters/nowhere").await.is_refused(404, "topic_unknown");
    get(&broker, &format!("{DLQ}?limit=0")).await.is_refused(400, "out_of_range");
    get(&broker, &format!("{DLQ}?limit=x")).await.is_refused(400, "request_unreadable");
    broker.shutdown().await.unwrap();
}

/// Marks of letters in the middle outlive the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_remembers_what_was_replayed() {
    let store = std::sync::Arc::new(keyway_log::MemoryStore::new());
    let broker = crate::broker::start_on(store.clone()).await;
    let kafka = connect(&broker).await;
    create(&kafka, "orders", 2).await;
    create(&kafka, "orders.billing.dlq", 1).await;
    let letters = (0..6).map(|index| letter(["a", "b"][index % 2], &index.to_string(), 0, index));
    produce(&kafka, letters.collect()).await;
    post(&broker, "replay", json!({"key": "b"})).await;
    drop(kafka);
    drop(broker);
    let broker = crate::broker::start_on(store).await;
    assert_eq!(values(&broker).await, ["0", "2", "4"]);
    assert_eq!(post(&broker, "replay", json!({})).await["settled"], 3);
    broker.shutdown().await.unwrap();
}
