//! What was taken in and awaits its commit, and the bounds on what may be taken in.

use crate::{
    Options,
    partition::Log,
    slabs::Slabs,
    space::SpaceLeft,
    wal::entry::{Entry, PREFIX_LEN},
};
use bytes::BytesMut;
use keyway_log::{
    AppendError, BoxFuture, Ticket,
    waiters::{Place, Waiters},
};
use keyway_record::{Offset, RecordBatch};
use keyway_runtime::Space;
use std::{
    cmp::Reverse,
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// One entry on its way into the write-ahead log.
pub(crate) struct Staged {
    pub(crate) entry: Entry,
    /// The log whose high watermark the commit moves.
    pub(crate) log: Arc<Log>,
}

/// Much of one partition, in staging.
pub(crate) struct Large {
    pub(crate) log: Arc<Log>,
    /// Offset after the last of its batches.
    pub(crate) until: Offset,
    pub(crate) bytes: usize,
    pub(crate) batches: usize,
}

pub(crate) struct Staging {
    queue: Mutex<Queue>,
    committer: Condvar,
    bounds: Bounds,
}

struct Bounds {
    staged_bytes_max: usize,
    unwritten_bytes_max: usize,
    wal_bytes_max: u64,
    wal_file_bytes: u64,
    bypass_bytes_min: usize,
}

#[derive(Default)]
struct Queue {
    staged: VecDeque<Staged>,
    /// Logs of which so much was staged that it may go straight to their segments.
    large: Vec<Arc<Log>>,
    last_ticket: u64,
    slabs: Slabs,
    space: SpaceLeft,
    levels: Levels,
    room: Waiters<()>,
    /// Nothing more is taken in.
    closed: bool,
    /// The commit thread sleeps and must be woken.
    parked: bool,
    /// The commit thread must end.
    stopped: bool,
}

impl Queue {
    /// The ticket of the newest entry that is not here any more.
    fn taken(&self) -> Ticket {
        Ticket(self.last_ticket - self.staged.len() as u64)
    }
}

/// Why the commit thread goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parked {
    /// Something is staged.
    Work,
    /// Nothing is.
    Idle,
    /// It must end.
    Stop,
}

/// How full everything is, bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Levels {
    /// Taken in and not yet durable.
    pub(crate) staged: usize,
    /// In memory and not yet in a segment.
    pub(crate) unwritten: usize,
    /// The part of it that no segment can have at the moment: its logs are offline.
    pub(crate) held: usize,
    /// In memory at all.
    pub(crate) memory: usize,
    /// Write-ahead log that no checkpoint covers.
    pub(crate) wal: u64,
}

impl Levels {
    /// Bytes that wait for a segment which can be written. What cannot be is not counted, as much as memory allows: or
    /// one log that is offline would keep all others from taking anything in.
    pub(crate) fn writable(&self, held_max: usize) -> usize {
        self.unwritten.saturating_sub(self.held.min(held_max))
    }
}

impl Staging {
    pub(crate) fn new(options: &Options) -> Self {
        let bounds = Bounds {
            staged_bytes_max: options.staging_bytes_max,
            unwritten_bytes_max: options.arena_bytes_max,
            wal_bytes_max: options.wal_bytes_max,
            wal_file_bytes: options.wal_file_bytes,
            bypass_bytes_min: options.bypass_bytes_min,
        };
        let queue = Queue { slabs: Slabs::new(options.arena_bytes_max), ..Queue::default() };
        Self { queue: Mutex::new(queue), committer: Condvar::new(), bounds }
    }

