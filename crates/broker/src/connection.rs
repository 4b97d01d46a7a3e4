//! One Kafka connection: frames in, responses out, in the order of the requests.
//!
//! Requests run one after another. A produce request that only waits for its flush does not hold up the next one;
//! its response keeps its place. Everything runs on the connection's own task.

use crate::{
    access::Caller,
    incoming::{Incoming, IncomingError, Request},
    kafka::{self, Reply},
    limits::{Idle, WRITE_STALL_MAX},
    listeners::Endpoint,
    node::Node,
    quotas::Mute,
    sasl::Login,
    tls::HandshakeError,
    traffic,
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use keyway_runtime::Millis;
use std::{io, io::IoSlice, sync::Arc};
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::Mutex,
};

/// Responses that may wait for a flush while the next request runs. Clients keep 5 produce requests in flight by
/// default; librdkafka may keep more.
const REPLIES_WAITING_MAX: usize = 64;

/// A response's bytes, length prefix included.
pub(crate) type Response = Vec<Bytes>;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the broker stops")]
    Stopping,
    #[error(transparent)]
    Incoming(#[from] IncomingError),
    #[error("{0}")]
    Refused(String),
    #[error("nothing was asked or answered for connections.max.idle.ms")]
    Idle,
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Serves one connection to its end.
pub(crate) async fn serve(node: Arc<Node>, endpoint: Arc<Endpoint>, stream: traffic::Connection) {
    let mut caller = Caller::anonymous(stream.peer, endpoint.name.clone());
    let secured = match &endpoint.tls {
        None => Ok((stream, None)),
        Some(tls) => tokio::select! {
            biased;
            () = node.stopping.cancelled() => return,
            secured = stream.secured(tls) => secured,
        },
    };
    let (stream, principal) = match secured {
        Ok(secured) => secured,
        Err(error) => return told(&caller, &error.into()),
    };
    // A login says who the client is, whatever its certificate says.
    if let Some(principal) = principal.filter(|_| !endpoint.protocol.has_sasl()) {
        caller.principal = principal;
    }
    let caller = Arc::new(caller);
    let (read, write) = tokio::io::split(stream);
    let request_bytes_max = node.settings.now().request_bytes_max;
    let frame_bytes_max = match &endpoint.sasl {
        Some(sasl) => sasl.frame_bytes_max().min(request_bytes_max),
        None => request_bytes_max,
    };
    let incoming = Incoming::new(read, frame_bytes_max, node.request_bytes.clone());
    let idle = Idle::new(&node);
    let login = endpoint.sasl.is_some().then(|| Login::new(endpoint, caller.clone()));
    let login = login.map(|login| Arc::new(Mutex::new(login)));
    let connection = Connection {
        node,
        idle,
        caller: caller.clone(),
        login: login.clone(),
        mute: Mute::default(),
        incoming,
        write,
        replies: FuturesOrdered::new(),
        polling: false,
    };
    let end = connection.run().await;
    match login {
        None => told(&caller, &end),
        Some(login) => told(login.lock().await.caller(), &end),
    }
}

/// Writes the end of a connection into the log.
fn told(caller: &Caller, end: &End) {
    match end {
        End::Stopping
        | End::Idle
        | End::Incoming(IncomingError::Closed | IncomingError::Io(_))
        | End::Write(_) => {
            tracing::debug!(peer = %caller.address, user = %caller.principal, listener = %caller.listener, "Kafka connection ended: {end}");
        }
        End::Incoming(_) | End::Refused(_) | End::Handshake(_) => {
            tracing::warn!(peer = %caller.address, user = %caller.principal, listener = %caller.listener, "closing a Kafka connection: {end}")
        }
    }
}

struct Connection {
    node: Arc<Node>,
    caller: Arc<Caller>,
    /// Where clients log in: it says whom requests come from, and takes them until it is done.
    login: Option<Arc<Mutex<Login>>>,
    idle: Idle,
    /// How long no further request is read.
    mute: Mute,
    incoming: Incoming,
    write: WriteHalf<traffic::Connection>,
    /// Responses in the order of their requests; `None` where a request turned out to get none.
    replies: FuturesOrdered<BoxFuture<'static, Option<Response>>>,
    /// The last of the replies is a poll: it may become large, so it goes out before another request is run.
    polling: bool,
}

impl Connection {
    async fn run(mut self) -> End {
        let mut handling: Option<BoxFuture<'static, Reply>> = None;
        let mut next: Option<Request> = None;
        let stopping = self.node.stopping.clone();
        loop {
            let muted = self.muted();
            if handling.is_none()
                && muted.is_none()
                && !self.polling
                && let Some(request) = next.take()
            {
                let (node, caller, login) = (self.node.clone(), self.caller.clone(), self.login.clone());
                handling = Some(handle(node, caller, login, self.mute.clone(), request));
            }
            let idle = handling.is_none() && self.replies.is_empty();
            let may_read = next.is_none()
                && handling.is_none()
                && muted.is_none()
                && self.replies.len() < REPLIES_WAITING_MAX;
            let step = tokio::select! {
                biased;
                Some(response) = self.replies.next(), if !self.replies.is_empty() => self.respond(response).await,
                reply = async { handling.as_mut().expect("guarded").await }, if handling.is_some() => {
                    handling = None;
                    self.trust();
                    self.take(reply)
                }
                () = stopping.cancelled(), if idle => Err(End::Stopping),
                () = sleep_until(&self.node, muted), if muted.is_some() && handling.is_none() => Ok(()),
                request = self.incoming.next(), if may_read => match request {
                    Ok(request) => {
                        self.idle.heard(&self.node);
                        next = Some(request);
                        Ok(())
                    }
                    Err(error) => Err(error.into()),
                },
                () = self.idle.over(&self.node), if idle => Err(End::Idle),
            };
            if let Err(end) = step {
                return self.finish(end).await;
            }
        }
    }

    /// Until when the client is held back; `None` if it is not.
    fn muted(&self) -> Option<Millis> {
        self.mute.deadline().filter(|&until| until > self.node.world.clock.now())
    }

    /// Frames may be as long as ever once the client has logged in.
    fn trust(&mut self) {
        let login = self.login.as_ref().map(|login| login.try_lock().expect("no request is handled"));
        if login.is_some_and(|login| login.is_done()) {
            self.incoming.allow(self.node.settings.now().request_bytes_max);
        }
    }

    fn take(&mut self, reply: Reply) -> Result<(), End> {
        match reply {
            Reply::Now(response) => self.replies.push_back(std::future::ready(Some(response)).boxed()),
            Reply::Later(response) => self.replies.push_back(response),
            Reply::Poll(response) => {
                self.replies.push_back(response);
                self.polling = true;
            }
            Reply::Nothing => {}
            Reply::Last(response, reason) => {
                self.replies.push_back(std::future::ready(Some(response)).boxed());
                return Err(End::Refused(reason));
            }
            Reply::Close(reason) => {
                self.node.traffic.kafka_request_refused();
                return Err(End::Refused(reason));
            }
        }
        Ok(())
    }

    /// Writes this response and all that are ready behind it in as few calls as possible.
    async fn respond(&mut self, first: Option<Response>) -> Result<(), End> {
        let mut pieces = first.unwrap_or_default();
        while let Some(Some(next)) = self.replies.next().now_or_never() {
            pieces.extend(next.unwrap_or_default());
        }
        self.polling &= !self.replies.is_empty();
        self.idle.heard(&self.node);
        Ok(write_all(&mut self.write, pieces).await?)
    }

    /// A request that came before the end is still answered, unless nobody is there to read it.
    async fn finish(mut self, end: End) -> End {
        if matches!(end, End::Write(_) | End::Incoming(IncomingError::Closed | IncomingError::Io(_))) {
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
fn handle(
    node: Arc<Node>,
    caller: Arc<Caller>,
    login: Option<Arc<Mutex<Login>>>,
    mute: Mute,
    request: Request,
) -> BoxFuture<'static, Reply> {
    async move {
        let reply = match login {
            None => kafka::handle(&node, &caller, &mute, request.frame).await,
            Some(login) => login.lock().await.handle(&node, &mute, request.frame).await,
        };
        drop(request.permit);
        reply
    }
    .boxed()
}

async fn sleep_until(node: &Node, deadline: Option<Millis>) {
    if let Some(deadline) = deadline {
        node.world.clock.sleep_until(deadline).await;
    }
}

async fn write_all(write: &mut WriteHalf<traffic::Connection>, pieces: Vec<Bytes>) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = before_stalling(write.write_vectored(rest)).await?;
        if written == 0 && rest.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    before_stalling(write.flush()).await
}

/// What is written, unless the client takes nothing of it for too long.
async fn before_stalling<T>(write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let written = tokio::time::timeout(WRITE_STALL_MAX, write).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
