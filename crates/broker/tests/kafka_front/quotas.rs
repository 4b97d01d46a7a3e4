//! Quotas: set, seen, kept, and acting.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{append, batch, create_topic, fetch, metadata_of, produce},
    restart,
};
use keyway_kafka_wire::messages::{
    AlterClientQuotasRequest, CreatePartitionsRequest, CreateTopicsRequest, DescribeClientQuotasRequest,
    MetadataRequest, alter_client_quotas as alter, create_partitions::CreatePartitionsTopic,
    create_topics::CreatableTopic, describe_client_quotas as describe,
};
use std::time::{Duration, Instant};

type Part<'a> = (&'a str, Option<&'a str>);

/// Client id of this suite's client, and its user.
const CLIENT: Part<'static> = ("client-id", Some("raw"));
const USER: Part<'static> = ("user", Some("ANONYMOUS"));

const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
const INVALID_REQUEST: i16 = 42;

fn change(entity: &[Part<'_>], quotas: &[(&str, Option<f64>)]) -> AlterClientQuotasRequest {
    let part = |&(kind, name): &Part<'_>| alter::EntityData {
        entity_type: kind.to_owned(),
        entity_name: name.map(str::to_owned),
    };
    let op = |&(key, value): &(&str, Option<f64>)| alter::OpData {
        key: key.to_owned(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entry =
        alter::EntryData { entity: entity.iter().map(part).collect(), ops: quotas.iter().map(op).collect() };
    AlterClientQuotasRequest { entries: vec![entry], validate_only: false }
}

async fn set(client: &mut Client, entity: &[Part<'_>], quotas: &[(&str, Option<f64>)]) {
    let response = call!(client, AlterClientQuotas, 1, change(entity, quotas));
    assert_eq!(response.entries[0].error_code, 0, "{response:?}");
}

/// Entities and their quotas, as text.
async fn described(
    client: &mut Client,
    components: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Vec<String> {
    let component = |&(kind, match_type, name): &(&str, i8, Option<&str>)| describe::ComponentData {
        entity_type: kind.to_owned(),
        match_type,
        r#match: name.map(str::to_owned),
    };
    let components = components.iter().map(component).collect();
    let response = call!(client, DescribeClientQuotas, 1, DescribeClientQuotasRequest { components, strict });
    assert_eq!(response.error_code, 0, "{response:?}");
    let entry = |entry: describe::EntryData| {
        let parts = entry.entity.iter().map(|part| {
            format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("<default>"))
        });
        let values = entry.values.iter().map(|value| format!("{}:{}", value.key, value.value));
        parts.chain(values).collect::<Vec<_>>().join(" ")
    };
    response.entries.expect("a list where there is no error").into_iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_are_kept_and_found() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..2 {
        let broker = restart::start(folder.path()).await;
        let mut client = broker.connect().await;
        if life == 0 {
            set(
                &mut client,
                &[("user", Some("a:b")), ("client-id", None)],
                &[("producer_byte_rate", Some(1e6))],
            )
            .await;
            set(
                &mut client,
                &[("user", None)],
                &[("consumer_byte_rate", Some(2e6)), ("request_percentage", Some(0.5))],
            )
            .await;
            set(&mut client, &[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(3.0))]).await;
            set(&mut client, &[CLIENT], &[("producer_byte_rate", Some(4e6))]).await;
            set(&mut client, &[CLIENT], &[("producer_byte_rate", None)]).await;
        }
        let both = "user=a:b client-id=<default> producer_byte_rate:1000000";
        let users = "user=<default> consumer_byte_rate:2000000 request_percentage:0.5";
        let address = "ip=10.0.0.1 connection_creation_rate:3";
        assert_eq!(described(&mut client, &[], false).await, [users, both, address], "life {life}");
        assert_eq!(described(&mut client, &[("user", 2, None)], false).await, [users, both]);
        assert_eq!(described(&mut client, &[("user", 2, None)], true).await, [users]);
        assert_eq!(described(&mut client, &[("user", 0, Some("a:b"))], false).await, [both]);
        assert_eq!(described(&mut client, &[("client-id", 1, None)], false).await, [both]);
        assert!(described(&mut client, &[("user", 0, Some("c"))], false).await.is_empty());
        drop(client);
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn what_cannot_be_a_quota_is_refused() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    for (entity, quotas) in [
        (&[][..], &[("producer_byte_rate", Some(1.0))][..]),
        (&[("topic", Some("t"))], &[("producer_byte_rate", Some(1.0))]),
        (&[USER, ("ip", None)], &[("producer_byte_rate", Some(1.0))]),
        (&[USER], &[("connection_creation_rate", Some(1.0))]),
        (&[USER], &[("producer_bytes", Some(1.0))]),
        (&[USER], &[("producer_byte_rate", Some(0.0))]),
        (&[USER], &[("producer_byte_rate", Some(0.5))]),
        (&[("ip", Some("not-an-address"))], &[("connection_creation_rate", Some(1.0))]),
    ] {
        let response = call!(client, AlterClientQuotas, 1, change(entity, quotas));
        assert_eq!(response.entries[0].error_code, INVALID_REQUEST, "{response:?}");
        assert!(response.entries[0].error_message.is_some(), "{response:?}");
    }
    let only_check = AlterClientQuotasRequest {
        validate_only: true,
        ..change(&[USER], &[("producer_byte_rate", Some(5.0))])
    };
    assert_eq!(call!(client, AlterClientQuotas, 1, only_check).entries[0].error_code, 0);
    assert!(described(&mut client, &[], false).await.is_empty());
    let two = describe::ComponentData { entity_type: "user".to_owned(), match_type: 2, r#match: None };
    let twice = DescribeClientQuotasRequest { components: vec![two.clone(), two], strict: false };
    assert_eq!(call!(client, DescribeClientQuotas, 1, twice).error_code, INVALID_REQUEST);
}

/// The rest of a throttle time that the broker adds to the next answer; what passed between is the client's.
async fn next_answer_after(client: &mut Client) -> Duration {
    let since = Instant::now();
    call!(client, Metadata, 12, metadata_of("orders"));
    since.elapsed()
}

#[tokio::test]
async fn a_producer_over_its_quota_is_answered_and_then_held_back() {
    let broker = TestBroker::start().await;
    let (mut client, mut other) = (broker.connect().await, broker.connect().await);
    create_topic(&mut client, "orders", 1).await;
    let big = batch(&[&"x".repeat(50_000)]).build();
    let asked = |acks| produce("orders", 0, acks, &big);
    assert_eq!(call!(client, Produce, 12, asked(-1)).throttle_time_ms, 0);
    set(&mut client, &[USER, CLIENT], &[("producer_byte_rate", Some(10_000.0))]).await;
    // Two fill the windows' ten seconds, a third is too much by half.
    let throttled: Vec<i32> = {
        let mut times = Vec::new();
        for _ in 0..2 {
            times.push(call!(client, Produce, 12, asked(-1)).throttle_time_ms);
        }
        times
    };
    assert!(throttled[0] == 0 && (1..1_000).contains(&throttled[1]), "{throttled:?}");
    let held = next_answer_after(&mut client).await;
    let expected = Duration::from_millis(throttled[1] as u64 * 8 / 10);
    assert!(held >= expected, "{held:?} of {throttled:?}");
    // What gets no answer holds back as well.
    client
        .send(
            &keyway_kafka_wire::messages::Request::Produce(produce(
                "orders",
                0,
                0,
                &batch(&[&"x".repeat(5_000)]).build(),
            )),
            12,
        )
        .await;
    assert!(next_answer_after(&mut client).await >= Duration::from_millis(300));
    // The others of the same user but another quota are not held back; the metrics know who was.
    set(&mut other, &[USER, CLIENT], &[("producer_byte_rate", None)]).await;
    assert_eq!(call!(other, Produce, 12, asked(-1)).throttle_time_ms, 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_consumer_over_its_quota_gets_nothing_and_then_the_records() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    for _ in 0..3 {
        append(&mut client, "orders", 0, &batch(&[&"x".repeat(40_000)]).build()).await.unwrap();
    }
    set(&mut client, &[("client-id", None)], &[("consumer_byte_rate", Some(10_000.0))]).await;
    let mut offset = 0;
    let mut waits = Vec::new();
    let begun = Instant::now();
    while offset < 3 && begun.elapsed() < Duration::from_secs(15) {
        let mut request = fetch("orders", 0, offset);
        request.topics[0].partitions[0].partition_max_bytes = 50_000;
        let response = call!(client, Fetch, 12, request);
        if response.throttle_time_ms > 0 {
            assert!(response.responses.is_empty(), "{response:?}");
            waits.push(response.throttle_time_ms);
        } else {
            let records = response.responses[0].partitions[0].records.as_ref();
            offset += crate::requests::batches(records).len() as i64;
        }
    }
    assert_eq!(offset, 3, "{waits:?}");
    assert!(!waits.is_empty());
    let told = Duration::from_millis(waits.iter().map(|&ms| ms as u64).sum::<u64>() * 8 / 10);
    assert!(begun.elapsed() >= told, "{:?} {waits:?}", begun.elapsed());
    broker.shutdown().await;
}

#[tokio::test]
async fn changes_to_topics_beyond_the_quota_are_refused_to_who_knows_it() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    set(&mut client, &[("user", None)], &[("controller_mutation_rate", Some(10.0))]).await;
    let of = |name: &str, partitions| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 1_000,
        ..Default::default()
    };
    // A full bucket has eleven windows of ten; the request that empties it passes.
    assert_eq!(call!(client, CreateTopics, 7, of("a", 112)).topics[0].error_code, 0);
    let refused = call!(client, CreateTopics, 7, of("b", 1));
    assert_eq!(refused.topics[0].error_code, THROTTLING_QUOTA_EXCEEDED, "{refused:?}");
    assert!((1..=300).contains(&refused.throttle_time_ms), "{refused:?}");
    let older = call!(client, CreateTopics, 5, of("c", 5));
    assert_eq!(older.topics[0].error_code, 0, "an older client is only held back");
    assert!(older.throttle_time_ms > 0, "{older:?}");
    let grow = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: "c".to_owned(), count: 30, assignments: None }],
        ..Default::default()
    };
    // The bucket was held back until it was full again to 0.
    assert_eq!(call!(client, CreatePartitions, 3, grow.clone()).results[0].error_code, 0);
    let more = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { count: 31, ..grow.topics[0].clone() }],
        ..Default::default()
    };
    set(&mut client, &[("user", None)], &[("controller_mutation_rate", None)]).await;
    assert_eq!(call!(client, CreatePartitions, 3, more).results[0].error_code, 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn time_on_threads_has_a_quota() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 100).await;
    set(&mut client, &[("user", None)], &[("request_percentage", Some(0.001))]).await;
    let mut throttled = 0;
    for _ in 0..20 {
        let response = call!(client, Metadata, 12, MetadataRequest { topics: None, ..Default::default() });
        throttled = throttled.max(response.throttle_time_ms);
        if throttled > 0 {
            break;
        }
    }
    assert!((1..=1_000).contains(&throttled), "never for longer than a window: {throttled}");
    broker.shutdown().await;
}
