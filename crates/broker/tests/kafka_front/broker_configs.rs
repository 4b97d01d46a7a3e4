//! Configs of the broker, of all brokers and of groups: told as Apache Kafka tells them, in force at once, kept.

use crate::{
    broker::TestBroker,
    client::{Client, call},
    requests::{append, batch, create_topic, metadata_of},
    restart,
};
use keyway_broker::{Broker, Config, KafkaListener, LogFilter, LogLevels, ROOT_LOG_LEVEL};
use keyway_kafka_wire::messages::{
    AlterConfigsRequest, ConsumerGroupHeartbeatRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, ListConfigResourcesRequest, alter_configs,
    describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult},
    incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
};
use keyway_log::MemoryStore;
use keyway_runtime::World;
use std::sync::{Arc, Mutex};
use tracing::level_filters::LevelFilter;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

async fn alter(
    client: &mut Client,
    (resource_type, name): (i8, &str),
    operation: i8,
    config: &str,
    value: &str,
) -> i16 {
    let config = AlterableConfig {
        name: config.to_owned(),
        config_operation: operation,
        value: (operation != DELETE).then(|| value.to_owned()),
    };
    let resource =
        AlterConfigsResource { resource_type, resource_name: name.to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    call!(client, IncrementalAlterConfigs, 1, request).responses[0].error_code
}

async fn describe(
    client: &mut Client,
    (resource_type, name): (i8, &str),
) -> Result<Vec<DescribeConfigsResourceResult>, i16> {
    let resource =
        DescribeConfigsResource { resource_type, resource_name: name.to_owned(), configuration_keys: None };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let result = call!(client, DescribeConfigs, 4, request).results.remove(0);
    if result.error_code == 0 { Ok(result.configs) } else { Err(result.error_code) }
}

/// The value of one config, its source, and where else it stands.
async fn shown(
    client: &mut Client,
    resource: (i8, &str),
    config: &str,
) -> (Option<String>, i8, Vec<(String, String, i8)>) {
    let configs = describe(client, resource).await.expect("described");
    let config = configs.into_iter().find(|one| one.name == config).expect("the config is told");
    let synonyms =
        config.synonyms.into_iter().map(|one| (one.name, one.value.unwrap_or_default(), one.source));
    (config.value, config.config_source, synonyms.collect())
}

/// Sets a config of the broker; the error code.
pub(crate) async fn set(client: &mut Client, config: &str, value: &str) -> i16 {
    alter(client, (BROKER, "1"), SET, config, value).await
}

/// The value of a config of the broker.
pub(crate) async fn value(client: &mut Client, config: &str) -> Option<String> {
    shown(client, (BROKER, "1"), config).await.0
}

fn synonyms(all: &[(&str, &str, i8)]) -> Vec<(String, String, i8)> {
    all.iter().map(|(name, value, source)| ((*name).to_owned(), (*value).to_owned(), *source)).collect()
}

fn with(settings: &[(&str, &str)]) -> Config {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config { settings: settings.collect(), ..Config::default() }
}

async fn started(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::on(Arc::new(MemoryStore::new()), with(settings)).await
}

/// The answers are those of Apache Kafka 4.3 to the same requests.
#[tokio::test]
async fn values_are_told_with_all_their_sources() {
    let broker = started(&[("log.retention.hours", "100"), ("num.partitions", "2")]).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let (this, all, topic) = ((BROKER, "1"), (BROKER, ""), (TOPIC, "orders"));
    let partitions = [("num.partitions", "2", 4), ("num.partitions", "1", 5)];
    let expected = (Some("2".to_owned()), 4, synonyms(&partitions));
    assert_eq!(shown(&mut client, this, "num.partitions").await, expected);
    assert_eq!(shown(&mut client, this, "log.retention.ms").await, (None, 5, Vec::new()));
    assert_eq!(
        shown(&mut client, topic, "retention.ms").await,
        (Some("360000000".to_owned()), 5, Vec::new())
    );
    assert_eq!(describe(&mut client, all).await, Ok(Vec::new()));

    assert_eq!(alter(&mut client, this, SET, "log.retention.ms", "60000").await, 0);
    assert_eq!(alter(&mut client, all, SET, "log.retention.ms", "70000").await, 0);
    assert_eq!(alter(&mut client, all, SET, "log.segment.bytes", "2097152").await, 0);
    let chain = [
        ("log.retention.ms", "60000", 2),
        ("log.retention.ms", "70000", 3),
        ("log.retention.hours", "100", 4),
        ("log.retention.hours", "168", 5),
    ];
    let expected = (Some("60000".to_owned()), 2, synonyms(&chain));
    assert_eq!(shown(&mut client, this, "log.retention.ms").await, expected);
    assert_eq!(shown(&mut client, topic, "retention.ms").await, expected);
    let for_all: Vec<_> = describe(&mut client, all)
        .await
        .unwrap()
        .into_iter()
        .map(|config| (config.name, config.value.unwrap(), config.config_source))
        .collect();
    let expected = [("log.retention.ms", "70000", 3), ("log.segment.bytes", "2097152", 3)];
    assert_eq!(for_all, synonyms(&expected));
    assert_eq!(alter(&mut client, topic, SET, "retention.ms", "5").await, 0);
    let own = [&[("retention.ms", "5", 1)][..], &chain].concat();
    assert_eq!(shown(&mut client, topic, "retention.ms").await, (Some("5".to_owned()), 1, synonyms(&own)));

    assert_eq!(alter(&mut client, this, APPEND, "log.cleanup.policy", "compact").await, 0);
    assert_eq!(shown(&mut client, topic, "cleanup.policy").await.0.as_deref(), Some("delete,compact"));
    let configs = describe(&mut client, this).await.unwrap();
    let named = |name: &str| configs.iter().find(|config| config.name == name).unwrap();
    assert!(named("node.id").read_only && !named("log.segment.bytes").read_only);
    let secret = named("ssl.keystore.password");
    assert!(secret.is_sensitive && secret.value.is_none());
}

/// The codes are those of Apache Kafka 4.3, but for listeners, which have no security here yet.
#[tokio::test]
async fn what_cannot_be_changed_is_refused() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    for (resource, operation, config, value, code) in [
        ((BROKER, "1"), SET, "num.partitions", "3", 42),
        ((BROKER, ""), SET, "num.partitions", "3", 42),
        ((BROKER, "1"), SET, "log.retention.hours", "3", 42),
        ((BROKER, "1"), SET, "log.segment.bytes", "5", 42),
        ((BROKER, "1"), SET, "log.segment.bytes", "many", 42),
        ((BROKER, "1"), APPEND, "log.segment.bytes", "7", 40),
        ((BROKER, ""), SET, "listeners", "PLAINTEXT://:1", 42),
        ((BROKER, "1"), SET, "ssl.keystore.password", "secret", 42),
        ((BROKER, "1"), SET, "listener.name.outside.ssl.keystore.password", "secret", 42),
        ((BROKER, "2"), SET, "log.segment.bytes", "2097152", 42),
        ((BROKER, "one"), SET, "log.segment.bytes", "2097152", 42),
        ((BROKER, "1"), DELETE, "num.partitions", "", 0),
        ((BROKER, "1"), SET, "background.threads", "7", 0),
        ((BROKER, "1"), SET, "somebody.s.own", "1", 0),
        ((GROUP, "g"), SET, "consumer.session.timeout.ms", "50000", 0),
        ((GROUP, "g"), SET, "consumer.session.timeout.ms", "5", 40),
        ((GROUP, "g"), SET, "consumer.heartbeat.interval.ms", "5", 40),
        ((GROUP, "g"), SET, "consumer.session.timeout.ms", "soon", 40),
        ((GROUP, "g"), APPEND, "consumer.session.timeout.ms", "5", 40),
        ((GROUP, "g"), SET, "no.such", "5", 40),
        ((GROUP, "g"), SET, "share.auto.offset.reset", "never", 40),
        ((GROUP, ""), SET, "consumer.session.timeout.ms", "50000", 42),
        // No filter was given to this one.
        ((BROKER_LOGGER, "1"), SET, "root", "DEBUG", 42),
    ] {
        let answered = alter(&mut client, resource, operation, config, value).await;
        assert_eq!(answered, code, "{resource:?} {operation} {config}={value}");
    }
    assert_eq!(describe(&mut client, (GROUP, "")).await, Err(42));
    assert_eq!(describe(&mut client, (BROKER_LOGGER, "1")).await, Err(42));
    let contradicting =
        alter(&mut client, (BROKER, "1"), SET, "log.cleaner.max.compaction.lag.ms", "5").await;
    assert_eq!(contradicting, 0);
    assert_eq!(alter(&mut client, (BROKER, "1"), SET, "log.cleaner.min.compaction.lag.ms", "6").await, 42);
}

