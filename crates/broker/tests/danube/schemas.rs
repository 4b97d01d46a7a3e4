//! The schema registry, called by hand and by the published client.

use crate::{
    restart::store,
    support::{TestBroker, client, code, free_port},
};
use keyway_danube_wire::{
    proto::{
        MsgId, ProducerRequest, SchemaReference, StreamMessage,
        producer_service_client::ProducerServiceClient, schema_reference::VersionRef,
    },
    schema::{
        CheckCompatibilityRequest, ConfigureTopicSchemaRequest, DeleteSchemaVersionRequest,
        GetLatestSchemaRequest, GetSchemaRequest, GetTopicSchemaConfigRequest, ListSubjectsRequest,
        ListVersionsRequest, RegisterSchemaRequest, SetCompatibilityModeRequest,
        UpdateTopicValidationPolicyRequest, schema_registry_client::SchemaRegistryClient,
    },
};
use tonic::{Code, transport::Channel};

const TOPIC: &str = "/default/orders";
const ORDER: &str = r#"{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}"#;
const ORDER_AND_NOTE: &str =
    r#"{"type":"object","properties":{"id":{"type":"integer"},"note":{"type":"string"}},"required":["id"]}"#;
const OTHER: &str = r#"{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]}"#;

async fn registry(broker: &TestBroker) -> SchemaRegistryClient<Channel> {
    SchemaRegistryClient::new(broker.channel().await)
}

fn register(subject: &str, kind: &str, definition: &str) -> RegisterSchemaRequest {
    RegisterSchemaRequest {
        subject: subject.to_owned(),
        schema_type: kind.to_owned(),
        schema_definition: definition.as_bytes().to_vec().into(),
        description: "an order".to_owned(),
        created_by: "ann".to_owned(),
        tags: vec!["shop".to_owned()],
    }
}

fn create(topic: &str, name: &str, subject: &str, version: Option<VersionRef>) -> ProducerRequest {
    ProducerRequest {
        producer_name: name.to_owned(),
        topic_name: topic.to_owned(),
        dispatch_strategy: 1,
        schema_ref: Some(SchemaReference { subject: subject.to_owned(), version_ref: version }),
        ..ProducerRequest::default()
    }
}

