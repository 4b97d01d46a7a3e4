//! What the documents say can be scraped is there, and counts.

use crate::{
    broker::TestBroker,
    broker_configs,
    certificates::{Authority, BOTH_VERSIONS},
    client::{Client, call},
    requests::metadata_of,
    tls,
};
use keyway_broker::{AuditSink, Config, SecurityProtocol};
use keyway_kafka_wire::messages::{AlterClientQuotasRequest, alter_client_quotas::*};
use keyway_log::MemoryStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};

/// Documents that name families.
const DOCUMENTS: [&str; 3] = [
    include_str!("../../../../SECURITY.md"),
    include_str!("../../../../docs/limits.md"),
    include_str!("../../../../docs/decisions/0017-quotas-mute.md"),
];

/// Series with their figures.
pub(crate) async fn scraped(broker: &TestBroker) -> BTreeMap<String, f64> {
    let mut stream = TcpStream::connect(broker.http_address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, figure)| (series.to_owned(), figure.parse().unwrap()))
        .collect()
}

/// Names of families in the documents.
fn named() -> BTreeSet<&'static str> {
    let words = DOCUMENTS.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_lowercase() && c != '_'));
    words.filter(|word| word.starts_with("keyway_")).collect()
}

/// A sink that has dropped three lines.
#[derive(Debug)]
struct Full;

impl AuditSink for Full {
    fn write(&self, _: String) {}

    fn dropped(&self) -> u64 {
        3
    }
}

async fn quota(client: &mut Client, entity_type: &str, name: &str, key: &str, value: f64) {
    let entity = EntityData { entity_type: entity_type.to_owned(), entity_name: Some(name.to_owned()) };
    let op = OpData { key: key.to_owned(), value, remove: false };
    let entries = vec![EntryData { entity: vec![entity], ops: vec![op] }];
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    assert_eq!(call!(client, AlterClientQuotas, 1, request).entries[0].error_code, 0);
}

#[tokio::test]
async fn every_family_that_the_documents_name_is_scraped() {
    let config = Config { audit: Some(Arc::new(Full)), ..Config::default() };
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    let mut client = broker.connect().await;
    assert_eq!(broker_configs::set(&mut client, "max.connections", "1").await, 0);
    assert!(broker.connect().await.frame().await.is_none());
    // So small a share of a thread's time that a few requests are too much.
    quota(&mut client, "client-id", "raw", "request_percentage", 0.001).await;
    let mut requests = 0..1_000;
    while call!(client, Metadata, 12, metadata_of("orders")).throttle_time_ms == 0 {
        requests.next().expect("some request is too much");
    }
    let scraped = scraped(&broker).await;
    let families: BTreeSet<&str> = scraped.keys().map(|series| series.split('{').next().unwrap()).collect();
    let named = named();
    assert!(named.len() >= 5, "{named:?}");
    let missing: Vec<_> = named.difference(&families).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {families:?}");
    assert_eq!(scraped["keyway_audit_lines_dropped_total"], 3.0);
    assert_eq!(scraped["keyway_connections_refused_total{front=\"kafka\"}"], 1.0);
    assert_eq!(scraped["keyway_connections{front=\"kafka\"}"], 1.0);
    assert!(scraped["keyway_throttled_total{quota=\"request_percentage\"}"] >= 1.0);
    assert!(scraped["keyway_throttled_seconds_total{quota=\"request_percentage\"}"] > 0.0);
    assert_eq!(scraped["keyway_throttled_total{quota=\"producer_byte_rate\"}"], 0.0);
    broker.shutdown().await;
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// What is warned of on this thread while the guard is held.
    fn warnings() -> (Self, DefaultGuard) {
        let written = Self::default();
        let log = written.clone();
        let log = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        (written, tracing::subscriber::set_default(log))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Sends bytes that the port cannot read, and waits until it has closed the connection.
async fn scan(address: SocketAddr) {
    let mut scanner = TcpStream::connect(address).await.unwrap();
    scanner.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // An alert perhaps, and the end, whichever way the system tells it.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), scanner.read_to_end(&mut rest)).await;
    _ = ended.expect("it is closed");
}

#[tokio::test]
async fn connections_without_requests_are_told_once() {
    let (written, _log) = Written::warnings();
    let broker = TestBroker::start().await;
    for _ in 0..SCANS {
        scan(broker.kafka_address()).await;
    }
    broker.shutdown().await;
    let written = written.text();
    assert_eq!(written.matches("closing a Kafka connection").count(), 1, "{written}");
    assert!(written.contains("listener=PLAINTEXT times=1"), "{written}");
}

/// More than anybody wants to read of.
const SCANS: usize = 50;

#[tokio::test]
async fn handshakes_that_fail_are_counted_and_told_once() {
    let (written, _log) = Written::warnings();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.identity("server").write(Path::new(&tls::path(&folder, "server.pem")));
    let config = tls::config(
        vec![tls::listener("SSL", SecurityProtocol::Ssl, "a")],
        &[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", &tls::path(&folder, "server.pem"))],
    );
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    for _ in 0..SCANS {
        scan(broker.listener("SSL")).await;
    }
    authority.connect(broker.listener("SSL"), None, BOTH_VERSIONS).await.expect("who speaks TLS comes in");
    let scraped = scraped(&broker).await;
    assert_eq!(scraped["keyway_tls_handshakes_failed_total{front=\"kafka\"}"], SCANS as f64);
    assert_eq!(scraped["keyway_tls_handshakes_failed_total{front=\"http\"}"], 0.0);
    broker.shutdown().await;
    let written = written.text();
    assert_eq!(written.matches("the TLS handshake failed").count(), 1, "{written}");
    assert!(written.contains("listener=\"SSL\"") && written.contains("times=1"), "{written}");
}
