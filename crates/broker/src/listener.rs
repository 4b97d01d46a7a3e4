//! Ports: where connections come from, and how many each may have.

use crate::{
    connection,
    limits::{Places, Seldom},
    listeners::Endpoint,
    node::{Node, StartError},
    quotas::Admission,
    traffic::{Connection, Front},
};
use keyway_runtime::{Listener, World};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

/// How long accepting pauses when the operating system has no more handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`, or says what stands in the way and which option changes it.
pub(crate) fn bind(
    world: &World,
    protocol: &'static str,
    option: &str,
    address: SocketAddr,
) -> Result<Arc<dyn Listener>, StartError> {
    world.network.listen(address).map_err(|cause| {
        let next_step = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                format!("stop the process that has the port, or choose another with {option}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need privileges; choose another with {option}")
            }
            _ => format!("choose an address of this machine with {option}"),
        };
        StartError::Listen { address, protocol, cause, next_step }
    })
}

/// A port that is listened on, and the places that its connections take.
pub(crate) struct Port {
    listener: Arc<dyn Listener>,
    endpoint: Arc<Endpoint>,
    /// What is spoken there, for the log.
    protocol: &'static str,
    front: Arc<Front>,
    places: Arc<Places>,
    /// Connections without a place.
    refusals: Seldom,
    node: Arc<Node>,
}

impl Port {
    /// A port whose connections take `places`.
    pub(crate) fn new(
        node: &Arc<Node>,
        (listener, endpoint): (Arc<dyn Listener>, &Arc<Endpoint>),
        protocol: &'static str,
        front: Arc<Front>,
        places: Arc<Places>,
    ) -> Self {
        let endpoint = endpoint.clone();
        Self { listener, endpoint, protocol, front, places, refusals: Seldom::default(), node: node.clone() }
    }

    /// The broker.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The next connection that has a place, at the pace that the broker allows. Never fails: what cannot be accepted is
    /// logged, one too many is closed, and so is one of an address that comes too often, once it has waited: whoever
    /// opens another one as soon as the last is closed is slowed down.
    pub(crate) async fn accept(&self) -> Connection {
        let (protocol, clock) = (self.protocol, &self.node.world.clock);
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(protocol, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match self.places.take(&self.endpoint.name, peer.ip()) {
                Ok(place) => place,
                Err(reason) => {
                    self.front.refuse();
                    match self.refusals.happened(clock.now()) {
                        Some(times) => {
                            tracing::warn!(protocol, %peer, times, "closing a connection: {reason}; further ones of this listener are counted for a minute")
                        }
                        None => tracing::debug!(protocol, %peer, "closing a connection: {reason}"),
                    }
                    continue;
                }
            };
            let connection = Connection::new(stream, peer, self.endpoint.clone(), self.front.clone(), place);
            let rates = self.node.settings.now().connection_rates(&self.endpoint.name);
            match self.node.quotas.connect(peer.ip(), &self.endpoint.name, rates) {
                Admission::Now => return connection,
                Admission::After { wait_ms } => {
                    clock.sleep_until(clock.now().plus(wait_ms)).await;
                    return connection;
                }
                Admission::Never { wait_ms } => {
                    self.front.refuse();
                    tracing::debug!(protocol, %peer, wait_ms, "closing a connection: its address opens too many");
                    let (pause, stopping) =
                        (clock.sleep_until(clock.now().plus(wait_ms)), self.node.stopping.clone());
                    self.node.tasks.spawn(async move {
                        tokio::select! {
                            biased;
                            () = stopping.cancelled() => {}
                            () = pause => {}
                        }
                        drop(connection);
                    });
                }
            }
        }
    }
}

/// Accepts until the broker stops; each connection is a task of its own.
pub(crate) async fn serve_kafka(node: Arc<Node>, endpoint: Arc<Endpoint>, listener: Arc<dyn Listener>) {
    let (front, places) = (node.traffic.kafka.clone(), node.client_places.clone());
    let port = Port::new(&node, (listener, &endpoint), "Kafka", front, places);
    loop {
        let Some(connection) = node.stopping.run_until_cancelled(port.accept()).await else { return };
        node.tasks.spawn(connection::serve(node.clone(), endpoint.clone(), connection));
    }
}
