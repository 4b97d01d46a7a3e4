//! What a topic's configs mean: for its logs, and for the batches that are produced to it.

use super::configs::{MAX_MESSAGE_BYTES, Values};
use crate::settings::{Configs, Effective};
use keyway_log::{Compaction, LogConfig};
use keyway_record::Compression;

/// A topic's configs, read once when they change.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct TopicRules {
    /// `max.message.bytes`.
    pub(crate) batch_bytes_max: usize,
    /// The same if the topic sets it itself.
    pub(crate) own_batch_bytes_max: Option<usize>,
    /// The broker's `max.decompressed.message.bytes`.
    pub(crate) decompressed_bytes_max: usize,
    /// A compacted topic keeps the newest record of each key, so each record must have one.
    pub(crate) keys_required: bool,
    /// Clients may delete records, unless compaction alone is to remove them.
    pub(crate) records_deletable: bool,
    pub(crate) time: TimeRule,
    /// `compression.type`: what batches are stored in; `None` for what the producer chose.
    pub(crate) compression: Option<Compression>,
    pub(crate) log: LogConfig,
}

/// `message.timestamp.type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimeRule {
    /// The producer's times count, if they are near enough to now.
    Create {
        /// How far back they may lie, ms.
        before_ms_max: i64,
        /// How far ahead they may lie, ms.
        after_ms_max: i64,
    },
    /// The broker gives its own time.
    Append,
}

impl TopicRules {
    /// The rules of a topic with these configs of its own.
    pub(crate) fn of(broker: &Effective, own: &Configs) -> Self {
        let values = Values::new(broker, own);
        let policy = values.text("cleanup.policy");
        let has = |wanted: &str| policy.split(',').any(|part| part.trim() == wanted);
        let limit = |name| Some(values.number(name)).filter(|limit| *limit >= 0);
        let log = LogConfig {
            segment_bytes: Some(values.number("segment.bytes").cast_unsigned()),
            segment_ms: Some(values.number("segment.ms")),
            retention_ms: limit("retention.ms").filter(|_| has("delete")),
            retention_bytes: limit("retention.bytes").filter(|_| has("delete")).map(i64::cast_unsigned),
            compaction: has("compact").then(|| compaction(&values)),
            producer_expiration_ms: Some(broker.producer_expiration_ms),
        };
        let time = match values.text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimeRule::Append,
            _ => TimeRule::Create {
                before_ms_max: values.number("message.timestamp.before.max.ms"),
                after_ms_max: values.number("message.timestamp.after.max.ms"),
            },
        };
        let compression = match values.text("compression.type").as_str() {
            "uncompressed" => Some(Compression::None),
            "gzip" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        };
        let batch_bytes_max = usize::try_from(values.number(MAX_MESSAGE_BYTES)).unwrap_or(usize::MAX);
        let own_batch_bytes_max = own.contains_key(MAX_MESSAGE_BYTES).then_some(batch_bytes_max);
        Self {
            batch_bytes_max,
            own_batch_bytes_max,
            decompressed_bytes_max: broker.decompressed_bytes_max,
            keys_required: has("compact"),
            records_deletable: has("delete") || !has("compact"),
            time,
            compression,
            log,
        }
    }
}

pub(super) fn compaction(values: &Values<'_>) -> Compaction {
    Compaction {
        dirty_ratio_min: values.ratio("min.cleanable.dirty.ratio"),
        delete_retention_ms: values.number("delete.retention.ms"),
        lag_min_ms: values.number("min.compaction.lag.ms"),
        lag_max_ms: values.number("max.compaction.lag.ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(own: &[(&str, &str)]) -> TopicRules {
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicRules::of(&Effective::default(), &own)
    }

    #[test]
    fn a_topic_that_sets_nothing_is_kept_a_week() {
        let rules = rules(&[]);
        let week_ms = 7 * 24 * 60 * 60 * 1000;
        assert_eq!(rules.log.retention_ms, Some(week_ms));
        assert_eq!((rules.log.retention_bytes, rules.log.compaction), (None, None));
        assert_eq!((rules.log.segment_bytes, rules.log.segment_ms), (Some(1 << 30), Some(week_ms)));
        assert_eq!((rules.keys_required, rules.compression), (false, None));
    }

    #[test]
    fn the_policy_decides_what_retention_means() {
        let limits = [("retention.ms", "5"), ("retention.bytes", "6")];
        let with = |policy| rules(&[limits[0], limits[1], ("cleanup.policy", policy)]);
        let compacted = with("compact");
        assert_eq!((compacted.log.retention_ms, compacted.log.retention_bytes), (None, None));
        assert_eq!((compacted.log.compaction, compacted.keys_required), (Some(Compaction::default()), true));
        assert!(!compacted.records_deletable);
        let both = with("compact, delete");
        assert_eq!((both.log.retention_ms, both.log.retention_bytes), (Some(5), Some(6)));
        assert!(both.log.compaction.is_some() && both.records_deletable);
        let neither = with("");
        assert_eq!((neither.log.retention_ms, neither.log.compaction), (None, None));
        assert!(neither.records_deletable);
        assert_eq!(rules(&[("retention.ms", "-1")]).log.retention_ms, None);
    }
}
