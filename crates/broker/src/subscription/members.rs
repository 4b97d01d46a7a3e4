//! The consumers that a subscription knows by name, and which of them are present.

use super::handle::{Consumer, SubscribeError};
use keyway_dispatch::ConsumerId;
use std::{collections::BTreeMap, sync::Arc};

/// Most consumers that a subscription remembers; whoever is gone longest makes room.
const MEMBERS_MAX: usize = 10_000;

/// How long a consumer that lost its stream keeps an exclusive subscription: clients reconnect within this time.
const RECONNECT_MS: u64 = 3_000;

/// How long a consumer that has not opened its stream yet counts as alive after its last heartbeat; clients send one
/// every 5 s.
const HEARTBEAT_MS: u64 = 12_000;

/// All consumers of a subscription.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: BTreeMap<String, Member>,
}

#[derive(Debug)]
struct Member {
    consumer: Arc<Consumer>,
    presence: Presence,
}

/// What is kept for a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reservation {
    /// Its keys: it has a stream.
    Stream,
    /// Its keys, for a moment: it lost its stream just now.
    Grace,
    /// Nothing.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    /// Registered, no stream yet.
    Waiting,
    Open(ConsumerId),
    Gone {
        since_ms: u64,
    },
}

impl Members {
    /// A consumer of a former life of the broker, which may be about to reconnect.
    pub(super) fn restore(&mut self, consumer: Arc<Consumer>, now_ms: u64) {
        let member = Member { consumer, presence: Presence::Gone { since_ms: now_ms } };
        assert!(self.by_name.insert(member.consumer.name.clone(), member).is_none(), "names are unique");
    }

    /// Takes a consumer in under its name; one of that name is replaced and keeps its stream. Returns who had to make
    /// room.
    pub(super) fn register(
        &mut self,
        consumer: Arc<Consumer>,
    ) -> Result<Option<Arc<Consumer>>, SubscribeError> {
        if let Some(member) = self.by_name.get_mut(&consumer.name) {
            if !matches!(member.presence, Presence::Open(_)) {
                member.presence = Presence::Waiting;
            }
            member.consumer = consumer;
            return Ok(None);
        }
        let evicted = if self.by_name.len() < MEMBERS_MAX { None } else { Some(self.evict()?) };
        let name = consumer.name.clone();
        self.by_name.insert(name, Member { consumer, presence: Presence::Waiting });
        Ok(evicted)
    }

    /// Another consumer that holds an exclusive subscription now.
    pub(super) fn holder_besides(&self, name: &str, now_ms: u64) -> Option<&Consumer> {
        let others = self.by_name.values().filter(|member| member.consumer.name != name);
        others.filter(|member| member.is_present(now_ms)).map(|member| &*member.consumer).next()
    }

    /// What the dispatcher keeps for the consumer of this name.
    pub(super) fn reservation(&self, name: &str, now_ms: u64) -> Reservation {
        match self.by_name.get(name) {
            Some(Member { presence: Presence::Open(_), .. }) => Reservation::Stream,
            Some(member @ Member { presence: Presence::Gone { .. }, .. }) if member.is_present(now_ms) => {
                Reservation::Grace
            }
            _ => Reservation::None,
        }
    }

    /// The consumer's stream is open; returns the one it had.
    pub(super) fn opened(&mut self, name: &str, stream: ConsumerId) -> Option<ConsumerId> {
        let member = self.by_name.get_mut(name)?;
        match std::mem::replace(&mut member.presence, Presence::Open(stream)) {
            Presence::Open(old) => Some(old),
            Presence::Waiting | Presence::Gone { .. } => None,
        }
    }

    /// This stream of the consumer is gone; a newer one stays.
    pub(super) fn closed(&mut self, name: &str, stream: ConsumerId, now_ms: u64) {
        if let Some(member) = self.by_name.get_mut(name)
            && member.presence == Presence::Open(stream)
        {
            member.presence = Presence::Gone { since_ms: now_ms };
        }
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.by_name.get(name).map(|member| &member.consumer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Consumer>> {
        self.by_name.values().map(|member| &member.consumer)
    }

    fn evict(&mut self) -> Result<Arc<Consumer>, SubscribeError> {
        let gone = self.by_name.iter().filter_map(|(name, member)| match member.presence {
            Presence::Gone { since_ms } => Some((since_ms, name)),
            Presence::Waiting | Presence::Open(_) => None,
        });
        let longest = gone.min().map(|(_, name)| name.clone());
        let name = longest.ok_or(SubscribeError::TooManyConsumers { max: MEMBERS_MAX })?;
        Ok(self.by_name.remove(&name).expect("found a line above").consumer)
    }
}

impl Member {
    fn is_present(&self, now_ms: u64) -> bool {
        match self.presence {
            Presence::Open(_) => true,
            Presence::Waiting => now_ms.saturating_sub(self.consumer.heard_at()) < HEARTBEAT_MS,
            Presence::Gone { since_ms } => now_ms.saturating_sub(since_ms) < RECONNECT_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(name: &str, now_ms: u64) -> Arc<Consumer> {
        Arc::new(Consumer::new(1, name.to_owned(), "/default/t".to_owned(), vec![], now_ms))
    }

    fn holder(members: &Members, name: &str, now_ms: u64) -> Option<String> {
        members.holder_besides(name, now_ms).map(|consumer| consumer.name.clone())
    }

    #[test]
    fn a_subscription_is_held_while_its_consumer_shows_signs_of_life() {
        let mut members = Members::default();
        members.register(consumer("a", 1_000)).unwrap();
        assert_eq!(holder(&members, "b", 2_000).as_deref(), Some("a"));
        assert_eq!(holder(&members, "a", 2_000), None);
        assert_eq!(holder(&members, "b", 1_000 + HEARTBEAT_MS), None, "never opened, never heard of again");
        members.named("a").unwrap().heard(20_000);
        assert_eq!(holder(&members, "b", 21_000).as_deref(), Some("a"));

        assert_eq!(members.opened("a", ConsumerId(7)), None);
        assert_eq!(holder(&members, "b", 1_000_000).as_deref(), Some("a"));
        assert_eq!(members.opened("a", ConsumerId(8)), Some(ConsumerId(7)));
        members.closed("a", ConsumerId(7), 1_000_000);
        assert_eq!(
            holder(&members, "b", 2_000_000).as_deref(),
            Some("a"),
            "the old stream's end changes nothing"
        );
        members.closed("a", ConsumerId(8), 2_000_000);
        assert_eq!(holder(&members, "b", 2_001_000).as_deref(), Some("a"), "it may come back");
        assert_eq!(holder(&members, "b", 2_000_000 + RECONNECT_MS), None);
    }

    #[test]
    fn who_is_gone_longest_makes_room_and_nobody_else() {
        let mut members = Members::default();
        for index in 0..MEMBERS_MAX {
            members.register(consumer(&format!("c{index}"), 1)).unwrap();
        }
        assert!(matches!(members.register(consumer("new", 1)), Err(SubscribeError::TooManyConsumers { .. })));
        for (index, now_ms) in [(3, 50), (2, 40)] {
            members.opened(&format!("c{index}"), ConsumerId(index));
            members.closed(&format!("c{index}"), ConsumerId(index), now_ms);
        }
        assert_eq!(members.register(consumer("new", 1)).unwrap().unwrap().name, "c2");
    }
}
