//! Dead letters: what a subscription gave up, kept in a topic of their own until somebody replays or purges them.
//!
//! A letter that is dealt with goes with the start of its partition (`trim`); one in the middle is marked as settled
//! until everything before it is dealt with too. A replay publishes first, waits until that is on disk, and only then
//! settles: a crash in between makes a duplicate and loses nothing.

mod letter;
mod ranges;
mod settle;
mod settled;
mod show;

pub(super) use settle::{purge, replay};
pub(super) use show::{list, show};

use crate::{
    internal_topic::{InternalTopic, InternalTopicError},
    topics::{Topic, Topics},
};
use keyway_log::{AppendError, LogStore, ReadError, StoreError};
use keyway_record::PartitionId;
use keyway_runtime::World;
use ranges::Ranges;
use serde::{Deserialize, Serialize};
use settled::Settled;
use std::sync::Arc;

/// The internal topic of marks.
const TOPIC: &str = "__dead_letters";

/// What the broker knows of dead letters beyond the letters themselves.
pub(crate) struct DeadLetters {
    settled: Settled,
    /// One replay or purge at a time: two at once would publish letters twice.
    working: Arc<tokio::sync::Mutex<()>>,
}

/// Why dead letters were not shown, replayed or purged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeadLetterError {
    #[error("another replay or purge is under way")]
    Busy,
    #[error("{max} separate ranges of settled letters are marked already, which is the limit")]
    TooManyRanges { max: usize },
    #[error("the topic has no partition {partition}")]
    NoPartition { partition: i32 },
    #[error("dead letters cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("the log takes nothing in: {0}")]
    Append(#[from] AppendError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] InternalTopicError),
    #[error("the work ended in a panic")]
    Panicked,
}

/// Part of a partition that is to be looked at: from an offset to before another.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    partition: i32,
    from: i64,
    end: i64,
}

impl DeadLetters {
    /// Reads the marks; those of topics that are gone are forgotten.
    pub(crate) fn recover(
        world: &World,
        store: &Arc<dyn LogStore>,
        topics: &Topics,
    ) -> Result<Self, InternalTopicError> {
        let settled = Settled::recover(InternalTopic::open(TOPIC, world, store)?, topics)?;
        Ok(Self { settled, working: Arc::default() })
    }

    /// How many letters of a partition wait to be dealt with.
    fn waiting(&self, topic: &Topic) -> u64 {
        let of_partition = |partition: &Arc<crate::partition::Partition>| {
            let bounds = partition.log.bounds();
            let all = bounds.start.0..bounds.high_watermark.0;
            let settled = self.settled.of(&partition.id);
            ((all.end - all.start) as u64).saturating_sub(settled.count_within(&all))
        };
        topic.partitions.iter().map(of_partition).sum()
    }
}

/// The parts asked for, or all that the topic holds now. Letters that come later are not looked at, so a letter that
/// fails again at once is not replayed for ever.
fn parts(topic: &Topic, asked: Option<Vec<Part>>) -> Result<Vec<Part>, DeadLetterError> {
    let Some(asked) = asked else {
        let whole = |partition: &Arc<crate::partition::Partition>| {
            let bounds = partition.log.bounds();
            Part { partition: partition.id.partition.0, from: bounds.start.0, end: bounds.high_watermark.0 }
        };
        return Ok(topic.partitions.iter().map(whole).filter(|part| part.from < part.end).collect());
    };
    let mut parts = Vec::with_capacity(asked.len());
    for Part { partition, from, end } in asked {
        let found = topic.partition(PartitionId(partition));
        let bounds = found.ok_or(DeadLetterError::NoPartition { partition })?.log.bounds();
        let part = Part { partition, from: from.max(bounds.start.0), end: end.min(bounds.high_watermark.0) };
        if part.from < part.end {
            parts.push(part);
        }
    }
    Ok(parts)
}
