//! Topics and configs: made, described, changed, deleted.

use crate::{
    broker::TestBroker,
    client::call,
    requests::{append, batch, create_topic, fetch, metadata_of, topic_id},
};
use keyway_broker::Config;
use keyway_kafka_wire::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    ListConfigResourcesResponse, MetadataRequest, UpdateFeaturesRequest, alter_configs,
    create_partitions::CreatePartitionsTopic,
    create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics::DeleteTopicState,
    describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult},
    describe_log_dirs::DescribableLogDirTopic,
    describe_topic_partitions::{Cursor, TopicRequest},
    elect_leaders::TopicPartitions,
    incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
    list_config_resources::ConfigResource,
    metadata::MetadataRequestTopic,
    update_features::FeatureUpdateKey,
};
use keyway_log::MemoryStore;
use keyway_record::TopicId;
use std::sync::Arc;

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions: -1, replication_factor: -1, ..Default::default() }
}

#[tokio::test]
async fn topics_are_created_on_first_use_if_the_client_and_the_broker_agree() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let refused = MetadataRequest { allow_auto_topic_creation: false, ..metadata_of("orders") };
    assert_eq!(call!(client, Metadata, 12, refused).topics[0].error_code, 3);
    let response = call!(client, Metadata, 12, metadata_of("orders"));
    assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 1));
    assert_eq!(response.topics[0].partitions[0].leader_id, response.brokers[0].node_id);
    assert_eq!(call!(client, Metadata, 12, metadata_of("or/ders")).topics[0].error_code, 17);
    assert_eq!(call!(client, Metadata, 12, metadata_of("__groups")).topics[0].error_code, 17);

    let all = MetadataRequest { topics: None, ..Default::default() };
    let names: Vec<_> =
        call!(client, Metadata, 9, all).topics.into_iter().filter_map(|topic| topic.name).collect();
    assert_eq!(names, ["orders"]);
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert!(call!(client, Metadata, 9, none.clone()).topics.is_empty());
    assert_eq!(call!(client, Metadata, 0, none).topics.len(), 1, "in version 0 an empty list means all");

    let id = topic_id(&mut client, "orders").await;
    let by_id = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name: None }]),
        ..Default::default()
    };
    assert_eq!(call!(client, Metadata, 13, by_id(id)).topics[0].name.as_deref(), Some("orders"));
    assert_eq!(call!(client, Metadata, 13, by_id(TopicId([9; 16]))).topics[0].error_code, 100);
    // Java's client leaves the name empty, and not null; beside an id, names count for nothing.
    let java = |topic_id| MetadataRequestTopic { topic_id, name: Some(String::new()) };
    let asked =
        vec![java(id), MetadataRequestTopic { topic_id: TopicId::ZERO, name: Some("other".to_owned()) }];
    let by_ids = MetadataRequest { topics: Some(asked), ..Default::default() };
    let found = call!(client, Metadata, 13, by_ids).topics;
    assert_eq!((found.len(), found[0].name.as_deref()), (1, Some("orders")));

    let settings = [("auto.create.topics.enable".to_owned(), "false".to_owned())].into();
    let strict = Config { settings, ..Config::default() };
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), strict).await;
    let mut client = broker.connect().await;
    assert_eq!(call!(client, Metadata, 12, metadata_of("orders")).topics[0].error_code, 3);
}

