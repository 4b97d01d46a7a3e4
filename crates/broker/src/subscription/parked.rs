//! Parked keys, on the owner's side: where their messages lie, and how they come back.
//!
//! A parked message is a record of the topic `<topic>.<subscription>.parked`, in its first partition, in the order of its
//! key; its headers say where it came from. What is stored of a parked key says where the search for its messages begins
//! and which of them were done since; it is written and removed together with the snapshot that says the same, so that
//! neither exists without the other.

use super::{
    SubscriptionId,
    fetch::{self, Fetched},
    owner::{Owner, READ_RETRY_MS},
    payloads::Stored,
    record::{Key, StoredParked},
    side_message, side_topic,
};
use crate::node::Node;
use bytes::Bytes;
use keyway_dispatch::{Arrival, Input};
use keyway_log::ReadError;
use keyway_record::{KeyHash, Offset, TopicName};
use keyway_runtime::BoxFuture;
use std::collections::{BTreeMap, VecDeque};

/// Messages of a key that come back at a time, and the bytes after which there are enough.
const PART_MESSAGES: usize = 64;
const PART_BYTES: usize = 256 * 1024;

/// Messages that are back at a time, of all keys, before another key's are looked for.
const BACK_MAX: usize = 1_024;

/// What is read of the parked messages' topic in one turn.
const READ_RECORDS: usize = 1_024;
const READ_BYTES: usize = 1024 * 1024;

/// One subscription's parked keys.
#[derive(Default)]
pub(super) struct Parked {
    keys: BTreeMap<KeyHash, StoredParked>,
    /// Released keys whose messages the dispatcher waits for.
    asked: VecDeque<KeyHash>,
    pub(super) search: Option<Search>,
    /// Messages that were found and are not done, by their original offsets.
    back: BTreeMap<Offset, (KeyHash, Stored)>,
}

/// The outstanding search, which takes its turn among the owner's other work.
pub(super) struct Search {
    key: KeyHash,
    /// Where to read on.
    at: Offset,
    /// The place of the first message that was found.
    first: Option<Offset>,
    found: Vec<(Arrival, Stored)>,
    bytes: usize,
    ready: BoxFuture<'static, ()>,
}

