//! Pictures of subscriptions, for people and for metrics: plain data.

use serde::Serialize;
use std::collections::BTreeMap;

/// One partition of a subscription.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct PartitionView {
    pub(crate) partition: i32,
    /// `exclusive`, `shared`, `failover` or `key_shared`.
    pub(crate) mode: &'static str,
    /// Whether deliveries are repeated until they are answered, and the position survives a restart.
    pub(crate) reliable: bool,
    /// First offset that the log has.
    pub(crate) log_start: i64,
    /// Offset after the last readable message.
    pub(crate) end: i64,
    /// Everything below is done.
    pub(crate) cursor: i64,
    /// The cursor that was stored last.
    pub(crate) durable_cursor: i64,
    /// Bytes of the subscription's state that were stored last: position, attempts, waits, parked keys.
    pub(crate) state_bytes: u64,
    /// For how long storing it has failed; 0 if it did not.
    pub(crate) unstored_ms: u64,
    /// Everything below was read.
    pub(crate) next_read: i64,
    /// Messages that are not done; offsets that hold no message (markers, gaps) count as long as they are unread.
    pub(crate) lag_messages: u64,
    /// Age of the oldest message that is not done.
    pub(crate) lag_ms: u64,
    /// Offsets from the cursor to what was read, and their bound: at it nothing more is read.
    pub(crate) span: u64,
    pub(crate) span_max: u64,
    /// Of these offsets, those that are not done.
    pub(crate) holes: u64,
    /// Messages in memory, and their bound.
    pub(crate) live_messages: u64,
    pub(crate) live_max: u64,
    /// Keys that have messages in memory; 0 for types without keys.
    pub(crate) live_keys: u64,
    /// Keys whose consumers cannot take more.
    pub(crate) ready_keys: u64,
    /// Hot keys with messages that are not in memory, and these messages.
    pub(crate) spilled_keys: u64,
    pub(crate) spilled_messages: u64,
    pub(crate) parked_keys: u64,
    /// Whether messages are retried rather than moved away, because almost all of them fail.
    pub(crate) flood_brake: bool,
    /// Messages delivered and unanswered.
    pub(crate) inflight_messages: u64,
    /// Messages (the oldest of their keys) that wait, by what they wait for.
    pub(crate) blocked: BTreeMap<&'static str, u64>,
    /// Age of the oldest of them, by what it waits for.
    pub(crate) oldest_blocked_ms: BTreeMap<&'static str, u64>,
    /// What was counted since the owner began, by name.
    pub(crate) counters: BTreeMap<&'static str, u64>,
    /// Deliveries that ended without an ack, by why.
    pub(crate) returned: BTreeMap<&'static str, u64>,
    /// Dead letters, by the last failure.
    pub(crate) dead_lettered_by: BTreeMap<&'static str, u64>,
    /// Acked messages by how often they were delivered: once, twice, …; the last figure counts all others.
    pub(crate) attempts: Vec<u64>,
    /// Bytes of messages kept for delivery.
    pub(crate) cache_bytes: u64,
    /// Where used-up messages go under the policy `dead_letter`.
    pub(crate) dead_letter_topic: String,
    /// Why the last dead letter could not be written, until one can.
    pub(crate) dead_letter_error: Option<String>,
    /// What somebody should look at; nothing, usually.
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) consumers: Vec<ConsumerView>,
}

/// Something that somebody should look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Alarm {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// One consumer of one partition.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct ConsumerView {
    pub(crate) name: String,
    /// The id that its client uses.
    pub(crate) id: u64,
    /// Whether it has a stream and can receive.
    pub(crate) connected: bool,
    /// Whether it gets everything, in the ordered types.
    pub(crate) active: bool,
    pub(crate) in_flight: u32,
    /// Messages it may hold unanswered.
    pub(crate) credit: u32,
    /// Places in the key space that it holds.
    pub(crate) slots: u32,
    /// Its part of what goes to the connected consumers, 0 to 1: of the slots in Key-Shared, of the deliveries otherwise.
    pub(crate) share: f64,
    /// Times from delivery to ack on its present stream.
    pub(crate) ack_latency: LatencyView,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) nacked: u64,
    pub(crate) expired: u64,
    /// Whether its failing messages are retried rather than moved away, because almost all of them fail.
    pub(crate) flood_brake: bool,
    pub(crate) filters: Vec<String>,
}

/// A distribution of times.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct LatencyView {
    pub(crate) count: u64,
    pub(crate) sum_ms: u64,
    pub(crate) p50_ms: u64,
    pub(crate) p99_ms: u64,
    pub(crate) max_ms: u64,
    /// How many were at most so long: (ms, number of these or shorter), ascending.
    pub(crate) at_most: Vec<(u64, u64)>,
}

/// One key that has messages.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct KeyView {
    pub(crate) partition: i32,
    /// The key as text; what is no UTF-8 is replaced.
    pub(crate) key: String,
    /// The key's hash, 32 hex digits.
    pub(crate) hash: String,
    /// The consumer that the key's messages go to now.
    pub(crate) holder: Option<String>,
    /// Messages that are not done and not in flight.
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    /// Deliveries of the oldest message.
    pub(crate) attempts: u32,
    /// What the oldest message waits for.
    pub(crate) blocked: Option<&'static str>,
    pub(crate) oldest_offset: i64,
    /// Age of the oldest message.
    pub(crate) age_ms: u64,
    pub(crate) rate_per_s: f64,
}