#[tokio::test]
async fn topics_are_created_as_asked_or_not_at_all() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let assigned = |brokers: &[i32]| CreatableTopic {
        assignments: (0..2)
            .map(|partition_index| CreatableReplicaAssignment {
                partition_index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..topic("assigned")
    };
    let config = |name: &str, value: &str| CreatableTopic {
        configs: vec![CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) }],
        ..topic("configured")
    };
    for (what, asked, expected) in [
        ("defaults", topic("defaults"), 0),
        ("the same again", topic("defaults"), 36),
        ("an illegal name", topic("a b"), 17),
        ("an internal name", topic("__mine"), 17),
        ("no partitions", CreatableTopic { num_partitions: 0, ..topic("p") }, 37),
        ("too many partitions", CreatableTopic { num_partitions: 1_000_000, ..topic("p") }, 37),
        ("no replicas", CreatableTopic { replication_factor: 0, ..topic("r") }, 38),
        ("more replicas than brokers", CreatableTopic { replication_factor: 3, ..topic("r") }, 0),
        ("a config", config("retention.ms", "1000"), 0),
        ("an unknown config", config("retention.eons", "1"), 40),
        ("a bad value", config("retention.ms", "soon"), 40),
        ("an assignment", assigned(&[1]), 0),
        ("an assignment elsewhere", assigned(&[2]), 39),
    ] {
        let request = CreateTopicsRequest { topics: vec![asked], ..Default::default() };
        let response = call!(client, CreateTopics, 7, request);
        let result = &response.topics[0];
        assert_eq!(result.error_code, expected, "{what}: {:?}", result.error_message);
        assert_eq!(result.error_message.is_some(), expected != 0, "{what}");
        assert!(result.configs.is_some(), "{what}: the list is never null");
    }
    let twice = CreateTopicsRequest { topics: vec![topic("t"), topic("t")], ..Default::default() };
    let response = call!(client, CreateTopics, 7, twice);
    assert!(response.topics.iter().all(|topic| topic.error_code == 42));
    let dry = CreateTopicsRequest { topics: vec![topic("dry")], validate_only: true, ..Default::default() };
    assert_eq!(call!(client, CreateTopics, 7, dry).topics[0].error_code, 0);
    let unmade = MetadataRequest { allow_auto_topic_creation: false, ..metadata_of("dry") };
    assert_eq!(call!(client, Metadata, 12, unmade).topics[0].error_code, 3);
}

#[tokio::test]
async fn a_deleted_topic_is_another_when_it_comes_back() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    let id = create_topic(&mut client, "orders", 1).await;
    append(&mut client, "orders", 0, &batch(&["old"]).build()).await.unwrap();
    let delete = |name: Option<&str>, topic_id| DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: name.map(str::to_owned), topic_id }],
        ..Default::default()
    };
    assert_eq!(
        call!(client, DeleteTopics, 6, delete(Some("missing"), TopicId::ZERO)).responses[0].error_code,
        3
    );
    assert_eq!(call!(client, DeleteTopics, 6, delete(None, TopicId([9; 16]))).responses[0].error_code, 100);
    let response = call!(client, DeleteTopics, 6, delete(None, id));
    assert_eq!(
        (response.responses[0].error_code, response.responses[0].name.as_deref()),
        (0, Some("orders"))
    );
    let again = create_topic(&mut client, "orders", 1).await;
    assert_ne!(again, id);
    let mut request = fetch("orders", 0, 0);
    request.topics[0].topic_id = id;
    assert_eq!(call!(client, Fetch, 13, request.clone()).responses[0].partitions[0].error_code, 100);
    request.topics[0].topic_id = again;
    let response = call!(client, Fetch, 13, request);
    assert_eq!(response.responses[0].partitions[0].high_watermark, 0);
}

#[tokio::test]
async fn topics_grow_and_never_shrink() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 2).await;
    let grow = |name: &str, count| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: name.to_owned(), count, assignments: None }],
        ..Default::default()
    };
    assert_eq!(call!(client, CreatePartitions, 3, grow("orders", 2)).results[0].error_code, 37);
    assert_eq!(call!(client, CreatePartitions, 3, grow("missing", 2)).results[0].error_code, 3);
    assert_eq!(call!(client, CreatePartitions, 3, grow("orders", 5)).results[0].error_code, 0);
    assert_eq!(call!(client, Metadata, 12, metadata_of("orders")).topics[0].partitions.len(), 5);
    assert_eq!(append(&mut client, "orders", 4, &batch(&["x"]).build()).await, Ok(0));
}

