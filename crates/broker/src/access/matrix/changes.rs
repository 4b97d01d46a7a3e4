//! What the audit log tells of: every API, every method and every route is here with the change that it makes and the event
//! about it, or among those that change nothing that somebody administers. One that is new and in neither fails the test.

use super::{
    audited::told,
    grpc::{self, Ports},
    http::{self, Port},
    *,
};
use crate::access::Lines;
use axum::http::Method;
use keyway_danube_wire::{admin, schema};
use keyway_kafka_wire::messages as m;
use prost::Message;
use serde_json::Value;

/// Reads, and what producers, consumers and members of groups do all the time.
const QUIET_APIS: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeAcls,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::DescribeLogDirs,
    ApiKey::ElectLeaders,
    ApiKey::ListPartitionReassignments,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

const QUIET_METHODS: &[&str] = &[
    "/danube.ProducerService/SendMessage",
    "/danube.ConsumerService/ReceiveMessages",
    "/danube.ConsumerService/Ack",
    "/danube.ConsumerService/Nack",
    "/danube.Discovery/TopicLookup",
    "/danube.Discovery/TopicPartitions",
    "/danube.HealthCheck/HealthCheck",
    "/danube_schema.SchemaRegistry/GetSchema",
    "/danube_schema.SchemaRegistry/GetLatestSchema",
    "/danube_schema.SchemaRegistry/ListVersions",
    "/danube_schema.SchemaRegistry/CheckCompatibility",
    "/danube_schema.SchemaRegistry/GetTopicSchemaConfig",
    "/danube_schema.SchemaRegistry/ListSubjects",
    "/danube_admin.TopicAdmin/ListNamespaceTopics",
    "/danube_admin.TopicAdmin/ListBrokerTopics",
    "/danube_admin.TopicAdmin/UnloadTopic",
    "/danube_admin.TopicAdmin/ListSubscriptions",
    "/danube_admin.TopicAdmin/GetSubscriptionFailurePolicy",
    "/danube_admin.TopicAdmin/DescribeTopic",
    "/danube_admin.TopicAdmin/GetSubscriptionDispatchConfig",
    "/danube_admin.NamespaceAdmin/GetNamespaceTopics",
    "/danube_admin.NamespaceAdmin/GetNamespacePolicies",
    "/danube_admin.BrokerAdmin/ListBrokers",
    "/danube_admin.BrokerAdmin/GetLeaderBroker",
    "/danube_admin.BrokerAdmin/ListNamespaces",
    "/danube_admin.BrokerAdmin/UnloadBroker",
    "/danube_admin.BrokerAdmin/ActivateBroker",
    "/danube_admin.BrokerAdmin/GetClusterBalance",
    "/danube_admin.BrokerAdmin/TriggerRebalance",
];

/// The event of a request that changes nothing, as the change was made before or is told once a minute.
const NOTHING: &[&str] = &[];

async fn started(settings: &[(&str, &str)]) -> (Arc<Lines>, Arc<Node>) {
    let lines = Arc::new(Lines::default());
    let config = crate::Config { audit: Some(lines.clone()), ..config(settings) };
    let node = node_of(config, Arc::new(MemoryStore::new())).await;
    restore(&node).await;
    (lines, node)
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().expect("a text")).collect()
}

fn row(api: ApiKey) -> &'static Row {
    ROWS.iter().find(|row| row.api == api).expect("there is a row")
}

/// The request of the matrix, in its newest version.
fn usual(api: ApiKey) -> Request {
    requests::request(row(api), *row(api).versions.end(), OWN)
}