/// A filter that lets nothing through.
#[derive(Debug)]
struct Filter(Mutex<LogLevels>);

impl LogFilter for Filter {
    fn levels(&self) -> LogLevels {
        self.0.lock().unwrap().clone()
    }

    fn set_levels(&self, levels: LogLevels) {
        *self.0.lock().unwrap() = levels;
    }
}

#[tokio::test]
async fn levels_of_loggers_are_told_and_changed() {
    const LOGGERS: (i8, &str) = (BROKER_LOGGER, "1");
    let warn = LogLevels::from([(ROOT_LOG_LEVEL.to_owned(), LevelFilter::WARN)]);
    let filter = Arc::new(Filter(Mutex::new(warn.clone())));
    let config = Config { log_filter: Some(filter.clone()), ..Config::default() };
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    let mut client = broker.connect().await;
    let level = async |client: &mut Client, name: &str| shown(client, LOGGERS, name).await;
    let (value, source, synonyms) = level(&mut client, "keyway_broker::kafka").await;
    assert_eq!((value.as_deref(), source, synonyms.len()), (Some("WARN"), 6, 0));
    for (resource, operation, name, value, code) in [
        (LOGGERS, SET, "keyway_broker", "DEBUG", 0),
        (LOGGERS, SET, "keyway_broker", "debug", 40),
        (LOGGERS, SET, "org.apache.kafka", "DEBUG", 40),
        (LOGGERS, DELETE, "org.apache.kafka", "", 40),
        (LOGGERS, DELETE, "root", "", 42),
        (LOGGERS, APPEND, "keyway_broker", "DEBUG", 42),
        ((BROKER_LOGGER, "2"), SET, "keyway_broker", "DEBUG", 42),
        ((BROKER_LOGGER, ""), SET, "keyway_broker", "DEBUG", 42),
    ] {
        let answered = alter(&mut client, resource, operation, name, value).await;
        assert_eq!(answered, code, "{resource:?} {operation} {name}={value}");
    }
    assert_eq!(filter.levels()["keyway_broker"], LevelFilter::DEBUG);
    assert_eq!(level(&mut client, "keyway_broker::kafka").await.0.as_deref(), Some("DEBUG"));
    assert_eq!(alter(&mut client, LOGGERS, DELETE, "keyway_broker", "").await, 0);
    assert_eq!(filter.levels(), warn);
}

