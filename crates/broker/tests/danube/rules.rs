//! With an authorizer, the gRPC ports ask the rules as every front does.

use crate::support::{TestBroker, code, free_port};
use keyway_broker::Config;
use keyway_danube_wire::{
    admin::{
        Empty, NamespaceRequest, broker_admin_client::BrokerAdminClient,
        namespace_admin_client::NamespaceAdminClient,
    },
    proto::{
        AckRequest, ConsumerRequest, MsgId, NackRequest, ProducerRequest, StreamMessage, TopicLookupRequest,
        consumer_service_client::ConsumerServiceClient, discovery_client::DiscoveryClient,
        producer_service_client::ProducerServiceClient,
    },
};
use keyway_log::MemoryStore;
use std::{collections::BTreeMap, sync::Arc};
use tonic::Code;

const TOPIC: &str = "/default/orders";

async fn broker(without_rule: &str) -> TestBroker {
    let settings = BTreeMap::from(
        [
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            ("allow.everyone.if.no.acl.found", without_rule),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    TestBroker::start_as(
        Config { grpc: free_port(), settings, ..Config::default() },
        Arc::new(MemoryStore::new()),
    )
    .await
}

/// How each method is answered to a client that proved nothing.
async fn answers(broker: &TestBroker) -> Vec<(&'static str, Code)> {
    let mut producers = ProducerServiceClient::new(broker.channel().await);
    let mut consumers = ConsumerServiceClient::new(broker.channel().await);
    let mut discovery = DiscoveryClient::new(broker.channel().await);
    let mut brokers = BrokerAdminClient::new(broker.admin().await);
    let mut namespaces = NamespaceAdminClient::new(broker.admin().await);
    let topic_name = TOPIC.to_owned();
    let msg_id = Some(MsgId { topic_name: topic_name.clone(), ..MsgId::default() });
    let lookup = TopicLookupRequest { topic: topic_name.clone(), ..TopicLookupRequest::default() };
    let create = ProducerRequest {
        topic_name: topic_name.clone(),
        producer_name: "p".to_owned(),
        ..ProducerRequest::default()
    };
    let send =
        StreamMessage { msg_id: msg_id.clone(), producer_name: "p".to_owned(), ..StreamMessage::default() };
    let subscribe = ConsumerRequest {
        topic_name,
        consumer_name: "c".to_owned(),
        subscription: "s".to_owned(),
        ..ConsumerRequest::default()
    };
    let subscription_name = "s".to_owned();
    let ack = AckRequest {
        msg_id: msg_id.clone(),
        subscription_name: subscription_name.clone(),
        ..AckRequest::default()
    };
    let nack = NackRequest { msg_id, subscription_name, ..NackRequest::default() };
    let namespace = NamespaceRequest { name: "other".to_owned() };
    vec![
        ("create_producer", code(producers.create_producer(create).await)),
        ("send_message", code(producers.send_message(send).await)),
        ("subscribe", code(consumers.subscribe(subscribe).await)),
        ("ack", code(consumers.ack(ack).await)),
        ("nack", code(consumers.nack(nack).await)),
        ("topic_lookup", code(discovery.topic_lookup(lookup.clone()).await)),
        ("topic_partitions", code(discovery.topic_partitions(lookup).await)),
        ("list_brokers", code(brokers.list_brokers(Empty {}).await)),
        ("unload_broker", code(brokers.unload_broker(Empty {}).await)),
        ("create_namespace", code(namespaces.create_namespace(namespace.clone()).await)),
        ("delete_namespace", code(namespaces.delete_namespace(namespace).await)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_nobody_may_do_anything() {
    for (method, code) in answers(&broker("false").await).await {
        assert_eq!(code, Code::PermissionDenied, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_rule_is_about_may_be_left_to_everybody() {
    for (method, code) in answers(&broker("true").await).await {
        assert_ne!(code, Code::PermissionDenied, "{method}");
    }
}
