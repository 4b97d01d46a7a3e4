//! Requests that several tests make.

use crate::client::{Client, call};
use bytes::Bytes;
use keyway_kafka_wire::messages::{
    CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, create_topics::CreatableTopic, fetch,
    metadata, produce,
};
use keyway_record::{Record, RecordBatch, Timestamp, TopicId, batch::BatchBuilder};

/// A batch with these values, at time 1,000 and on, 1 ms apart.
pub(crate) fn batch(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Timestamp(1_000));
    for (index, value) in values.iter().enumerate() {
        let record = Record { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..Record::default() };
        builder.push(Timestamp(1_000 + index as i64), record);
    }
    builder
}

pub(crate) async fn create_topic(client: &mut Client, name: &str, partitions: i32) -> TopicId {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..Default::default() };
    let response = call!(client, CreateTopics, 7, request);
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    response.topics[0].topic_id
}

pub(crate) async fn topic_id(client: &mut Client, name: &str) -> TopicId {
    let response = call!(client, Metadata, 12, metadata_of(name));
    response.topics[0].topic_id
}

pub(crate) fn metadata_of(name: &str) -> MetadataRequest {
    let topic = metadata::MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

/// A request of version 12 or below: topics have names.
pub(crate) fn produce(topic: &str, partition: i32, acks: i16, batch: &RecordBatch) -> ProduceRequest {
    produce_bytes(topic, partition, acks, batch.bytes().clone())
}

pub(crate) fn produce_bytes(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let data = produce::PartitionProduceData { index: partition, records: Some(records) };
    let topic = produce::TopicProduceData {
        name: topic.to_owned(),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() }
}

/// Produces and returns the base offset; the error code instead if there is one.
pub(crate) async fn append(
    client: &mut Client,
    topic: &str,
    partition: i32,
    batch: &RecordBatch,
) -> Result<i64, i16> {
    let response = call!(client, Produce, 12, produce(topic, partition, -1, batch));
    let answer = &response.responses[0].partition_responses[0];
    if answer.error_code == 0 { Ok(answer.base_offset) } else { Err(answer.error_code) }
}

/// A request of version 12 or below for one partition; answers at once.
pub(crate) fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = fetch::FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1024 * 1024,
        ..Default::default()
    };
    let topic =
        fetch::FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The batches of a fetched record section.
pub(crate) fn batches(records: Option<&Bytes>) -> Vec<RecordBatch> {
    let mut rest = records.expect("records are never null").clone();
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let batch = RecordBatch::parse_first(&rest).expect("whole batches");
        rest = rest.slice(batch.bytes().len()..);
        batches.push(batch);
    }
    batches
}

/// The values from `offset` on.
pub(crate) async fn values(client: &mut Client, topic: &str, partition: i32, offset: i64) -> Vec<String> {
    let response = call!(client, Fetch, 12, fetch(topic, partition, offset));
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, 0, "{response:?}");
    let mut values = Vec::new();
    for batch in batches(data.records.as_ref()) {
        for record in keyway_kafka_wire::records(&batch, 8 << 20).unwrap() {
            let record = record.unwrap();
            if batch.base_offset().0 + i64::from(record.offset_delta) >= offset {
                values.push(String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned());
            }
        }
    }
    values
}
