//! One Kafka connection: frames in, responses out, in the order of the requests.
//!
//! Requests run one after another. A produce request that only waits for its flush does not hold up the next one;
//! its response keeps its place. Everything runs on the connection's own task.

use crate::{
    access::Caller,
    incoming::{Incoming, IncomingError, Request},
    kafka::{self, Reply},
    limits::{Idle, LOGIN_STALL_MAX_MS, WRITE_STALL_MAX_MS},
    listeners::Endpoint,
    node::Node,
    quotas::Mute,
    sasl::Login,
    traffic,
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use keyway_runtime::{Clock, Millis};
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
    #[error("it began to log in and did not go on for {} s", LOGIN_STALL_MAX_MS / 1_000)]
    LoginStalled,
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl End {
    /// Whether the client did what no client should.
    fn is_fault(&self) -> bool {
        match self {
            Self::Incoming(error) => !matches!(error, IncomingError::Closed | IncomingError::Io(_)),
            Self::Refused(_) | Self::LoginStalled => true,
            Self::Stopping | Self::Idle | Self::Write(_) => false,
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(node: Arc<Node>, endpoint: Arc<Endpoint>, stream: traffic::Connection) {
    let secured = node.stopping.run_until_cancelled(stream.secured(&node)).await.flatten();
    let Some(stream) = secured else { return };
    let caller = Arc::new(stream.caller());
    let (read, write) = tokio::io::split(stream);
    let request_bytes_max = node.settings.now().request_bytes_max;
    let frame_bytes_max = match &endpoint.sasl {
        Some(sasl) => sasl.frame_bytes_max().min(request_bytes_max),
        None => request_bytes_max,
    };
    let incoming = Incoming::new(read, frame_bytes_max, node.request_memory.clone());
    let idle = Idle::new(&node);
    let login = endpoint.sasl.is_some().then(|| Login::new(endpoint.clone(), caller.clone()));
    let login = login.map(|login| Arc::new(Mutex::new(login)));
    let trust = match &login {
        None => Trust::Full,
        Some(_) => Trust::Before { until: node.world.clock.now().plus(LOGIN_STALL_MAX_MS) },
    };
    let clock = node.world.clock.clone();
    let connection = Connection {
        node,
        idle,
        trust,
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
        None => told(&end, &caller, &endpoint, &*clock),
        Some(login) => told(&end, login.lock().await.caller(), &endpoint, &*clock),
    }
}

/// Writes the end of a connection into the log.
fn told(end: &End, caller: &Caller, endpoint: &Endpoint, clock: &dyn Clock) {
    let times = if end.is_fault() { endpoint.faults.happened(clock.now()) } else { None };
    let (peer, user, listener) = (caller.address, &caller.principal, &caller.listener);
    match times {
        Some(times) => {
            tracing::warn!(%peer, %user, %listener, times, "closing a Kafka connection: {end}; further ones of this listener are counted for a minute");
        }
        None => tracing::debug!(%peer, %user, %listener, "Kafka connection ended: {end}"),
    }
}

struct Connection {
    node: Arc<Node>,
    caller: Arc<Caller>,
    /// Where clients log in: it says whom requests come from, and takes them until it is done.
    login: Option<Arc<Mutex<Login>>>,
    trust: Trust,
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

/// How far a client is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It has not logged in yet: frames are short, and the next of them has come until then.
    Before { until: Millis },
    /// It logs in again, and the next of its frames has come until then.
    Again { until: Millis },
    /// It has logged in, or need not.
    Full,
}

/// A request that has run.
struct Handled {
    reply: Reply,
    /// Whether the client's login is over, or there is none.
    logged_in: bool,
}

impl Connection {
    async fn run(mut self) -> End {
        let mut handling: Option<BoxFuture<'static, Handled>> = None;
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
            let stalled = match self.trust {
                Trust::Before { until } | Trust::Again { until } => {
                    Some(until).filter(|_| handling.is_none())
                }
                Trust::Full => None,
            };
            let step = tokio::select! {
                biased;
                Some(response) = self.replies.next(), if !self.replies.is_empty() => self.respond(response).await,
                handled = async { handling.as_mut().expect("guarded").await }, if handling.is_some() => {
                    handling = None;
                    self.trust(handled.logged_in);
                    self.take(handled.reply)
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
                () = sleep_until(&self.node, stalled), if stalled.is_some() => Err(End::LoginStalled),
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

    /// Frames may be as long as ever once the client has logged in; while it does, each may take so long to come.
    fn trust(&mut self, logged_in: bool) {
        let until = || self.node.world.clock.now().plus(LOGIN_STALL_MAX_MS);
        self.trust = match (self.trust, logged_in) {
            (Trust::Before { .. }, true) => {
                self.incoming.allow(self.node.settings.now().request_bytes_max);
                Trust::Full
            }
            (Trust::Before { .. }, false) => Trust::Before { until: until() },
            (Trust::Again { .. } | Trust::Full, true) => Trust::Full,
            (Trust::Again { .. } | Trust::Full, false) => Trust::Again { until: until() },
        };
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
        Ok(write_all(&*self.node.world.clock, &mut self.write, pieces).await?)
    }

    /// A request that came before the end is still answered, unless nobody is there to read it.
    async fn finish(mut self, end: End) -> End {
        if matches!(end, End::Write(_) | End::Incoming(IncomingError::Closed | IncomingError::Io(_))) {
            return end;
        }
        while let Some(response) = self.replies.next().await {
            let clock = &*self.node.world.clock;
            if write_all(clock, &mut self.write, response.unwrap_or_default()).await.is_err() {
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
) -> BoxFuture<'static, Handled> {
    async move {
        let handled = match login {
            None => {
                let reply = kafka::handle(&node, &caller, &mute, request.frame).await;
                Handled { reply, logged_in: true }
            }
            Some(login) => {
                let mut login = login.lock().await;
                let reply = login.handle(&node, &mute, request.frame).await;
                Handled { reply, logged_in: login.is_done() }
            }
        };
        drop(request.held);
        handled
    }
    .boxed()
}

async fn sleep_until(node: &Node, deadline: Option<Millis>) {
    if let Some(deadline) = deadline {
        node.world.clock.sleep_until(deadline).await;
    }
}

async fn write_all(
    clock: &dyn Clock,
    write: &mut WriteHalf<traffic::Connection>,
    pieces: Vec<Bytes>,
) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = before_stalling(clock, write.write_vectored(rest)).await?;
        if written == 0 && rest.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    before_stalling(clock, write.flush()).await
}

/// What is written, unless the client takes nothing of it for too long.
async fn before_stalling<T>(clock: &dyn Clock, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::select! {
        biased;
        written = write => written,
        // Begins only if something could not be written at once.
        () = async { clock.sleep_until(clock.now().plus(WRITE_STALL_MAX_MS)).await } => {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}
