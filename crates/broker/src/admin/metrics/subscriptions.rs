//! Subscriptions, per partition. Keys are never labels: there is no bound on them.

use super::page::{Family, Labels, Page};
use crate::{
    admin::subscriptions::Description,
    subscription::{ALARMS, ConsumerView, LatencyView, PartitionView},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most partitions of subscriptions in a scrape; each is about sixty series.
const PARTITIONS_MAX: usize = 2_000;

/// Most consumers in a scrape, counted in each partition; each is about thirty series.
const CONSUMERS_MAX: usize = 2_000;

/// Upper bounds of ack latencies, ms.
const LATENCIES_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// A partition of a subscription with its labels.
struct Row<'a> {
    labels: Labels,
    view: &'a PartitionView,
}

type OfPartition = fn(&PartitionView) -> u64;

const GAUGES: [(&str, &str, OfPartition); 21] = [
    ("lag_messages", "Messages that are not done", |v| v.lag_messages),
    ("lag_ms", "Age of the oldest message that is not done", |v| v.lag_ms),
    ("cursor", "Offset below which everything is done", |v| v.cursor as u64),
    ("durable_cursor", "The cursor that was stored last", |v| v.durable_cursor as u64),
    ("state_bytes", "Bytes of the state that was stored last", |v| v.state_bytes),
    ("unstored_ms", "For how long storing the state has failed", |v| v.unstored_ms),
    ("log_end", "Offset after the last message of the partition", |v| v.end as u64),
    ("span", "Offsets from the cursor to what was read", |v| v.span),
    ("span_max", "Bound on the span; at it nothing more is read", |v| v.span_max),
    ("holes", "Offsets of the span that are not done", |v| v.holes),
    ("live_messages", "Messages in memory", |v| v.live_messages),
    ("live_messages_max", "Bound on messages in memory", |v| v.live_max),
    ("live_keys", "Keys that have messages in memory", |v| v.live_keys),
    ("ready_keys", "Keys whose consumers cannot take more", |v| v.ready_keys),
    ("spilled_keys", "Hot keys with messages that are not in memory", |v| v.spilled_keys),
    ("spilled_messages", "Messages of hot keys that are not in memory", |v| v.spilled_messages),
    ("parked_keys", "Keys that were parked by the failure policy", |v| v.parked_keys),
    ("flood_brake", "1 while failing messages are kept because almost all of them fail", |v| {
        u64::from(v.flood_brake)
    }),
    ("dead_letter_failing", "1 while dead letters cannot be written", |v| {
        u64::from(v.dead_letter_error.is_some())
    }),
    ("inflight_messages", "Messages delivered and unanswered", |v| v.inflight_messages),
    ("cache_bytes", "Bytes of messages kept for delivery", |v| v.cache_bytes),
];

type ByName = fn(&PartitionView) -> &BTreeMap<&'static str, u64>;