#[tokio::test]
async fn what_is_set_for_the_broker_is_in_force_at_once() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let large = batch(&[&"x".repeat(300)]).build();
    assert_eq!(append(&mut client, "orders", 0, &large).await, Ok(0));
    assert_eq!(alter(&mut client, (BROKER, ""), SET, "message.max.bytes", "200").await, 0);
    assert_eq!(append(&mut client, "orders", 0, &large).await, Err(10));
    assert_eq!(alter(&mut client, (BROKER, "1"), SET, "message.max.bytes", "2000").await, 0);
    assert_eq!(append(&mut client, "orders", 0, &large).await, Ok(1), "this broker before all");
    create_topic(&mut client, "payments", 1).await;
    assert_eq!(alter(&mut client, (BROKER, "1"), DELETE, "message.max.bytes", "").await, 0);
    assert_eq!(append(&mut client, "payments", 0, &large).await, Err(10), "all brokers again");

    // The older call replaces all of them.
    let config =
        alter_configs::AlterableConfig { name: "log.retention.ms".to_owned(), value: Some("9".to_owned()) };
    let resource = alter_configs::AlterConfigsResource {
        resource_type: BROKER,
        resource_name: String::new(),
        configs: vec![config],
    };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    assert_eq!(call!(client, AlterConfigs, 2, request).responses[0].error_code, 0);
    assert_eq!(append(&mut client, "payments", 0, &large).await, Ok(0));
    assert_eq!(shown(&mut client, (TOPIC, "payments"), "retention.ms").await.0.as_deref(), Some("9"));
}