impl Parked {
    /// What a former owner stored.
    pub(super) fn restore(keys: impl IntoIterator<Item = (KeyHash, StoredParked)>) -> Self {
        Self { keys: keys.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn contains(&self, key: KeyHash) -> bool {
        self.keys.contains_key(&key)
    }

    /// The parked message of this original offset, if it is back.
    pub(super) fn at(&self, offset: Offset) -> Option<&Stored> {
        self.back.get(&offset).map(|(_, stored)| stored)
    }

    /// The keys of everything that is stored.
    pub(super) fn stored_keys(&self, id: &SubscriptionId) -> impl Iterator<Item = Key> {
        self.keys.keys().map(|&key| Key::Parked(id.clone(), key))
    }

    /// Follows a snapshot's parked keys, each with whether it was released: what is to be stored or removed with it.
    /// Messages of keys that are parked now come after `end` of their topic.
    pub(super) fn follow(
        &mut self,
        parked: &[(KeyHash, bool)],
        id: &SubscriptionId,
        end: impl FnOnce() -> Offset,
    ) -> Vec<(Bytes, Option<Bytes>)> {
        let mut entries = Vec::new();
        let stored_key = |key| Key::Parked(id.clone(), key).encode();
        let released = |key: &KeyHash| {
            parked.binary_search_by_key(key, |&(key, _)| key).ok().is_some_and(|at| parked[at].1)
        };
        self.back.retain(|_, (key, _)| released(key));
        self.keys.retain(|&key, _| {
            let stays = parked.binary_search_by_key(&key, |&(key, _)| key).is_ok();
            if !stays {
                entries.push((stored_key(key), None));
            }
            stays
        });
        if self.keys.len() < parked.len() {
            let first = end();
            for &(key, _) in parked {
                self.keys.entry(key).or_insert_with(|| {
                    let new = StoredParked { first, done: Offset(-1) };
                    entries.push((stored_key(key), Some(new.encode())));
                    new
                });
            }
        }
        entries
    }

    /// A seek forgets what was asked for; what is stored goes with the next snapshot.
    pub(super) fn seek(&mut self) {
        self.asked.clear();
        self.search = None;
        self.back.clear();
    }
}

/// Where the parked messages of a subscription of `of` go.
fn topic(of: &TopicName, id: &SubscriptionId) -> TopicName {
    side_topic::name(of, &id.name, "parked")
}

/// The end of that topic.
pub(super) fn end(node: &Node, of: &TopicName, id: &SubscriptionId) -> Offset {
    let topic = node.topics.named(topic(of, id).as_str());
    topic.map_or(Offset::ZERO, |topic| topic.partitions[0].log.bounds().end)
}

impl Owner {
    /// Where parked messages go.
    pub(super) fn parked_topic(&self) -> TopicName {
        topic(&self.partition.id.topic, &self.id)
    }

    /// The dispatcher waits for the oldest parked messages of a key.
    pub(super) fn unpark(&mut self, key: KeyHash) {
        self.parked.asked.push_back(key);
        self.begin_search();
    }

    /// A parked message was done.
    pub(super) async fn unparked(&mut self, offset: Offset) {
        let Some((key, _)) = self.parked.back.remove(&offset) else { return };
        if let Some(stored) = self.parked.keys.get_mut(&key) {
            stored.done = offset;
            let entry = (Key::Parked(self.id.clone(), key).encode(), Some(stored.encode()));
            if let Err(error) = self.node.subscriptions.records.put_staged(vec![entry]).await {
                tracing::error!(subscription = %self.id.name, %error, "cannot store what was done of a parked key");
            }
        }
        self.begin_search();
    }

    fn begin_search(&mut self) {
        if self.parked.search.is_some() || self.parked.back.len() >= BACK_MAX {
            return;
        }
        let Some(key) = self.parked.asked.pop_front() else { return };
        let at = self.parked.keys.get(&key).map_or(Offset::ZERO, |stored| stored.first);
        let ready = Box::pin(std::future::ready(()));
        self.parked.search = Some(Search { key, at, first: None, found: Vec::new(), bytes: 0, ready });
    }

    /// Reads one piece of the parked messages' topic.
    pub(super) fn search_parked(&mut self) {
        let mut search = self.parked.search.take().expect("a search was waited for");
        let Some(topic) = self.node.topics.named(self.parked_topic().as_str()) else {
            return self.give_back(search);
        };
        let log = &topic.partitions[0].log;
        match fetch::read(&**log, search.at, READ_RECORDS, READ_BYTES) {
            Ok(fetched) if fetched.end > search.at => {
                self.pick(&mut search, fetched);
                let enough = search.found.len() >= PART_MESSAGES || search.bytes >= PART_BYTES;
                if enough || search.at >= log.bounds().high_watermark {
                    return self.give_back(search);
                }
                search.ready = Box::pin(std::future::ready(()));
            }
            Ok(_) | Err(ReadError::Deleted) => return self.give_back(search),
            Err(ReadError::OutOfRange { start, .. }) if start > search.at => {
                search.at = start;
                search.ready = Box::pin(std::future::ready(()));
            }
            Err(error) => {
                tracing::error!(topic = %topic.name, subscription = %self.id.name, %error, "cannot read parked messages");
                let clock = &self.node.world.clock;
                search.ready = clock.sleep_until(clock.now().plus(READ_RETRY_MS));
            }
        }
        self.parked.search = Some(search);
    }

    /// Takes the key's messages out of what was read. One that was written twice, around a crash, counts once.
    fn pick(&self, search: &mut Search, fetched: Fetched) {
        let done = self.parked.keys.get(&search.key).map_or(Offset(-1), |stored| stored.done);
        for (arrival, stored) in fetched.arrivals.into_iter().zip(fetched.payloads) {
            let Some((offset, stored)) = side_message::original(&stored, &self.partition.id, &self.id.name)
            else {
                continue;
            };
            let last = search.found.last().map_or(done, |(last, _)| last.offset);
            if offset <= last || fetch::key_of(&stored.record, offset) != search.key {
                continue;
            }
            search.first.get_or_insert(arrival.offset);
            search.bytes += arrival.size as usize;
            search.found.push((Arrival { offset, key: search.key, ..arrival }, stored));
        }
        search.at = fetched.end;
    }

    /// Hands the dispatcher what was found; nothing says that the key is parked no more.
    fn give_back(&mut self, search: Search) {
        let Search { key, first, mut found, .. } = search;
        found.truncate(PART_MESSAGES);
        if let (Some(first), Some(stored)) = (first, self.parked.keys.get_mut(&key)) {
            stored.first = first;
        }
        let mut parked = Vec::with_capacity(found.len());
        for (arrival, stored) in found {
            self.parked.back.insert(arrival.offset, (key, stored));
            parked.push(arrival);
        }
        self.step(Input::Unpark { key, parked });
        self.begin_search();
    }
}

/// Resolves when it is the search's turn.
pub(super) async fn due(search: &mut Option<Search>) {
    match search {
        Some(search) => (&mut search.ready).await,
        None => std::future::pending().await,
    }
}