pub(super) fn add(all: &[Description], page: &mut Page) {
    let rows: Vec<Row<'_>> = all.iter().flat_map(rows).collect();
    let (shown, left_out) = rows.split_at(rows.len().min(PARTITIONS_MAX));
    for (name, help, of) in GAUGES {
        let family = page.gauge(named(name), help);
        for row in shown {
            family.whole(row.labels.clone(), of(row.view));
        }
    }
    let by_name: [(&str, &str, &'static str, ByName); 2] = [
        ("blocked_keys", "Keys whose oldest message waits; in types without keys, messages", "reason", |v| {
            &v.blocked
        }),
        ("oldest_blocked_ms", "Age of the oldest of these messages", "reason", |v| &v.oldest_blocked_ms),
    ];
    for (name, help, label, of) in by_name {
        split(page.gauge(named(name), help), shown, label, of);
    }
    let by_name: [(&str, &str, &'static str, ByName); 2] = [
        ("redeliveries", "Deliveries that ended without an ack", "cause", |v| &v.returned),
        ("dlq", "Dead letters, by the last failure", "cause", |v| &v.dead_lettered_by),
    ];
    for (name, help, label, of) in by_name {
        split(page.counter(named(name), help), shown, label, of);
    }
    alarms(shown, page);
    counters(shown, page);
    attempts(shown, page);
    let consumers_left_out = consumers(shown, page);
    let what = |what: &str| vec![("what", what.to_owned())];
    page.gauge("keyway_metrics_left_out", "Partitions and consumers beyond the bound on series")
        .whole(what("partitions"), left_out.len() as u64)
        .whole(what("consumers"), consumers_left_out as u64);
}

fn rows(description: &Description) -> impl Iterator<Item = Row<'_>> {
    let summary = &description.summary;
    description.partitions.iter().map(|view| {
        let labels = vec![
            ("topic", summary.topic.clone()),
            ("partition", view.partition.to_string()),
            ("subscription", summary.subscription.clone()),
        ];
        Row { labels, view }
    })
}

fn named(name: &str) -> String {
    format!("keyway_subscription_{name}")
}

fn with(labels: &Labels, name: &'static str, value: &str) -> Labels {
    let mut labels = labels.clone();
    labels.push((name, value.to_owned()));
    labels
}

fn split(family: &mut Family, rows: &[Row<'_>], label: &'static str, of: ByName) {
    for row in rows {
        for (name, &figure) in of(row.view) {
            family.whole(with(&row.labels, label, name), figure);
        }
    }
}

fn alarms(rows: &[Row<'_>], page: &mut Page) {
    let family =
        page.gauge(named("alarm"), "1 while somebody should look; the subscription's description says why");
    for row in rows {
        for name in ALARMS {
            let is_on = row.view.alarms.iter().any(|alarm| alarm.name == name);
            family.whole(with(&row.labels, "alarm", name), u64::from(is_on));
        }
    }
}

/// Whatever the owners count, by the names they use; what is split by cause already is left out.
fn counters(rows: &[Row<'_>], page: &mut Page) {
    const SKIPPED: [(&str, &str); 2] = [("skipped", "unmatched"), ("dropped", "poison")];
    let family = page.counter(named("skipped"), "Messages passed over, by why");
    for row in rows {
        for (name, why) in SKIPPED {
            if let Some(&figure) = row.view.counters.get(name) {
                family.whole(with(&row.labels, "why", why), figure);
            }
        }
    }
    let names: BTreeSet<&'static str> =
        rows.iter().flat_map(|row| row.view.counters.keys().copied()).collect();
    for name in names {
        let (renamed, help) = match name {
            "skipped" | "dropped" | "dead_lettered" => continue,
            "lost" => ("lost_to_retention", "Messages that the log dropped before they were done"),
            "delivered" => (name, "Deliveries, redeliveries included"),
            "redelivered" => (name, "Deliveries after a first one"),
            "acked" => (name, "Acks of what was in flight"),
            "nacked" => (name, "Nacks of what was in flight"),
            "expired" => (name, "Deliveries that nobody answered in time"),
            "late_acks" => (name, "Acks of what was in flight no longer and not elsewhere"),
            "stale_acks" => (name, "Acks and nacks that changed nothing"),
            "side_write_errors" => (name, "Failed writes of dead letters and parked messages"),
            "parked" => (name, "Messages that were parked"),
            "unparked" => (name, "Parked messages that are done"),
            "revoked" => (name, "Deliveries that were taken back"),
            "forced_revokes" => (name, "Deliveries taken back at a deadline"),
            "spilled" => (name, "Messages of hot keys that were put out of memory"),
            "flood_brakes" => (name, "Times that the flood brake engaged"),
            _ => (name, "Counted by the subscription's owner"),
        };
        let family = page.counter(named(renamed), help);
        for row in rows {
            if let Some(&figure) = row.view.counters.get(name) {
                family.whole(row.labels.clone(), figure);
            }
        }
    }
}

fn attempts(rows: &[Row<'_>], page: &mut Page) {
    let family = page.histogram(named("attempts"), "Deliveries that acked messages needed");
    for row in rows {
        let attempts = &row.view.attempts;
        let bound =
            |index: usize| if index + 1 == attempts.len() { f64::INFINITY } else { index as f64 + 1.0 };
        let buckets: Vec<_> =
            attempts.iter().enumerate().map(|(index, &count)| (bound(index), count)).collect();
        // The last bucket is counted by its smallest figure; there are few that need so many.
        let sum =
            attempts.iter().enumerate().map(|(index, &count)| (index as f64 + 1.0) * count as f64).sum();
        if !buckets.is_empty() {
            family.buckets(row.labels.clone(), sum, attempts.iter().sum(), buckets);
        }
    }
}

/// Returns how many were left out.
fn consumers(rows: &[Row<'_>], page: &mut Page) -> usize {
    let mut present: Vec<(Labels, &ConsumerView)> = Vec::new();
    for row in rows {
        let mut seen = BTreeSet::new();
        let connected = row.view.consumers.iter().filter(|consumer| consumer.connected);
        // While a client takes over its own name there may be two.
        for consumer in connected.filter(|consumer| seen.insert(&consumer.name)) {
            present.push((with(&row.labels, "consumer", &consumer.name), consumer));
        }
    }
    let (shown, left_out) = present.split_at(present.len().min(CONSUMERS_MAX));
    type Of = fn(&ConsumerView) -> u64;
    let gauges: [(&str, &str, Of); 4] = [
        ("consumer_inflight", "Messages that the consumer holds", |c| u64::from(c.in_flight)),
        ("consumer_credits", "Messages that it may hold", |c| u64::from(c.credit)),
        ("consumer_slots", "Places in the key space that it has", |c| u64::from(c.slots)),
        ("consumer_flood_brake", "1 while its failing messages are kept", |c| u64::from(c.flood_brake)),
    ];
    for (name, help, of) in gauges {
        let family = page.gauge(named(name), help);
        for (labels, consumer) in shown {
            family.whole(labels.clone(), of(consumer));
        }
    }
    let counters: [(&str, &str, Of); 4] = [
        ("consumer_delivered", "Deliveries to the consumer on its present stream", |c| c.delivered),
        ("consumer_acked", "Its acks that counted", |c| c.acked),
        ("consumer_nacked", "Its nacks that counted", |c| c.nacked),
        ("consumer_expired", "Deliveries to it that it did not answer in time", |c| c.expired),
    ];
    for (name, help, of) in counters {
        let family = page.counter(named(name), help);
        for (labels, consumer) in shown {
            family.whole(labels.clone(), of(consumer));
        }
    }
    let share =
        page.gauge(named("consumer_share"), "Its part of what goes to the connected consumers, 0 to 1");
    for (labels, consumer) in shown {
        share.real(labels.clone(), consumer.share);
    }
    let latency = page.histogram(named("consumer_ack_latency_seconds"), "Times from delivery to ack");
    for (labels, consumer) in shown {
        let view = &consumer.ack_latency;
        latency.buckets(labels.clone(), view.sum_ms as f64 / 1e3, view.count, latency_buckets(view));
    }
    left_out.len()
}

/// The fixed buckets of all consumers; a figure is in the first whose bound its own bucket does not exceed.
fn latency_buckets(view: &LatencyView) -> Vec<(f64, u64)> {
    let below = |bound_ms: u64| {
        let reached = view.at_most.iter().take_while(|&&(ms, _)| ms <= bound_ms).last();
        reached.map_or(0, |&(_, count)| count)
    };
    let mut before = 0;
    let mut buckets = Vec::with_capacity(LATENCIES_MS.len() + 1);
    for bound_ms in LATENCIES_MS {
        let count = below(bound_ms);
        buckets.push((bound_ms as f64 / 1e3, count - before));
        before = count;
    }
    buckets.push((f64::INFINITY, view.count - before));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_one_bucket() {
        let view = LatencyView {
            count: 10,
            at_most: vec![(0, 2), (1, 3), (7, 6), (895, 9), (60_000, 10)],
            ..LatencyView::default()
        };
        let buckets = latency_buckets(&view);
        let filled: Vec<_> = buckets.into_iter().filter(|&(_, count)| count > 0).collect();
        assert_eq!(filled, [(0.001, 3), (0.01, 3), (1.0, 3), (f64::INFINITY, 1)]);
    }
}
