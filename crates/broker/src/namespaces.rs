//! Danube's namespaces: the first part of a topic's name. Stored in `__node` beside the producer ids:
//!
//! | key | type | | value | type |
//! |---|---|---|---|---|
//! | kind, 5 | u8 | | version, 1 | u8 |
//! | the namespace's name | UTF-8 | | | |
//!
//! `default` and `system` are there from the start. A Kafka client that makes the topic `ns.orders` makes its namespace
//! with it, so a namespace exists if it is stored or if a topic lies in it.

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    topics::Topics,
};
use bytes::Bytes;
use keyway_danube_wire::TopicRef;
use keyway_record::TopicName;
use std::{
    collections::BTreeSet,
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Namespaces that nobody has to make and nobody can delete.
const BUILT_IN: [&str; 2] = ["default", "system"];

/// Most namespaces that are stored.
const NAMESPACES_MAX: usize = 10_000;

const KIND: u8 = 5;
const VERSION: u8 = 1;

/// All namespaces that were made.
pub(crate) struct Namespaces {
    records: Arc<InternalTopic>,
    names: RwLock<BTreeSet<String>>,
    /// One change at a time; never held by readers.
    changing: tokio::sync::Mutex<()>,
}

/// Why a namespace was not made or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NamespaceError {
    #[error("the namespace name {name:?} is not made of letters, digits, '_' and '-'")]
    Name { name: String },
    #[error("namespace {name} already exists")]
    Exists { name: String },
    #[error("namespace {name} does not exist")]
    Unknown { name: String },
    #[error("namespace {name} is built in and cannot be deleted")]
    BuiltIn { name: String },
    #[error("namespace {name} is not empty: {topic} lies in it; delete its topics first")]
    NotEmpty { name: String, topic: String },
    #[error("there are {NAMESPACES_MAX} namespaces, which is the limit")]
    TooMany,
    #[error(transparent)]
    Record(#[from] InternalTopicError),
}

impl Namespaces {
    /// The namespaces in `records`.
    pub(crate) fn recover(records: &Arc<InternalTopic>) -> Result<Self, InternalTopicError> {
        let mut names = BTreeSet::new();
        for (key, value) in records.entries() {
            let Some((&KIND, name)) = key.split_first() else { continue };
            if *value != [VERSION] {
                return Err(records.malformed("a namespace's record of another version"));
            }
            names.insert(str::from_utf8(name).map_err(|error| records.malformed(error))?.to_owned());
        }
        let changing = tokio::sync::Mutex::new(());
        Ok(Self { records: records.clone(), names: RwLock::new(names), changing })
    }

    /// Whether topics may be made in it.
    pub(crate) fn exists(&self, topics: &Topics, name: &str) -> bool {
        BUILT_IN.contains(&name)
            || self.read().contains(name)
            || topics.all().iter().any(|topic| lies_in(&topic.name, name))
    }

    /// All names, sorted.
    pub(crate) fn all(&self, topics: &Topics) -> BTreeSet<String> {
        let mut all = self.read().clone();
        all.extend(BUILT_IN.map(str::to_owned));
        let topics = topics.all();
        let named = topics.iter().filter_map(|topic| TopicRef::of_kafka(&topic.name, None).ok());
        all.extend(named.map(|name| name.namespace().to_owned()));
        all
    }

    /// Makes a namespace; it is durable when this returns.
    pub(crate) async fn create(&self, topics: &Topics, name: &str) -> Result<(), NamespaceError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        // A topic's name holds its namespace, a dot and at least one character more.
        let len_max = TopicName::LEN_MAX - 2;
        if name.is_empty() || name.len() > len_max || name.starts_with("__") || !name.bytes().all(legal) {
            return Err(NamespaceError::Name { name: name.to_owned() });
        }
        let _changing = self.changing.lock().await;
        if self.exists(topics, name) {
            return Err(NamespaceError::Exists { name: name.to_owned() });
        }
        if self.read().len() >= NAMESPACES_MAX {
            return Err(NamespaceError::TooMany);
        }
        let entry = (key(name), Some(Bytes::from_static(&[VERSION])));
        Ok(self.records.put_and(vec![entry], || _ = self.write().insert(name.to_owned())).await?)
    }

    /// Deletes an empty namespace; durable when this returns.
    pub(crate) async fn delete(&self, topics: &Topics, name: &str) -> Result<(), NamespaceError> {
        let named = name.to_owned();
        if BUILT_IN.contains(&name) {
            return Err(NamespaceError::BuiltIn { name: named });
        }
        let _changing = self.changing.lock().await;
        if let Some(topic) = topics.all().iter().find(|topic| lies_in(&topic.name, name)) {
            return Err(NamespaceError::NotEmpty { name: named, topic: topic.name.to_string() });
        }
        if !self.read().contains(name) {
            return Err(NamespaceError::Unknown { name: named });
        }
        Ok(self.records.put_and(vec![(key(name), None)], || _ = self.write().remove(name)).await?)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeSet<String>> {
        self.names.write().expect("no panic while the namespaces are locked")
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeSet<String>> {
        self.names.read().expect("no panic while the namespaces are locked")
    }
}

fn key(name: &str) -> Bytes {
    [&[KIND], name.as_bytes()].concat().into()
}

fn lies_in(topic: &TopicName, namespace: &str) -> bool {
    TopicRef::of_kafka(topic, None).is_ok_and(|name| name.namespace() == namespace)
}
