//! The topics of this broker: names, ids, partitions, settings. Their records live in the internal topic `__topics`.

pub(crate) mod configs;
mod rules;
mod topic_record;

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    partition::Partition,
    settings::{Effective, Settings},
};
use keyway_groups::{Catalog, CatalogTopic};
use keyway_log::{LogStore, StoreError};
use keyway_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName, TopicPartition};
use keyway_runtime::World;
pub(crate) use rules::{TimeRule, TopicRules};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock, RwLock},
};
use tokio::sync::Notify;
pub(crate) use topic_record::{DispatchStrategy, TopicSettings};

/// All topics.
pub(crate) struct Topics {
    store: Arc<dyn LogStore>,
    world: World,
    records: InternalTopic,
    settings: Arc<Settings>,
    partitions_max: i32,
    map: RwLock<Map>,
    /// One creation, growth or deletion at a time; never held by readers.
    changing: tokio::sync::Mutex<()>,
    changed: Notify,
}

#[derive(Default)]
struct Map {
    /// What groups see of it, made when somebody asks.
    catalog: OnceLock<Arc<Catalog>>,
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
}

/// One topic as it is now. A change makes a new one, so what a request holds never changes under it.
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    /// By index.
    pub(crate) partitions: Vec<Arc<Partition>>,
    pub(crate) settings: TopicSettings,
    /// What the settings, and the broker's where it has none, mean for produced batches.
    pub(crate) rules: TopicRules,
}

/// Why a topic was not created, grown or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("topic '{0}' already exists")]
    Exists(TopicName),
    #[error("topic '{0}' does not exist")]
    Unknown(TopicName),
    #[error("topic names that begin with '__' are the broker's own")]
    Internal,
    #[error("{given} partitions; 1 to {max} are allowed")]
    Partitions { given: i32, max: i32 },
    #[error("topic {name} has {current} partitions; {given} is not more")]
    NotMore { name: TopicName, current: i32, given: i32 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] InternalTopicError),
}

impl Topic {
    fn new(
        broker: &Effective,
        name: TopicName,
        id: TopicId,
        partitions: Vec<Arc<Partition>>,
        settings: TopicSettings,
    ) -> Self {
        let rules = TopicRules::of(broker, &settings.configs);
        Self { name, id, partitions, settings, rules }
    }

    pub(crate) fn partition(&self, index: PartitionId) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }
}

impl Topics {
    /// Reads all topics and opens their partitions. Partitions that no topic names are left from a creation that
    /// did not finish, or from a deletion; they are given up.
    pub(crate) fn recover(
        settings: &Arc<Settings>,
        partitions_max: i32,
        world: &World,
        store: &Arc<dyn LogStore>,
    ) -> Result<Self, InternalTopicError> {
        let records = InternalTopic::open("__topics", world, store)?;
        let mut map = Map::default();
        let mut named = BTreeSet::new();
        let broker = settings.now();
        store.configure(broker.store);
        for (key, value) in records.entries() {
            let (name, id, partitions, own) =
                topic_record::decode(&key, &value).map_err(|reason| records.malformed(reason))?;
            let opened =
                (0..partitions).map(|index| open(store, &name, id, index)).collect::<Result<Vec<_>, _>>();
            let partitions =
                opened.map_err(|cause| InternalTopicError::Store { topic: name.to_string(), cause })?;
            named.extend(partitions.iter().map(|partition| partition.id.clone()));
            map.insert(Topic::new(&broker, name, id, partitions, own));
        }
        for partition in store.list() {
            if !partition.topic.is_internal() && !named.contains(&partition) {
                tracing::info!(%partition, "giving up a partition that no topic names");
                let deleted = store.delete(&partition);
                deleted.map_err(|cause| InternalTopicError::Store {
                    topic: partition.topic.to_string(),
                    cause,
                })?;
            }
        }
        Ok(Self {
            store: store.clone(),
            world: world.clone(),
            records,
            settings: settings.clone(),
            partitions_max,
            map: RwLock::new(map),
            changing: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        })
    }

    /// The leader epoch and the end of the log that the topics are kept in.
    pub(crate) fn metadata_position(&self) -> (LeaderEpoch, Offset) {
        self.records.position()
    }

