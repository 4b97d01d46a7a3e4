//! How far the commits have come, and who waits for them.

use crate::{Failure, engine::Engine};
use keyway_log::{
    BoxFuture, Durability, StoreError, Ticket,
    waiters::{Place, Waiters},
};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

#[derive(Default)]
pub(crate) struct Progress {
    /// Greatest ticket that was written, and that is durable. Stored under the lock, read without it.
    written: AtomicU64,
    durable: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    written: Waiters<Ticket>,
    durable: Waiters<Ticket>,
    failed: Waiters<()>,
    failure: Option<Failure>,
    ended: bool,
}

impl Progress {
    /// Completes everyone who waits for `ticket` or an earlier one: they are to be woken once no lock is held.
    pub(crate) fn reach(&self, ticket: Ticket, durability: Durability) -> Vec<Waker> {
        let mut waiting = self.waiting();
        if waiting.ended {
            return Vec::new();
        }
        // Writes go ahead of flushes, but each kind goes on in order.
        assert!(self.reached(durability).swap(ticket.0, Ordering::AcqRel) <= ticket.0);
        waiting.of(durability).take_below(Ticket(ticket.0 + 1))
    }

    pub(crate) fn has_reached(&self, ticket: Ticket, durability: Durability) -> bool {
        self.reached(durability).load(Ordering::Acquire) >= ticket.0
    }

    fn reached(&self, durability: Durability) -> &AtomicU64 {
        match durability {
            Durability::Written => &self.written,
            Durability::Durable => &self.durable,
        }
    }

    /// No ticket will be reached any more; `failure` says why if it is the disk's fault. The first call counts.
    pub(crate) fn end(&self, failure: Option<Failure>) {
        let mut waiting = self.waiting();
        if waiting.ended {
            return;
        }
        waiting.ended = true;
        let mut wakers = waiting.written.take_all();
        wakers.extend(waiting.durable.take_all());
        if failure.is_some() {
            wakers.extend(waiting.failed.take_all());
        }
        waiting.failure = failure;
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.waiting().failure.clone()
    }

    /// Wakes the first of those who still wait.
    pub(crate) fn wake_first(&self, durability: Durability) {
        let waker = self.waiting().of(durability).take_first();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Resolves once the store has failed; never if it does not.
    pub(crate) fn failed(self: &Arc<Self>) -> BoxFuture<'static, Failure> {
        Box::pin(Failed { progress: self.clone(), place: Place::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no panic under the lock")
    }
}

impl Waiting {
    fn of(&mut self, durability: Durability) -> &mut Waiters<Ticket> {
        match durability {
            Durability::Written => &mut self.written,
            Durability::Durable => &mut self.durable,
        }
    }
}

/// As [`keyway_log::LogStore::wait`]. Who polls it may commit: the shortest way is the one without another thread.
pub(crate) struct Wait {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ticket: Ticket,
    pub(crate) durability: Durability,
    pub(crate) place: Place<Ticket>,
}

impl Wait {
    /// How the wait ends, or a place among those who wait.
    fn look(&mut self, context: &Context<'_>) -> Poll<Result<(), StoreError>> {
        let Self { engine, ticket, durability, place } = self;
        let mut waiting = engine.progress.waiting();
        if engine.progress.has_reached(*ticket, *durability) {
            return Poll::Ready(Ok(()));
        }
        if waiting.ended {
            let failure = waiting.failure.as_ref().map(Failure::to_io);
            return Poll::Ready(Err(failure.map_or(StoreError::Closed, StoreError::Io)));
        }
        waiting.of(*durability).wait(place, *ticket, context.waker());
        Poll::Pending
    }
}

impl Future for Wait {
    type Output = Result<(), StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let wait = self.get_mut();
        let (ticket, durability) = (wait.ticket, wait.durability);
        // Not yet among those who wait, so as not to be woken by one's own commit.
        if wait.engine.progress.has_reached(ticket, durability) {
            return Poll::Ready(Ok(()));
        }
        if !wait.engine.commit_for(ticket, durability) {
            if let Poll::Ready(result) = wait.look(context) {
                return Poll::Ready(result);
            }
            // Whoever was at it may have been done before this one waited.
            wait.engine.commit_for(ticket, durability);
        }
        wait.look(context)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiting = self.engine.progress.waiting();
        waiting.of(self.durability).leave(&mut self.place);
    }
}

struct Failed {
    progress: Arc<Progress>,
    place: Place<()>,
}

impl Future for Failed {
    type Output = Failure;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Failure> {
        let Self { progress, place } = self.get_mut();
        let mut waiting = progress.waiting();
        if let Some(failure) = &waiting.failure {
            return Poll::Ready(failure.clone());
        }
        waiting.failed.wait(place, (), context.waker());
        Poll::Pending
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        self.progress.waiting().failed.leave(&mut self.place);
    }
}
