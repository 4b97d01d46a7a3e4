//! The receiving half of a Kafka connection: bytes in, whole frames out, within the broker's bounds on memory and time.
//!
//! A large frame lies in pages that the system gives for it alone: one that is only announced has taken none yet, none is
//! copied while it grows, and all of them go back with the frame. From the allocator they would not, once such lengths
//! have come and gone.

use crate::{
    limits::{Held, NoRoom, RequestMemory, UNCOUNTED_BYTES},
    traffic::Connection,
};
use bytes::{Bytes, BytesMut};
use keyway_kafka_wire::frame::{FrameCutter, FrameError, LENGTH_LEN};
use memmap2::{MmapMut, MmapOptions};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, ReadHalf},
    time::Instant,
};

/// Least room in the receive buffer before a read, bytes.
const READ_BYTES: usize = 16 * 1024;

/// Frames from here on are large: more than any request with one batch, by default.
const LARGE_BYTES: usize = 2 * 1024 * 1024;

/// How long a begun frame may take to arrive, the wait for memory included. A peer that trickles a large frame would hold its memory for ever.
const FRAME_TIME_MAX: Duration = Duration::from_secs(60);

/// Frames of one connection, one after another.
pub(crate) struct Incoming {
    read: ReadHalf<Connection>,
    cutter: FrameCutter,
    received: BytesMut,
    /// What has arrived of a large frame; nothing is in `received` meanwhile.
    large: Option<Large>,
    memory: RequestMemory,
    /// By the frame that is arriving.
    held: Held,
    /// Until when that has to be here.
    deadline: Option<Instant>,
}

/// A frame without its length, as far as it has arrived.
struct Large {
    pages: MmapMut,
    filled: usize,
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
        Self { read, cutter, received, large: None, memory, held: Held::default(), deadline: None }
    }

    /// From here on frames may be this long.
    pub(crate) fn allow(&mut self, frame_bytes_max: usize) {
        self.cutter = FrameCutter::new(frame_bytes_max);
    }

    /// The next frame. Cancel-safe: what was read stays here.
    pub(crate) async fn next(&mut self) -> Result<Request, IncomingError> {
        loop {
            if let Some(frame) = self.cut()? {
                self.deadline = None;
                return Ok(Request { frame, held: std::mem::take(&mut self.held) });
            }
            if self.large.is_some() || !self.received.is_empty() {
                self.deadline.get_or_insert_with(|| Instant::now() + FRAME_TIME_MAX);
            }
            let most = self.admit().await?;
            let read = async {
                match &mut self.large {
                    Some(Large { pages, filled }) => {
                        let count = self.read.read(&mut pages[*filled..*filled + most]).await?;
                        *filled += count;
                        Ok::<_, io::Error>(count)
                    }
                    None => (&mut self.read).take(most as u64).read_buf(&mut self.received).await,
                }
            };
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

    /// The next frame, if it is all there. One that is large and is not gets pages of its own.
    fn cut(&mut self) -> Result<Option<Bytes>, IncomingError> {
        if let Some(large) = self.large.take_if(|large| large.filled == large.pages.len()) {
            return Ok(Some(Bytes::from_owner(large.pages)));
        }
        if self.large.is_some() {
            return Ok(None);
        }
        if let Some(frame) = self.cutter.cut(&mut self.received)? {
            return Ok(Some(frame));
        }
        if let Some(length) = self.begun().filter(|&length| length >= LARGE_BYTES) {
            self.large = Some(Large::begin(length, &self.received[LENGTH_LEN..])?);
            self.received.clear();
        }
        Ok(None)
    }

    /// The length of the frame that has begun in `received`.
    fn begun(&self) -> Option<usize> {
        self.received.first_chunk::<LENGTH_LEN>().map(|prefix| u32::from_be_bytes(*prefix) as usize)
    }

    /// Waits until more of the begun frame may come, and makes room for it; returns how many bytes may be read.
    async fn admit(&mut self) -> Result<usize, IncomingError> {
        let begun = self.large.as_ref().map(|large| (large.filled, large.pages.len()));
        let begun = begun.or_else(|| Some((self.received.len(), LENGTH_LEN + self.begun()?)));
        let (Some((received, frame_bytes)), Some(deadline)) = (begun, self.deadline) else {
            self.received.reserve(READ_BYTES);
            return Ok(READ_BYTES);
        };
        let allowed = self.memory.room(&mut self.held, received, frame_bytes, deadline).await;
        let allowed = allowed.map_err(|NoRoom| IncomingError::NoRoom)?;
        if self.large.is_some() {
            return Ok(allowed - received);
        }
        let most = (allowed - received).max(if frame_bytes <= UNCOUNTED_BYTES { READ_BYTES } else { 0 });
        self.received.reserve(most.max(frame_bytes - received));
        Ok(most)
    }
}

impl Large {
    /// Pages for `length` bytes, of which these have arrived.
    fn begin(length: usize, arrived: &[u8]) -> Result<Self, IncomingError> {
        let mut pages = MmapOptions::new().len(length).no_reserve_swap().map_anon()?;
        pages[..arrived.len()].copy_from_slice(arrived);
        Ok(Self { pages, filled: arrived.len() })
    }
}
