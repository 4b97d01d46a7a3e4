//! The broker as a whole: what it is, what crosses its ports, what its log and its machine say.

use super::page::Page;
use crate::{node::Node, traffic::FrontFigures};
use keyway_access::quota::QuotaKind;

pub(super) fn add(node: &Node, page: &mut Page) {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauge("keyway_build_info", "Which Keyway this is").whole(version, 1);
    let now = node.world.clock.now();
    let up_ms = now.0.saturating_sub(node.traffic.started.0);
    page.gauge("keyway_uptime_seconds", "Time since the broker started").real(vec![], up_ms as f64 / 1e3);
    if let Some(bytes) = keyway_runtime::resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory in use").whole(vec![], bytes);
    }
    let topics = node.topics.all();
    page.gauge("keyway_topics", "Topics").whole(vec![], topics.len() as u64);
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    page.gauge("keyway_partitions", "Partitions of all topics").whole(vec![], partitions as u64);
    ports(node, page);
    logins(node, page);
    throttling(node, page);
    page.counter("keyway_audit_lines_dropped", "Lines of the audit log that its disk did not take")
        .whole(vec![], node.audit.dropped());
    log(node, page);
}

fn ports(node: &Node, page: &mut Page) {
    let traffic = &node.traffic;
    let fronts = [("kafka", &traffic.kafka), ("grpc", &traffic.grpc), ("http", &traffic.http)];
    let fronts = fronts.map(|(name, front)| (name, front.figures()));
    let label = |name: &str| vec![("front", name.to_owned())];
    let open = page.gauge("keyway_connections", "Connections by port");
    for (name, figures) in &fronts {
        open.whole(label(name), figures.open);
    }
    type Of = fn(&FrontFigures) -> u64;
    let counters: [(&'static str, &'static str, Of); 5] = [
        ("keyway_connections_accepted", "Connections that were accepted", |f| f.accepted),
        ("keyway_connections_refused", "Connections beyond the limit, closed at once", |f| f.refused),
        ("keyway_tls_handshakes_failed", "Connections that did not come to TLS", |f| f.handshakes_failed),
        ("keyway_received_bytes", "Bytes from clients", |f| f.received_bytes),
        ("keyway_sent_bytes", "Bytes to clients", |f| f.sent_bytes),
    ];
    for (name, help, of) in counters {
        let family = page.counter(name, help);
        for (front, figures) in &fronts {
            family.whole(label(front), of(figures));
        }
    }
    let requests = page.counter("keyway_kafka_requests", "Kafka requests by API");
    for (api, count) in traffic.kafka_requests() {
        requests.whole(vec![("api", api.name().to_owned())], count);
    }
    page.counter("keyway_kafka_requests_refused", "Kafka requests that could not be read or answered")
        .whole(vec![], traffic.kafka_refused());
}

fn logins(node: &Node, page: &mut Page) {
    let counts: Vec<_> =
        node.listeners.all().map(|endpoint| (endpoint.name.as_str(), endpoint.logins.counts())).collect();
    let label = |listener: &str| vec![("listener", listener.to_owned())];
    let succeeded = page.counter("keyway_logins", "Logins by listener, those by certificate included");
    for &(listener, (count, _)) in &counts {
        succeeded.whole(label(listener), count);
    }
    let failed = page.counter("keyway_logins_failed", "Logins that were refused, by listener");
    for &(listener, (_, count)) in &counts {
        failed.whole(label(listener), count);
    }
}

fn throttling(node: &Node, page: &mut Page) {
    let quota = |kind: QuotaKind| vec![("quota", kind.name().to_owned())];
    let times = page.counter("keyway_throttled", "Requests, messages and connections held back by a quota");
    for (kind, figures) in node.quotas.figures() {
        times.whole(quota(kind), figures.times);
    }
    let seconds = page.counter("keyway_throttled_seconds", "Time for which clients were held back");
    for (kind, figures) in node.quotas.figures() {
        seconds.real(quota(kind), figures.wait_ms as f64 / 1e3);
    }
}

fn log(node: &Node, page: &mut Page) {
    let figures = node.store.figures();
    page.counter("keyway_log_flushes", "Flushes of the log").whole(vec![], figures.flushes);
    page.counter("keyway_log_flush_seconds", "Time that these took together")
        .real(vec![], figures.flush_ms as f64 / 1e3);
    page.counter("keyway_log_flushed_bytes", "Bytes written for these").whole(vec![], figures.flushed_bytes);
    page.gauge("keyway_log_staged_bytes", "Bytes taken in and not yet durable")
        .whole(vec![], figures.staged_bytes);
    page.gauge("keyway_log_memory_bytes", "Bytes of records in memory").whole(vec![], figures.memory_bytes);
    page.gauge("keyway_log_index_bytes", "Bytes in memory that say where records lie in files")
        .whole(vec![], figures.index_bytes);
    page.gauge("keyway_log_recovery_bytes", "Bytes that a start after a crash would read back")
        .whole(vec![], figures.recovery_bytes);
    page.gauge("keyway_log_offline_partitions", "Partitions whose files cannot be written or flushed")
        .whole(vec![], figures.offline_partitions);
    page.gauge("keyway_log_damaged_segments", "Segments with records that are damaged and not served")
        .whole(vec![], figures.damaged_segments);
    page.gauge("keyway_log_space_low", "1 while producers are refused because the disk is nearly full")
        .whole(vec![], u64::from(figures.is_space_low));
}
