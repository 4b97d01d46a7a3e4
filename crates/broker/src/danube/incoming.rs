//! Accepts gRPC connections and bounds how many there are.

use crate::node::Node;
use futures_util::stream::{self, Stream};
use keyway_runtime::{Listener, Stream as ByteStream};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::Connected;

/// How long accepting pauses when the operating system has no more handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One client's bytes, and its place among the connections.
pub(super) struct Connection {
    stream: Box<dyn ByteStream>,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

/// Connections as they come. Never fails: what cannot be accepted is logged.
pub(super) fn incoming(
    node: Arc<Node>,
    listener: Arc<dyn Listener>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(node.config.connections_max));
    let front = node.traffic.grpc.clone();
    stream::unfold((listener, places, front), |(listener, places, front)| async move {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a gRPC connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let connection = Connection { stream: front.count(stream), peer, _place: place };
                    return Some((Ok(connection), (listener, places, front)));
                }
                Err(_) => {
                    front.refuse();
                    tracing::warn!(%peer, "too many gRPC connections; closing this one");
                }
            }
        }
    })
}

impl Connected for Connection {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