#[tokio::test]
async fn configs_are_described_with_their_source_and_changed_in_place() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let describe = |resource_type, name: &str, keys: Option<&[&str]>| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: keys.map(|keys| keys.iter().map(|&key| key.to_owned()).collect()),
        }],
        include_synonyms: true,
        ..Default::default()
    };
    let alter = |name: &str, config_operation, value: Option<&str>| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "orders".to_owned(),
            configs: vec![AlterableConfig {
                name: name.to_owned(),
                config_operation,
                value: value.map(str::to_owned),
            }],
        }],
        ..Default::default()
    };
    let shown =
        |config: &DescribeConfigsResourceResult| (config.value.clone().unwrap(), config.config_source);
    let keys: &[&str] = &["max.message.bytes"];
    let response = call!(client, DescribeConfigs, 4, describe(2, "orders", Some(keys)));
    assert_eq!(response.results[0].configs.len(), 1);
    assert_eq!(shown(&response.results[0].configs[0]), ("1048588".to_owned(), 5));

    assert_eq!(
        call!(client, IncrementalAlterConfigs, 1, alter(keys[0], 0, Some("200"))).responses[0].error_code,
        0
    );
    let response = call!(client, DescribeConfigs, 4, describe(2, "orders", Some(keys)));
    let config = &response.results[0].configs[0];
    assert_eq!(shown(config), ("200".to_owned(), 1));
    let synonyms: Vec<_> = config.synonyms.iter().map(|one| (one.name.as_str(), one.source)).collect();
    assert_eq!(synonyms, [("max.message.bytes", 1), ("message.max.bytes", 5)]);
    assert_eq!(
        append(&mut client, "orders", 0, &batch(&[&"x".repeat(300)]).build()).await,
        Err(10),
        "it counts"
    );
    assert_eq!(call!(client, IncrementalAlterConfigs, 1, alter(keys[0], 1, None)).responses[0].error_code, 0);
    assert_eq!(append(&mut client, "orders", 0, &batch(&[&"x".repeat(300)]).build()).await, Ok(0));

    assert_eq!(
        call!(client, IncrementalAlterConfigs, 1, alter("cleanup.policy", 2, Some("compact"))).responses[0]
            .error_code,
        0
    );
    let response = call!(client, DescribeConfigs, 4, describe(2, "orders", Some(&["cleanup.policy"])));
    assert_eq!(shown(&response.results[0].configs[0]), ("delete,compact".to_owned(), 1));
    for (name, operation, value, expected) in [
        ("no.such", 0, Some("1"), 40),
        ("retention.ms", 2, Some("1"), 40),
        ("retention.ms", 9, Some("1"), 42),
        ("retention.ms", 0, None, 42),
    ] {
        let response = call!(client, IncrementalAlterConfigs, 1, alter(name, operation, value));
        assert_eq!(response.responses[0].error_code, expected, "{name} {operation}");
    }

    let response = call!(client, DescribeConfigs, 4, describe(4, "1", None));
    let broker_configs = &response.results[0].configs;
    assert!(
        broker_configs
            .iter()
            .any(|config| config.name == "num.partitions" && shown(config) == ("1".to_owned(), 5))
    );
    let dynamic = |config: &&DescribeConfigsResourceResult| !config.read_only;
    assert!(broker_configs.iter().filter(dynamic).any(|config| config.name == "log.retention.ms"));
    assert_eq!(call!(client, DescribeConfigs, 4, describe(4, "2", None)).results[0].error_code, 42);
    assert_eq!(call!(client, DescribeConfigs, 4, describe(2, "missing", None)).results[0].error_code, 3);
}

#[tokio::test]
async fn all_configs_of_a_topic_are_replaced_at_once() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 1).await;
    let alter = |name: &str, given: &[(&str, &str)], validate_only| AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: 2,
            resource_name: name.to_owned(),
            configs: given
                .iter()
                .map(|(name, value)| alter_configs::AlterableConfig {
                    name: (*name).to_owned(),
                    value: Some((*value).to_owned()),
                })
                .collect(),
        }],
        validate_only,
    };
    let described = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: "orders".to_owned(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    for (name, given, validate_only, code, own) in [
        (
            "orders",
            &[("retention.ms", "5"), ("segment.ms", "7")][..],
            false,
            0,
            &["retention.ms", "segment.ms"][..],
        ),
        ("orders", &[("retention.ms", "9")], true, 0, &["retention.ms", "segment.ms"]),
        (
            "orders",
            &[("retention.ms", "9"), ("retention.ms", "8")],
            false,
            42,
            &["retention.ms", "segment.ms"],
        ),
        (
            "orders",
            &[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")],
            false,
            40,
            &["retention.ms", "segment.ms"],
        ),
        ("missing", &[], false, 3, &["retention.ms", "segment.ms"]),
        ("orders", &[("retention.bytes", "9")], false, 0, &["retention.bytes"]),
        ("orders", &[], false, 0, &[]),
    ] {
        let response = call!(client, AlterConfigs, 2, alter(name, given, validate_only));
        assert_eq!(response.responses[0].error_code, code, "{given:?}");
        let response = call!(client, DescribeConfigs, 4, described.clone());
        let set = response.results[0].configs.iter().filter(|config| config.config_source == 1);
        assert_eq!(set.map(|config| config.name.as_str()).collect::<Vec<_>>(), own, "{given:?}");
    }
}

#[tokio::test]
async fn topics_are_described_in_parts() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    for (name, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
        create_topic(&mut client, name, partitions).await;
    }
    let (mut cursor, mut pages) = (None, Vec::new());
    loop {
        let request =
            DescribeTopicPartitionsRequest { response_partition_limit: 2, cursor, ..Default::default() };
        let response = call!(client, DescribeTopicPartitions, 0, request);
        let page = response.topics.iter().map(|topic| {
            let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
            (topic.name.clone().unwrap(), indexes.collect::<Vec<_>>())
        });
        pages.push(page.collect::<Vec<_>>());
        match response.next_cursor {
            Some(next) => {
                let (topic_name, partition_index) = (next.topic_name, next.partition_index);
                cursor = Some(Cursor { topic_name, partition_index });
            }
            None => break,
        }
    }
    let named = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    let expected =
        [vec![named("a", &[0, 1])], vec![named("b", &[0, 1])], vec![named("b", &[2]), named("c", &[0])]];
    assert_eq!(pages, expected);
    let missing = TopicRequest { name: "missing".to_owned() };
    let request = DescribeTopicPartitionsRequest { topics: vec![missing], ..Default::default() };
    assert_eq!(call!(client, DescribeTopicPartitions, 0, request).topics[0].error_code, 3);
}

