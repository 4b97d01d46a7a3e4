//! Danube's administration, on a port of its own: one file per service.

mod brokers;
mod namespaces;
mod policy;
mod topics;

use super::{
    authority::WithBrokerUrl, connections::incoming, permits::Permits, port, registry,
    request_memory::Counted, server, with_hint,
};
use crate::{limits::Places, node::Node, topics::Topic};
use keyway_access::{Operation, Resource};
use keyway_danube_wire::{
    TopicRef,
    admin::{
        broker_admin_server::BrokerAdminServer, namespace_admin_server::NamespaceAdminServer,
        topic_admin_server::TopicAdminServer,
    },
};
use keyway_record::PartitionId;
use keyway_runtime::Listener;
use std::{net::SocketAddr, sync::Arc};
use tonic::{Status, service::Routes};

/// Calls that one connection may have open; `danube-admin` makes one.
const STREAMS_PER_CONNECTION_MAX: u32 = 64;

/// The services of the administration; `grpc` is where the broker's clients are served.
pub(crate) fn routes(node: &Arc<Node>, grpc: SocketAddr) -> Routes {
    let endpoint = &node.listeners.danube_admin;
    let topics = TopicAdminServer::new(topics::Topics { node: node.clone() });
    let namespaces = NamespaceAdminServer::new(namespaces::Namespaces { node: node.clone() });
    let brokers = BrokerAdminServer::new(brokers::Brokers { node: node.clone(), grpc });
    let memory = &node.request_memory;
    Routes::new(registry(node))
        .add_service(Counted::new(topics, memory))
        .add_service(Counted::new(namespaces, memory))
        .add_service(Counted::new(WithBrokerUrl::new(brokers, endpoint), memory))
}

/// Serves the administration until the broker stops; `grpc` is where its clients are served.
pub(crate) async fn serve(node: Arc<Node>, listener: Arc<dyn Listener>, grpc: SocketAddr) {
    let endpoint = node.listeners.danube_admin.clone();
    let places = Places::of_administrators(&node.settings);
    let hint = "clusters of several brokers, roles and bindings do not exist in this broker";
    let served = server(STREAMS_PER_CONNECTION_MAX)
        .add_routes(with_hint(&node, routes(&node, grpc), hint))
        .serve_with_incoming_shutdown(
            incoming(port(&node, listener, &endpoint, "Danube's administration", places)),
            node.stopping.clone().cancelled_owned(),
        )
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the server of Danube's administration ended");
    }
}

/// The topics of a namespace that the caller may know of, under their Danube names, partition by partition: that is what clients open.
fn topics_of(
    node: &Node,
    permits: &Permits<'_>,
    namespace: &str,
) -> Result<Vec<(String, Arc<Topic>)>, Status> {
    if !permits.shows(Operation::Describe, Resource::CLUSTER)
        && !node.topics.all().iter().any(|topic| is_shown(permits, topic))
    {
        permits.cluster(Operation::Describe)?;
    }
    namespaces::check_exists(node, namespace)?;
    let topics = node.topics.all();
    let lies_in = |name: &TopicRef| name.namespace() == namespace;
    let named =
        topics.iter().filter(|topic| TopicRef::of_kafka(&topic.name, None).is_ok_and(|n| lies_in(&n)));
    Ok(named.filter(|topic| is_shown(permits, topic)).flat_map(names).collect())
}

/// Whether the caller may know of the topic.
fn is_shown(permits: &Permits<'_>, topic: &Arc<Topic>) -> bool {
    permits.shows(Operation::Describe, Resource::topic(topic.name.as_str()))
}

/// A topic's names, each with the topic. A topic that only Kafka clients can name has none.
fn names(topic: &Arc<Topic>) -> Vec<(String, Arc<Topic>)> {
    let count = i32::try_from(topic.partitions.len()).expect("the number of partitions is bounded");
    let partitions = (0..count).map(|index| (count > 1).then_some(PartitionId(index)));
    let named = partitions.filter_map(|partition| TopicRef::of_kafka(&topic.name, partition).ok());
    named.map(|name| (name.to_string(), topic.clone())).collect()
}
