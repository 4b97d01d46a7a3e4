//! The time in which a future holds a thread, as opposed to the time in which it waits.

use keyway_runtime::Clock;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// A future, and how long its polls took.
pub(super) struct Timed<F> {
    future: F,
    clock: Arc<dyn Clock>,
    spent_us: u64,
}

impl<F: Future + Unpin> Timed<F> {
    pub(super) fn new(future: F, clock: &Arc<dyn Clock>) -> Self {
        Self { future, clock: clock.clone(), spent_us: 0 }
    }
}

impl<F: Future + Unpin> Future for Timed<F> {
    /// What the future gave, and the microseconds of its polls.
    type Output = (F::Output, u64);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let begun_us = self.clock.now_us();
        let polled = Pin::new(&mut self.future).poll(context);
        self.spent_us += self.clock.now_us().saturating_sub(begun_us);
        polled.map(|output| (output, self.spent_us))
    }
}