/// Requests in an order in which each does something, with what is told of it.
fn kafka_changes() -> Vec<(Request, &'static [&'static str])> {
    let Request::CreatePartitions(mut partitions) = usual(ApiKey::CreatePartitions) else { unreachable!() };
    partitions.validate_only = false;
    let (name, value) = ("retention.ms".to_owned(), Some("1000".to_owned()));
    let Request::AlterConfigs(mut configs) = usual(ApiKey::AlterConfigs) else { unreachable!() };
    configs.validate_only = false;
    configs.resources[0].configs = vec![m::alter_configs::AlterableConfig { name: name.clone(), value }];
    let Request::IncrementalAlterConfigs(mut removed) = usual(ApiKey::IncrementalAlterConfigs) else {
        unreachable!()
    };
    removed.validate_only = false;
    let removal = m::incremental_alter_configs::AlterableConfig { name, config_operation: 1, value: None };
    removed.resources[0].configs = vec![removal];
    let Request::DeleteRecords(mut records) = usual(ApiKey::DeleteRecords) else { unreachable!() };
    records.topics[0].partitions[0].offset = -1;
    let Request::WriteTxnMarkers(mut markers) = usual(ApiKey::WriteTxnMarkers) else { unreachable!() };
    markers.markers[0].topics[0].partition_indexes = vec![0];
    let Request::AlterClientQuotas(mut quotas) = usual(ApiKey::AlterClientQuotas) else { unreachable!() };
    quotas.validate_only = false;
    let key = "producer_byte_rate".to_owned();
    quotas.entries[0].ops = vec![m::alter_client_quotas::OpData { key, value: 9.0, remove: false }];
    let upsertion = m::alter_user_scram_credentials::ScramCredentialUpsertion {
        name: "carol".to_owned(),
        mechanism: 1,
        iterations: 4_096,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from_static(&[7; 32]),
    };
    let users = m::AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() };
    vec![
        (usual(ApiKey::DeleteTopics), &["topic_deleted"]),
        (usual(ApiKey::CreateTopics), &["topic_created"]),
        (Request::Metadata(requests::metadata("auto", true)), &["topic_created"]),
        (Request::CreatePartitions(partitions), &["partitions_added"]),
        (Request::AlterConfigs(configs), &["configs_changed"]),
        (Request::IncrementalAlterConfigs(removed), &["configs_changed"]),
        (usual(ApiKey::Produce), NOTHING),
        (Request::DeleteRecords(records.clone()), &["records_deleted"]),
        (Request::DeleteRecords(records), NOTHING),
        (Request::WriteTxnMarkers(markers), &["marker_written"]),
        (usual(ApiKey::OffsetCommit), &["offsets_set"]),
        (usual(ApiKey::DeleteGroups), &["group_deleted"]),
        (usual(ApiKey::DeleteGroups), NOTHING),
        (usual(ApiKey::OffsetCommit), NOTHING),
        (usual(ApiKey::OffsetDelete), &["offsets_deleted"]),
        (usual(ApiKey::CreateAcls), &["rule_added"]),
        (usual(ApiKey::DeleteAcls), &["rule_removed"]),
        (Request::AlterClientQuotas(quotas), &["quotas_changed"]),
        (Request::AlterUserScramCredentials(users), &["user_set"]),
        (usual(ApiKey::AlterUserScramCredentials), &["user_removed"]),
    ]
}

#[tokio::test]
async fn every_api_that_changes_something_is_told_of() {
    let (lines, node) = started(&[]).await;
    let mut apis: BTreeSet<&str> = QUIET_APIS.iter().map(|api| api.name()).collect();
    for (request, expected) in QUIET_APIS.iter().map(|api| (usual(*api), NOTHING)).chain(kafka_changes()) {
        let api = request.api_key();
        apis.insert(api.name());
        answer(&node, &caller("root"), &request, *row(api).versions.end()).await;
        let told = told(&lines, "User:root");
        assert_eq!(events(&told), expected, "{request:?}");
        assert!(told.iter().all(|line| line.get("outcome").is_none()), "{told:?}");
    }
    // Logins come before, and have lines of their own.
    let advertised = API_VERSIONS.iter().map(|one| one.api.name()).filter(|name| !name.starts_with("Sasl"));
    assert_eq!(apis, advertised.collect());
}

