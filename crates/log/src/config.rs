//! What a partition keeps, and for how long. Names in the docs are Kafka's.

use keyway_record::Timestamp;

/// How a partition's records age. The default keeps everything: a log that nobody configured loses nothing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is closed before it grows past this; `None` leaves it to the engine.
    pub segment_bytes: Option<u64>,
    /// `segment.ms`: a segment is closed once its first record is this old, ms; `None` never.
    pub segment_ms: Option<i64>,
    /// `retention.ms`: records are given up once they are this old, ms; `None` never.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: the oldest records are given up while more than this many bytes remain; `None` never.
    pub retention_bytes: Option<u64>,
    /// Whether only the newest record of each key is kept; `None` for no.
    pub compaction: Option<Compaction>,
    /// `producer.id.expiration.ms`: a silent idempotent producer is remembered for this long, ms; `None` leaves it to the
    /// engine.
    pub producer_expiration_ms: Option<i64>,
}

impl LogConfig {
    /// Whether a segment whose first record is of time `first` is to be closed: older than `segment.ms`, or less where
    /// compaction may not wait that long.
    #[must_use]
    pub fn closes(&self, first: Timestamp, now: Timestamp) -> bool {
        let lag_max_ms = self.compaction.map(|compaction| compaction.lag_max_ms);
        is_older(first, now, [self.segment_ms, lag_max_ms].into_iter().flatten().min())
    }

    /// Whether something whose newest record is of time `newest` is no longer kept: older than `retention.ms`.
    #[must_use]
    pub fn expires(&self, newest: Timestamp, now: Timestamp) -> bool {
        is_older(newest, now, self.retention_ms)
    }
}

/// Whether something of time `time` is more than `age_ms_max` old; what has no time has no age.
fn is_older(time: Timestamp, now: Timestamp, age_ms_max: Option<i64>) -> bool {
    let age_ms = now.0.saturating_sub(time.0);
    time > Timestamp::NONE && age_ms_max.is_some_and(|max_ms| age_ms > max_ms)
}

/// When a store looks for what its partitions' configs no longer keep. The default is Kafka's, but for the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// `log.retention.check.interval.ms`: time between two looks for what is too old or too much, ms.
    pub retention_interval_ms: u64,
    /// `log.cleaner.backoff.ms`: time between two looks for what is worth compacting, ms; `None` for no compaction at all.
    pub compaction_interval_ms: Option<u64>,
    /// `log.cleaner.io.max.bytes.per.second`: bytes that compaction reads and writes in a second at most. Kafka has no
    /// bound; 64 MiB leave the disk to others.
    pub compaction_bytes_per_s: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            retention_interval_ms: 300_000,
            compaction_interval_ms: Some(15_000),
            compaction_bytes_per_s: 64 << 20,
        }
    }
}

/// How a compacted partition is compacted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Compaction {
    /// `min.cleanable.dirty.ratio`: share of bytes never compacted, from which on compacting is worth its cost.
    pub dirty_ratio_min: f64,
    /// `delete.retention.ms`: how long a tombstone stays after it was first compacted, ms.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: how long a record stays whatever follows it, ms.
    pub lag_min_ms: i64,
    /// `max.compaction.lag.ms`: age at which a record is compacted whatever the ratio, ms.
    pub lag_max_ms: i64,
}

impl Default for Compaction {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            dirty_ratio_min: 0.5,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            lag_min_ms: 0,
            lag_max_ms: i64::MAX,
        }
    }
}
