//! Accepts Kafka connections and bounds how many there are.

use crate::{connection, node::Node, node::StartError};
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

/// Accepts until the broker stops; each connection is a task of its own.
pub(crate) async fn serve_kafka(node: Arc<Node>, listener: Arc<dyn Listener>) {
    let places = Arc::new(Semaphore::new(node.config.connections_max));
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a Kafka connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            node.traffic.kafka.refuse();
            tracing::warn!(%peer, max = node.config.connections_max, "too many Kafka connections; closing this one");
            continue;
        };
        let connection = connection::serve(node.clone(), node.traffic.kafka.count(stream), peer);
        node.tasks.spawn(async move {
            connection.await;
            drop(place);
        });
    }
}
