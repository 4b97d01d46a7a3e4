//! One Kafka connection: frames in, responses out, in the order of the requests.
//!
//! Requests run one after another. A produce request that only waits for its flush does not hold up the next one;
//! its response keeps its place. Everything runs on the connection's own task.

use crate::{
    kafka::{self, Reply},
    node::Node,
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use keyway_kafka_wire::frame::{Frame, FrameCutter, FrameError};
use keyway_runtime::Stream;
use std::{io, io::IoSlice, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::OwnedSemaphorePermit,
};

/// Responses that may wait for a flush while the next request runs. Clients keep at most 5 produce requests in
/// flight by default; librdkafka may keep more.
const REPLIES_WAITING_MAX: usize = 64;

/// Room made in the receive buffer before a read, bytes.
const READ_BYTES: usize = 16 * 1024;

/// What a handler may know of the connection it serves.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
}

/// Why a connection ended. Everything but a clean end is one log line.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed the connection")]
    Closed,
    #[error("the broker stops")]
    Stopping,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves one connection to its end.
pub(crate) async fn serve(node: Arc<Node>, stream: Box<dyn Stream>, address: SocketAddr) {
    let (read, write) = tokio::io::split(stream);
    let peer = Arc::new(Peer { address });
    let connection = Connection { node, peer, read, write, received: BytesMut::new(), replies: FuturesOrdered::new() };
    match connection.run().await {
        End::Closed | End::Stopping => tracing::debug!(peer = %address, "Kafka connection ended"),
        End::Io(error) => tracing::debug!(peer = %address, %error, "Kafka connection broke"),
        end => tracing::warn!(peer = %address, "closing a Kafka connection: {end}"),
    }
}

struct Connection {
    node: Arc<Node>,
    peer: Arc<Peer>,
    read: ReadHalf<Box<dyn Stream>>,
    write: WriteHalf<Box<dyn Stream>>,
    received: BytesMut,
    /// Responses in the order of their requests; `None` for a request that gets none.
    replies: FuturesOrdered<BoxFuture<'static, Option<Response>>>,
}

/// A response's bytes, length prefix included, and the memory that its request was allowed.
pub(crate) type Response = Vec<Bytes>;

type Handling = BoxFuture<'static, Reply>;

impl Connection {
    async fn run(mut self) -> End {
        let mut handling: Option<Handling> = None;
        let stopping = self.node.stopping.clone();
        loop {
            let idle = handling.is_none() && self.replies.is_empty();
            let may_read = handling.is_none() && self.replies.len() < REPLIES_WAITING_MAX;
            let step = tokio::select! {
                biased;
                Some(response) = self.replies.next(), if !self.replies.is_empty() => self.respond(response).await,
                reply = async { handling.as_mut().expect("guarded").await }, if handling.is_some() => {
                    handling = None;
                    self.take(reply)
                }
                () = stopping.cancelled(), if idle => Err(End::Stopping),
                frame = next_frame(&self.node, &mut self.read, &mut self.received), if may_read => match frame {
                    Ok((frame, permit)) => {
                        handling = Some(handle(self.node.clone(), self.peer.clone(), frame, permit));
                        Ok(())
                    }
                    Err(end) => Err(end),
                },
            };
            if let Err(end) = step {
                return self.finish(end).await;
            }
        }
    }

    fn take(&mut self, reply: Reply) -> Result<(), End> {
        match reply {
            Reply::Now(response) => self.replies.push_back(std::future::ready(Some(response)).boxed()),
            Reply::Later(response) => self.replies.push_back(response),
            Reply::Nothing => {}
            Reply::Close(reason) => return Err(End::Refused(reason)),
        }
        Ok(())
    }

    /// Writes this response and all that are ready behind it in as few calls as possible.
    async fn respond(&mut self, first: Option<Response>) -> Result<(), End> {
        let mut pieces = first.unwrap_or_default();
        while let Some(Some(next)) = self.replies.next().now_or_never() {
            pieces.extend(next.unwrap_or_default());
        }
        Ok(write_all(&mut self.write, pieces).await?)
    }

    /// A request that came before the end is still answered.
    async fn finish(mut self, end: End) -> End {
        if matches!(end, End::Io(_) | End::Closed) {
            return end;
        }
        while let Some(response) = self.replies.next().await {
            if write_all(&mut self.write, response.unwrap_or_default()).await.is_err() {
                break;
            }
        }
        // The peer may be gone already; there is nothing to tell it.
        let _ = self.write.shutdown().await;
        end
    }
}

/// Runs one request; the memory it was allowed is given back when it is done.
fn handle(node: Arc<Node>, peer: Arc<Peer>, frame: Frame, permit: OwnedSemaphorePermit) -> Handling {
    async move {
        let reply = kafka::handle(&node, &peer, frame).await;
        drop(permit);
        reply
    }
    .boxed()
}

/// Reads until a whole frame is there. Cancel-safe: what was read stays in `received`.
async fn next_frame(
    node: &Node,
    read: &mut ReadHalf<Box<dyn Stream>>,
    received: &mut BytesMut,
) -> Result<(Frame, OwnedSemaphorePermit), End> {
    let cutter = FrameCutter::new(node.config.request_bytes_max());
    loop {
        let missing = match cutter.cut(received)? {
            keyway_kafka_wire::frame::Cut::Frame(frame) => {
                let bytes = u32::try_from(frame.len()).expect("bounded by the cutter");
                let permit = node.request_bytes.clone().acquire_many_owned(bytes).await;
                return Ok((frame, permit.expect("the semaphore is never closed")));
            }
            keyway_kafka_wire::frame::Cut::Missing(missing) => missing,
        };
        received.reserve(missing.max(READ_BYTES));
        if read.read_buf(received).await? == 0 {
            return Err(End::Closed);
        }
    }
}

async fn write_all(write: &mut WriteHalf<Box<dyn Stream>>, pieces: Vec<Bytes>) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = write.write_vectored(rest).await?;
        if written == 0 && rest.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    write.flush().await
}
