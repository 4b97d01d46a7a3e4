//! Counts the bytes of requests against the memory that the requests of all connections share.
//!
//! Bytes count as they arrive, until their request is answered: a client that announces much and sends little takes
//! little. A request for which there is no room waits a moment, or until it is its turn to end beyond the limit, and is then
//! refused with a status that every client answers by trying again.

use crate::limits::{self, NoRoom, RequestMemory};
use bytes::Bytes;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

/// How long a request waits for room.
const ROOM_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a begun request may take to arrive.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(60);

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    service: S,
    memory: RequestMemory,
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, memory: &RequestMemory) -> Self {
        Self { service, memory: memory.clone() }
    }
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let held = Held::default();
        let of_body = held.clone();
        let memory = self.memory.clone();
        let mut request = request.map(|body| {
            Body::new(CountedBody {
                body,
                memory,
                held: of_body,
                waiting: None,
                begun: false,
                deadline: None,
            })
        });
        request.extensions_mut().insert(held.clone());
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await;
            // The message is handled, so its memory is free.
            held.release();
            answer
        })
    }
}

/// What one request holds, until it is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<limits::Held>>);

impl Held {
    /// Gives the memory back: what the request carried is no longer needed.
    pub(super) fn release(&self) {
        *self.lock() = limits::Held::default();
    }

    fn lock(&self) -> MutexGuard<'_, limits::Held> {
        self.0.lock().expect("no panic while it is locked")
    }
}

type Frame = http_body::Frame<Bytes>;

struct CountedBody {
    body: Body,
    memory: RequestMemory,
    held: Held,
    /// A frame that waits for room.
    waiting: Option<(Frame, BoxFuture<limits::Held, Status>)>,
    begun: bool,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl CountedBody {
    /// Whoever's turn it is has less time: others wait for it.
    fn hold(&mut self, more: limits::Held) {
        let mut held = self.held.lock();
        held.add(more);
        if let Some(ends) = held.turn_ends() {
            self.deadline = Some(Box::pin(tokio::time::sleep_until(ends)));
        }
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, Status>>> {
        if let Some((_, room)) = &mut self.waiting {
            let more = ready!(room.as_mut().poll(context));
            let (frame, _) = self.waiting.take().expect("it waited");
            self.hold(more?);
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                let len = u32::try_from(len).expect("a frame has less than 2^24 bytes");
                self.begun |= len > 0;
                if self.held.lock().has_turn() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                match self.memory.try_take(len) {
                    Some(more) => {
                        self.hold(more);
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => {
                        self.waiting = Some((frame, Box::pin(room(self.memory.clone(), len))));
                        self.poll_frame(context)
                    }
                }
            }
            Poll::Pending if self.begun => {
                let deadline =
                    self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(ARRIVAL_TIME_MAX)));
                ready!(deadline.as_mut().poll(context));
                Poll::Ready(Some(Err(Status::deadline_exceeded("the request did not arrive in time"))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

async fn room(memory: RequestMemory, len: u32) -> Result<limits::Held, Status> {
    memory.take(len, Instant::now() + ROOM_TIME_MAX).await.map_err(|NoRoom| {
        Status::resource_exhausted(
            "the broker has no memory left for requests at the moment; try again later",
        )
    })
}
