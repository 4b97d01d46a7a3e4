//! What crosses each port: connections and bytes, counted where they are anyway.

use crate::{
    access::Caller,
    fronts::Peer,
    limits::{Opening, Place},
    listeners::Endpoint,
    logins,
    node::Node,
};
use keyway_access::Principal;
use keyway_kafka_wire::ApiKey;
use keyway_runtime::{Millis, Stream};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// One more than the greatest number of a Kafka API that has a name.
const APIS: usize = 93;

/// Counts of all ports since the broker started.
pub(crate) struct Traffic {
    pub(crate) started: Millis,
    pub(crate) kafka: Arc<Front>,
    pub(crate) grpc: Arc<Front>,
    pub(crate) http: Arc<Front>,
    kafka_requests: [AtomicU64; APIS],
    kafka_refused: AtomicU64,
}

/// Counts of one port.
#[derive(Debug, Default)]
pub(crate) struct Front {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    handshakes_failed: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// The counts of a port at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrontFigures {
    /// Connections now.
    pub(crate) open: u64,
    /// Connections that were accepted, the closed ones included.
    pub(crate) accepted: u64,
    /// Connections that were closed at once, because there were too many.
    pub(crate) refused: u64,
    /// Connections that were closed as they did not come to TLS.
    pub(crate) handshakes_failed: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Traffic {
    pub(crate) fn new(started: Millis) -> Self {
        Self {
            started,
            kafka: Arc::default(),
            grpc: Arc::default(),
            http: Arc::default(),
            kafka_requests: [const { AtomicU64::new(0) }; APIS],
            kafka_refused: AtomicU64::new(0),
        }
    }

    /// A Kafka request has come.
    pub(crate) fn kafka_request(&self, api: ApiKey) {
        self.kafka_requests[api as usize].fetch_add(1, Relaxed);
    }

    /// A Kafka request could not be read, and its connection ends.
    pub(crate) fn kafka_request_refused(&self) {
        self.kafka_refused.fetch_add(1, Relaxed);
    }

    /// Requests by API, of those that came at all.
    pub(crate) fn kafka_requests(&self) -> impl Iterator<Item = (ApiKey, u64)> {
        let count = |&api: &ApiKey| (api, self.kafka_requests[api as usize].load(Relaxed));
        ApiKey::ALL.iter().map(count).filter(|&(_, count)| count > 0)
    }

    pub(crate) fn kafka_refused(&self) -> u64 {
        self.kafka_refused.load(Relaxed)
    }
}

impl Front {
    /// A connection is closed at once.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn figures(&self) -> FrontFigures {
        FrontFigures {
            open: self.open.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
        }
    }

    fn sent(&self, written: io::Result<usize>) -> io::Result<usize> {
        if let Ok(bytes) = &written {
            self.sent_bytes.fetch_add(*bytes as u64, Relaxed);
        }
        written
    }
}

/// A connection: counted, with one addition per read and write of the operating system, and in its place among those
/// of its port.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    pub(crate) peer: SocketAddr,
    /// The listener it came through.
    endpoint: Arc<Endpoint>,
    /// Who is at the other end, as far as its certificate says.
    principal: Principal,
    front: Arc<Front>,
    opening: Opening,
    _place: Place,
}

impl Connection {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        peer: SocketAddr,
        endpoint: Arc<Endpoint>,
        front: Arc<Front>,
        place: Place,
    ) -> Self {
        front.accepted.fetch_add(1, Relaxed);
        front.open.fetch_add(1, Relaxed);
        let opening = Opening::none();
        Self { stream, peer, endpoint, principal: Principal::anonymous(), front, opening, _place: place }
    }

    /// The same connection, which ends unless its client says so much in time.
    pub(crate) fn opening(mut self, opening: Opening) -> Self {
        self.opening = opening;
        self
    }

    /// The same connection with its bytes inside of TLS, if its listener has that; `None` if it did not come to that, which is
    /// counted and told. What is counted from here on is what is inside.
    pub(crate) async fn secured(mut self, node: &Node) -> Option<Self> {
        let Some(tls) = self.endpoint.tls.clone() else { return Some(self) };
        let bare = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        match tls.handshake(bare).await {
            Ok((stream, certified)) => {
                self.stream = stream;
                // A login says who the client is, whatever its certificate says.
                if let Some(principal) = certified.filter(|_| self.endpoint.sasl.is_none()) {
                    self.principal = principal;
                    self.endpoint.logins.succeeded(&node.audit, &self.caller(), logins::CERTIFICATE);
                }
                Some(self)
            }
            Err(error) => {
                if error.refuses_certificate() {
                    let reason = error.to_string();
                    self.endpoint.logins.failed(&node.audit, &self.caller(), logins::CERTIFICATE, &reason);
                }
                self.front.handshakes_failed.fetch_add(1, Relaxed);
                let (peer, listener) = (self.peer, self.endpoint.name.as_str());
                match tls.failures.happened(node.world.clock.now()) {
                    Some(times) => {
                        tracing::warn!(%peer, listener, times, "closing a connection: {error}; further ones of this listener are counted for a minute");
                    }
                    None => tracing::debug!(%peer, listener, "closing a connection: {error}"),
                }
                None
            }
        }
    }

    /// Whether its listener has TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.endpoint.tls.is_some()
    }

    /// Whom its requests come from until the client logs in.
    pub(crate) fn caller(&self) -> Caller {
        let principal = self.principal.clone();
        Caller { principal, ..Caller::anonymous(self.peer, self.endpoint.name.clone()) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.front.open.fetch_sub(1, Relaxed);
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        Arc::new(Peer::new(self.endpoint.clone(), self.caller()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if Pin::new(&mut self.stream).poll_read(context, into)?.is_pending() {
            return self.opening.poll_late(context);
        }
        let read = into.filled().len() - before;
        self.opening.read(read);
        self.front.received_bytes.fetch_add(read as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.front.sent(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        Poll::Ready(self.front.sent(written))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_has_a_place() {
        let traffic = Traffic::new(Millis(0));
        ApiKey::ALL.iter().for_each(|&api| traffic.kafka_request(api));
        assert_eq!(traffic.kafka_requests().count(), ApiKey::ALL.len());
        assert!(traffic.kafka_requests().all(|(_, count)| count == 1));
    }
}