/// Calls in an order in which each does something, with what is told of it.
fn danube_changes() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let topic = || format!("/default/{}", OWN.topic);
    let (subject, gone) = ("subject".to_owned(), "gone".to_owned());
    let namespace = || admin::NamespaceRequest { name: "other".to_owned() }.encode_to_vec();
    let subscription =
        || admin::SubscriptionRequest { topic: topic(), subscription: OWN.group.to_owned() }.encode_to_vec();
    let subscribe = || grpc::subscribe(topic(), OWN.group.to_owned()).encode_to_vec();
    let failure_policy = admin::SubscriptionFailurePolicy {
        max_redelivery_count: 3,
        ack_timeout_ms: 1_000,
        base_redelivery_delay_ms: 1,
        max_redelivery_delay_ms: 10,
        ..Default::default()
    };
    let set_policy = admin::SetSubscriptionFailurePolicyRequest {
        topic: topic(),
        subscription: OWN.group.to_owned(),
        failure_policy: Some(failure_policy),
    };
    let set_config = admin::SetSubscriptionDispatchConfigRequest {
        topic: topic(),
        subscription: OWN.group.to_owned(),
        dispatch_config: Some(admin::SubscriptionDispatchConfig { max_unacked_messages: 7 }),
    };
    let create = |name: &str, schema_subject: Option<String>| {
        let name = format!("/default/{name}");
        admin::NewTopicRequest { name, schema_subject, dispatch_strategy: 1 }.encode_to_vec()
    };
    let partitioned = admin::PartitionedTopicRequest {
        base_name: "/default/partitioned".to_owned(),
        partitions: 2,
        dispatch_strategy: 1,
        ..Default::default()
    };
    let producer = |topic_name: &str| {
        keyway_danube_wire::proto::ProducerRequest {
            producer_name: "p".to_owned(),
            topic_name: topic_name.to_owned(),
            dispatch_strategy: 1,
            ..Default::default()
        }
        .encode_to_vec()
    };
    let mode = schema::SetCompatibilityModeRequest {
        subject: subject.clone(),
        compatibility_mode: "none".to_owned(),
    };
    let configure = schema::ConfigureTopicSchemaRequest {
        topic_name: topic(),
        schema_subject: subject.clone(),
        validation_policy: "warn".to_owned(),
        ..Default::default()
    };
    let update = schema::UpdateTopicValidationPolicyRequest {
        topic_name: topic(),
        validation_policy: "none".to_owned(),
        ..Default::default()
    };
    let register = |subject: &str| grpc::register(subject.to_owned()).encode_to_vec();
    vec![
        ("/danube_admin.NamespaceAdmin/CreateNamespace", namespace(), &["namespace_created"]),
        ("/danube_admin.NamespaceAdmin/CreateNamespace", namespace(), NOTHING),
        ("/danube_admin.NamespaceAdmin/DeleteNamespace", namespace(), &["namespace_deleted"]),
        ("/danube_schema.SchemaRegistry/RegisterSchema", register(&subject), &["schema_registered"]),
        ("/danube_schema.SchemaRegistry/RegisterSchema", register(&subject), NOTHING),
        (
            "/danube_schema.SchemaRegistry/SetCompatibilityMode",
            mode.encode_to_vec(),
            &["compatibility_changed"],
        ),
        (
            "/danube_schema.SchemaRegistry/ConfigureTopicSchema",
            configure.encode_to_vec(),
            &["topic_schema_changed"],
        ),
        (
            "/danube_schema.SchemaRegistry/UpdateTopicValidationPolicy",
            update.encode_to_vec(),
            &["topic_schema_changed"],
        ),
        ("/danube_schema.SchemaRegistry/RegisterSchema", register(&gone), &["schema_registered"]),
        (
            "/danube_schema.SchemaRegistry/DeleteSchemaVersion",
            schema::DeleteSchemaVersionRequest { subject: gone, version: 1 }.encode_to_vec(),
            &["schema_version_deleted"],
        ),
        ("/danube_admin.TopicAdmin/CreateTopic", create("plain", None), &["topic_created"]),
        (
            "/danube_admin.TopicAdmin/CreateTopic",
            create("typed", Some(subject)),
            &["topic_created", "topic_schema_changed"],
        ),
        ("/danube_admin.TopicAdmin/CreatePartitionedTopic", partitioned.encode_to_vec(), &["topic_created"]),
        ("/danube.ProducerService/CreateProducer", producer("/default/made"), &["topic_created"]),
        ("/danube.ProducerService/CreateProducer", producer("/default/made-part-1"), &["partitions_added"]),
        ("/danube.ConsumerService/Subscribe", subscribe(), &["subscription_created"]),
        ("/danube.ConsumerService/Subscribe", subscribe(), NOTHING),
        (
            "/danube_admin.TopicAdmin/SetSubscriptionFailurePolicy",
            set_policy.encode_to_vec(),
            &["policy_changed"],
        ),
        (
            "/danube_admin.TopicAdmin/SetSubscriptionDispatchConfig",
            set_config.encode_to_vec(),
            &["policy_changed"],
        ),
        ("/danube_admin.TopicAdmin/Unsubscribe", subscription(), &["subscription_deleted"]),
        ("/danube_admin.TopicAdmin/Unsubscribe", subscription(), NOTHING),
        (
            "/danube_admin.TopicAdmin/DeleteTopic",
            admin::TopicRequest { name: topic() }.encode_to_vec(),
            &["topic_deleted"],
        ),
    ]
}

