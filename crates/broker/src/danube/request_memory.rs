//! Counts the bytes of requests against the memory that the requests of all connections share.
//!
//! Bytes count as they arrive, until their request is answered: a client that announces much and sends little takes
//! little. A request for which there is no room waits a moment and is then refused with a status that every client answers
//! by trying again; what it held is free again, so requests that wait for each other do not wait for ever.

use bytes::Bytes;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    budget: Arc<Semaphore>,
}

impl<S> Counted<S> {
    /// `budget` has one permit a byte.
    pub(super) fn new(service: S, budget: &Arc<Semaphore>) -> Self {
        Self { service, budget: budget.clone() }
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
        let budget = self.budget.clone();
        let mut request = request.map(|body| {
            Body::new(CountedBody {
                body,
                budget,
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
pub(super) struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Held {
    /// Gives the memory back: what the request carried is no longer needed.
    pub(super) fn release(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.lock().expect("no panic while permits are merged")
    }
}

type Frame = http_body::Frame<Bytes>;

struct CountedBody {
    body: Body,
    budget: Arc<Semaphore>,
    held: Held,
    /// A frame that waits for room.
    waiting: Option<(Frame, BoxFuture<OwnedSemaphorePermit, Status>)>,
    begun: bool,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl CountedBody {
    fn hold(&self, permit: OwnedSemaphorePermit) {
        let mut held = self.held.lock();
        match &mut *held {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
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
            let permit = ready!(room.as_mut().poll(context));
            let (frame, _) = self.waiting.take().expect("it waited");
            self.hold(permit?);
            return Poll::Ready(Some(Ok(frame)));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                let len = u32::try_from(len).expect("a frame has less than 2^24 bytes");
                self.begun |= len > 0;
                match self.budget.clone().try_acquire_many_owned(len) {
                    Ok(permit) => {
                        self.hold(permit);
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Err(_) => {
                        self.waiting = Some((frame, Box::pin(room(self.budget.clone(), len))));
                        self.poll_frame(context)
                    }
                }
            }
            Poll::Pending if self.begun => {
                let deadline =
                    self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(ARRIVAL_TIME_MAX)));
                ready!(deadline.as_mut().poll(context));
                let text = format!("the request did not arrive within {ARRIVAL_TIME_MAX:?}");
                Poll::Ready(Some(Err(Status::deadline_exceeded(text))))
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

async fn room(budget: Arc<Semaphore>, len: u32) -> Result<OwnedSemaphorePermit, Status> {
    match tokio::time::timeout(ROOM_TIME_MAX, budget.acquire_many_owned(len)).await {
        Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
        Err(_) => Err(Status::resource_exhausted(
            "the broker has no memory left for requests at the moment; try again later",
        )),
    }
}
