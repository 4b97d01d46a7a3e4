//! What Prometheus scrapes is well formed and true.

use crate::{
    broker::{get, request, start},
    kafka::{connect, create, produce},
};
use krafka::Record;
use std::collections::{BTreeMap, BTreeSet};

/// One family of a scrape.
#[derive(Debug)]
struct Family {
    kind: String,
    /// Samples by name and labels as written.
    samples: BTreeMap<String, f64>,
}

/// Takes a scrape apart and checks OpenMetrics' rules: HELP and TYPE of each family, once, before its samples; samples of
/// no other name; no series twice; buckets that grow and end at +Inf with the count; one EOF at the end.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with EOF");
    assert!(!body.contains("# EOF"));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut help = BTreeSet::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(!words.trim().is_empty() && help.insert(name.to_owned()), "{line}");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = Family { kind: kind.to_owned(), samples: BTreeMap::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{line}");
        } else {
            let (series, figure) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("no family: {line}"));
            let suffixes: &[&str] = match family.kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} in {current}"));
            assert!(suffixes.contains(&suffix), "{line}");
            check_labels(&series[name.len()..]);
            let figure: f64 = figure.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(figure >= 0.0 || family.kind == "gauge", "{line}");
            assert!(family.samples.insert(series.to_owned(), figure).is_none(), "twice: {line}");
        }
    }
    assert_eq!(help.len(), families.len());
    assert!(families.values().all(|family| !family.samples.is_empty()));
    check_buckets(text);
    families
}

/// `{name="value",…}` with quotes, backslashes and line ends escaped.
fn check_labels(labels: &str) {
    let Some(mut rest) = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        assert_eq!(labels, "");
        return;
    };
    let mut names = BTreeSet::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{labels}"));
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && names.insert(name), "{labels}");
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = &after[end.unwrap_or_else(|| panic!("{labels}")) + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    assert_eq!(rest, "", "{labels}");
}

fn check_buckets(text: &str) {
    let mut before = 0.0;
    let mut open = false;
    for line in text.lines().filter(|line| line.split('{').next().unwrap().ends_with("_bucket")) {
        let figure: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(!open || figure >= before, "{line}");
        before = figure;
        open = !line.contains("le=\"+Inf\"");
    }
    assert!(!open, "the last bucket is +Inf");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_is_well_formed_and_its_figures_are_true() {
    let broker = start().await;
    let kafka = connect(&broker).await;
    create(&kafka, "orders", 2).await;
    let strange = "/api/v1/topics/orders/subscriptions/a%20%22b%22%5C%0A";
    assert_eq!(request(&broker, "PUT", strange, r#"{"type": "shared"}"#).await.status, 201);
    let billing = "/api/v1/topics/orders/subscriptions/billing";
    assert_eq!(request(&broker, "PUT", billing, "{}").await.status, 201);
    produce(&kafka, (0..7).map(|_| Record::new("orders", "x").key("k").partition(1)).collect()).await;

    let scraped = get(&broker, "/metrics").await;
    assert_eq!(scraped.status, 200);
    assert!(
        scraped.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        scraped.head
    );
    let families = parse(&scraped.body);
    let sample = |family: &str, series: &str| {
        let family = families.get(family).unwrap_or_else(|| panic!("no {family} in {:?}", families.keys()));
        *family.samples.get(series).unwrap_or_else(|| panic!("no {series} in {family:?}"))
    };
    let series = |name: &str, partition: i32| {
        format!("{name}{{topic=\"orders\",partition=\"{partition}\",subscription=\"billing\"}}")
    };
    let lag = "keyway_subscription_lag_messages";
    assert_eq!(sample(lag, &series(lag, 1)), 7.0);
    assert_eq!(sample(lag, &series(lag, 0)), 0.0);
    let end = "keyway_subscription_log_end";
    assert_eq!(sample(end, &series(end, 1)), 7.0);
    for name in [
        "lag_ms",
        "cursor",
        "durable_cursor",
        "span",
        "holes",
        "live_messages",
        "live_keys",
        "ready_keys",
        "inflight_messages",
        "blocked_keys",
        "cache_bytes",
        "spilled_keys",
        "parked_keys",
        "delivered",
        "acked",
        "nacked",
        "expired",
        "revoked",
        "late_acks",
        "stale_acks",
        "forced_revokes",
        "redeliveries",
        "attempts",
        "dlq",
        "skipped",
        "lost_to_retention",
        "side_write_errors",
        "state_bytes",
        "unstored_ms",
    ] {
        assert!(families.contains_key(&format!("keyway_subscription_{name}")), "{name}");
    }
    let alarm = "keyway_subscription_alarm";
    for name in ["span", "oldest_blocked", "head_blocked", "state_not_stored"] {
        let series = series(alarm, 1).replace('}', &format!(",alarm=\"{name}\"}}"));
        assert_eq!(sample(alarm, &series), 0.0, "{name}");
    }
    assert_eq!(sample("keyway_connections", "keyway_connections{front=\"http\"}"), 1.0);
    assert!(sample("keyway_kafka_requests", "keyway_kafka_requests_total{api=\"Produce\"}") >= 1.0);
    assert!(sample("keyway_received_bytes", "keyway_received_bytes_total{front=\"kafka\"}") > 100.0);
    assert!(sample("keyway_sent_bytes", "keyway_sent_bytes_total{front=\"kafka\"}") > 100.0);
    assert_eq!(sample("keyway_topics", "keyway_topics"), 1.0);
    if cfg!(target_os = "linux") {
        assert!(sample("process_resident_memory_bytes", "process_resident_memory_bytes") > 1e6);
    }
    // Counts only grow.
    let again = parse(&get(&broker, "/metrics").await.body);
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "counter") {
        for (series, figure) in &family.samples {
            assert!(again[name].samples[series] >= *figure, "{series}");
        }
    }
    drop(kafka);
    broker.shutdown().await.unwrap();
}
