//! What a broker can be told. Names and defaults are Kafka's where Kafka has them.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
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
    /// `num.partitions`: partitions of a topic created without a number; default 1.
    pub num_partitions: i32,
    /// `default.replication.factor`: copies that a topic created without a number asks for; default 1. It is recorded
    /// with the topic; one copy is kept.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`: whether a topic is created on first use; default true.
    pub auto_create_topics: bool,
    /// `message.max.bytes`: largest record batch, bytes; default 1,048,588.
    pub message_bytes_max: usize,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members, ms; default 300.
    pub group_initial_rebalance_delay_ms: u64,
    /// `group.consumer.session.timeout.ms`: silence after which a member of a consumer group is expelled, ms; default
    /// 45,000.
    pub group_consumer_session_timeout_ms: u64,
    /// `group.consumer.heartbeat.interval.ms`: how often members of a consumer group are heard of, ms; default 5,000.
    pub group_consumer_heartbeat_interval_ms: u64,
    /// Kafka connections at a time; default 10,000. One more is closed at once.
    pub connections_max: usize,
    /// Bytes of requests of both protocols held in memory at a time, over all connections; default 128 MiB.
    /// Over it, Kafka connections wait before they read, and Danube's calls are asked to come again.
    pub request_bytes_in_flight_max: usize,
    /// What topics that set nothing of their own follow, by the broker's name of the config: `log.retention.ms` for
    /// `retention.ms`. Default: nothing, which is Kafka's defaults. [`Config::message_bytes_max`] is not among them.
    pub topic_defaults: BTreeMap<String, String>,
    /// Most partitions of one topic; default 10,000.
    pub partitions_per_topic_max: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 6650)),
            danube_admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            advertised_kafka: None,
            num_partitions: 1,
            default_replication_factor: 1,
            auto_create_topics: true,
            message_bytes_max: keyway_record::limits::BATCH_BYTES_MAX,
            group_initial_rebalance_delay_ms: 300,
            group_consumer_session_timeout_ms: 45_000,
            group_consumer_heartbeat_interval_ms: 5_000,
            connections_max: 10_000,
            request_bytes_in_flight_max: 128 * 1024 * 1024,
            topic_defaults: BTreeMap::new(),
            partitions_per_topic_max: 10_000,
        }
    }
}
