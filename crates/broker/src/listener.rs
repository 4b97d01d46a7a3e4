//! Ports: where connections come from, and how many each may have.

use crate::{
    connection,
    node::{Node, StartError},
    traffic::{Connection, Front},
};
use keyway_runtime::{Listener, World};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

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

/// A port that is listened on, and its places for connections.
pub(crate) struct Port {
    listener: Arc<dyn Listener>,
    /// What is spoken there, for the log.
    protocol: &'static str,
    front: Arc<Front>,
    places: Arc<Semaphore>,
    places_max: usize,
}

impl Port {
    pub(crate) fn new(
        listener: Arc<dyn Listener>,
        protocol: &'static str,
        front: Arc<Front>,
        places_max: usize,
    ) -> Self {
        Self { listener, protocol, front, places: Arc::new(Semaphore::new(places_max)), places_max }
    }

    /// The next connection that has a place. Never fails: what cannot be accepted is logged, and one too many is closed.
    pub(crate) async fn accept(&self) -> Connection {
        let protocol = self.protocol;
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(protocol, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.places.clone().try_acquire_owned() {
                Ok(place) => return Connection::new(stream, peer, self.front.clone(), place),
                Err(_) => {
                    self.front.refuse();
                    tracing::warn!(protocol, %peer, max = self.places_max, "too many connections; closing this one");
                }
            }
        }
    }
}

/// Accepts until the broker stops; each connection is a task of its own.
pub(crate) async fn serve_kafka(node: Arc<Node>, listener: Arc<dyn Listener>) {
    let port = Port::new(listener, "Kafka", node.traffic.kafka.clone(), node.settings.now().connections_max);
    loop {
        let connection = tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            connection = port.accept() => connection,
        };
        node.tasks.spawn(connection::serve(node.clone(), connection));
    }
}
