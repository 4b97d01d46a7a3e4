//! The authorization matrix over gRPC: every method of Danube's services × rules × resources. A method that the protocol has
//! and the table has not fails the test.

use super::*;
use crate::danube;
use axum::Router;
use keyway_access::Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, Read, Write};
use keyway_danube_wire::{admin, proto, schema};
use prost::Message;
use std::collections::BTreeSet;
use tonic::codegen::{Service, http};

/// gRPC's number of a refusal for want of a permission.
const PERMISSION_DENIED: &str = "7";

/// What one has to be allowed, and on what; a subscription is a group, a schema subject a topic.
#[derive(Clone, Copy)]
enum Ask {
    On(Operation, ResourceType),
    /// Describe on one topic at least that there is.
    SomeTopic,
}

use Ask::{On, SomeTopic};

/// A method and what it takes: of each line one.
pub(super) struct Method {
    pub(super) path: &'static str,
    needs: &'static [&'static [Ask]],
    /// Whether it looks for what it is about before it knows what has to be allowed.
    finds_first: bool,
}

const fn method(path: &'static str, needs: &'static [&'static [Ask]]) -> Method {
    Method { path, needs, finds_first: false }
}

const fn finding(path: &'static str, needs: &'static [&'static [Ask]]) -> Method {
    Method { path, needs, finds_first: true }
}

const WORK: &[&[Ask]] = &[&[On(Read, Topic)], &[On(Read, Group)]];
const MAKE: &[&[Ask]] = &[&[On(Create, Cluster), On(Create, Topic)]];
const SEE_TOPIC: &[&[Ask]] = &[&[On(Describe, Topic)]];
const SEE_CLUSTER: &[&[Ask]] = &[&[On(Describe, Cluster)]];
const ALTER_CLUSTER: &[&[Ask]] = &[&[On(Alter, Cluster)]];
const SEE_POLICY: &[&[Ask]] = &[&[On(DescribeConfigs, Group)], &[On(Describe, Topic)]];
const SET_POLICY: &[&[Ask]] = &[&[On(AlterConfigs, Group)], &[On(Describe, Topic)]];

pub(super) const METHODS: &[Method] = &[
    method("/danube.ProducerService/CreateProducer", &[&[On(Write, Topic)]]),
    method("/danube.ProducerService/SendMessage", &[&[On(Write, Topic)]]),
    method("/danube.ConsumerService/Subscribe", WORK),
    finding("/danube.ConsumerService/ReceiveMessages", WORK),
    method("/danube.ConsumerService/Ack", WORK),
    method("/danube.ConsumerService/Nack", WORK),
    method("/danube.Discovery/TopicLookup", SEE_TOPIC),
    method("/danube.Discovery/TopicPartitions", SEE_TOPIC),
    finding("/danube.HealthCheck/HealthCheck", WORK),
    method("/danube_schema.SchemaRegistry/RegisterSchema", &[&[On(Write, Topic)]]),
    finding("/danube_schema.SchemaRegistry/GetSchema", SEE_TOPIC),
    method("/danube_schema.SchemaRegistry/GetLatestSchema", SEE_TOPIC),
    method("/danube_schema.SchemaRegistry/ListVersions", SEE_TOPIC),
    method("/danube_schema.SchemaRegistry/CheckCompatibility", SEE_TOPIC),
    method("/danube_schema.SchemaRegistry/SetCompatibilityMode", &[&[On(AlterConfigs, Topic)]]),
    method("/danube_schema.SchemaRegistry/DeleteSchemaVersion", &[&[On(Delete, Topic)]]),
    method("/danube_schema.SchemaRegistry/ConfigureTopicSchema", &[&[On(AlterConfigs, Topic)]]),
    method("/danube_schema.SchemaRegistry/UpdateTopicValidationPolicy", &[&[On(AlterConfigs, Topic)]]),
    method("/danube_schema.SchemaRegistry/GetTopicSchemaConfig", &[&[On(DescribeConfigs, Topic)]]),
    method("/danube_schema.SchemaRegistry/ListSubjects", &[]),
    method("/danube_admin.TopicAdmin/ListNamespaceTopics", &[&[On(Describe, Cluster), SomeTopic]]),
    method("/danube_admin.TopicAdmin/ListBrokerTopics", &[]),
    method("/danube_admin.TopicAdmin/CreateTopic", MAKE),
    method("/danube_admin.TopicAdmin/CreatePartitionedTopic", MAKE),
    method("/danube_admin.TopicAdmin/DeleteTopic", &[&[On(Delete, Topic)]]),
    method("/danube_admin.TopicAdmin/UnloadTopic", &[&[On(Alter, Cluster)], &[On(Describe, Topic)]]),
    method("/danube_admin.TopicAdmin/ListSubscriptions", SEE_TOPIC),
    method("/danube_admin.TopicAdmin/Unsubscribe", &[&[On(Delete, Group)], &[On(Describe, Topic)]]),
    method("/danube_admin.TopicAdmin/SetSubscriptionFailurePolicy", SET_POLICY),
    method("/danube_admin.TopicAdmin/GetSubscriptionFailurePolicy", SEE_POLICY),
    method("/danube_admin.TopicAdmin/DescribeTopic", SEE_TOPIC),
    method("/danube_admin.TopicAdmin/SetSubscriptionDispatchConfig", SET_POLICY),
    method("/danube_admin.TopicAdmin/GetSubscriptionDispatchConfig", SEE_POLICY),
    method("/danube_admin.NamespaceAdmin/GetNamespaceTopics", &[&[On(Describe, Cluster), SomeTopic]]),
    method("/danube_admin.NamespaceAdmin/GetNamespacePolicies", SEE_CLUSTER),
    method("/danube_admin.NamespaceAdmin/CreateNamespace", &[&[On(Create, Cluster)]]),
    method("/danube_admin.NamespaceAdmin/DeleteNamespace", &[&[On(Delete, Cluster)]]),
    method("/danube_admin.BrokerAdmin/ListBrokers", SEE_CLUSTER),
    method("/danube_admin.BrokerAdmin/GetLeaderBroker", SEE_CLUSTER),
    method("/danube_admin.BrokerAdmin/ListNamespaces", SEE_CLUSTER),
    method("/danube_admin.BrokerAdmin/UnloadBroker", ALTER_CLUSTER),
    method("/danube_admin.BrokerAdmin/ActivateBroker", ALTER_CLUSTER),
    method("/danube_admin.BrokerAdmin/GetClusterBalance", SEE_CLUSTER),
    method("/danube_admin.BrokerAdmin/TriggerRebalance", ALTER_CLUSTER),
];

/// Whoever logs in has no rights yet to be asked for.
const LOGIN: &str = "/danube.AuthService/Authenticate";

/// Every method that the protocol has.
fn served() -> BTreeSet<String> {
    let files = [
        ("danube.proto", include_str!("../../../../danube-wire/proto/danube.proto")),
        ("danube_admin.proto", include_str!("../../../../danube-wire/proto/danube_admin.proto")),
        ("danube_schema.proto", include_str!("../../../../danube-wire/proto/danube_schema.proto")),
    ];
    let mut paths = BTreeSet::new();
    for (name, text) in files {
        let file = protox_parse::parse(name, text).expect("the protocol parses");
        for service in &file.service {
            for method in &service.method {
                paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths
}

/// Danube's ports without their sockets.
pub(super) struct Ports {
    clients: Router,
    admin: Router,
}

impl Ports {
    pub(super) fn of(node: &Arc<Node>) -> Self {
        let grpc = "127.0.0.1:6650".parse().expect("an address");
        let admin = danube::admin::routes(node, grpc).into_axum_router();
        Self { clients: danube::routes(node).into_axum_router(), admin }
    }

    /// The answer's status, and its message if there is one.
    pub(super) async fn call(&mut self, user: &str, path: &str, body: &[u8]) -> (String, Bytes) {
        let length = u32::try_from(body.len()).expect("requests are small").to_be_bytes();
        let framed = [&[0], &length[..], body].concat();
        let mut request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .body(axum::body::Body::from(framed))
            .expect("a request");
        request.extensions_mut().insert(Arc::new(caller(user)));
        let of_admin = path.starts_with("/danube_admin.");
        let router = if of_admin { &mut self.admin } else { &mut self.clients };
        let response = router.call(request).await.expect("never fails");
        let status =
            response.headers().get("grpc-status").map_or("0", |status| status.to_str().expect("digits"));
        let status = status.to_owned();
        if path.ends_with("/ReceiveMessages") || status != "0" {
            return (status, Bytes::new());
        }
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a small answer");
        (status, if body.len() < 5 { Bytes::new() } else { body.slice(5..) })
    }

    /// The request's body; what it is about is made first, where it has to be found.
    pub(super) async fn body(&mut self, path: &str, names: Names<'_>) -> Vec<u8> {
        let (topic, subscription) = (format!("/default/{}", names.topic), names.group.to_owned());
        let msg_id = Some(proto::MsgId { topic_name: topic.clone(), ..Default::default() });
        let subject = names.topic.to_owned();
        let named = admin::TopicRequest { name: topic.clone() };
        let empty = admin::Empty {}.encode_to_vec();
        match path.rsplit('/').next().expect("a method") {
            "CreateProducer" => proto::ProducerRequest {
                producer_name: "p".to_owned(),
                topic_name: topic,
                dispatch_strategy: 1,
                ..Default::default()
            }
            .encode_to_vec(),
            "SendMessage" => {
                proto::StreamMessage { msg_id, producer_name: "p".to_owned(), ..Default::default() }
                    .encode_to_vec()
            }
            "Subscribe" => subscribe(topic, subscription).encode_to_vec(),
            "ReceiveMessages" => {
                let consumer_id = self.consumer(topic, subscription).await;
                proto::ReceiveRequest { consumer_id, ..Default::default() }.encode_to_vec()
            }
            "HealthCheck" => {
                let id = self.consumer(topic, subscription).await;
                proto::HealthCheckRequest { client: 1, id }.encode_to_vec()
            }
            "Ack" => proto::AckRequest { msg_id, subscription_name: subscription, ..Default::default() }
                .encode_to_vec(),
            "Nack" => proto::NackRequest { msg_id, subscription_name: subscription, ..Default::default() }
                .encode_to_vec(),
            "TopicLookup" | "TopicPartitions" => {
                proto::TopicLookupRequest { topic, ..Default::default() }.encode_to_vec()
            }
            "RegisterSchema" => register(subject).encode_to_vec(),
            "GetSchema" => {
                let path = "/danube_schema.SchemaRegistry/RegisterSchema";
                let (_, answer) = self.call("root", path, &register(subject).encode_to_vec()).await;
                let schema_id = schema::RegisterSchemaResponse::decode(answer).expect("registered").schema_id;
                schema::GetSchemaRequest { schema_id, version: None }.encode_to_vec()
            }
            "GetLatestSchema" => schema::GetLatestSchemaRequest { subject }.encode_to_vec(),
            "ListVersions" => schema::ListVersionsRequest { subject }.encode_to_vec(),
            "CheckCompatibility" => schema::CheckCompatibilityRequest {
                subject,
                new_schema_definition: Bytes::from_static(b"{}"),
                schema_type: "json_schema".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
            "SetCompatibilityMode" => {
                schema::SetCompatibilityModeRequest { subject, compatibility_mode: "none".to_owned() }
                    .encode_to_vec()
            }
            "DeleteSchemaVersion" => {
                schema::DeleteSchemaVersionRequest { subject, version: 7 }.encode_to_vec()
            }
            "ConfigureTopicSchema" => {
                schema::ConfigureTopicSchemaRequest { topic_name: topic, ..Default::default() }
                    .encode_to_vec()
            }
            "UpdateTopicValidationPolicy" => {
                schema::UpdateTopicValidationPolicyRequest { topic_name: topic, ..Default::default() }
                    .encode_to_vec()
            }
            "GetTopicSchemaConfig" => {
                schema::GetTopicSchemaConfigRequest { topic_name: topic }.encode_to_vec()
            }
            "ListSubjects" => schema::ListSubjectsRequest {}.encode_to_vec(),
            "ListNamespaceTopics" | "GetNamespaceTopics" | "GetNamespacePolicies" => {
                admin::NamespaceRequest { name: "default".to_owned() }.encode_to_vec()
            }
            "CreateNamespace" | "DeleteNamespace" => {
                admin::NamespaceRequest { name: "other".to_owned() }.encode_to_vec()
            }
            "CreateTopic" => {
                admin::NewTopicRequest { name: topic, dispatch_strategy: 1, ..Default::default() }
                    .encode_to_vec()
            }
            "CreatePartitionedTopic" => admin::PartitionedTopicRequest {
                base_name: topic,
                partitions: 1,
                dispatch_strategy: 1,
                ..Default::default()
            }
            .encode_to_vec(),
            "DeleteTopic" | "UnloadTopic" | "ListSubscriptions" | "DescribeTopic" => named.encode_to_vec(),
            // The same two fields in all of them; what else some have is missed after the rules were asked.
            "Unsubscribe"
            | "SetSubscriptionFailurePolicy"
            | "GetSubscriptionFailurePolicy"
            | "SetSubscriptionDispatchConfig"
            | "GetSubscriptionDispatchConfig" => {
                admin::SubscriptionRequest { topic, subscription }.encode_to_vec()
            }
            _ => empty,
        }
    }

    /// The id of a consumer that somebody else has.
    async fn consumer(&mut self, topic: String, subscription: String) -> u64 {
        let body = subscribe(topic, subscription).encode_to_vec();
        let (_, answer) = self.call("root", "/danube.ConsumerService/Subscribe", &body).await;
        proto::ConsumerResponse::decode(answer).expect("subscribed").consumer_id
    }
}

pub(super) fn subscribe(topic_name: String, subscription: String) -> proto::ConsumerRequest {
    proto::ConsumerRequest {
        topic_name,
        subscription,
        consumer_name: "c".to_owned(),
        subscription_type: 1,
        ..Default::default()
    }
}

pub(super) fn register(subject: String) -> schema::RegisterSchemaRequest {
    schema::RegisterSchemaRequest {
        subject,
        schema_type: "json_schema".to_owned(),
        schema_definition: Bytes::from_static(br#"{"type":"object"}"#),
        ..Default::default()
    }
}

/// Whether everything that the method needs is allowed.
fn granted(method: &Method, names: Names<'_>, reference: &Reference<'_>) -> bool {
    let met = |need: &Ask| match *need {
        On(operation, kind) => reference.allows(operation, kind, &name_of(kind, names)),
        SomeTopic => [OWN, FOREIGN].iter().any(|names| reference.allows(Describe, Topic, names.topic)),
    };
    method.needs.iter().all(|ways| ways.iter().any(met))
}

#[test]
fn every_method_of_the_protocol_has_a_row() {
    let mut rows: BTreeSet<String> = METHODS.iter().map(|method| method.path.to_owned()).collect();
    assert_eq!(rows.len(), METHODS.len(), "a method has two rows");
    rows.insert(LOGIN.to_owned());
    assert_eq!(rows, served());
}

#[tokio::test]
async fn nobody_may_over_grpc_what_the_rules_do_not_grant_and_everybody_what_they_do() {
    let node = node(&[("auto.create.topics.enable", "false")]).await;
    let mut ports = Ports::of(&node);
    let mut tally = Tally::default();
    for method in METHODS {
        let needs: Vec<(Operation, ResourceType)> = (method.needs.iter().flat_map(|ways| ways.iter()))
            .map(|need| match *need {
                On(operation, kind) => (operation, kind),
                SomeTopic => (Describe, Topic),
            })
            .collect();
        for (which, own) in [("own", OWN), ("missing", MISSING)] {
            if which == "missing" && method.finds_first {
                continue;
            }
            for (form, rules) in rule_sets(&needs, own) {
                set_rules(&node, &rules).await;
                for (which, names) in [("foreign", FOREIGN), (which, own)] {
                    for user in ["alice", "root"] {
                        restore(&node).await;
                        let reference = Reference { rules: &rules, is_super_user: user == "root" };
                        let body = ports.body(method.path, names).await;
                        let (status, _) = ports.call(user, method.path, &body).await;
                        let wanted = granted(method, names, &reference);
                        let bypass = ((status != PERMISSION_DENIED) != wanted).then(|| {
                            format!(
                                "{} as {user} of {which} with {form}: status {status}, may: {wanted}",
                                method.path
                            )
                        });
                        tally.count(!wanted, bypass);
                    }
                }
            }
        }
    }
    tally.check();
}

#[tokio::test]
async fn a_producer_makes_no_topic_without_create() {
    let node = node(&[]).await;
    let mut ports = Ports::of(&node);
    let path = "/danube.ProducerService/CreateProducer";
    let body = ports.body(path, MISSING).await;
    let write = rule(Pattern::literal(Topic, MISSING.topic), Write, Permission::Allow);
    set_rules(&node, std::slice::from_ref(&write)).await;
    assert_eq!(ports.call("alice", path, &body).await.0, PERMISSION_DENIED);
    assert!(node.topics.named(MISSING.topic).is_none());
    let create = rule(Pattern::literal(Cluster, Resource::CLUSTER.name), Create, Permission::Allow);
    set_rules(&node, &[write, create]).await;
    assert_eq!(ports.call("alice", path, &body).await.0, "0");
    assert!(node.topics.named(MISSING.topic).is_some());
}
