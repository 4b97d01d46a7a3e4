//! What a broker can be told. Names and defaults are Kafka's where Kafka has them.

use crate::log_levels::LogFilter;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Settings of one broker; start from [`Config::default`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the Kafka protocol; default 127.0.0.1:9092, port 0 takes a free one.
    pub kafka: SocketAddr,
    /// Address of the Danube protocol; default 127.0.0.1:6650, port 0 takes a free one.
    pub grpc: SocketAddr,
    /// Address of Danube's administration; default 127.0.0.1:50051, port 0 takes a free one.
    pub danube_admin: SocketAddr,
    /// Address of HTTP: health, metrics, administration; default 127.0.0.1:8080, port 0 takes a free one.
    pub http: SocketAddr,
    /// Host and port that Kafka clients are told to connect to; default: the address listened on.
    pub advertised_kafka: Option<(String, u16)>,
    /// Kafka's settings by their names, as in `server.properties`; default: none, which is Kafka's defaults but for a
    /// few. A name that Kafka does not know, or a value that is none of the setting's, is refused at the start.
    pub settings: BTreeMap<String, String>,
    /// Most partitions of one topic; default 10,000.
    pub partitions_per_topic_max: i32,
    /// What the process logs, for Kafka's tools to see and change; default: none, and they are told so.
    pub log_filter: Option<Arc<dyn LogFilter>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 6650)),
            danube_admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            advertised_kafka: None,
            settings: BTreeMap::new(),
            partitions_per_topic_max: 10_000,
            log_filter: None,
        }
    }
}
