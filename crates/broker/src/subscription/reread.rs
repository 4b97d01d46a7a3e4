//! Reading a hot key's records again, which the dispatcher left in the log.

use super::{
    fetch::{self, Fetched},
    owner::{Owner, READ_RETRY_MS},
};
use keyway_dispatch::Input;
use keyway_log::ReadError;
use keyway_record::{KeyHash, Offset};
use keyway_runtime::BoxFuture;

/// The outstanding read, which takes its turn among the owner's other work.
pub(super) struct Rereading {
    key: KeyHash,
    from: Offset,
    to: Offset,
    records_max: usize,
    pub(super) ready: BoxFuture<'static, ()>,
}

impl Owner {
    /// After a seek a read replaces the one that waits.
    pub(super) fn reread(&mut self, key: KeyHash, from: Offset, to: Offset, records_max: u32) {
        let (records_max, ready) = (records_max as usize, Box::pin(std::future::ready(())));
        self.rereading = Some(Rereading { key, from, to, records_max, ready });
    }

    /// Answers the outstanding read with what one piece of the log has of the key.
    pub(super) fn read_again(&mut self) {
        let mut wanted = self.rereading.take().expect("a read was waited for");
        let Rereading { key, from, to, records_max, .. } = wanted;
        match fetch::read_key(&*self.partition.log, key, from..to, records_max) {
            Ok(Fetched { end, arrivals, payloads, .. }) if end > from => {
                for (arrival, stored) in arrivals.iter().zip(payloads) {
                    self.payloads.insert(arrival.offset, stored);
                }
                self.step(Input::Reread { key, base: from, end, records: arrivals });
            }
            Err(ReadError::Deleted) => self.deleted = true,
            Err(ReadError::OutOfRange { start, .. }) if start > from => {
                self.step(Input::LogStart { to: start });
                self.step(Input::Reread { key, base: from, end: start.min(to), records: Vec::new() });
            }
            outcome => {
                let error = outcome.err();
                tracing::error!(partition = %self.partition.id, subscription = %self.id.name, ?error, "cannot read again");
                let clock = &self.node.world.clock;
                wanted.ready = clock.sleep_until(clock.now().plus(READ_RETRY_MS));
                self.rereading = Some(wanted);
            }
        }
    }
}

/// Resolves when it is the read's turn.
pub(super) async fn due(rereading: &mut Option<Rereading>) {
    match rereading {
        Some(rereading) => (&mut rereading.ready).await,
        None => std::future::pending().await,
    }
}
