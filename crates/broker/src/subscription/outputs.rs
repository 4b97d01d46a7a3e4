//! Doing what the dispatcher says.

use super::{
    fetch,
    handle::StreamEnd,
    owner::{InFlight, LastStored, Owner},
    parked,
    payloads::Stored,
    record::{Key, StoredSubscription},
    side_message::{self, Fate, Origin, SideMessage},
    side_topic,
    side_writes::SideWritten,
};
use crate::danube::ids::producer_id;
use keyway_danube_wire::message::{self, Delivery};
use keyway_dispatch::{ConsumerId, Input, Output, Token};
use keyway_record::{Offset, TopicName};
use tokio::sync::mpsc::error::TrySendError;

/// What is read at a time of records that were let go from memory.
const REREAD_RECORDS: usize = 64;
const REREAD_BYTES: usize = 64 * 1024;

impl Owner {
    /// Obeys until the dispatcher wants nothing more.
    pub(super) async fn obey(&mut self) {
        while !self.outputs.is_empty() {
            for output in std::mem::take(&mut self.outputs) {
                self.obey_one(output).await;
            }
            self.step_all();
        }
    }

    async fn obey_one(&mut self, output: Output) {
        match output {
            Output::Deliver { consumer, offset, token, .. } => self.deliver(consumer, offset, token),
            Output::Fetch { from, records_max, bytes_max } => self.fetch(from, records_max, bytes_max),
            Output::CursorMoved(to) => {
                self.payloads.remove_below(to);
                while let Some(first) = self.in_flight.first_entry()
                    && *first.key() < to
                    && self.parked.at(*first.key()).is_none()
                {
                    first.remove();
                }
            }
            Output::Persist => self.persist().await,
            Output::DeadLetter { offset, attempts, cause, reason } => {
                self.set_aside(SideMessage { fate: Fate::DeadLetter, offset, attempts, cause, reason });
            }
            Output::Park { offset, attempts, cause, reason } => {
                self.set_aside(SideMessage { fate: Fate::Parked, offset, attempts, cause, reason });
            }
            Output::Unpark { key } => self.unpark(key),
            Output::Unparked { offset } => self.unparked(offset).await,
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
            Output::Reread { key, from, to, records_max } => self.reread(key, from, to, records_max),
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
        let kept = self.payloads.at(offset).or_else(|| self.parked.at(offset));
        if let Some(stored) = kept {
            return Some(stored.clone());
        }
        match self.read_around(offset) {
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

    /// Reads a record again, and with it some that will be asked for next: a batch is decoded from its beginning, so one
    /// by one would cost its whole length each time.
    fn read_around(&mut self, offset: Offset) -> Result<Option<Stored>, keyway_log::ReadError> {
        let known = |reread: &[(Offset, Stored)]| {
            let at = reread.binary_search_by_key(&offset, |&(offset, _)| offset).ok()?;
            Some(reread[at].1.clone())
        };
        if let Some(stored) = known(&self.reread) {
            return Ok(Some(stored));
        }
        let fetched = fetch::read(&*self.partition.log, offset, REREAD_RECORDS, REREAD_BYTES)?;
        let offsets = fetched.arrivals.iter().map(|arrival| arrival.offset);
        self.reread = offsets.zip(fetched.payloads).collect();
        Ok(known(&self.reread))
    }

    /// Writes the dispatcher's state; a crash before it is durable repeats deliveries and loses none.
    pub(super) async fn persist(&mut self) {
        if !self.reliable {
            return;
        }
        let snapshot = self.dispatcher.snapshot();
        let stored = StoredSubscription { mode: self.mode, snapshot: snapshot.encode().into() }.encode();
        let bytes = stored.len();
        let Self { parked, node, partition, id, .. } = self;
        let mut entries = parked.follow(&snapshot.parked, id, || parked::end(node, &partition.id.topic, id));
        entries.push((Key::Subscription(self.id.clone()).encode(), Some(stored)));
        match self.node.subscriptions.records.put_staged(entries).await {
            Ok(ticket) => {
                let (cursor, ticket) = (snapshot.cursor, Some(ticket));
                self.stored = LastStored { cursor, bytes, ticket, failing_since: None };
            }
            Err(error) => {
                let now = self.now();
                self.stored.failing_since.get_or_insert(now);
                tracing::error!(subscription = %self.id.name, %error, "cannot store the subscription's position");
            }
        }
    }

    fn set_aside(&mut self, message: SideMessage) {
        self.side_writes.push(message);
        self.begin_side_writes();
    }

    fn begin_side_writes(&mut self) {
        while let Some(message) = self.side_writes.next_to_write() {
            let offset = message.offset;
            let stored = match self.payloads.at(offset) {
                Some(stored) => Ok(Some(stored.clone())),
                None => fetch::read_one(&*self.partition.log, offset),
            };
            match stored {
                Ok(Some(stored)) => self.side_writes.begin(self.side_write(message, stored)),
                // The log gave it up while it waited.
                Ok(None) => self.step(Input::SideDone { offset, ok: true }),
                Err(error) => {
                    self.warn(offset, format_args!("cannot be read to be set aside: {error}"));
                    self.step(Input::SideDone { offset, ok: false });
                }
            }
        }
    }

    fn side_write(
        &self,
        message: SideMessage,
        stored: Stored,
    ) -> impl Future<Output = SideWritten> + Send + 'static {
        let (node, origin) = (self.node.clone(), self.origin());
        // That a key is parked must be known before a message of it lies elsewhere.
        let (topic, after) = match message.fate {
            Fate::DeadLetter => (self.dead_letter_topic(), None),
            Fate::Parked => (self.parked_topic(), self.stored.ticket),
        };
        async move {
            let write = async {
                if let Some(ticket) = after {
                    node.subscriptions.records.wait(ticket).await?;
                }
                side_message::write(&node, &topic, &origin, &message, &stored).await
            };
            SideWritten { offset: message.offset, outcome: write.await }
        }
    }

    /// A write beside the topic ended; one that failed is asked for again.
    pub(super) fn written(&mut self, written: SideWritten) {
        let SideWritten { offset, outcome } = written;
        let error = outcome.as_ref().err().map(ToString::to_string);
        if error != self.dead_letter_error {
            match &error {
                Some(error) => self.warn(offset, format_args!("cannot be set aside: {error}; trying again")),
                None => self.warn(offset, format_args!("was set aside, as others can be again")),
            }
            self.dead_letter_error = error;
        }
        self.step(Input::SideDone { offset, ok: outcome.is_ok() });
        self.begin_side_writes();
    }

    /// Waits for what is under way: a write whose end nobody heard of would be repeated after the next start.
    pub(super) async fn finish_side_writes(&mut self) {
        self.side_writes.forget_waiting();
        while !self.side_writes.is_idle() {
            let written = self.side_writes.written().await;
            self.written(written);
            self.side_writes.forget_waiting();
            self.outputs.clear();
        }
    }

    fn origin(&self) -> Origin {
        let outlet = self.outlets.values().next();
        Origin {
            partition: self.partition.clone(),
            subscription: self.id.name.clone(),
            broker_addr: outlet.map_or_else(
                || format!("http://{}", self.node.config.grpc),
                |outlet| outlet.broker_addr.clone(),
            ),
        }
    }

    /// Where used-up messages go.
    pub(super) fn dead_letter_topic(&self) -> TopicName {
        let own = self.policy.dead_letter_topic.clone();
        own.unwrap_or_else(|| side_topic::name(&self.partition.id.topic, &self.id.name, "dlq"))
    }

    fn warn(&self, offset: Offset, what: std::fmt::Arguments<'_>) {
        let partition = &self.partition.id;
        tracing::warn!(%partition, subscription = %self.id.name, %offset, "message {what}");
    }
}