fn message(producer: u64, payload: &str, schema: Option<(u64, u32)>) -> StreamMessage {
    StreamMessage {
        msg_id: Some(MsgId { producer_id: producer, topic_name: TOPIC.to_owned(), ..MsgId::default() }),
        payload: payload.as_bytes().to_vec().into(),
        producer_name: "p".to_owned(),
        schema_id: schema.map(|(id, _)| id),
        schema_version: schema.map(|(_, version)| version),
        ..StreamMessage::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_come_and_go_and_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let mut schemas = registry(&broker).await;
    let first = schemas.register_schema(register("orders", "json_schema", ORDER)).await.expect("registered");
    let first = first.into_inner();
    assert!(first.is_new_version && first.version == 1 && first.fingerprint.starts_with("sha256:"));
    let spaced = ORDER.replace(':', " : ");
    let same = schemas.register_schema(register("orders", "JSON_SCHEMA", &spaced)).await.expect("the same");
    let same = same.into_inner();
    assert_eq!((same.is_new_version, same.version, same.schema_id), (false, 1, first.schema_id));
    let second = schemas.register_schema(register("orders", "json_schema", ORDER_AND_NOTE)).await;
    let second = second.expect("compatible").into_inner();
    assert_eq!((second.version, second.schema_id), (2, first.schema_id));
    let other = schemas.register_schema(register("users", "avro", r#""string""#)).await.expect("registered");
    assert_ne!(other.into_inner().schema_id, first.schema_id);

    let refused = schemas.register_schema(register("orders", "json_schema", OTHER)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("compatible") && refused.message().contains("id"), "{refused}");
    let mode = |mode: &str| SetCompatibilityModeRequest {
        subject: "orders".to_owned(),
        compatibility_mode: mode.to_owned(),
    };
    schemas.set_compatibility_mode(mode("none")).await.expect("set");
    let third =
        schemas.register_schema(register("orders", "json_schema", OTHER)).await.expect("anything goes");
    assert_eq!(third.into_inner().version, 3);
    let delete = |version| DeleteSchemaVersionRequest { subject: "orders".to_owned(), version };
    schemas.delete_schema_version(delete(3)).await.expect("deleted");
    assert_eq!(code(schemas.delete_schema_version(delete(3)).await), Code::NotFound);

    drop(schemas);
    broker.broker.shutdown().await.expect("a clean end");
    let broker = TestBroker::start_on(store(folder.path()), free_port()).await;
    let mut schemas = SchemaRegistryClient::new(broker.admin().await);
    let latest = schemas.get_latest_schema(GetLatestSchemaRequest { subject: "orders".to_owned() }).await;
    let latest = latest.expect("still there").into_inner();
    assert_eq!(latest.schema_definition, ORDER_AND_NOTE.as_bytes(), "the bytes that were registered");
    assert_eq!((latest.schema_id, latest.version), (first.schema_id, 2));
    assert_eq!((latest.schema_type.as_str(), latest.compatibility_mode.as_str()), ("json_schema", "none"));
    assert_eq!((latest.created_by.as_str(), latest.tags), ("ann", vec!["shop".to_owned()]));
    assert!(latest.created_at > 1_700_000_000);
    let by_id = GetSchemaRequest { schema_id: first.schema_id, version: Some(1) };
    let by_id = schemas.get_schema(by_id).await.expect("still there").into_inner();
    assert_eq!(by_id.fingerprint, first.fingerprint);
    let versions = schemas.list_versions(ListVersionsRequest { subject: "orders".to_owned() }).await;
    let versions = versions.expect("listed").into_inner().versions;
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2]);
    let subjects = schemas.list_subjects(ListSubjectsRequest {}).await.expect("listed").into_inner().subjects;
    let names: Vec<_> = subjects.iter().map(|it| (it.subject.as_str(), it.latest_version)).collect();
    assert_eq!(names, [("orders", 2), ("users", 1)]);
    let fourth = schemas.register_schema(register("orders", "json_schema", "{}")).await.expect("registered");
    assert_eq!(fourth.into_inner().version, 4, "a number is not used twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named() {
    let broker = TestBroker::start().await;
    let mut schemas = registry(&broker).await;
    for (subject, kind, definition) in [
        ("", "avro", r#""int""#),
        (&*"x".repeat(300), "avro", r#""int""#),
        ("s", "xml", "<x/>"),
        ("s", "avro", "{"),
        ("s", "avro", r#"{"type":"record"}"#),
        ("s", "json_schema", r#"{"type":"nonsense"}"#),
        ("s", "protobuf", "message {"),
        ("s", "bytes", &*"x".repeat(600 * 1024)),
    ] {
        let answer = schemas.register_schema(register(subject, kind, definition)).await;
        assert_eq!(code(answer), Code::InvalidArgument, "{kind} {definition:.40}");
    }
    schemas.register_schema(register("s", "string", "")).await.expect("registered");
    let answer = schemas.register_schema(register("s", "avro", r#""int""#)).await;
    assert_eq!(code(answer), Code::FailedPrecondition, "another type");
    let missing = GetLatestSchemaRequest { subject: "nowhere".to_owned() };
    assert_eq!(code(schemas.get_latest_schema(missing).await), Code::NotFound);
    let missing = GetSchemaRequest { schema_id: 99, version: None };
    assert_eq!(code(schemas.get_schema(missing).await), Code::NotFound);
    let mode =
        SetCompatibilityModeRequest { subject: "s".to_owned(), compatibility_mode: "sideways".to_owned() };
    assert_eq!(code(schemas.set_compatibility_mode(mode).await), Code::InvalidArgument);
    let topic = GetTopicSchemaConfigRequest { topic_name: "/default/nowhere".to_owned() };
    assert_eq!(code(schemas.get_topic_schema_config(topic).await), Code::NotFound);

    let check = |definition: &str, mode: Option<&str>| CheckCompatibilityRequest {
        subject: "p".to_owned(),
        new_schema_definition: definition.as_bytes().to_vec().into(),
        schema_type: "proto".to_owned(),
        compatibility_mode: mode.map(str::to_owned),
    };
    let v1 = "syntax = \"proto3\"; message M { int32 a = 1; }";
    schemas.register_schema(register("p", "protobuf", v1)).await.expect("registered");
    let reused = "syntax = \"proto3\"; message M { string a = 1; }";
    let answer = schemas.check_compatibility(check(reused, None)).await.expect("checked").into_inner();
    assert!(!answer.is_compatible && answer.errors[0].contains("field 1"), "{:?}", answer.errors);
    let answer =
        schemas.check_compatibility(check(reused, Some("none"))).await.expect("checked").into_inner();
    assert!(answer.is_compatible && answer.errors.is_empty());
    let answer = schemas.check_compatibility(check("message {", None)).await.expect("checked").into_inner();
    assert!(!answer.is_compatible);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_has_the_subject_of_its_first_producer_and_no_other() {
    let broker = TestBroker::start().await;
    let mut schemas = registry(&broker).await;
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    let missing = producers.create_producer(create(TOPIC, "p", "orders", None)).await.unwrap_err();
    assert_eq!(missing.code(), Code::FailedPrecondition);
    assert!(missing.message().contains("not found"), "{missing}");
    for subject in ["orders", "others"] {
        schemas.register_schema(register(subject, "json_schema", ORDER)).await.expect("registered");
    }
    let pinned = Some(VersionRef::PinnedVersion(7));
    let missing = producers.create_producer(create(TOPIC, "p", "orders", pinned)).await;
    assert_eq!(code(missing), Code::FailedPrecondition);
    let created = producers.create_producer(create(TOPIC, "p", "orders", None)).await.expect("created");
    let id = created.into_inner().producer_id;
    let again = create(TOPIC, "p", "orders", Some(VersionRef::MinVersion(1)));
    assert_eq!(producers.create_producer(again).await.expect("again").into_inner().producer_id, id);
    let other = producers.create_producer(create(TOPIC, "q", "others", None)).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert!(other.message().contains("orders") && other.message().contains("cannot use"), "{other}");
    // Warning is the default: everything goes through.
    producers.send_message(message(id, "no json", None)).await.expect("sent");

    let config = || GetTopicSchemaConfigRequest { topic_name: TOPIC.to_owned() };
    let has = schemas.get_topic_schema_config(config()).await.expect("answered").into_inner();
    assert_eq!((has.schema_subject.as_str(), has.validation_policy.as_str()), ("orders", "warn"));
    assert!(has.schema_id > 0 && !has.enable_payload_validation);
    let delete = DeleteSchemaVersionRequest { subject: "orders".to_owned(), version: 1 };
    assert_eq!(code(schemas.delete_schema_version(delete).await), Code::FailedPrecondition, "in use");
    let configure = ConfigureTopicSchemaRequest {
        topic_name: TOPIC.to_owned(),
        schema_subject: "others".to_owned(),
        validation_policy: "enforce".to_owned(),
        enable_payload_validation: false,
    };
    schemas.configure_topic_schema(configure).await.expect("configured");
    let has = schemas.get_topic_schema_config(config()).await.expect("answered").into_inner();
    assert_eq!((has.schema_subject.as_str(), has.validation_policy.as_str()), ("others", "enforce"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_checked_as_the_topic_says() {
    let broker = TestBroker::start().await;
    let mut schemas = registry(&broker).await;
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    let registered =
        schemas.register_schema(register("orders", "json_schema", ORDER)).await.expect("registered");
    let schema = registered.into_inner().schema_id;
    let created = producers.create_producer(create(TOPIC, "p", "orders", None)).await.expect("created");
    let id = created.into_inner().producer_id;
    let mut set = async |policy: &str, payloads| {
        let update = UpdateTopicValidationPolicyRequest {
            topic_name: TOPIC.to_owned(),
            validation_policy: policy.to_owned(),
            enable_payload_validation: payloads,
        };
        schemas.update_topic_validation_policy(update).await.expect("set");
    };
    let mut send =
        async |payload: &str, schema| code(producers.send_message(message(id, payload, schema)).await);
    let (good, bad, ok) = (r#"{"id":1}"#, r#"{"id":"1"}"#, Some((schema, 1)));
    let refused = Code::InvalidArgument;

    set("enforce", false).await;
    assert_eq!(send(bad, ok).await, Code::Ok, "payloads are not looked at");
    assert_eq!(send(good, None).await, refused);
    assert_eq!(send(good, Some((schema + 1, 1))).await, refused);
    assert_eq!(send(good, Some((schema, 2))).await, refused);
    set("enforce", true).await;
    assert_eq!(send(good, ok).await, Code::Ok);
    assert_eq!(send(bad, ok).await, refused);
    set("warn", true).await;
    assert_eq!(send(good, None).await, Code::Ok, "only warned of");
    assert_eq!(send(bad, ok).await, refused, "a payload that is to be checked is refused under warn as well");
    set("none", true).await;
    assert_eq!(send(bad, None).await, Code::Ok);
}

/// The published client: register, produce with the schema, and read it back by the id that came with the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_client_produces_with_a_schema() {
    use danube_client::SchemaType;
    let broker = TestBroker::start().await;
    let danube = client(&broker.url).await;
    let registry = danube.schema();
    let registering = registry.register_schema("orders").with_type(SchemaType::JsonSchema);
    let id = registering.with_schema_data(ORDER.as_bytes()).execute().await.expect("registered");
    let builder = danube.new_producer().with_topic(TOPIC).with_name("p").with_reliable_dispatch();
    let mut producer = builder.with_schema_subject("orders").build().expect("a producer");
    producer.create().await.expect("created");
    let mut consumer = danube
        .new_consumer()
        .with_topic(TOPIC)
        .with_consumer_name("c")
        .with_subscription("s")
        .build()
        .expect("a consumer");
    consumer.subscribe().await.expect("subscribed");
    let mut stream = consumer.receive().await.expect("a stream");
    producer.send(br#"{"id":1}"#.to_vec(), None).await.expect("sent");
    let message = tokio::time::timeout(crate::support::PATIENCE, stream.recv()).await.expect("in time");
    let message = message.expect("a message");
    assert_eq!((message.schema_id, message.schema_version), (Some(id), Some(1)));
    let fetched = registry.get_schema_by_id(id).await.expect("fetched");
    assert_eq!(fetched.schema_definition, ORDER.as_bytes());
}
