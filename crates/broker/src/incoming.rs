//! The receiving half of a Kafka connection: bytes in, whole frames out, within the broker's bounds on memory and time.

use crate::{
    limits::{Held, NoRoom, RequestMemory, UNCOUNTED_BYTES},
    traffic::Connection,
};
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::frame::{FrameCutter, FrameError, LENGTH_LEN};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, ReadHalf},
    time::Instant,
};

/// Least room in the receive buffer before a read, bytes.
const READ_BYTES: usize = 16 * 1024;

/// Room is made at once for a frame of up to so many bytes; a longer one grows. Pages that nothing is written to cost nothing.
const ROOM_BYTES: usize = 1024 * 1024;

/// How long a begun frame may take to arrive, the wait for memory included. A peer that trickles a large frame would hold its memory for ever.
const FRAME_TIME_MAX: Duration = Duration::from_secs(60);

/// Frames of one connection, one after another.
pub(crate) struct Incoming {
    read: ReadHalf<Connection>,
    cutter: FrameCutter,
    received: BytesMut,
    memory: RequestMemory,
    /// By the frame that is arriving.
    held: Held,
    /// Until when that has to be here.
    deadline: Option<Instant>,
}

/// One request's bytes, and the memory it may hold until it is handled.
pub(crate) struct Request {
    pub(crate) frame: Bytes,
    pub(crate) held: Held,
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
    #[error(
        "there was no memory for a request within {FRAME_TIME_MAX:?}; queued.max.request.bytes limits it"
    )]
    NoRoom,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Incoming {
    pub(crate) fn new(read: ReadHalf<Connection>, frame_bytes_max: usize, memory: RequestMemory) -> Self {
        let cutter = FrameCutter::new(frame_bytes_max);
        let received = BytesMut::new();
        Self { read, cutter, received, memory, held: Held::default(), deadline: None }
    }

    /// From here on frames may be this long.
    pub(crate) fn allow(&mut self, frame_bytes_max: usize) {
        self.cutter = FrameCutter::new(frame_bytes_max);
    }

    /// The next frame. Cancel-safe: what was read stays here.
    pub(crate) async fn next(&mut self) -> Result<Request, IncomingError> {
        loop {
            if let Some(frame) = self.cutter.cut(&mut self.received)? {
                self.deadline = None;
                if frame.len() > UNCOUNTED_BYTES {
                    leave(&mut self.received);
                }
                return Ok(Request { frame, held: std::mem::take(&mut self.held) });
            }
            if !self.received.is_empty() {
                self.deadline.get_or_insert_with(|| Instant::now() + FRAME_TIME_MAX);
            }
            let most = self.admit().await?;
            let mut read = (&mut self.read).take(most as u64);
            let read = read.read_buf(&mut self.received);
            let count = match self.deadline {
                None => read.await?,
                Some(deadline) => {
                    let deadline = self.held.turn_ends().map_or(deadline, |ends| ends.min(deadline));
                    tokio::time::timeout_at(deadline, read).await.map_err(|_| IncomingError::TooSlow)??
                }
            };
            if count == 0 {
                return Err(IncomingError::Closed);
            }
        }
    }

    /// Waits until more of the begun frame may come, and makes room for it; returns how many bytes may be read.
    async fn admit(&mut self) -> Result<usize, IncomingError> {
        let (Some(prefix), Some(deadline)) = (self.received.first_chunk::<LENGTH_LEN>(), self.deadline)
        else {
            self.received.reserve(READ_BYTES);
            return Ok(READ_BYTES);
        };
        let frame_bytes = LENGTH_LEN + u32::from_be_bytes(*prefix) as usize;
        let received = self.received.len();
        let allowed = self.memory.room(&mut self.held, received, frame_bytes, deadline).await;
        let allowed = allowed.map_err(|NoRoom| IncomingError::NoRoom)?;
        let most = (allowed - received).max(if frame_bytes <= UNCOUNTED_BYTES { READ_BYTES } else { 0 });
        self.received.reserve(most.max((frame_bytes - received).min(ROOM_BYTES)));
        Ok(most)
    }
}

/// Goes on in a buffer of its own: the one that a large frame lies in would stay with the connection and be counted by nobody.
fn leave(received: &mut BytesMut) {
    *received = BytesMut::from(received.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_of_a_large_frame_goes_with_the_frame() {
        const FRAME_BYTES: usize = 12 << 20;
        let mut received = BytesMut::from(&vec![7; FRAME_BYTES + 3][..]);
        let frame = received.split_to(FRAME_BYTES).freeze();
        leave(&mut received);
        drop(frame);
        assert_eq!(received.as_ref(), [7; 3]);
        received.reserve(READ_BYTES);
        assert!(received.capacity() < 2 * READ_BYTES, "{} bytes are kept", received.capacity());
    }
}
