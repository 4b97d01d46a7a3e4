//! The Danube front: one file per gRPC service.

pub(crate) mod admin;
mod auth;
mod authority;
mod connections;
mod consumer;
mod delivery_stream;
mod discovery;
mod health_check;
pub(crate) mod ids;
mod permits;
mod producer;
mod request_memory;
mod schema_registry;
mod standing;
mod target;
mod throttle;

use crate::{fronts::Peer, limits::Places, listener::Port, listeners::Endpoint, node::Node};
use authority::WithBrokerUrl;
use axum::{
    extract::State,
    http::header::AUTHORIZATION,
    middleware::{self, Next},
};
use keyway_danube_wire::{
    proto::{
        auth_service_server::AuthServiceServer, consumer_service_server::ConsumerServiceServer,
        discovery_server::DiscoveryServer, health_check_server::HealthCheckServer,
        producer_service_server::ProducerServiceServer,
    },
    schema::schema_registry_server::SchemaRegistryServer,
};
use keyway_record::limits::DANUBE_MESSAGE_BYTES_MAX;
use keyway_runtime::Listener;
use request_memory::Counted;
use std::{sync::Arc, time::Duration};
use tonic::{Status, codegen::http, service::Routes, transport::Server};

/// Calls that one connection may have open; a client's consumers and producers share one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;

/// Bytes of headers of one call; a token of a few KiB must fit.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Largest request that is decoded, bytes: a little more than the largest message, so that a message that is just too
/// large is refused with its reason.
const REQUEST_BYTES_MAX: usize = DANUBE_MESSAGE_BYTES_MAX + 64 * 1024;

/// Largest request of the services that carry no messages, bytes.
const SMALL_REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How often a silent connection is asked for a sign of life, and how long it has to answer. A client that vanished
/// without a word holds its keys until then.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections outlive the streams of a broker that stops. A client opens its stream again at once; on a
/// connection that is open it hears that it should wait, on one that closes its call is cancelled, which some take as final.
const STREAMS_END_MS: u64 = 100;

/// What is called before a login: whoever asks for a token has none yet.
const WITHOUT_LOGIN: &str = "/danube.AuthService/Authenticate";

/// A server with our bounds.
fn server(streams_max: u32) -> Server {
    Server::builder()
        .max_concurrent_streams(streams_max)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

fn port(
    node: &Arc<Node>,
    listener: Arc<dyn Listener>,
    endpoint: &Arc<Endpoint>,
    protocol: &'static str,
    places: Arc<Places>,
) -> Port {
    Port::new(node, (listener, endpoint), protocol, node.traffic.grpc.clone(), places)
}

/// Says beside every request whom it comes from, and refuses those that have to prove it and do not.
async fn identify(
    State(node): State<Arc<Node>>,
    mut request: http::Request<axum::body::Body>,
    next: Next,
) -> http::Response<axum::body::Body> {
    let peer = request.extensions().get::<Arc<Peer>>().expect("every connection has a peer").clone();
    let anonymous = request.uri().path() == WITHOUT_LOGIN && !request.headers().contains_key(AUTHORIZATION);
    let proof = match anonymous {
        true => Ok(None),
        false => peer.proof(&node, request.headers()).await,
    };
    match proof {
        Ok(None) => _ = request.extensions_mut().insert(peer.caller().clone()),
        Ok(Some(proof)) => {
            request.extensions_mut().insert(proof.caller().clone());
            request.extensions_mut().insert(proof);
        }
        Err(refused) => return Status::unauthenticated(refused.to_string()).into_http(),
    }
    next.run(request).await
}

/// Routes whose requests have a [`Caller`] beside them, and of which those that nobody serves say where to look: without a
/// word a client only hears that something is not implemented.
fn with_hint(node: &Arc<Node>, routes: Routes, hint: &'static str) -> Routes {
    let answer = move |request: http::Request<axum::body::Body>| async move {
        let text = format!("{} is not served here; {hint}", request.uri().path());
        Status::unimplemented(text).into_http::<axum::body::Body>()
    };
    let identified = middleware::from_fn_with_state(node.clone(), identify);
    Routes::from(routes.into_axum_router().fallback(answer).layer(identified))
}

/// The schema registry, as both ports serve it.
fn registry(node: &Arc<Node>) -> Counted<SchemaRegistryServer<schema_registry::Registry>> {
    let registry = SchemaRegistryServer::new(schema_registry::Registry { node: node.clone() })
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    Counted::new(registry, &node.request_memory)
}

/// The services of the Danube protocol.
pub(crate) fn routes(node: &Arc<Node>) -> Routes {
    let endpoint = &node.listeners.grpc;
    let producers = ProducerServiceServer::new(producer::Producers::new(node.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let consumers = ConsumerServiceServer::new(consumer::Consumers { node: node.clone() })
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX)
        .max_encoding_message_size(DANUBE_MESSAGE_BYTES_MAX);
    let discovery = DiscoveryServer::new(discovery::Topics { node: node.clone() })
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    let heartbeats = HealthCheckServer::new(health_check::Heartbeats { node: node.clone() })
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    let tokens = AuthServiceServer::new(auth::Tokens { node: node.clone() })
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    let memory = &node.request_memory;
    Routes::new(Counted::new(producers, memory))
        .add_service(Counted::new(WithBrokerUrl::new(consumers, endpoint), memory))
        .add_service(Counted::new(WithBrokerUrl::new(discovery, endpoint), memory))
        .add_service(Counted::new(heartbeats, memory))
        .add_service(Counted::new(tokens, memory))
        .add_service(registry(node))
}

/// Serves the Danube protocol until the broker stops.
pub(crate) async fn serve(node: Arc<Node>, listener: Arc<dyn Listener>) {
    let endpoint = node.listeners.grpc.clone();
    let hint = "danube-admin's services have a port of their own, 50051 unless --danube-admin says otherwise";
    let served = server(STREAMS_PER_CONNECTION_MAX)
        .add_routes(with_hint(&node, routes(&node), hint))
        .serve_with_incoming_shutdown(
            connections::incoming(port(&node, listener, &endpoint, "gRPC", node.client_places.clone())),
            streams_have_ended(node.clone()),
        )
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the gRPC server ended");
    }
}

async fn streams_have_ended(node: Arc<Node>) {
    node.stopping.cancelled().await;
    let clock = &node.world.clock;
    clock.sleep_until(clock.now().plus(STREAMS_END_MS)).await;
}
