//! Listeners with TLS: versions, certificates of both sides, addresses, and files that change.

use crate::{
    broker::TestBroker,
    certificates::{Authority, BOTH_VERSIONS},
    client::Client,
    metrics::scraped,
};
use keyway_broker::{AuditSink, Broker, Config, KafkaListener, SecurityProtocol, StartError};
use keyway_kafka_wire::messages::{MetadataRequest, Request, Response};
use keyway_log::MemoryStore;
use keyway_runtime::World;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a changed file may take to be taken up.
const TAKEN_UP_MAX: Duration = Duration::from_secs(20);

pub(crate) fn listener(name: &str, protocol: SecurityProtocol, advertised: &str) -> KafkaListener {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let advertised = Some((advertised.to_owned(), 19_093));
    KafkaListener { name: name.to_owned(), protocol, address: any, advertised }
}

pub(crate) fn config(listeners: Vec<KafkaListener>, settings: &[(&str, &str)]) -> Config {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config { kafka: listeners, settings: settings.collect::<BTreeMap<_, _>>(), ..Config::default() }
}

pub(crate) fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// The broker's address as a client of this connection is told it.
async fn told(client: &mut Client) -> (String, i32) {
    let request = Request::Metadata(MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    let Response::Metadata(metadata) = client.call(&request, 12).await else { unreachable!() };
    (metadata.brokers[0].host.clone(), metadata.brokers[0].port)
}

#[tokio::test]
async fn each_listener_has_its_certificate_its_versions_and_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let (one, other) = (authority.identity("one"), authority.identity("other"));
    one.write(Path::new(&path(&folder, "one.pem")));
    let config = config(
        vec![
            listener("SSL", SecurityProtocol::Ssl, "one.example"),
            listener("OLDER", SecurityProtocol::Ssl, "other.example"),
        ],
        &[
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &path(&folder, "one.pem")),
            ("listener.name.older.ssl.keystore.location", ""),
            ("listener.name.older.ssl.keystore.certificate.chain", &other.pem),
            ("listener.name.older.ssl.keystore.key", &other.pem),
            ("listener.name.older.ssl.enabled.protocols", "TLSv1.2"),
        ],
    );
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    for (name, identity, host) in [("SSL", &one, "one.example"), ("OLDER", &other, "other.example")] {
        let stream = authority.connect(broker.listener(name), None, BOTH_VERSIONS).await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], identity.certificate, "{name}");
        assert_eq!(told(&mut Client::on(stream)).await, (host.to_owned(), 19_093));
    }
    assert!(authority.connect(broker.listener("SSL"), None, &[&TLS12]).await.is_ok());
    assert!(authority.connect(broker.listener("OLDER"), None, &[&TLS13]).await.is_err());
    let mut plain = broker.connect().await;
    assert_eq!(told(&mut plain).await.0, "127.0.0.1", "the listener without TLS is as it was");
    let mut confused = Client::connect(broker.listener("SSL")).await;
    confused.send_bytes(&[0, 0, 0, 10, 0, 18, 0, 3, 0, 0, 0, 1, 0, 0]).await;
    let answer = confused.frame().await;
    assert!(answer.is_none(), "plain bytes are no handshake: {answer:?}");
    broker.shutdown().await;
}

#[tokio::test]
async fn clients_without_a_good_certificate_stay_out() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let server = authority.identity("server");
    server.write(Path::new(&path(&folder, "server.pem")));
    std::fs::write(path(&folder, "trusted.pem"), authority.pem()).unwrap();
    let config = config(
        vec![listener("SSL", SecurityProtocol::Ssl, "a"), listener("ASKS", SecurityProtocol::Ssl, "b")],
        &[
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &path(&folder, "server.pem")),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &path(&folder, "trusted.pem")),
            ("ssl.client.auth", "required"),
            ("listener.name.asks.ssl.client.auth", "requested"),
            ("listener.name.asks.ssl.principal.mapping.rules", "RULE:^CN=(.*?),.*$/$1/L"),
        ],
    );
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    let (alice, mallory) = (authority.identity("alice"), stranger.identity("alice"));
    // With O=Keyway behind it, 4 KiB are the limit.
    let (long, longer) = (authority.identity(&"x".repeat(4_000)), authority.identity(&"x".repeat(4_090)));
    for (name, identity, enters) in [
        ("SSL", Some(&alice), true),
        ("SSL", None, false),
        ("SSL", Some(&mallory), false),
        ("ASKS", Some(&alice), true),
        ("ASKS", None, true),
        ("ASKS", Some(&mallory), false),
        ("SSL", Some(&long), true),
        ("SSL", Some(&longer), false),
    ] {
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let stream = authority.connect(broker.listener(name), identity, versions).await;
            // By TLS 1.3 a client has sent its certificate before it is refused.
            let answered = match stream {
                Err(_) => false,
                Ok(stream) => {
                    let mut client = Client::on(stream);
                    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
                    client.send(&Request::Metadata(request), 12).await;
                    client.frame().await.is_some()
                }
            };
            assert_eq!(answered, enters, "{name}, {versions:?}, certificate: {}", identity.is_some());
        }
    }
    broker.shutdown().await;
}