#[tokio::test]
async fn every_method_that_changes_something_is_told_of() {
    let (lines, node) = started(&[]).await;
    let mut ports = Ports::of(&node);
    let mut paths: BTreeSet<&str> = QUIET_METHODS.iter().copied().collect();
    for path in QUIET_METHODS {
        let body = ports.body(path, FOREIGN).await;
        lines.take();
        ports.call("root", path, &body).await;
        assert_eq!(events(&told(&lines, "User:root")), NOTHING, "{path}");
    }
    for (path, body, expected) in danube_changes() {
        paths.insert(path);
        let (status, _) = ports.call("root", path, &body).await;
        let told = told(&lines, "User:root");
        assert_eq!(events(&told), expected, "{path}: status {status}");
        assert!(told.iter().all(|line| line.get("outcome").is_none()), "{told:?}");
    }
    assert_eq!(paths, grpc::METHODS.iter().map(|method| method.path).collect());
}

#[tokio::test]
async fn every_route_that_changes_something_is_told_of() {
    let (lines, node) = started(http::SETTINGS).await;
    let mut port = Port::of(&node).await;
    let (peer, login) = (port.connect(), "Bearer root:secret");
    let route = |method: Method, end: &str| {
        let named = |route: &&http::Route| route.method == method && route.path.ends_with(end);
        http::ROUTES.iter().find(named).expect("there is a route")
    };
    let quiet = http::ROUTES.iter().filter(|route| route.method == Method::GET);
    let changes = [
        (Method::PUT, "/{name}", "subscription_created"),
        (Method::PATCH, "/policy", "policy_changed"),
        (Method::POST, "/seek", "subscription_moved"),
        (Method::POST, "/release", "keys_released"),
        (Method::POST, "/replay", "dead_letters_replayed"),
        (Method::POST, "/purge", "dead_letters_purged"),
        (Method::DELETE, "/{name}", "subscription_deleted"),
    ];
    assert_eq!(quiet.clone().count() + changes.len(), http::ROUTES.len());
    port.ask(&peer, login, &http::ROUTES[2], OWN).await;
    for route in quiet {
        lines.take();
        port.ask(&peer, login, route, OWN).await;
        assert_eq!(events(&lines.take()), NOTHING, "{}", route.path);
    }
    for (method, end, event) in changes {
        // Every record is a dead letter of its topic, to the routes that deal with those.
        answer(&node, &caller("root"), &usual(ApiKey::Produce), 12).await;
        lines.take();
        let status = port.ask(&peer, login, route(method, end), OWN).await;
        assert_eq!(events(&lines.take()), [event], "{end}: {status}");
        let again = port.ask(&peer, login, route(Method::DELETE, "/{name}"), FOREIGN).await;
        assert_eq!((again.as_u16(), events(&lines.take()).len()), (404, 0), "nothing is deleted");
    }
}