    /// The topic of this name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    /// The topic of this id.
    pub(crate) fn of_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// The topics' names, ids and partition counts; the same one until one of them changes.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        let map = self.read();
        let topic = |topic: &Arc<Topic>| {
            let partitions = i32::try_from(topic.partitions.len()).expect("bounded by the settings");
            (topic.name.clone(), CatalogTopic { id: topic.id, partitions })
        };
        let made = map.catalog.get_or_init(|| Arc::new(Catalog::new(map.by_name.values().map(topic))));
        made.clone()
    }

    /// Returns when [`Topics::catalog`] may have changed since this last returned. One task may wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// All topics, sorted by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    /// Creates a topic; it is durable when this returns.
    pub(crate) async fn create(
        &self,
        name: TopicName,
        partitions: i32,
        settings: TopicSettings,
    ) -> Result<Arc<Topic>, TopicError> {
        self.check_new(&name, partitions)?;
        let _changing = self.changing.lock().await;
        if self.named(name.as_str()).is_some() {
            return Err(TopicError::Exists(name));
        }
        let id = TopicId::from_random(self.world.entropy.bytes());
        let opened: Result<Vec<_>, _> =
            (0..partitions).map(|index| open(&self.store, &name, id, index)).collect();
        self.change(Topic::new(&self.settings.now(), name, id, opened?, settings)).await
    }

    /// Gives a topic more partitions, `partitions` in all; it is durable when this returns.
    pub(crate) async fn grow(&self, name: &TopicName, partitions: i32) -> Result<Arc<Topic>, TopicError> {
        self.check_new(name, partitions)?;
        let _changing = self.changing.lock().await;
        let topic = self.named(name.as_str()).ok_or_else(|| TopicError::Unknown(name.clone()))?;
        let current = topic.partitions.len() as i32;
        if partitions <= current {
            return Err(TopicError::NotMore { name: name.clone(), current, given: partitions });
        }
        let mut all = topic.partitions.clone();
        for index in current..partitions {
            all.push(open(&self.store, name, topic.id, index)?);
        }
        let settings = topic.settings.clone();
        self.change(Topic::new(&self.settings.now(), name.clone(), topic.id, all, settings)).await
    }

    /// Replaces a topic's settings; durable when this returns.
    pub(crate) async fn set_settings(
        &self,
        name: &TopicName,
        settings: TopicSettings,
    ) -> Result<Arc<Topic>, TopicError> {
        let _changing = self.changing.lock().await;
        let topic = self.named(name.as_str()).ok_or_else(|| TopicError::Unknown(name.clone()))?;
        let partitions = topic.partitions.clone();
        self.change(Topic::new(&self.settings.now(), name.clone(), topic.id, partitions, settings)).await
    }

    /// Has the log and every topic follow what the broker's settings are now.
    pub(crate) async fn follow_settings(&self) {
        let _changing = self.changing.lock().await;
        let broker = self.settings.now();
        self.store.configure(broker.store);
        let mut map = self.map.write().expect("no panic while the topics are locked");
        let topics: Vec<_> = map.by_name.values().cloned().collect();
        for topic in topics {
            let (name, partitions, settings) =
                (topic.name.clone(), topic.partitions.clone(), topic.settings.clone());
            map.insert(Topic::new(&broker, name, topic.id, partitions, settings));
        }
    }

    /// Deletes a topic with its records; durable when this returns.
    pub(crate) async fn delete(&self, name: &TopicName) -> Result<(), TopicError> {
        let _changing = self.changing.lock().await;
        let topic = self.named(name.as_str()).ok_or_else(|| TopicError::Unknown(name.clone()))?;
        let key = topic_record::key(name);
        let ticket = self.records.put_staged(vec![(key, None)]).await?;
        for partition in &topic.partitions {
            self.store.delete(&partition.id)?;
        }
        {
            let mut map = self.map.write().expect("no panic while the topics are locked");
            map.by_name.remove(name);
            map.by_id.remove(&topic.id);
            map.catalog.take();
        }
        self.changed.notify_one();
        Ok(self.records.wait(ticket).await?)
    }

    fn check_new(&self, name: &TopicName, partitions: i32) -> Result<(), TopicError> {
        if name.is_internal() {
            return Err(TopicError::Internal);
        }
        let max = self.partitions_max;
        if !(1..=max).contains(&partitions) {
            return Err(TopicError::Partitions { given: partitions, max });
        }
        Ok(())
    }

    /// Writes the topic's record, shows the topic, and waits: what is produced to it becomes durable after it.
    async fn change(&self, topic: Topic) -> Result<Arc<Topic>, TopicError> {
        let record = topic_record::encode(topic.id, topic.partitions.len() as i32, &topic.settings);
        let entry = (topic_record::key(&topic.name), Some(record));
        let show = || {
            let topic = self.map.write().expect("no panic while the topics are locked").insert(topic);
            self.changed.notify_one();
            topic
        };
        Ok(self.records.put_and(vec![entry], show).await?)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Map> {
        self.map.read().expect("no panic while the topics are locked")
    }
}

impl Map {
    fn insert(&mut self, topic: Topic) -> Arc<Topic> {
        topic.partitions.iter().for_each(|partition| partition.log.configure(topic.rules.log));
        let topic = Arc::new(topic);
        let before = self.by_name.insert(topic.name.clone(), topic.clone());
        let same =
            |before: &Topic| before.id == topic.id && before.partitions.len() == topic.partitions.len();
        if !before.is_some_and(|before| same(&before)) {
            self.catalog.take();
        }
        self.by_id.insert(topic.id, topic.clone());
        topic
    }
}

/// The partition's log, made if it is not there: its topic's record is what says that it exists.
fn open(
    store: &Arc<dyn LogStore>,
    name: &TopicName,
    id: TopicId,
    index: i32,
) -> Result<Arc<Partition>, StoreError> {
    let partition = TopicPartition { topic: name.clone(), topic_id: id, partition: PartitionId(index) };
    let log = match store.open(&partition) {
        Err(StoreError::Unknown { .. }) => store.create(&partition)?,
        opened => opened?,
    };
    Ok(Arc::new(Partition::new(partition, log)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use keyway_segment_log::{Drive, Options, SegmentStore};

    #[test]
    fn a_topic_is_there_for_everybody_if_its_creator_leaves_during_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (world, options) = (World::real(), Options { drive: Drive::Steps, ..Options::default() });
        let store = SegmentStore::open(&world, folder.path().into(), options).unwrap();
        let store: Arc<dyn LogStore> = Arc::new(store);
        let records = Arc::new(InternalTopic::open("__settings", &world, &store).unwrap());
        let settings = Arc::new(Settings::recover(BTreeMap::new(), &records).unwrap());
        let topics = Topics::recover(&settings, 10, &world, &store).unwrap();
        let name = TopicName::new("orders").unwrap();
        let created = topics.create(name, 2, TopicSettings::default()).now_or_never();
        assert!(created.is_none(), "nobody has made it durable");
        assert_eq!((topics.records.entries().len(), topics.all().len()), (1, 1));
    }
}
