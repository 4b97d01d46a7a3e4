//! A picture of a subscription's partition, made by its owner.

use super::{
    alarms, fetch,
    owner::{Outlet, Owner},
    payloads::Stored,
    view::{ConsumerView, KeyView, PartitionView},
};
use bytes::Bytes;
use keyway_danube_wire::message;
use keyway_dispatch::{ByCause, ConsumerStats, Counters, KeyOrder, Mode, Reason, Stats};
use keyway_record::{KeyHash, Offset};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that an alarm names.
const OLDEST_SHOWN: usize = 3;

impl Owner {
    pub(super) fn describe(&self) -> PartitionView {
        let stats = self.dispatcher.stats();
        let bounds = self.partition.log.bounds();
        let (cursor, end) = (stats.cursor.0, bounds.high_watermark.0);
        let mut view = PartitionView {
            partition: self.id.partition.0,
            mode: mode_name(self.mode),
            reliable: self.reliable,
            log_start: bounds.start.0,
            end,
            cursor,
            durable_cursor: self.stored.cursor.0,
            state_bytes: self.stored.bytes as u64,
            unstored_ms: self.stored.failing_since.map_or(0, |since| self.now().0.saturating_sub(since.0)),
            next_read: stats.next_read.0,
            lag_messages: u64::try_from(end - cursor).unwrap_or(0).saturating_sub(stats.done_ahead),
            lag_ms: if cursor < end { self.age_ms(stats.cursor) } else { 0 },
            span: stats.span,
            span_max: stats.span_max,
            holes: stats.holes,
            live_messages: stats.live_messages,
            live_max: stats.live_max,
            live_keys: stats.live_keys,
            ready_keys: stats.ready_keys,
            spilled_keys: stats.spilled_keys,
            spilled_messages: stats.spilled_messages,
            parked_keys: stats.parked_keys,
            flood_brake: stats.flood_brake,
            inflight_messages: stats.in_flight,
            blocked: Reason::ALL.map(|reason| (reason_name(reason), stats.blocked.by(reason))).into(),
            oldest_blocked_ms: stats
                .oldest_blocked
                .iter()
                .map(|&(reason, offset)| (reason_name(reason), self.age_ms(offset)))
                .collect(),
            counters: counters(&stats.counters),
            returned: by_cause(stats.counters.returned),
            dead_lettered_by: by_cause(stats.counters.dead_lettered_by),
            attempts: stats.counters.attempts.to_vec(),
            cache_bytes: self.payloads.bytes() as u64,
            dead_letter_topic: self.dead_letter_topic().to_string(),
            dead_letter_error: self.dead_letter_error.clone(),
            consumers: self.consumers(&stats),
            alarms: Vec::new(),
        };
        view.alarms = alarms::of(&view, &self.policy.failure, || self.keys(KeyOrder::Age, OLDEST_SHOWN));
        view
    }

    /// The first keys in this order.
    pub(super) fn keys(&self, order: KeyOrder, limit: usize) -> Vec<KeyView> {
        self.dispatcher.keys(order, limit).into_iter().map(|view| self.key_view(view)).collect()
    }

    /// What is known of this key.
    pub(super) fn key(&self, key: &[u8]) -> Option<KeyView> {
        Some(self.key_view(self.dispatcher.key(KeyHash::of(key))?))
    }

    fn key_view(&self, view: keyway_dispatch::KeyView) -> KeyView {
        let oldest = self.record_from(view.first);
        let key = oldest.as_ref().and_then(|stored| message::ordering_key(&stored.record));
        let holder = view.owner.and_then(|stream| self.outlets.get(&stream));
        KeyView {
            partition: self.id.partition.0,
            key: key.map_or_else(String::new, |key| String::from_utf8_lossy(key).into_owned()),
            hash: format!("{:032x}", view.hash.0),
            holder: holder.map(|outlet| outlet.consumer.name.clone()),
            waiting: u64::from(view.waiting),
            in_flight: u64::from(view.in_flight),
            attempts: view.attempts,
            blocked: view.blocked.map(reason_name),
            oldest_offset: view.first.0,
            age_ms: oldest.map_or(0, |stored| self.age_of(&stored)),
            rate_per_s: view.rate_per_s,
        }
    }

