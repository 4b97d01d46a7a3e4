//! Doing what the dispatcher says.

use super::{
    dead_letter::{self, DeadLetter},
    fetch,
    handle::StreamEnd,
    owner::{InFlight, Owner},
    payloads::Stored,
    record::{Key, StoredSubscription},
};
use crate::danube::ids::producer_id;
use keyway_danube_wire::message::{self, Delivery};
use keyway_dispatch::{ConsumerId, Input, Output, Token};
use keyway_record::{Offset, TopicName};
use tokio::sync::mpsc::error::TrySendError;

impl Owner {
    /// Obeys until the dispatcher wants nothing more.
    pub(super) async fn obey(&mut self) {
        while !self.outputs.is_empty() {
            for output in std::mem::take(&mut self.outputs) {
                self.obey_one(output).await;
            }
        }
    }

    async fn obey_one(&mut self, output: Output) {
        match output {
            Output::Deliver { consumer, offset, token, .. } => self.deliver(consumer, offset, token),
            Output::Fetch { from, records_max, bytes_max } => self.fetch(from, records_max, bytes_max),
            Output::CursorMoved(to) => {
                self.payloads.remove_below(to);
                while self.in_flight.first_key_value().is_some_and(|(&offset, _)| offset < to) {
                    self.in_flight.pop_first();
                }
            }
            Output::Persist => self.persist().await,
            Output::DeadLetter { offset, attempts, cause, reason } => {
                let letter = DeadLetter { offset, attempts, cause, reason };
                self.write_dead_letter(letter);
            }
            Output::Skipped { offset } => self.payloads.remove(offset),
            Output::Dropped { offset, attempts, cause } => {
                self.payloads.remove(offset);
                self.warn(offset, format_args!("dropped after {attempts} deliveries ({cause:?})"));
            }
            Output::Lost { offset } => {
                self.payloads.remove(offset);
                self.warn(offset, format_args!("lost: the log gave it up before it was processed"));
            }
            Output::Blocked { offset, attempts, cause } => {
                self.warn(offset, format_args!("blocked after {attempts} deliveries ({cause:?})"));
            }
            // No consumer holds more than one message of a key.
            Output::Revoke { .. } | Output::Drained { .. } => {}
            Output::FloodBrake { consumer, engaged } => {
                tracing::warn!(subscription = %self.id.name, ?consumer, engaged, "flood brake: messages are retried, not moved away");
            }
            Output::Park { .. } | Output::Unpark { .. } | Output::Unparked { .. } | Output::Reread { .. } => {
                unreachable!("no policy parks, and nothing spills yet")
            }
            Output::Replaced { consumer } => self.end_stream(consumer, StreamEnd::TakenOver),
            Output::Refused { consumer, refusal } => self.end_stream(consumer, StreamEnd::Refused(refusal)),
        }
    }

    fn deliver(&mut self, stream: ConsumerId, offset: Offset, token: Token) {
        if let Some(unanswered) = self.in_flight.remove(&offset) {
            // It timed out or was lost with its stream; a stream that is still there has too much in its queue.
            self.move_window(unanswered.stream, self.policy.failure.ack_timeout_ms);
        }
        let Some(stored) = self.stored(offset, token) else { return };
        let Some(outlet) = self.outlets.get(&stream) else { return };
        let topic = &self.partition.id.topic;
        let producer = message::producer_name(&stored.record).and_then(|name| std::str::from_utf8(name).ok());
        let delivery = Delivery {
            token: token.raw(),
            topic_name: &outlet.consumer.topic_name,
            subscription_name: &self.id.name,
            broker_addr: &outlet.broker_addr,
            producer_id: producer.map_or(0, |name| producer_id(topic, name)),
            offset,
        };
        match outlet.items.try_send(Ok(message::of_record(&stored.record, stored.timestamp, delivery))) {
            Ok(()) => {
                let since = self.now();
                self.in_flight.insert(offset, InFlight { stream, token, since });
            }
            Err(TrySendError::Full(_)) => {
                tracing::warn!(
                    subscription = %self.id.name, consumer = %outlet.consumer.name,
                    "a consumer takes no messages from its stream; closing it"
                );
                self.close(stream);
            }
            // The stream was dropped, and the command that says so is on its way.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// The record to deliver, from memory or from the log.
    fn stored(&mut self, offset: Offset, token: Token) -> Option<Stored> {
        if let Some(stored) = self.payloads.at(offset) {
            return Some(stored.clone());
        }
        match fetch::read_one(&*self.partition.log, offset) {
            Ok(Some(stored)) => return Some(stored),
            Ok(None) => {
                self.warn(offset, format_args!("gone from the log before it was processed"));
                self.step(Input::Ack { offset, token: Some(token) });
            }
            Err(keyway_log::ReadError::Deleted) => self.deleted = true,
            Err(keyway_log::ReadError::OutOfRange { start, .. }) if start > offset => {
                self.step(Input::LogStart { to: start });
                self.step(Input::Nack { offset, token: Some(token), delay_ms: None, reason: None });
            }
            // Its lease runs out and it is tried again, until the policy ends that.
            Err(error) => self.warn(offset, format_args!("cannot be read: {error}")),
        }
        None
    }

    /// Writes the dispatcher's state; a crash before it is durable repeats deliveries and loses none.
    pub(super) async fn persist(&mut self) {
        if !self.reliable {
            return;
        }
        let snapshot = self.dispatcher.snapshot();
        let stored = StoredSubscription { mode: self.mode, snapshot: snapshot.encode().into() };
        let entry = (Key::Subscription(self.id.clone()).encode(), Some(stored.encode()));
        match self.node.subscriptions.records.put_staged(vec![entry]).await {
            Ok(ticket) => (self.stored_cursor, self.stored_at) = (snapshot.cursor, Some(ticket)),
            Err(error) => {
                tracing::error!(subscription = %self.id.name, %error, "cannot store the subscription's position");
            }
        }
    }

    fn write_dead_letter(&mut self, letter: DeadLetter) {
        let offset = letter.offset;
        let Some(subscription) = self.subscription.upgrade() else { return };
        let stored = match self.payloads.at(offset) {
            Some(stored) => Ok(Some(stored.clone())),
            None => fetch::read_one(&*self.partition.log, offset),
        };
        match stored {
            Ok(Some(stored)) => {
                let write = dead_letter::write(
                    self.node.clone(),
                    self.partition.clone(),
                    subscription,
                    letter,
                    stored,
                );
                self.node.tasks.spawn(write);
            }
            Ok(None) => self.step(Input::SideDone { offset, ok: true }),
            Err(error) => {
                self.warn(offset, format_args!("cannot be read for its dead letter: {error}"));
                self.step(Input::SideDone { offset, ok: false });
            }
        }
    }

    /// Where used-up messages go.
    pub(super) fn dead_letter_topic(&self) -> TopicName {
        let own = self.policy.dead_letter_topic.clone();
        own.unwrap_or_else(|| dead_letter::topic_name(&self.partition.id.topic, &self.id.name))
    }

    fn warn(&self, offset: Offset, what: std::fmt::Arguments<'_>) {
        let partition = &self.partition.id;
        tracing::warn!(%partition, subscription = %self.id.name, %offset, "message {what}");
    }
}
