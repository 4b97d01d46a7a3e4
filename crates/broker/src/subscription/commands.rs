//! What the owner is told, and what it does about it.

use super::{
    handle::Command,
    owner::{InFlight, Owner},
    policy::SubscriptionPolicy,
};
use keyway_dispatch::{ConsumerId, Input, Reason, Token};
use keyway_record::{KeyHash, Offset};

impl Owner {
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Ack { offset, token } => self.ack(offset, token),
            Command::Nack { offset, token, delay_ms, reason } => self.nack(offset, token, delay_ms, reason),
            other => {
                self.step_all();
                self.command_now(other).await;
            }
        }
    }

    /// Anything but an answer.
    async fn command_now(&mut self, command: Command) {
        match command {
            Command::Ack { .. } | Command::Nack { .. } => unreachable!("answers are taken together"),
            Command::Open { consumer, stream, outlet, broker_addr } => {
                self.open(consumer, stream, outlet, broker_addr);
            }
            Command::Close { stream } => self.close(stream),
            Command::SetPolicy { policy } => self.set_policy(*policy),
            Command::Describe { reply } => _ = reply.send(self.describe()),
            Command::Keys { order, limit, reply } => _ = reply.send(self.keys(order, limit)),
            Command::Key { key, reply } => _ = reply.send(self.key(&key)),
            Command::Release { key, reply } => _ = reply.send(self.release(key.as_deref())),
            Command::Seek { to, reply } => {
                self.seek(to);
                // What this writes is what the caller waits for.
                self.obey().await;
                _ = reply.send(self.stored.ticket);
            }
            Command::Delete { reply } => {
                self.deleted = true;
                self.delete_replies.push(reply);
            }
            Command::Subscribe { request, reply } => {
                let answer = self.subscribe(request).await;
                // Whoever asked may have gone; the consumer is registered all the same.
                _ = reply.send(answer);
            }
        }
    }

    pub(super) fn ack(&mut self, offset: Offset, token: Option<Token>) {
        if self.answered(offset, token) {
            self.payloads.remove(offset);
        }
        self.inputs.push(Input::Ack { offset, token });
    }

    pub(super) fn nack(
        &mut self,
        offset: Offset,
        token: Option<Token>,
        delay_ms: Option<u64>,
        reason: Option<String>,
    ) {
        self.answered(offset, token);
        self.inputs.push(Input::Nack { offset, token, delay_ms, reason });
    }

    /// Another policy from now on: for what is in flight, what is blocked, and how much the consumers may hold.
    fn set_policy(&mut self, policy: SubscriptionPolicy) {
        for outlet in self.outlets.values_mut() {
            outlet.window.set_ack_timeout(policy.failure.ack_timeout_ms);
        }
        let failure = policy.failure.clone();
        self.policy = policy;
        self.step(Input::SetPolicy(failure));
        self.share_unacked();
    }

    /// Forgets what is in flight and in memory and goes on at `to`.
    fn seek(&mut self, to: Offset) {
        self.in_flight.clear();
        self.payloads.clear();
        self.side_writes.forget_waiting();
        self.parked.seek();
        self.step(Input::Seek { to });
    }

    /// Lets the blocked messages of a key, or of all keys, be tried again; returns how many there were.
    fn release(&mut self, key: Option<&[u8]>) -> u64 {
        let Some(key) = key else {
            let before = self.waiting_for_people();
            self.step(Input::ReleaseAll);
            return before;
        };
        let key = KeyHash::of(key);
        let blocked = self.dispatcher.key(key).is_some_and(|view| view.blocked == Some(Reason::Poison));
        let waits = blocked || self.parked.contains(key);
        self.step(Input::Release { key });
        u64::from(waits)
    }

    fn waiting_for_people(&self) -> u64 {
        let stats = self.dispatcher.stats();
        stats.blocked.by(Reason::Poison) + stats.parked_keys
    }

    /// The answer to a delivery, unless it is stale, moves its consumer's window.
    fn answered(&mut self, offset: Offset, token: Option<Token>) -> bool {
        let current = self.in_flight.get(&offset);
        if current.is_none_or(|in_flight| token.is_some_and(|token| token != in_flight.token)) {
            return false;
        }
        let InFlight { stream, since, .. } = self.in_flight.remove(&offset).expect("found above");
        let held_ms = self.now().0.saturating_sub(since.0);
        if let Some(outlet) = self.outlets.get_mut(&stream) {
            outlet.latency.record(held_ms);
        }
        self.move_window(stream, held_ms);
        true
    }

    pub(super) fn move_window(&mut self, stream: ConsumerId, held_ms: u64) {
        let Some(outlet) = self.outlets.get_mut(&stream) else { return };
        if let Some(credit) = outlet.window.answered(held_ms) {
            self.inputs.push(Input::SetCredit { consumer: stream, credit });
        }
    }
}