    /// How old the message at `offset`, or the next one after it, is.
    fn age_ms(&self, offset: Offset) -> u64 {
        self.record_from(offset).map_or(0, |stored| self.age_of(&stored))
    }

    fn age_of(&self, stored: &Stored) -> u64 {
        let now = self.node.world.clock.wall_ms();
        u64::try_from(now.saturating_sub(stored.timestamp.0)).unwrap_or(0)
    }

    /// The record at `offset`, or the next one after it.
    fn record_from(&self, offset: Offset) -> Option<Stored> {
        let in_memory = self.payloads.at(offset).cloned();
        in_memory.or_else(|| fetch::read_first(&*self.partition.log, offset).ok().flatten())
    }

    fn consumers(&self, stats: &Stats) -> Vec<ConsumerView> {
        let connected: Vec<_> = stats.consumers.iter().filter(|consumer| consumer.connected).collect();
        let part = |consumer: &ConsumerStats| match self.mode {
            Mode::KeyShared => u64::from(consumer.slots),
            Mode::Exclusive | Mode::Shared | Mode::Failover => consumer.delivered,
        };
        let whole: u64 = connected.iter().map(|consumer| part(consumer)).sum();
        let mut views = Vec::new();
        let mut seen = BTreeSet::new();
        for figures in &stats.consumers {
            let Some(outlet) = self.outlets.get(&figures.consumer) else { continue };
            seen.insert(outlet.consumer.name.as_str());
            let share =
                if figures.connected && whole > 0 { part(figures) as f64 / whole as f64 } else { 0.0 };
            views.push(present(outlet, figures, share));
        }
        let absent = self.members.iter().filter(|consumer| !seen.contains(consumer.name.as_str()));
        views.extend(absent.map(|consumer| ConsumerView {
            name: consumer.name.clone(),
            id: consumer.id,
            filters: texts(&consumer.filters),
            ..ConsumerView::default()
        }));
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }
}

fn present(outlet: &Outlet, figures: &ConsumerStats, share: f64) -> ConsumerView {
    ConsumerView {
        name: outlet.consumer.name.clone(),
        id: outlet.consumer.id,
        connected: figures.connected,
        active: figures.active,
        in_flight: figures.in_flight,
        credit: figures.credit,
        slots: figures.slots,
        share,
        ack_latency: outlet.latency.view(),
        delivered: figures.delivered,
        acked: figures.acked,
        nacked: figures.nacked,
        expired: figures.expired,
        flood_brake: figures.flood_brake,
        filters: texts(&outlet.consumer.filters),
    }
}

fn texts(filters: &[Bytes]) -> Vec<String> {
    filters.iter().map(|filter| String::from_utf8_lossy(filter).into_owned()).collect()
}

pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Failover => "failover",
        Mode::KeyShared => "key_shared",
    }
}

fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Credit => "credit",
        Reason::Consumer => "consumer",
        Reason::Nobody => "nobody",
        Reason::Backoff => "backoff",
        Reason::Poison => "poison",
        Reason::SideWrite => "side_write",
        Reason::Unmatched => "unmatched",
        Reason::Parked => "parked",
        Reason::Reread => "reread",
    }
}

fn by_cause(figures: ByCause) -> BTreeMap<&'static str, u64> {
    let ByCause { nack, ack_timeout, disconnect, unmatched } = figures;
    BTreeMap::from([
        ("nack", nack),
        ("ack_timeout", ack_timeout),
        ("disconnect", disconnect),
        ("unmatched", unmatched),
    ])
}

fn counters(counters: &Counters) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("delivered", counters.delivered),
        ("redelivered", counters.redelivered),
        ("acked", counters.acked),
        ("late_acks", counters.late_acks),
        ("stale_acks", counters.stale_acks),
        ("nacked", counters.nacked),
        ("expired", counters.expired),
        ("skipped", counters.skipped),
        ("dropped", counters.dropped),
        ("dead_lettered", counters.dead_lettered),
        ("side_write_errors", counters.side_write_errors),
        ("lost", counters.lost),
        ("parked", counters.parked),
        ("unparked", counters.unparked),
        ("revoked", counters.revoked),
        ("forced_revokes", counters.forced_revokes),
        ("spilled", counters.spilled),
        ("flood_brakes", counters.flood_brakes),
    ])
}
