//! How long a client may take for the first bytes of a connection. Before them nobody knows whether it is a client at all.

use keyway_runtime::BoxFuture;
use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

/// What a client has yet to say, and until when.
pub(crate) struct Opening {
    left_bytes: usize,
    time: Duration,
    /// Set when the first byte is waited for.
    timer: Option<BoxFuture<'static, ()>>,
}

impl Opening {
    /// So many bytes within `time`.
    pub(crate) fn new(bytes: usize, time: Duration) -> Self {
        Self { left_bytes: bytes, time, timer: None }
    }

    /// Nothing is owed.
    pub(crate) fn none() -> Self {
        Self::new(0, Duration::ZERO)
    }

    /// So many bytes have come.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
        if self.left_bytes == 0 {
            self.timer = None;
        }
    }

    /// An error once it is too late; else the next byte is to be waited for.
    pub(crate) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left_bytes == 0 {
            return Poll::Pending;
        }
        let time = self.time;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{Instant, timeout};

    const TIME: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn what_is_owed_is_late_after_its_time() {
        let mut opening = Opening::new(24, TIME);
        let begun = Instant::now();
        opening.read(23);
        let late = poll_fn(|context| opening.poll_late(context)).await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= TIME, "it is late after {:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_has_come_is_never_late() {
        let mut opening = Opening::new(24, TIME);
        // Waited for, and then there.
        assert!(timeout(TIME / 2, poll_fn(|context| opening.poll_late(context))).await.is_err());
        opening.read(30);
        for opening in [&mut opening, &mut Opening::none()] {
            assert!(timeout(TIME * 9, poll_fn(|context| opening.poll_late(context))).await.is_err());
        }
    }
}
