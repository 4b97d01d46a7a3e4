//! Ids for idempotent producers, handed out from blocks that are durable before their first id is.

use crate::internal_topic::{InternalTopic, InternalTopicError};
use keyway_groups::{Allocation, HighWater, ProducerIds};
use keyway_log::LogStore;
use keyway_record::{ProducerEpoch, ProducerId};
use keyway_runtime::World;
use std::sync::{Arc, Mutex};

/// The internal topic with what this broker must not forget about itself.
const TOPIC: &str = "__node";

/// Where producer ids come from.
pub(crate) struct ProducerIdSource {
    records: Arc<InternalTopic>,
    ids: Mutex<ProducerIds>,
}

impl ProducerIdSource {
    /// Goes on after the last block that any start of this broker reserved.
    pub(crate) fn recover(world: &World, store: &Arc<dyn LogStore>) -> Result<Self, InternalTopicError> {
        let records = Arc::new(InternalTopic::open(TOPIC, world, store)?);
        let (key, _) = HighWater(ProducerId(0)).encode();
        let stored = records.entries().into_iter().find(|(stored, _)| *stored == key);
        let mark = stored.map(|(key, value)| HighWater::decode(&key, &value)).transpose();
        let mark = mark.map_err(|error| records.malformed(error))?;
        Ok(Self { records, ids: Mutex::new(ProducerIds::recover(mark)) })
    }

    /// An id that nobody had before.
    pub(crate) async fn allocate(&self) -> Result<(ProducerId, ProducerEpoch), InternalTopicError> {
        loop {
            // Callers that meet at the end of a block all write the same mark.
            let mark = match self.ids.lock().expect("no panic while ids are allocated").allocate() {
                Allocation::Fresh(id, epoch) => return Ok((id, epoch)),
                Allocation::Reserve(mark) => mark,
            };
            let (key, value) = mark.encode();
            self.records.put(vec![(key, Some(value))]).await?;
            self.ids.lock().expect("no panic while ids are allocated").reserved(mark);
        }
    }

    /// The internal topic that the ids are kept in.
    pub(crate) fn records(&self) -> &Arc<InternalTopic> {
        &self.records
    }
}
