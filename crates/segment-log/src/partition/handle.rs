//! A log as the broker holds it.

use super::Log;
use keyway_log::{
    AppendError, Appended, Bounds, BoxFuture, Isolation, LogConfig, PartitionLog, ReadError, ReadLimit,
    Slice, Ticket, epochs::EpochEnd, producers::ActiveProducer, waiters::Place,
};
use keyway_record::{LeaderEpoch, Offset, ProducerId, RecordBatch, Timestamp};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// What callers hold of a [`Log`].
pub(crate) struct Handle(pub(crate) Arc<Log>);

impl PartitionLog for Handle {
    fn append(&self, batch: &RecordBatch) -> Result<Appended, AppendError> {
        self.0.append(batch)
    }

    fn read(&self, from: Offset, limit: ReadLimit) -> Result<Slice, ReadError> {
        self.0.read(from, limit)
    }

    fn bounds(&self) -> Bounds {
        let state = self.0.state();
        Bounds { start: state.start, high_watermark: state.high_watermark, end: state.end }
    }

    fn last_stable(&self) -> Offset {
        self.0.state().readable_end(Isolation::ReadCommitted)
    }

    fn open_transaction(&self, producer_id: ProducerId) -> Option<Offset> {
        self.0.state().transactions.open_since(producer_id)
    }

    fn size_bytes(&self) -> u64 {
        let state = self.0.state();
        let in_segments: u64 = state.segments.iter().map(|entry| entry.len).sum();
        in_segments + state.unwritten_bytes(state.end) as u64
    }

    fn producers(&self) -> Vec<ActiveProducer> {
        let state = self.0.state();
        state.producers.active(&state.transactions).collect()
    }

    fn wait_past(&self, offset: Offset, isolation: Isolation) -> BoxFuture<'static, ()> {
        Box::pin(WaitPast { log: self.0.clone(), offset, isolation, place: Place::default() })
    }

    fn find(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        self.0.find(time)
    }

    fn trim(&self, before: Offset) -> Result<Ticket, AppendError> {
        self.0.trim(before)
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.0.state().leader_epoch()
    }

    fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.0.state().epochs.epoch_of(offset)
    }

    fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let state = self.0.state();
        state.epochs.end_of(epoch, state.end)
    }

    fn configure(&self, config: LogConfig) {
        let mut state = self.0.state();
        state.config = config;
        if let Some(expiration_ms) = config.producer_expiration_ms {
            state.producers.expire_after(expiration_ms);
        }
    }
}

struct WaitPast {
    log: Arc<Log>,
    offset: Offset,
    isolation: Isolation,
    place: Place<Offset>,
}

impl Future for WaitPast {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { log, offset, isolation, place } = self.get_mut();
        let mut state = log.state();
        if state.readable_end(*isolation) > *offset || state.deleted || log.engine.has_ended() {
            return Poll::Ready(());
        }
        // What is stable moves only with what is readable at all.
        let number = state.high_watermark.max(*offset);
        state.waiters.leave(place);
        state.waiters.wait(place, number, context.waker());
        Poll::Pending
    }
}

impl Drop for WaitPast {
    fn drop(&mut self) {
        self.log.state().waiters.leave(&mut self.place);
    }
}
