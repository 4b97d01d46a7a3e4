//! Reading: whole batches, bounds, waiting, epochs, offsets by time.

use crate::{
    broker::TestBroker,
    client::call,
    requests::{append, batch, batches, create_topic, fetch, topic_id, values},
};
use keyway_kafka_wire::{
    ApiKey,
    messages::{
        DeleteRecordsRequest, ListOffsetsRequest, Request, Response,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
    },
};
use keyway_record::{Record, Timestamp, batch::BatchBuilder};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_the_record() {
    let broker = TestBroker::start().await;
    let (mut reader, mut writer) = (broker.connect().await, broker.connect().await);
    create_topic(&mut writer, "orders", 3).await;
    let mut request = fetch("orders", 0, 0);
    request.max_wait_ms = 15_000;
    let second = fetch("orders", 2, 0).topics[0].partitions[0].clone();
    request.topics[0].partitions.push(second);
    let started = Instant::now();
    let correlation_id = reader.send(&Request::Fetch(request), 11).await;
    // A request that came later was answered, so the fetch waits by now.
    assert!(values(&mut writer, "orders", 0, 0).await.is_empty());
    append(&mut writer, "orders", 2, &batch(&["late"]).build()).await.unwrap();
    let Response::Fetch(response) = reader.receive(ApiKey::Fetch, 11, correlation_id).await else { panic!() };
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(batches(response.responses[0].partitions[0].records.as_ref()).is_empty());
    assert_eq!(batches(response.responses[0].partitions[1].records.as_ref()).len(), 1);
}

#[tokio::test]
async fn a_fetch_waits_for_its_minimum_and_no_longer_than_it_says() {
    let broker = TestBroker::start().await;
    let (mut reader, mut writer) = (broker.connect().await, broker.connect().await);
    create_topic(&mut writer, "orders", 1).await;
    let mut request = fetch("orders", 0, 0);
    (request.max_wait_ms, request.min_bytes) = (300, 1 << 20);
    append(&mut writer, "orders", 0, &batch(&["few"]).build()).await.unwrap();
    let started = Instant::now();
    let response = call!(reader, Fetch, 11, request.clone());
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(batches(response.responses[0].partitions[0].records.as_ref()).len(), 1);

    (request.max_wait_ms, request.min_bytes) = (15_000, 300);
    let correlation_id = reader.send(&Request::Fetch(request), 11).await;
    append(&mut writer, "orders", 0, &batch(&["a few more"]).build()).await.unwrap();
    append(&mut writer, "orders", 0, &batch(&["enough", &"x".repeat(200)]).build()).await.unwrap();
    let Response::Fetch(response) = reader.receive(ApiKey::Fetch, 11, correlation_id).await else { panic!() };
    assert_eq!(batches(response.responses[0].partitions[0].records.as_ref()).len(), 3);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_stopping_broker_answers_those_who_wait() {
    let broker = TestBroker::start().await;
    let (mut reader, mut other) = (broker.connect().await, broker.connect().await);
    create_topic(&mut reader, "orders", 1).await;
    let mut request = fetch("orders", 0, 0);
    request.max_wait_ms = 20_000;
    let correlation_id = reader.send(&Request::Fetch(request), 12).await;
    // A request that came later was answered, so the fetch waits by now.
    assert!(values(&mut other, "orders", 0, 0).await.is_empty());
    let started = Instant::now();
    let (Response::Fetch(response), ()) =
        tokio::join!(reader.receive(ApiKey::Fetch, 12, correlation_id), broker.shutdown())
    else {
        panic!()
    };
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn batches_are_whole_and_the_first_comes_whatever_the_limit() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 2).await;
    for partition in 0..2 {
        for _ in 0..3 {
            append(&mut client, "orders", partition, &batch(&["a", "b"]).build()).await.unwrap();
        }
    }
    // From the middle of a batch on, with room for less than one.
    let mut request = fetch("orders", 0, 3);
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let second = fetch("orders", 1, 0).topics[0].partitions[0].clone();
    request.topics[0].partitions.push(second);
    request.max_bytes = 1;
    let response = call!(client, Fetch, 12, request);
    let partitions = &response.responses[0].partitions;
    let first = batches(partitions[0].records.as_ref());
    assert_eq!(first.iter().map(|batch| batch.base_offset().0).collect::<Vec<_>>(), [2]);
    assert_eq!(partitions[1].records.as_ref().map(|records| records.len()), Some(0), "the limit is used up");
    assert_eq!((partitions[1].high_watermark, partitions[1].last_stable_offset), (6, 6));
    assert_eq!(response.session_id, 0);
    assert_eq!(values(&mut client, "orders", 0, 3).await, ["b", "a", "b"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_per_partition() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    append(&mut client, "orders", 0, &batch(&["a"]).build()).await.unwrap();
    let id = topic_id(&mut client, "orders").await;
    let error =
        |response: keyway_kafka_wire::messages::FetchResponse| response.responses[0].partitions[0].error_code;
    assert_eq!(error(call!(client, Fetch, 12, fetch("orders", 0, 2))), 1);
    assert_eq!(error(call!(client, Fetch, 12, fetch("orders", 0, -1))), 1);
    assert_eq!(error(call!(client, Fetch, 12, fetch("orders", 1, 0))), 3);
    assert_eq!(error(call!(client, Fetch, 12, fetch("missing", 0, 0))), 3);
    assert_eq!(error(call!(client, Fetch, 13, fetch("orders", 0, 0))), 100);
    let mut request = fetch("orders", 0, 0);
    request.topics[0].topic_id = id;
    request.topics[0].partitions[0].current_leader_epoch = 5;
    assert_eq!(error(call!(client, Fetch, 18, request.clone())), 75);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    request.isolation_level = 1;
    let response = call!(client, Fetch, 18, request.clone());
    let data = &response.responses[0].partitions[0];
    assert_eq!(batches(data.records.as_ref()).len(), 1);
    assert_eq!(data.aborted_transactions, Some(Vec::new()));
    assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch), (-1, -1));
    // An incremental fetch needs a session, and there are none.
    (request.session_id, request.session_epoch) = (12, 1);
    assert_eq!(call!(client, Fetch, 18, request).error_code, 70);
}

