//! Who consumes: subscribing, streams that open and end, and how much each consumer may hold.

use super::{
    handle::{Consumer, Item, StreamEnd, SubscribeError, SubscribeRequest, Subscribed},
    latency::Latency,
    members::Reservation,
    owner::{Outlet, Owner},
    record::{Key, StoredConsumer},
    window::Window,
};
use bytes::Bytes;
use keyway_dispatch::{Config, ConsumerId, Input, Join, Mode};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What an outlet must hold: a full window, and as much again for messages delivered once more after their lease ended.
pub(crate) const OUTLET_ITEMS: usize = 2 * Config::CREDIT_DEFAULT as usize + 1;

impl Owner {
    pub(super) async fn subscribe(
        &mut self,
        request: SubscribeRequest,
    ) -> Result<Subscribed, SubscribeError> {
        let now_ms = self.node.world.clock.now().0;
        let SubscribeRequest { consumer_id, consumer_name, topic_name, filters } = request;
        if self.mode == Mode::Exclusive
            && let Some(holder) = self.members.holder_besides(&consumer_name, now_ms)
        {
            return Err(SubscribeError::Exclusive { holder: holder.name.clone() });
        }
        let reserved = self.members.reservation(&consumer_name, now_ms);
        let known = self.members.named(&consumer_name).cloned();
        let known = known.filter(|known| known.topic_name == topic_name && known.filters == filters);
        if let Some(consumer) = known {
            consumer.heard(now_ms);
            self.members.register(consumer.clone())?;
            if reserved == Reservation::None {
                self.declare(&consumer);
            }
            // Its record may still be on its way, if the first answer was not waited for.
            return Ok(Subscribed { consumer, ticket: self.registered });
        }
        let consumer = Arc::new(Consumer::new(consumer_id, consumer_name, topic_name, filters, now_ms));
        let evicted = self.members.register(consumer.clone())?;
        match reserved {
            Reservation::Stream => self.set_filters(&consumer),
            Reservation::Grace | Reservation::None => self.declare(&consumer),
        }
        self.store_consumer(&consumer, evicted).await?;
        Ok(Subscribed { consumer, ticket: self.registered })
    }

    /// A consumer that has not opened its stream yet gets nothing, but what it wants is not skipped either: the order in
    /// which workers start must lose no message.
    fn declare(&mut self, consumer: &Consumer) {
        if self.mode != Mode::KeyShared {
            return;
        }
        let stream = self.node.subscriptions.next_stream();
        let filters = consumer.filters.clone();
        let join = join(stream, consumer, filters, 0);
        self.step(Input::Join(join));
        self.step(Input::Leave { consumer: stream, deadline: None });
    }

    /// A connected consumer that subscribes again may want other keys now.
    fn set_filters(&mut self, consumer: &Arc<Consumer>) {
        let open = self.outlets.iter_mut().find(|(_, outlet)| {
            // One that names the topic in another way is another client, and will take over.
            outlet.consumer.name == consumer.name && outlet.consumer.topic_name == consumer.topic_name
        });
        if let Some((&stream, outlet)) = open {
            outlet.consumer = consumer.clone();
            if self.mode == Mode::KeyShared {
                self.step(Input::SetFilters { consumer: stream, filters: consumer.filters.clone() });
            }
        }
    }

    async fn store_consumer(
        &mut self,
        consumer: &Consumer,
        evicted: Option<Arc<Consumer>>,
    ) -> Result<(), SubscribeError> {
        let key = |name: &str| Key::Consumer(self.id.clone(), name.to_owned()).encode();
        let stored =
            StoredConsumer { topic_name: consumer.topic_name.clone(), filters: consumer.filters.clone() };
        let mut entries = vec![(key(&consumer.name), Some(stored.encode()))];
        if let Some(evicted) = evicted {
            self.node.subscriptions.forget(evicted.id);
            entries.push((key(&evicted.name), None));
        }
        if self.reliable {
            let staged = self.node.subscriptions.records.put_staged(entries).await;
            self.registered = Some(staged.map_err(super::store_error)?);
        }
        Ok(())
    }

    pub(super) fn open(
        &mut self,
        consumer: Arc<Consumer>,
        stream: ConsumerId,
        items: mpsc::Sender<Item>,
        broker_addr: String,
    ) {
        if let Err(error) = self.members.register(consumer.clone()) {
            tracing::warn!(subscription = %self.id.name, consumer = %consumer.name, %error, "stream refused");
            return;
        }
        if let Some(old) = self.members.opened(&consumer.name, stream) {
            self.end_stream(old, StreamEnd::TakenOver);
        }
        let mut window = Window::new(self.policy.failure.ack_timeout_ms);
        window.set_limit(self.window_limit(self.outlets.len() + 1));
        let filters = if self.mode == Mode::KeyShared { consumer.filters.clone() } else { Vec::new() };
        let join = join(stream, &consumer, filters, window.credit());
        let latency = Latency::new();
        self.outlets.insert(stream, Outlet { consumer, items, broker_addr, window, latency });
        self.idle_since = None;
        self.step(Input::Join(join));
        self.share_unacked();
    }

    /// How many messages each of so many consumers may hold.
    fn window_limit(&self, consumers: usize) -> u32 {
        // The standby of an ordered subscription holds nothing.
        let sharing = if matches!(self.mode, Mode::Shared | Mode::KeyShared) { consumers as u32 } else { 1 };
        // Without consumers nobody holds anything.
        self.policy.unacked_max.map_or(Config::CREDIT_DEFAULT, |max| max / sharing.max(1))
    }

    /// The consumers' windows after a change of their number or of the policy.
    pub(super) fn share_unacked(&mut self) {
        let limit = self.window_limit(self.outlets.len());
        let windows = self.outlets.iter_mut().map(|(&stream, outlet)| (stream, &mut outlet.window));
        let changed: Vec<_> =
            windows.filter_map(|(stream, window)| Some((stream, window.set_limit(limit)?))).collect();
        for (consumer, credit) in changed {
            self.step(Input::SetCredit { consumer, credit });
        }
    }

    /// The stream is lost, and what it carried with it.
    pub(super) fn close(&mut self, stream: ConsumerId) {
        if self.forget_outlet(stream).is_some() {
            self.step(Input::Gone { consumer: stream });
            self.share_unacked();
        }
    }

    /// Ends a stream that the dispatcher has given up already.
    pub(super) fn end_stream(&mut self, stream: ConsumerId, end: StreamEnd) {
        if let Some(outlet) = self.forget_outlet(stream) {
            // A full outlet ends without a word, which clients take as a lost connection.
            _ = outlet.items.try_send(Err(end));
        }
    }

    fn forget_outlet(&mut self, stream: ConsumerId) -> Option<Outlet> {
        let outlet = self.outlets.remove(&stream)?;
        let now_ms = self.node.world.clock.now().0;
        self.members.closed(&outlet.consumer.name, stream, now_ms);
        if self.outlets.is_empty() {
            self.idle_since = Some(self.now());
        }
        Some(outlet)
    }
}

/// Danube's clients know no revoke, so each holds one message of a key.
fn join(stream: ConsumerId, consumer: &Consumer, filters: Vec<Bytes>, credit: u32) -> Join {
    Join { consumer: stream, name_hash: consumer.name_hash(), filters, credit, in_flight_per_key: 1 }
}