/// What was told.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<Value>>);

impl AuditSink for Lines {
    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line.parse().unwrap());
    }

    fn dropped(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn certificates_that_are_shown_are_counted_and_told_as_logins() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    authority.identity("server").write(Path::new(&path(&folder, "server.pem")));
    std::fs::write(path(&folder, "trusted.pem"), authority.pem()).unwrap();
    let lines = Arc::new(Lines::default());
    let config = config(
        vec![listener("SSL", SecurityProtocol::Ssl, "a")],
        &[
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &path(&folder, "server.pem")),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &path(&folder, "trusted.pem")),
            ("ssl.client.auth", "required"),
            ("ssl.principal.mapping.rules", "RULE:^CN=(a.*?),.*$/$1/"),
        ],
    );
    let config = Config { audit: Some(lines.clone()), ..config };
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    let [alice, bob] = ["alice", "bob"].map(|name| authority.identity(name));
    let mallory = stranger.identity("alice");
    for identity in [Some(&alice), Some(&mallory), None, Some(&bob)] {
        if let Ok(mut stream) = authority.connect(broker.listener("SSL"), identity, BOTH_VERSIONS).await {
            // Until the broker has seen its certificate and refused it, or served it.
            _ = stream.write_all(&[0, 0, 0, 1, 0]).await;
            _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
    // Who speaks no TLS does not log in.
    let mut scanner = Client::connect(broker.listener("SSL")).await;
    scanner.send_bytes(&[0, 0, 0, 1, 0]).await;
    assert!(scanner.frame().await.is_none());
    let scraped = scraped(&broker).await;
    assert_eq!(scraped["keyway_logins_total{listener=\"SSL\"}"], 1.0);
    assert_eq!(scraped["keyway_logins_failed_total{listener=\"SSL\"}"], 3.0);
    assert_eq!(scraped["keyway_logins_total{listener=\"HTTP\"}"], 0.0);
    assert_eq!(scraped["keyway_tls_handshakes_failed_total{front=\"kafka\"}"], 4.0);
    // What repeats itself within a minute is told when that is over.
    broker.shutdown().await;
    let lines = lines.0.lock().unwrap();
    let told = lines.iter().map(|line| {
        assert_eq!((&line["mechanism"], &line["listener"]), (&"SSL".into(), &"SSL".into()), "{line}");
        (line["event"].as_str().unwrap(), line["principal"].as_str().unwrap())
    });
    let anonymous = ("login_failed", "User:ANONYMOUS");
    assert_eq!(told.collect::<Vec<_>>(), [("login", "User:alice"), anonymous, anonymous], "{lines:#?}");
    let reason = lines[1]["reason"].as_str().unwrap();
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test]
async fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    let file = path(&folder, "server.pem");
    let (first, second) = (authority.identity("first"), authority.identity("second"));
    first.write(Path::new(&file));
    let config = config(
        vec![listener("SSL", SecurityProtocol::Ssl, "a")],
        &[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", &file)],
    );
    let broker = TestBroker::on(Arc::new(MemoryStore::new()), config).await;
    let open = authority.connect(broker.listener("SSL"), None, BOTH_VERSIONS).await.unwrap();
    let served = async || {
        let stream = authority.connect(broker.listener("SSL"), None, BOTH_VERSIONS).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(served().await, first.certificate);
    second.write(Path::new(&file));
    let changed = async {
        while served().await != second.certificate {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(TAKEN_UP_MAX, changed).await.expect("the new certificate is taken up");
    assert_eq!(told(&mut Client::on(open)).await.0, "a", "an open connection goes on");
    std::fs::write(&file, "nothing").unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(served().await, second.certificate, "a broken file changes nothing");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_broker_without_its_certificate_does_not_start() {
    let config = config(vec![listener("SSL", SecurityProtocol::Ssl, "a")], &[("ssl.keystore.type", "PEM")]);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { grpc: any, danube_admin: any, http: any, ..config };
    let started = Broker::start(config, World::real(), Arc::new(MemoryStore::new())).await;
    let Err(error @ StartError::Tls { .. }) = started else { panic!("it started") };
    assert!(error.to_string().contains("ssl.keystore.location is not set"), "{error}");
}
