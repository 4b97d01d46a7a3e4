//! The receiving half of a Kafka connection: bytes in, whole frames out, within the broker's bounds on memory and time.

use crate::traffic::Connection;
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::frame::{FrameCutter, FrameError};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, ReadHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Room made in the receive buffer before a read, bytes.
const READ_BYTES: usize = 16 * 1024;

/// Frames up to this many bytes are not counted against the broker's memory for requests: a connection holds at most
/// one of them, so the number of connections bounds them.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// How long a begun frame may take to arrive. A peer that trickles a large frame would hold its memory for ever.
const FRAME_TIME_MAX: Duration = Duration::from_secs(60);

/// Bytes of a frame's length prefix.
const LENGTH_BYTES: usize = 4;

/// Frames of one connection, one after another.
pub(crate) struct Incoming {
    read: ReadHalf<Connection>,
    cutter: FrameCutter,
    received: BytesMut,
    /// Memory for large requests, shared by all connections, one permit a byte.
    budget: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    frame_begun: Option<Instant>,
}

/// One request's bytes, and the memory it may hold until it is handled.
pub(crate) struct Request {
    pub(crate) frame: Bytes,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Why no further frame comes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    #[error("the client closed the connection")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a request did not arrive within {FRAME_TIME_MAX:?}")]
    TooSlow,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Incoming {
    pub(crate) fn new(read: ReadHalf<Connection>, frame_bytes_max: usize, budget: Arc<Semaphore>) -> Self {
        let cutter = FrameCutter::new(frame_bytes_max);
        Self { read, cutter, received: BytesMut::new(), budget, permit: None, frame_begun: None }
    }

    /// From here on frames may be this long.
    pub(crate) fn allow(&mut self, frame_bytes_max: usize) {
        self.cutter = FrameCutter::new(frame_bytes_max);
    }

    /// The next frame. Cancel-safe: what was read stays here.
    pub(crate) async fn next(&mut self) -> Result<Request, IncomingError> {
        loop {
            if let Some(frame) = self.cutter.cut(&mut self.received)? {
                self.frame_begun = None;
                return Ok(Request { frame, permit: self.permit.take() });
            }
            let missing = self.admit().await?;
            self.received.reserve(missing.max(READ_BYTES));
            let read = self.read.read_buf(&mut self.received);
            let count = match self.frame_begun {
                None => read.await?,
                Some(begun) => {
                    let deadline = begun + FRAME_TIME_MAX;
                    tokio::time::timeout_at(deadline, read).await.map_err(|_| IncomingError::TooSlow)??
                }
            };
            if count == 0 {
                return Err(IncomingError::Closed);
            }
            self.frame_begun.get_or_insert_with(Instant::now);
        }
    }

    /// Waits until the begun frame may take its memory; returns the bytes that it still lacks.
    async fn admit(&mut self) -> Result<usize, IncomingError> {
        let Some(prefix) = self.received.first_chunk::<LENGTH_BYTES>() else {
            return Ok(LENGTH_BYTES - self.received.len());
        };
        let frame_bytes = u32::from_be_bytes(*prefix);
        if frame_bytes as usize > UNCOUNTED_BYTES && self.permit.is_none() {
            let permit = self.budget.clone().acquire_many_owned(frame_bytes).await;
            self.permit = Some(permit.expect("the semaphore is never closed"));
            self.frame_begun = Some(Instant::now());
        }
        Ok(LENGTH_BYTES + frame_bytes as usize - self.received.len())
    }
}
