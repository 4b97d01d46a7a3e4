//! How an owner ends: with the broker it stores its position, with its topic it removes what is stored.

use super::{
    handle::{Command, StreamEnd},
    owner::{COMMANDS_PER_TURN, Owner},
    record::Key,
};
use crate::internal_topic::InternalTopicError;
use futures_util::future::select;
use keyway_dispatch::Input;
use std::{pin::pin, sync::Arc};

/// How long clients may take to go away when the broker stops, ms; their connections end long before.
const LAST_ANSWERS_MS_MAX: u64 = 1_000;

impl Owner {
    pub(super) async fn end(mut self) {
        if self.deleted || !self.reliable {
            self.node.subscriptions.remove(&self.id);
        }
        if !self.deleted {
            if self.node.stopping.is_cancelled() {
                self.take_last_answers().await;
            }
            self.finish_side_writes().await;
            return self.persist().await;
        }
        for stream in self.outlets.keys().copied().collect::<Vec<_>>() {
            self.end_stream(stream, StreamEnd::Deleted);
        }
        let gone = self.forget_records().await;
        if let Err(error) = &gone {
            tracing::warn!(subscription = %self.id.name, %error, "the records of a deleted subscription stay");
        }
        let gone = gone.map_err(Arc::new);
        for reply in self.delete_replies {
            // Whoever asked may have gone; the subscription is deleted all the same.
            _ = reply.send(gone.clone());
        }
    }

    /// Ends the streams and takes what their clients still answer until these are gone: an answer that nobody takes is a
    /// message that comes again after the start.
    async fn take_last_answers(&mut self) {
        let streams = std::mem::take(&mut self.outlets);
        // What they hold stays theirs to answer, and nothing is handed out in its place.
        let no_credit = streams.keys().map(|&consumer| Input::SetCredit { consumer, credit: 0 });
        self.inputs.extend(no_credit);
        drop(streams);
        let clock = &self.node.world.clock;
        let fronts = self.node.fronts.clone();
        fronts.close();
        let late = clock.sleep_until(clock.now().plus(LAST_ANSWERS_MS_MAX));
        let answered = pin!(fronts.wait());
        let mut gone = select(answered, late);
        let mut received = Vec::with_capacity(COMMANDS_PER_TURN);
        let mut open = true;
        while open {
            tokio::select! {
                biased;
                count = self.commands.recv_many(&mut received, COMMANDS_PER_TURN) => open = count > 0,
                // What was sent before this is still received.
                _ = &mut gone, if !self.commands.is_closed() => self.commands.close(),
            }
            self.take_answers(&mut received);
        }
    }

    /// Takes answers and drops all else: whoever waits for a reply hears that the subscription ends.
    fn take_answers(&mut self, received: &mut Vec<Command>) {
        for command in received.drain(..) {
            match command {
                Command::Ack { offset, token } => self.ack(offset, token),
                Command::Nack { offset, token, delay_ms, reason } => {
                    self.nack(offset, token, delay_ms, reason)
                }
                _ => {}
            }
        }
        self.step_all();
        // The snapshot that follows has all of it: what is not finished begins again with the next owner.
        self.outputs.clear();
    }

    /// Removes what is stored; durable when this returns.
    async fn forget_records(&mut self) -> Result<(), InternalTopicError> {
        if !self.reliable {
            return Ok(());
        }
        let consumers =
            self.members.iter().map(|consumer| Key::Consumer(self.id.clone(), consumer.name.clone()));
        let parked = self.parked.stored_keys(&self.id);
        let keys = consumers.chain(parked).chain([Key::Subscription(self.id.clone())]);
        let entries = keys.map(|key| (key.encode(), None)).collect();
        self.node.subscriptions.records.put(entries).await
    }
}
