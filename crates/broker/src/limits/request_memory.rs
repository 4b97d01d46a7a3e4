//! Memory for the requests of all connections.
//!
//! What a Kafka client announces takes nothing. What has arrived of a large request counts, twice over while it grows, so
//! whoever wants to hold memory has to send half of it. Where it is used up, requests that are partly here would wait for
//! each other; one after another therefore has its turn and ends beyond the limit. **Invariant:** all that is held is within
//! the limit, but for one request.

use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// So many bytes of each connection are not counted: the number of connections bounds them.
pub(crate) const UNCOUNTED_BYTES: usize = 64 * 1024;

/// How long the request whose turn it is may take to arrive; others wait for it.
const TURN_TIME_MAX: Duration = Duration::from_secs(5);

/// The limit, and who may go beyond it.
#[derive(Clone, Debug)]
pub(crate) struct RequestMemory {
    /// One permit a byte.
    bytes: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// What one request holds, until it is handled.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    /// It is this request's turn: its bytes do not count any more.
    turn: Option<(OwnedSemaphorePermit, Instant)>,
}

/// There was no room in time.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl RequestMemory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes_max)), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Room for so many bytes of a request, if there is some at once.
    pub(crate) fn try_take(&self, bytes: u32) -> Option<Held> {
        let permit = self.bytes.clone().try_acquire_many_owned(bytes).ok()?;
        Some(Held { bytes: Some(permit), turn: None })
    }

    /// Waits for room for so many bytes of a request, or until it is its turn.
    pub(crate) async fn take(&self, bytes: u32, deadline: Instant) -> Result<Held, NoRoom> {
        tokio::select! {
            biased;
            permit = self.bytes.clone().acquire_many_owned(bytes) => {
                Ok(Held { bytes: Some(permit.expect("the semaphore is never closed")), turn: None })
            }
            turn = self.turn.clone().acquire_owned() => {
                let turn = turn.expect("the semaphore is never closed");
                Ok(Held { bytes: None, turn: Some((turn, Instant::now() + TURN_TIME_MAX)) })
            }
            () = sleep_until(deadline) => Err(NoRoom),
        }
    }

    /// Waits until `held` has room for more than the `received` bytes of a request of `total`; says how many there may be.
    pub(crate) async fn room(
        &self,
        held: &mut Held,
        received: usize,
        total: usize,
        deadline: Instant,
    ) -> Result<usize, NoRoom> {
        let has = held.bytes.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if total <= UNCOUNTED_BYTES || held.has_turn() {
            return Ok(total);
        }
        if received < has.max(UNCOUNTED_BYTES) {
            return Ok(has.max(UNCOUNTED_BYTES));
        }
        let wanted = (2 * received).min(total);
        let lacks = u32::try_from(wanted - has).expect("a frame has less than 2^31 bytes");
        held.add(self.take(lacks, deadline).await?);
        Ok(if held.has_turn() { total } else { wanted })
    }
}

impl Held {
    /// Holds this, too.
    pub(crate) fn add(&mut self, other: Self) {
        match (&mut self.bytes, other.bytes) {
            (Some(bytes), Some(more)) => bytes.merge(more),
            (none @ None, more) => *none = more,
            (Some(_), None) => {}
        }
        self.turn = self.turn.take().or(other.turn);
    }

    /// Whether it is this request's turn, and what else arrives of it needs no room.
    pub(crate) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// When the rest has to be here at the latest, if others wait for it.
    pub(crate) fn turn_ends(&self) -> Option<Instant> {
        self.turn.as_ref().map(|(_, ends)| *ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn what_is_announced_takes_nothing_and_what_arrives_counts() {
        let memory = RequestMemory::new(MIB);
        let mut held = Held::default();
        assert_eq!(memory.room(&mut held, 4, 100 * MIB, soon()).await.unwrap(), UNCOUNTED_BYTES);
        assert_eq!(memory.bytes.available_permits(), MIB);
        let allowed = memory.room(&mut held, UNCOUNTED_BYTES, 100 * MIB, soon()).await.unwrap();
        assert_eq!(
            (allowed, memory.bytes.available_permits()),
            (2 * UNCOUNTED_BYTES, MIB - 2 * UNCOUNTED_BYTES)
        );
        let same = memory.room(&mut held, 100_000, 100 * MIB, soon()).await.unwrap();
        assert_eq!((same, memory.bytes.available_permits()), (allowed, MIB - allowed));
        let last = memory.room(&mut held, allowed, allowed + 5, soon()).await.unwrap();
        assert_eq!((last, memory.bytes.available_permits()), (allowed + 5, MIB - last));
        drop(held);
        assert_eq!(memory.bytes.available_permits(), MIB);
    }

    #[tokio::test]
    async fn those_that_wait_for_each_other_go_beyond_the_limit_one_by_one() {
        let memory = RequestMemory::new(4 * UNCOUNTED_BYTES);
        let (mut first, mut second) = (Held::default(), Held::default());
        for held in [&mut first, &mut second] {
            memory.room(held, UNCOUNTED_BYTES, MIB, soon()).await.unwrap();
        }
        let received = 2 * UNCOUNTED_BYTES;
        assert_eq!(memory.room(&mut first, received, MIB, soon()).await.unwrap(), MIB);
        assert!(first.turn_ends().is_some());
        assert!(memory.room(&mut second, received, MIB, soon()).await.is_err(), "both at a time");
        drop(first);
        assert_eq!(memory.room(&mut second, received, MIB, soon()).await.unwrap(), 2 * received);
    }
}
