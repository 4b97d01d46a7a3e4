//! What topics' configs do, from the next request on.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{append, batch, batches, create_topic, fetch, produce_bytes, values},
};
use bytes::Bytes;
use keyway_broker::{Broker, Config, KafkaListener};
use keyway_kafka_wire::messages::{
    IncrementalAlterConfigsRequest, ListOffsetsRequest,
    incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
    list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
};
use keyway_log::{LogStore, MemoryStore};
use keyway_record::{Compression, Record, RecordBatch, Timestamp, batch::BatchBuilder};
use keyway_runtime::World;
use std::{collections::BTreeMap, sync::Arc};

async fn set(client: &mut Client, configs: &[(&str, &str)]) -> i16 {
    let configs = configs.iter().map(|(name, value)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: 0,
        value: Some((*value).to_owned()),
    });
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "orders".to_owned(),
        configs: configs.collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    call!(client, IncrementalAlterConfigs, 1, request).responses[0].error_code
}

async fn start_of(client: &mut Client) -> i64 {
    let partition = ListOffsetsPartition { timestamp: -2, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: "orders".to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    call!(client, ListOffsets, 7, request).topics[0].partitions[0].offset
}

fn keyed(key: Option<&str>, time: i64) -> RecordBatch {
    let mut builder = BatchBuilder::new(Timestamp(time));
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    builder
        .push(Timestamp(time), Record { key: key.map(bytes), value: Some(bytes("v")), ..Record::default() });
    builder.build()
}

fn wall_ms() -> i64 {
    World::real().clock.wall_ms()
}

#[tokio::test]
async fn retention_follows_the_config_and_the_broker_s_default() {
    let store = Arc::new(MemoryStore::new());
    let settings = BTreeMap::from([("log.retention.ms".to_owned(), "1000".to_owned())]);
    let config = Config { settings, ..Config::default() };
    let broker = TestBroker::on(store.clone(), config.clone()).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    append(&mut client, "orders", 0, &batch(&["a"]).build()).await.unwrap();
    store.clean(Timestamp(2_000)).unwrap();
    assert_eq!(start_of(&mut client).await, 0);
    assert_eq!(set(&mut client, &[("retention.ms", "-1")]).await, 0);
    store.clean(Timestamp(9_000)).unwrap();
    assert_eq!(start_of(&mut client).await, 0, "the topic's own config goes before the broker's");
    assert_eq!(set(&mut client, &[("retention.ms", "5000"), ("cleanup.policy", "compact")]).await, 0);
    store.clean(Timestamp(9_000)).unwrap();
    assert_eq!(start_of(&mut client).await, 0, "the policy is not to delete");
    assert_eq!(set(&mut client, &[("cleanup.policy", "delete")]).await, 0);
    store.clean(Timestamp(9_000)).unwrap();
    assert_eq!(start_of(&mut client).await, 1);
}

#[tokio::test]
async fn a_default_that_is_none_is_refused_at_the_start() {
    let settings = BTreeMap::from([("log.retention.weeks".to_owned(), "1".to_owned())]);
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        settings,
        kafka: vec![KafkaListener::plaintext(any)],
        grpc: any,
        danube_admin: any,
        http: any,
        ..Config::default()
    };
    let refused = Broker::start(config, World::real(), Arc::new(MemoryStore::new())).await.err().unwrap();
    assert!(refused.to_string().contains("log.retention.weeks"), "{refused}");
}

#[tokio::test]
async fn a_compacted_topic_takes_no_record_without_a_key() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    assert_eq!(append(&mut client, "orders", 0, &keyed(None, 5)).await, Ok(0));
    assert_eq!(set(&mut client, &[("cleanup.policy", "compact")]).await, 0);
    let response = call!(client, Produce, 12, produce_bytes("orders", 0, -1, keyed(None, 5).bytes().clone()));
    let answer = &response.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, 87);
    assert!(answer.error_message.as_ref().unwrap().contains("no key"), "{answer:?}");
    let many = batch(&["a"; 150]).build();
    let response = call!(client, Produce, 12, produce_bytes("orders", 0, -1, many.bytes().clone()));
    let answer = &response.responses[0].partition_responses[0];
    assert!(answer.error_message.as_ref().unwrap().starts_with("150 of"), "{answer:?}");
    let named: Vec<i32> = answer.record_errors.iter().map(|record| record.batch_index).collect();
    assert_eq!((named, answer.log_start_offset), ((0..100).collect(), 0), "so many are named one by one");
    assert_eq!(append(&mut client, "orders", 0, &keyed(Some("k"), 5)).await, Ok(1));
}

#[tokio::test]
async fn times_far_from_now_are_refused() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let hour_ms = 3_600_000;
    assert_eq!(append(&mut client, "orders", 0, &keyed(None, wall_ms() + 2 * hour_ms)).await, Err(32));
    assert_eq!(append(&mut client, "orders", 0, &keyed(None, wall_ms() + hour_ms / 2)).await, Ok(0));
    assert_eq!(append(&mut client, "orders", 0, &keyed(None, 5)).await, Ok(1));
    assert_eq!(set(&mut client, &[("message.timestamp.before.max.ms", "1000")]).await, 0);
    assert_eq!(append(&mut client, "orders", 0, &keyed(None, 5)).await, Err(32));
    assert_eq!(append(&mut client, "orders", 0, &keyed(None, -1)).await, Ok(2), "without a time");
}

#[tokio::test]
async fn the_broker_gives_the_time_where_the_topic_says_so() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    assert_eq!(set(&mut client, &[("message.timestamp.type", "LogAppendTime")]).await, 0);
    let before = wall_ms();
    let response = call!(client, Produce, 12, produce_bytes("orders", 0, -1, keyed(None, 5).bytes().clone()));
    let answer = &response.responses[0].partition_responses[0];
    assert!((before..=wall_ms()).contains(&answer.log_append_time_ms), "{answer:?}");
    let fetched = call!(client, Fetch, 12, fetch("orders", 0, 0));
    let stored = batches(fetched.responses[0].partitions[0].records.as_ref());
    assert!(stored[0].is_log_append_time());
    assert_eq!(stored[0].max_timestamp().0, answer.log_append_time_ms);
}

#[tokio::test]
async fn batches_are_stored_in_the_topic_s_codec() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    for (codec, name) in [
        (Compression::Gzip, "gzip"),
        (Compression::Snappy, "snappy"),
        (Compression::Lz4, "lz4"),
        (Compression::Zstd, "zstd"),
        (Compression::None, "uncompressed"),
    ] {
        assert_eq!(set(&mut client, &[("compression.type", name)]).await, 0);
        let value = name.repeat(100);
        let offset = append(&mut client, "orders", 0, &batch(&[&value, "b"]).build()).await.unwrap();
        let fetched = call!(client, Fetch, 12, fetch("orders", 0, offset));
        let stored = batches(fetched.responses[0].partitions[0].records.as_ref());
        assert_eq!(stored[0].compression(), codec);
        assert_eq!(values(&mut client, "orders", 0, offset).await, [value.as_str(), "b"]);
    }
}

#[tokio::test]
async fn configs_that_contradict_each_other_are_refused() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let lags = [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")];
    assert_eq!(set(&mut client, &lags).await, 40);
    assert_eq!(set(&mut client, &lags[..1]).await, 0);
    assert_eq!(set(&mut client, &lags[1..]).await, 40);
}
