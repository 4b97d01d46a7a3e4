//! What a broker can be told. Names and defaults are Kafka's where Kafka has them.

use crate::{access::AuditSink, log_levels::LogFilter};
use keyway_access::SecurityProtocol;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Settings of one broker; start from [`Config::default`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the Kafka protocol is served, one listener at least; default: `PLAINTEXT` on 127.0.0.1:9092.
    pub kafka: Vec<KafkaListener>,
    /// Address of the Danube protocol; default 127.0.0.1:6650, port 0 takes a free one.
    pub grpc: SocketAddr,
    /// Address of Danube's administration; default 127.0.0.1:50051, port 0 takes a free one.
    pub danube_admin: SocketAddr,
    /// Address of HTTP: health, metrics, administration; default 127.0.0.1:8080, port 0 takes a free one.
    pub http: SocketAddr,
    /// Whether PLAIN may be used where there is neither TLS nor a loopback address, which shows passwords to everybody on
    /// the way; default: no.
    pub plain_without_tls: bool,
    /// Kafka's settings by their names, as in `server.properties`; default: none, which is Kafka's defaults but for a
    /// few. A name that Kafka does not know, or a value that is none of the setting's, is refused at the start.
    pub settings: BTreeMap<String, String>,
    /// Most partitions of one topic; default 10,000.
    pub partitions_per_topic_max: i32,
    /// Most bytes of messages that all subscriptions keep for delivery, but for 256 KiB of each partition; what is not
    /// kept is read again. Default 512 MiB.
    pub subscription_bytes_max: usize,
    /// What the process logs, for Kafka's tools to see and change; default: none, and they are told so.
    pub log_filter: Option<Arc<dyn LogFilter>>,
    /// Where the audit log goes; default: to the ordinary log, under the target `keyway::audit`.
    pub audit: Option<Arc<dyn AuditSink>>,
}

/// One place where Kafka clients connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaListener {
    /// Its name; settings that begin with `listener.name.` and this name in lower case are its own.
    pub name: String,
    /// What a client has to do before its first request.
    pub protocol: SecurityProtocol,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Host and port that its clients are told to connect to; `None` for the address listened on.
    pub advertised: Option<(String, u16)>,
}

impl KafkaListener {
    /// The listener that Kafka has by default, `PLAINTEXT`, at this address.
    pub fn plaintext(address: impl Into<SocketAddr>) -> Self {
        let protocol = SecurityProtocol::Plaintext;
        Self { name: protocol.name().to_owned(), protocol, address: address.into(), advertised: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: vec![KafkaListener::plaintext((Ipv4Addr::LOCALHOST, 9092))],
            grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 6650)),
            danube_admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            plain_without_tls: false,
            settings: BTreeMap::new(),
            partitions_per_topic_max: 10_000,
            subscription_bytes_max: 512 * 1024 * 1024,
            log_filter: None,
            audit: None,
        }
    }
}
