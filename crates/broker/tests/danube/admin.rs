//! What `danube-admin` asks for, called by hand.

use crate::support::{TestBroker, code};
use keyway_danube_wire::admin::{
    Empty, NamespaceRequest, broker_admin_client::BrokerAdminClient,
    namespace_admin_client::NamespaceAdminClient,
};
use tonic::Code;

fn namespace(name: &str) -> NamespaceRequest {
    NamespaceRequest { name: name.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_broker_is_listed_and_cannot_hand_over_to_another() {
    let broker = TestBroker::start().await;
    let mut brokers = BrokerAdminClient::new(broker.admin().await);
    let all = brokers.list_brokers(Empty {}).await.expect("listed").into_inner().brokers;
    let leader = brokers.get_leader_broker(Empty {}).await.expect("answered").into_inner().leader;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].broker_id, leader);
    assert_eq!(all[0].broker_addr, broker.url);
    assert_eq!(all[0].admin_addr, format!("http://{}", broker.broker.danube_admin_address()));
    assert_eq!(code(brokers.unload_broker(Empty {}).await), Code::FailedPrecondition);
    assert_eq!(code(brokers.trigger_rebalance(Empty {}).await), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_made_listed_and_deleted_when_empty() {
    let broker = TestBroker::start().await;
    let mut namespaces = NamespaceAdminClient::new(broker.admin().await);
    let mut brokers = BrokerAdminClient::new(broker.admin().await);
    for illegal in ["", "a b", "a/b", "a.b", "__own", &"x".repeat(300)] {
        let answer = namespaces.create_namespace(namespace(illegal)).await;
        assert_eq!(code(answer), Code::InvalidArgument, "{illegal:?}");
    }
    namespaces.create_namespace(namespace("shop")).await.expect("made");
    assert_eq!(code(namespaces.create_namespace(namespace("shop")).await), Code::AlreadyExists);
    assert_eq!(code(namespaces.create_namespace(namespace("default")).await), Code::AlreadyExists);
    let all = brokers.list_namespaces(Empty {}).await.expect("listed").into_inner().namespaces;
    assert_eq!(all, ["default", "shop", "system"]);

    let _producer = broker.producer("/shop/orders").await;
    let topics = namespaces.get_namespace_topics(namespace("shop")).await.expect("listed").into_inner();
    assert_eq!(topics.topics, ["/shop/orders"]);
    assert_eq!(code(namespaces.get_namespace_topics(namespace("nowhere")).await), Code::NotFound);
    assert_eq!(code(namespaces.delete_namespace(namespace("shop")).await), Code::FailedPrecondition);
    assert_eq!(code(namespaces.delete_namespace(namespace("system")).await), Code::FailedPrecondition);
    assert_eq!(code(namespaces.delete_namespace(namespace("nowhere")).await), Code::NotFound);
    namespaces.create_namespace(namespace("empty")).await.expect("made");
    namespaces.delete_namespace(namespace("empty")).await.expect("deleted");
    assert_eq!(code(namespaces.get_namespace_policies(namespace("empty")).await), Code::NotFound);
    let policies = namespaces.get_namespace_policies(namespace("shop")).await.expect("answered").into_inner();
    assert!(policies.policies.starts_with('{') && policies.policies.contains("max_message_size"));
}
