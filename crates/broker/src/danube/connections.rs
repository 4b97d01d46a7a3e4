//! Connections of the gRPC ports as they come: those with TLS once they are secure, and no handshake waits for another.

use crate::{limits::Opening, listener::Port, traffic::Connection};
use futures_util::stream::{self, Stream};
use keyway_runtime::BoxFuture;
use std::{io, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// The first bytes of every HTTP/2 connection, and how long they may take. HTTP/2's own signs of life are asked for behind
/// them.
const PREFACE_BYTES: usize = 24;
const PREFACE_TIME_MAX: Duration = Duration::from_secs(10);

/// What comes next, and what is under way.
struct Coming {
    port: Arc<Port>,
    accepting: BoxFuture<'static, Connection>,
    /// As many as there are places for connections, at most; they end with this.
    handshakes: JoinSet<Option<Connection>>,
}

/// Connections that calls may come on.
pub(super) fn incoming(port: Port) -> impl Stream<Item = io::Result<Connection>> {
    let port = Arc::new(port);
    let coming = Coming { accepting: accept(port.clone()), port, handshakes: JoinSet::new() };
    stream::unfold(coming, |mut coming| async move {
        let connection = coming.next().await;
        Some((Ok(connection), coming))
    })
}

impl Coming {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                    if let Some(secured) = done.expect("a handshake ends without a panic") {
                        return secured;
                    }
                }
                connection = &mut self.accepting => {
                    self.accepting = accept(self.port.clone());
                    if !connection.has_tls() {
                        return connection;
                    }
                    let node = self.port.node().clone();
                    self.handshakes.spawn(async move { connection.secured(&node).await });
                }
            }
        }
    }
}

fn accept(port: Arc<Port>) -> BoxFuture<'static, Connection> {
    Box::pin(async move { port.accept().await.opening(Opening::new(PREFACE_BYTES, PREFACE_TIME_MAX)) })
}
