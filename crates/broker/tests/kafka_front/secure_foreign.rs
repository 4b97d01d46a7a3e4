//! A client that nobody here wrote logs in: krafka, over TLS by SCRAM and PLAIN.

use crate::{broker::TestBroker, certificates::Authority};
use keyway_broker::{Config, KafkaListener, OfflineUsers, SecurityProtocol};
use keyway_log::{LogStore, MemoryStore};
use keyway_runtime::World;
use krafka::{
    Kafka, Record,
    admin::{CreateTopicsOptions, NewTopic},
    auth::{AuthConfig, TlsConfig},
};
use std::{net::SocketAddr, sync::Arc};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn krafka_logs_in_over_tls() {
    let authority = Authority::new("authority");
    let server = authority.identity("server");
    let store: Arc<dyn LogStore> = Arc::new(MemoryStore::new());
    // The first user is there before the broker runs.
    let users = OfflineUsers::open(&World::real(), &store).unwrap();
    users.set_password("alice", "alice=secret,").await.unwrap();
    drop(users);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = KafkaListener {
        name: "OUTSIDE".to_owned(),
        protocol: SecurityProtocol::SaslSsl,
        address: any,
        advertised: None,
    };
    let settings = [
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.certificate.chain", &server.pem),
        ("ssl.keystore.key", &server.pem),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config { kafka: vec![listener], settings: settings.into(), ..Config::default() };
    let broker = TestBroker::on(store, config).await;
    let address = broker.listener("OUTSIDE").to_string();
    let connect = async |auth: AuthConfig| {
        let tls = TlsConfig::new().with_ca_cert_pem(authority.pem());
        Kafka::builder(address.clone()).security(auth.with_tls(tls)).connect().await
    };
    let admin = connect(AuthConfig::sasl_scram_sha512("alice", "alice=secret,")).await.unwrap();
    let topics = [NewTopic::new("orders", 1, 1).unwrap()];
    admin.admin().create_topics(topics, CreateTopicsOptions::default()).await.unwrap();
    for auth in [
        AuthConfig::sasl_plain("alice", "alice=secret,"),
        AuthConfig::sasl_scram_sha256("alice", "alice=secret,"),
        AuthConfig::sasl_scram_sha512("alice", "alice=secret,"),
    ] {
        let kafka = connect(auth).await.unwrap();
        let producer = kafka.producer().metrics_push(false).build().await.unwrap();
        let sent = producer.send(Record::new("orders", "x").key("k")).await.map(drop);
        sent.unwrap();
        producer.close().await.unwrap();
    }
    for auth in [
        AuthConfig::sasl_plain("alice", "wrong"),
        AuthConfig::sasl_scram_sha256("alice", "wrong"),
        AuthConfig::sasl_scram_sha512("nobody", "x"),
    ] {
        assert!(connect(auth).await.is_err());
    }
    broker.shutdown().await;
}