async fn heartbeat(client: &mut Client, member_epoch: i32) -> (i32, i32) {
    let joining = member_epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "workers".to_owned(),
        member_id: "m".to_owned(),
        member_epoch,
        rebalance_timeout_ms: if joining { 10_000 } else { -1 },
        subscribed_topic_names: joining.then(|| vec!["orders".to_owned()]),
        topic_partitions: joining.then(Vec::new),
        ..Default::default()
    };
    let response = call!(client, ConsumerGroupHeartbeat, 1, request);
    assert_eq!(response.error_code, 0, "{response:?}");
    // A group that is about to change is heard of ten times as often.
    let interval_ms = response.heartbeat_interval_ms;
    (response.member_epoch, if interval_ms < 1_000 { interval_ms * 10 } else { interval_ms })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_groups_and_brokers_outlive_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (group, interval) = ((GROUP, "workers"), "consumer.heartbeat.interval.ms");
    let broker = restart::start(folder.path()).await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let (epoch, before) = heartbeat(&mut client, 0).await;
    assert_eq!(before, 5_000);
    assert_eq!(alter(&mut client, group, SET, interval, "6000").await, 0);
    let (epoch, after) = heartbeat(&mut client, epoch).await;
    assert_eq!(after, 6_000, "the running group follows");
    assert_eq!(alter(&mut client, (BROKER, "1"), SET, "log.retention.ms", "60000").await, 0);
    assert_eq!(alter(&mut client, (BROKER, ""), SET, "log.retention.bytes", "7").await, 0);
    broker.shutdown().await;

    let broker = restart::start(folder.path()).await;
    let mut client = broker.connect().await;
    // The group makes its targets anew, so the epoch may be another.
    let (epoch, after) = heartbeat(&mut client, epoch).await;
    assert_eq!(after, 6_000);
    let told = synonyms(&[(interval, "6000", 8), ("group.consumer.heartbeat.interval.ms", "5000", 5)]);
    assert_eq!(shown(&mut client, group, interval).await, (Some("6000".to_owned()), 8, told));
    assert_eq!(shown(&mut client, (TOPIC, "orders"), "retention.ms").await.0.as_deref(), Some("60000"));
    assert_eq!(shown(&mut client, (TOPIC, "orders"), "retention.bytes").await.1, 3);
    let listed = ListConfigResourcesRequest { resource_types: vec![GROUP] };
    let resources = call!(client, ListConfigResources, 1, listed.clone()).config_resources;
    assert_eq!(resources.iter().map(|one| one.resource_name.as_str()).collect::<Vec<_>>(), ["workers"]);
    assert_eq!(alter(&mut client, group, DELETE, interval, "").await, 0);
    assert_eq!(heartbeat(&mut client, epoch).await.1, 5_000);
    assert!(call!(client, ListConfigResources, 1, listed).config_resources.is_empty());
}

#[tokio::test]
async fn what_the_broker_is_started_with_is_in_force() {
    let broker = started(&[
        ("transaction.max.timeout.ms", "1000"),
        ("group.consumer.heartbeat.interval.ms", "7000"),
        ("auto.create.topics.enable", "false"),
        ("message.max.bytes", "200"),
    ])
    .await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    assert_eq!(append(&mut client, "orders", 0, &batch(&[&"x".repeat(300)]).build()).await, Err(10));
    let init = |transaction_timeout_ms| InitProducerIdRequest {
        transactional_id: Some("t".to_owned()),
        transaction_timeout_ms,
        producer_id: -1,
        producer_epoch: -1,
    };
    assert_eq!(call!(client, InitProducerId, 4, init(1_001)).error_code, 50);
    assert_eq!(call!(client, InitProducerId, 4, init(1_000)).error_code, 0);
    assert_eq!(heartbeat(&mut client, 0).await.1, 7_000);
    assert_eq!(call!(client, Metadata, 12, metadata_of("payments")).topics[0].error_code, 3);
    for bad in [("num.partitions", "none"), ("group.consumer.session.timeout.ms", "1"), ("no.such", "1")] {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            kafka: vec![KafkaListener::plaintext(any)],
            grpc: any,
            danube_admin: any,
            http: any,
            ..with(&[bad])
        };
        let refused = Broker::start(config, World::real(), Arc::new(MemoryStore::new())).await.err().unwrap();
        assert!(refused.to_string().contains(bad.0.trim_start_matches("group.")), "{refused}");
    }
}
