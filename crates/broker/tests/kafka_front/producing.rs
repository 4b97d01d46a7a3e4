//! Acks, idempotence, and every reason to refuse a batch.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{append, batch, create_topic, produce, produce_bytes, topic_id, values},
};
use bytes::Bytes;
use keyway_kafka_wire::{
    ApiKey,
    messages::{InitProducerIdRequest, Request},
};
use keyway_record::{ProducerEpoch, ProducerId};

async fn produced_error(
    client: &mut Client,
    topic: &str,
    acks: i16,
    records: impl Into<Bytes>,
) -> (i16, String) {
    let response = call!(client, Produce, 12, produce_bytes(topic, 0, acks, records.into()));
    let answer = &response.responses[0].partition_responses[0];
    (answer.error_code, answer.error_message.clone().unwrap_or_default())
}

#[tokio::test]
async fn acks_decide_about_the_answer_and_nothing_else() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let silent = Request::Produce(produce("orders", 0, 0, &batch(&["zero"]).build()));
    client.send(&silent, 12).await;
    let response = call!(client, Produce, 12, produce("orders", 0, 1, &batch(&["one"]).build()));
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 1);
    assert_eq!(append(&mut client, "orders", 0, &batch(&["all", "more"]).build()).await, Ok(2));
    assert_eq!(values(&mut client, "orders", 0, 0).await, ["zero", "one", "all", "more"]);
    assert_eq!(produced_error(&mut client, "orders", 7, batch(&["x"]).build().bytes().clone()).await.0, 21);
}

#[tokio::test]
async fn a_refused_batch_without_acks_closes_the_connection() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    client.send(&Request::Produce(produce("missing", 0, 0, &batch(&["x"]).build())), 9).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let mut sent = Vec::new();
    for index in 0..20 {
        let acks = [-1, 1][index % 2];
        let value = index.to_string();
        sent.push(
            client.send(&Request::Produce(produce("orders", 0, acks, &batch(&[&value]).build())), 9).await,
        );
    }
    for (index, correlation_id) in sent.into_iter().enumerate() {
        let response = client.receive(ApiKey::Produce, 9, correlation_id).await;
        let keyway_kafka_wire::messages::Response::Produce(response) = response else { panic!() };
        assert_eq!(response.responses[0].partition_responses[0].base_offset, index as i64);
    }
}

#[tokio::test]
async fn a_repeated_batch_keeps_its_first_offsets() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let none = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let first = call!(client, InitProducerId, 5, none.clone());
    let second = call!(client, InitProducerId, 0, none);
    assert_ne!(first.producer_id, second.producer_id);
    let (id, epoch) = (ProducerId(first.producer_id), ProducerEpoch(first.producer_epoch));
    let numbered = |values: &[&str], sequence| batch(values).build_for(id, epoch, sequence);
    assert_eq!(append(&mut client, "orders", 0, &numbered(&["a", "b"], 0)).await, Ok(0));
    assert_eq!(append(&mut client, "orders", 0, &numbered(&["c"], 2)).await, Ok(2));
    assert_eq!(append(&mut client, "orders", 0, &numbered(&["a", "b"], 0)).await, Ok(0), "a retry");
    assert_eq!(append(&mut client, "orders", 0, &numbered(&["e"], 4)).await, Err(45), "a gap");
    let fenced = batch(&["f"]).build_for(id, ProducerEpoch(epoch.0 + 1), 0);
    assert_eq!(append(&mut client, "orders", 0, &fenced).await, Ok(3));
    assert_eq!(append(&mut client, "orders", 0, &numbered(&["d"], 3)).await, Err(47), "an old epoch");
    assert_eq!(values(&mut client, "orders", 0, 0).await, ["a", "b", "c", "f"]);
}

#[tokio::test]
async fn bad_batches_are_refused_with_kafkas_code_and_a_reason() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let good = batch(&["a", "b"]).build().bytes().to_vec();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let twice = [good.clone(), good.clone()].concat();
    let large = batch(&[&"x".repeat(2 << 20)]).build().bytes().to_vec();
    for (what, records, expected) in [
        ("nothing", Vec::new(), 2),
        ("a flipped bit", changed(good.len() - 1, b'?'), 2),
        ("format v1", changed(16, 1), 43),
        ("a base offset", changed(7, 9), 87),
        ("cut", good[..good.len() - 1].to_vec(), 2),
        ("two batches", twice, 87),
        ("too large", large, 10),
    ] {
        let (error, message) = produced_error(&mut client, "orders", -1, records).await;
        assert_eq!(error, expected, "{what}: {message}");
        assert!(!message.is_empty(), "{what}");
    }
    assert!(values(&mut client, "orders", 0, 0).await.is_empty());
    let one = |topic| produce(topic, 0, -1, &batch(&["x"]).build());
    let error = |response: keyway_kafka_wire::messages::ProduceResponse| {
        response.responses[0].partition_responses[0].error_code
    };
    assert_eq!(error(call!(client, Produce, 9, one("missing"))), 3);
    assert_eq!(error(call!(client, Produce, 9, one("__groups"))), 17);
    assert_eq!(error(call!(client, Produce, 9, produce("orders", 1, -1, &batch(&["x"]).build()))), 3);
    assert_eq!(error(call!(client, Produce, 13, one("orders"))), 100, "no topic has the id zero");
}

#[tokio::test]
async fn each_partition_has_its_own_answer() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 2).await;
    let id = topic_id(&mut client, "orders").await;
    let mut request = produce("orders", 0, -1, &batch(&["good"]).build());
    let bad = produce_bytes("orders", 1, -1, Bytes::from_static(b"bad"));
    request.topic_data[0].partition_data.extend(bad.topic_data[0].partition_data.clone());
    request.topic_data[0].topic_id = id;
    let response = call!(client, Produce, 13, request);
    let answers = &response.responses[0].partition_responses;
    assert_eq!((answers[0].error_code, answers[0].base_offset), (0, 0));
    assert_eq!((answers[1].error_code, answers[1].base_offset), (2, -1));
    assert_eq!(response.responses[0].topic_id, id);
}