#[tokio::test]
async fn offsets_are_found_by_time_to_the_record() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    for times in [[10, 30, 20], [40, 90, 50], [60, 70, 80]] {
        let mut builder = BatchBuilder::new(Timestamp(times[0]));
        times.into_iter().for_each(|time| builder.push(Timestamp(time), Record::default()));
        append(&mut client, "orders", 0, &builder.build()).await.unwrap();
    }
    let mut found = Vec::new();
    let times = [0, 11, 30, 31, 55, 91, -1, -2, -3, -4, -5, -6];
    for timestamp in times {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: "orders".to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = call!(client, ListOffsets, 11, request);
        let answer = &response.topics[0].partitions[0];
        assert_eq!(answer.error_code, 0, "{timestamp}");
        found.push((answer.offset, answer.timestamp));
    }
    let expected = [
        (0, 10),
        (1, 30),
        (1, 30),
        (3, 40),
        (4, 90),
        (-1, -1),
        (9, -1),
        (0, -1),
        (4, 90),
        (0, -1),
        (-1, -1),
        (-1, -1),
    ];
    assert_eq!(found, expected, "for {times:?}");
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -6), (11, -7)] {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: "orders".to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = call!(client, ListOffsets, version, request);
        assert_eq!(response.topics[0].partitions[0].error_code, 35, "{timestamp} in version {version}");
    }
}

#[tokio::test]
async fn deleted_records_are_gone() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    append(&mut client, "orders", 0, &batch(&["a", "b", "c"]).build()).await.unwrap();
    let delete = |offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "orders".to_owned(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset }],
        }],
        ..Default::default()
    };
    let answer = |response: keyway_kafka_wire::messages::DeleteRecordsResponse| {
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.low_watermark)
    };
    assert_eq!(answer(call!(client, DeleteRecords, 2, delete(4))), (1, -1));
    assert_eq!(answer(call!(client, DeleteRecords, 2, delete(2))), (0, 2));
    assert_eq!(answer(call!(client, DeleteRecords, 2, delete(1))), (0, 2), "gone already");
    assert_eq!(values(&mut client, "orders", 0, 2).await, ["c"]);
    let response = call!(client, Fetch, 12, fetch("orders", 0, 1));
    assert_eq!(response.responses[0].partitions[0].error_code, 1);
    assert_eq!(answer(call!(client, DeleteRecords, 2, delete(-1))), (0, 3));
}