    /// Memory for a batch of `len` bytes, unless there is no room for it.
    ///
    /// What is `internal` may use what is left of a file system when it is nearly full: cursors and group offsets.
    pub(crate) fn claim(&self, len: usize, internal: bool) -> Result<BytesMut, AppendError> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(AppendError::Closed);
        }
        // One batch may exceed a bound, so that every batch gets in at last.
        if !self.bounds.leave_room(&queue.levels) {
            return Err(AppendError::Full);
        }
        queue.space.take(len, internal)?;
        Ok(queue.slabs.claim(len))
    }

    /// Takes in a batch in memory that was claimed.
    pub(crate) fn push_data(&self, staged: Staged, len: usize) -> Result<Ticket, AppendError> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(AppendError::Closed);
        }
        queue.levels.staged += len;
        queue.levels.unwritten += len;
        queue.levels.memory += len;
        let before = staged.log.staged_bytes.fetch_add(len, Ordering::Relaxed);
        let crosses = before < self.bounds.bypass_bytes_min && before + len >= self.bounds.bypass_bytes_min;
        if crosses && !queue.large.iter().any(|log| Arc::ptr_eq(log, &staged.log)) {
            queue.large.push(staged.log.clone());
        }
        Ok(self.push(queue, staged))
    }

    /// Takes in an entry without records; there is always room for it. `None` if the store is closed.
    pub(crate) fn push_control(&self, staged: Staged) -> Option<Ticket> {
        let queue = self.queue();
        (!queue.closed).then(|| self.push(queue, staged))
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, staged: Staged) -> Ticket {
        queue.last_ticket += 1;
        let ticket = Ticket(queue.last_ticket);
        queue.staged.push_back(staged);
        let parked = std::mem::take(&mut queue.parked);
        drop(queue);
        if parked {
            self.committer.notify_one();
        }
        ticket
    }

    /// Moves up to `bytes_max` bytes of entries, at least one, to `taken`; returns the last one's ticket.
    pub(crate) fn take(&self, bytes_max: usize, taken: &mut Vec<Staged>) -> Option<Ticket> {
        let mut queue = self.queue();
        let count = within(&queue.staged, bytes_max).count();
        for staged in queue.staged.drain(..count) {
            staged.log.staged_bytes.fetch_sub(staged.batch_len(), Ordering::Relaxed);
            taken.push(staged);
        }
        (!taken.is_empty()).then(|| queue.taken())
    }

    /// Partitions that have much among the first `bytes_max` bytes of entries, the one that has most first.
    pub(crate) fn large(&self, bytes_max: usize) -> Vec<Large> {
        let mut queue = self.queue();
        let bytes_min = self.bounds.bypass_bytes_min;
        queue.large.retain(|log| log.staged_bytes.load(Ordering::Relaxed) >= bytes_min);
        if queue.large.is_empty() {
            return Vec::new();
        }
        let begin = |log: &Arc<Log>| Large { log: log.clone(), until: Offset::ZERO, bytes: 0, batches: 0 };
        let mut large: Vec<_> = queue.large.iter().map(begin).collect();
        for staged in within(&queue.staged, bytes_max) {
            let of_log = large.iter_mut().find(|each| Arc::ptr_eq(&each.log, &staged.log));
            if let (Some(large), Some(batch)) = (of_log, staged.batch()) {
                large.until = batch.next_offset();
                large.bytes += batch.bytes().len();
                large.batches += 1;
            }
        }
        drop(queue);
        large.retain(|each| each.bytes >= bytes_min);
        large.sort_by_key(|each| Reverse(each.bytes));
        large
    }

    /// Notes what the file system has left. `true` if it has just become too little for user data.
    pub(crate) fn note_space(&self, space: Space) -> bool {
        let mut queue = self.queue();
        let was_low = queue.space.is_low();
        // What was taken in has its place to come.
        let promised = (queue.levels.unwritten + queue.levels.staged) as u64;
        let space = Space { free: space.free.saturating_sub(promised), ..space };
        queue.space = SpaceLeft::new(space, self.bounds.wal_file_bytes);
        queue.space.is_low() && !was_low
    }

    /// Notes that the file system has no more than this.
    pub(crate) fn limit_space(&self, free: u64) {
        self.queue().space.limit(free);
    }

    pub(crate) fn is_space_low(&self) -> bool {
        self.queue().space.is_low()
    }

    /// The ticket of the newest entry.
    pub(crate) fn last_ticket(&self) -> Ticket {
        Ticket(self.queue().last_ticket)
    }

    /// Changes the levels and wakes those who wait for room if there is some now.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Levels)) -> Levels {
        let mut wakers = Vec::new();
        let levels = self.change_waking(&mut wakers, change);
        wakers.into_iter().for_each(Waker::wake);
        levels
    }

    /// As [`Staging::change`]; whoever is to be woken is added to `wakers`.
    pub(crate) fn change_waking(&self, wakers: &mut Vec<Waker>, change: impl FnOnce(&mut Levels)) -> Levels {
        let mut queue = self.queue();
        change(&mut queue.levels);
        let levels = queue.levels;
        if self.bounds.leave_room(&levels) {
            wakers.append(&mut queue.room.take_all());
        }
        levels
    }

    pub(crate) fn levels(&self) -> Levels {
        self.queue().levels
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let wakers = queue.room.take_all();
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Lets the commit thread end.
    pub(crate) fn stop(&self) {
        self.queue().stopped = true;
        self.committer.notify_all();
    }

    /// Whether anything awaits its commit.
    pub(crate) fn has_staged(&self) -> bool {
        !self.queue().staged.is_empty()
    }

    /// The ticket of the newest entry that was taken to be written.
    pub(crate) fn taken(&self) -> Ticket {
        self.queue().taken()
    }

    /// Blocks the commit thread, which has seen to everything up to `taken`. With `patience` for no longer than that, without until something is staged; `eager`
    /// ends the wait as soon as something is staged in either case.
    pub(crate) fn park(&self, eager: bool, patience: Option<Duration>, taken: Ticket) -> Parked {
        let wants_all = eager || patience.is_none();
        let mut queue = self.queue();
        if patience.is_none() && queue.taken() != taken {
            // Somebody writes it, or has, and nobody may be about to flush it.
            return Parked::Idle;
        }
        queue.parked = wants_all;
        while !queue.stopped && (!wants_all || queue.staged.is_empty()) {
            let timed_out = if let Some(patience) = patience {
                let waited = self.committer.wait_timeout(queue, patience);
                let (woken, timeout) = waited.expect("no panic under the lock");
                queue = woken;
                timeout.timed_out()
            } else {
                queue = self.committer.wait(queue).expect("no panic under the lock");
                false
            };
            // Who staged something says so once. It may have been written since by someone who does not flush it.
            let was_called = wants_all && !queue.parked;
            if timed_out || was_called {
                break;
            }
        }
        queue.parked = false;
        match (queue.stopped, queue.staged.is_empty()) {
            (true, _) => Parked::Stop,
            (false, false) => Parked::Work,
            (false, true) => Parked::Idle,
        }
    }

    /// As [`keyway_log::LogStore::room`].
    pub(crate) fn room(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(Room { staging: self.clone(), place: Place::default() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic under the lock")
    }
}

/// The first entries, up to `bytes_max` bytes and at least one.
fn within(staged: &VecDeque<Staged>, bytes_max: usize) -> impl Iterator<Item = &Staged> {
    let mut bytes = 0;
    staged.iter().take_while(move |staged| {
        let is_first = bytes == 0;
        bytes += PREFIX_LEN + staged.batch_len();
        is_first || bytes <= bytes_max
    })
}

impl Staged {
    pub(crate) fn batch(&self) -> Option<&RecordBatch> {
        match &self.entry {
            Entry::Data { batch, .. } => Some(batch),
            Entry::Kept { .. }
            | Entry::Create { .. }
            | Entry::Delete { .. }
            | Entry::Trim { .. }
            | Entry::Reference { .. } => None,
        }
    }

    pub(crate) fn batch_len(&self) -> usize {
        self.batch().map_or(0, |batch| batch.bytes().len())
    }
}

impl Bounds {
    fn leave_room(&self, levels: &Levels) -> bool {
        levels.staged < self.staged_bytes_max
            && levels.writable(self.unwritten_bytes_max) < self.unwritten_bytes_max
            && levels.wal < self.wal_bytes_max
    }
}

struct Room {
    staging: Arc<Staging>,
    place: Place<()>,
}

impl Future for Room {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { staging, place } = self.get_mut();
        let mut queue = staging.queue();
        if queue.closed || staging.bounds.leave_room(&queue.levels) {
            return Poll::Ready(());
        }
        queue.room.wait(place, (), context.waker());
        Poll::Pending
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.staging.queue().room.leave(&mut self.place);
    }
}