#[tokio::test]
async fn sizes_leaders_features_and_resources_are_told() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect().await;
    create_topic(&mut client, "orders", 2).await;
    let stored = batch(&["some", "records"]).build();
    append(&mut client, "orders", 1, &stored).await.unwrap();
    let asked = DescribableLogDirTopic { topic: "orders".to_owned(), partitions: vec![0, 1, 9] };
    let request = DescribeLogDirsRequest { topics: Some(vec![asked]) };
    let dir = call!(client, DescribeLogDirs, 4, request).results.remove(0);
    let sizes: Vec<_> =
        dir.topics[0].partitions.iter().map(|one| (one.partition_index, one.partition_size)).collect();
    assert_eq!(sizes, [(0, 0), (1, stored.bytes().len() as i64)]);
    let all = call!(client, DescribeLogDirs, 4, DescribeLogDirsRequest { topics: None });
    assert_eq!(all.results[0].topics.len(), 1);

    let election = |partitions: Option<Vec<i32>>| ElectLeadersRequest {
        topic_partitions: partitions
            .map(|partitions| vec![TopicPartitions { topic: "orders".to_owned(), partitions }]),
        ..Default::default()
    };
    let elected = call!(client, ElectLeaders, 2, election(Some(vec![0, 9])));
    let codes = elected.replica_election_results[0].partition_result.iter().map(|one| one.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [84, 3]);
    assert!(call!(client, ElectLeaders, 2, election(None)).replica_election_results.is_empty());

    let update = |feature: &str, level| UpdateFeaturesRequest {
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.to_owned(),
            max_version_level: level,
            ..Default::default()
        }],
        ..Default::default()
    };
    for (feature, level, code) in [("group.version", 1, 0), ("group.version", 0, 95), ("no.such", 1, 95)] {
        let old = call!(client, UpdateFeatures, 1, update(feature, level));
        // One refusal is all that is said.
        let said: Vec<i16> = old.results.iter().map(|one| one.error_code).collect();
        assert_eq!((old.error_code, said), (code, if code == 0 { vec![0] } else { Vec::new() }));
        assert_eq!(call!(client, UpdateFeatures, 2, update(feature, level)).error_code, code);
    }

    let listed =
        |resource_types: &[i8]| ListConfigResourcesRequest { resource_types: resource_types.to_vec() };
    let names = |response: ListConfigResourcesResponse| {
        let name = |one: ConfigResource| (one.resource_type, one.resource_name);
        response.config_resources.into_iter().map(name).collect::<Vec<_>>()
    };
    let (topic, broker) = ((2, "orders".to_owned()), (4, "1".to_owned()));
    assert_eq!(names(call!(client, ListConfigResources, 1, listed(&[]))), [topic.clone(), broker]);
    assert_eq!(names(call!(client, ListConfigResources, 1, listed(&[2]))), [topic]);
    assert!(call!(client, ListConfigResources, 0, listed(&[])).config_resources.is_empty());
}

#[tokio::test]
async fn the_cluster_has_one_id() {
    let broker = TestBroker::start().await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    let id = call!(first, DescribeCluster, 2, request).cluster_id;
    assert_eq!(id.len(), 22);
    assert_eq!(call!(second, Metadata, 9, metadata_of("orders")).cluster_id, Some(id));
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    assert_eq!(call!(first, DescribeCluster, 2, controllers).error_code, 114);
}
